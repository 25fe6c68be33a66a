"""The types of a run's files: what ``run.json`` and a line of ``outcomes.jsonl`` hold.

The files are read into plain dicts, which these types describe key by key; ``schemas/*.schema.json`` says the same
to other programs, with a description of every key. A key that is not required is missing in the files of some runs:
of other tools, of earlier versions, or of runs without that part. Shares are fractions from 0 to 1, log-probabilities
natural, in nats; an interval is the list of its two ends.

The module has more than 400 lines because it is one list, in the order of the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import NotRequired


# -- outcomes.jsonl -----------------------------------------------------------------------------------------------


class ChoiceRecord(TypedDict):
    """A choice of a multiple-choice question."""

    text: str
    logprob: float | None


class OutcomeRecord(TypedDict):
    """A line of ``outcomes.jsonl``: what one item gave under one target."""

    dataset: str
    item: str
    target: str
    ablation: str | None
    question: str
    prompt: str
    response: str
    expected: str
    answer: str | None
    correct: bool
    category: str | None
    kind: str | None
    reason: str | None
    answer_logprob: float | None
    truncated: bool
    choices: NotRequired[list[ChoiceRecord] | None]
    form: NotRequired[str | None]
    tags: NotRequired[dict[str, str] | None]
    became_counterfactual: NotRequired[bool | None]
    counterfactual: NotRequired[str | None]
    thought: NotRequired[str | None]
    thought_cut: NotRequired[bool | None]
    sample: NotRequired[int | None]


# -- run.json: the settings ---------------------------------------------------------------------------------------


class ModelGenerationRecord(TypedDict):
    """What the model's own generation settings do: those that change greedy answers, and those that are not used."""

    mode: str
    rules: dict[str, str]
    unused: dict[str, str]


class ModelRecord(TypedDict):
    """The model that answered."""

    name: str
    fingerprint: NotRequired[str]
    architecture: NotRequired[str]
    layers: int
    heads: int
    layer_indices: NotRequired[list[int] | None]
    dtype: NotRequired[str]
    device: NotRequired[str]
    generation: NotRequired[ModelGenerationRecord]


class GenerationRecord(TypedDict):
    """How the answers to a dataset were generated."""

    max_new_tokens: int
    stop: list[str]


class PromptingRecord(TypedDict, total=False):
    """How questions were put."""

    shots: int
    shots_from: str | None
    shot_questions: dict[str, list[str]]
    chat: bool
    chat_template_unused: bool
    cot: bool
    template: str | None
    choices: str
    chat_kwargs: dict[str, str]
    chat_date: str | None
    notes: list[str]
    think: str


def prompting_of(run: RunRecord) -> PromptingRecord:
    """Return how the questions of *run* were put; a file from before there was a choice of marks had the usual ones."""
    usual: PromptingRecord = {"think": "auto"}
    return usual | (run.get("prompting") or {})


def where_of(run: RunRecord) -> str:
    """Return the place at which heads of *run* were off; in a file from before there was a choice, everywhere."""
    return run.get("where", "all")


class ReferencePromptsRecord(TypedDict):
    """The prompts of one dataset that an ablation's values were taken from."""

    prompts: int
    sha256: str


class ReferenceRecord(TypedDict):
    """What the values of one ablation were taken from."""

    averaged: NotRequired[str | None]
    seed: NotRequired[int | None]
    datasets: dict[str, ReferencePromptsRecord]


# -- run.json: the results ----------------------------------------------------------------------------------------


class ConstantAnswerRecord(TypedDict):
    """What always giving the commonest label of a dataset would score."""

    answer: str
    accuracy: float


class PowerRecord(TypedDict):
    """How large an effect must be to be significant."""

    targets: int
    flips_needed: int
    flips_needed_holm: NotRequired[int]


class DatasetRecord(TypedDict):
    """The answers to one dataset with nothing switched off."""

    items: int
    correct: int
    accuracy: float | None
    ci95: list[float]
    format: NotRequired[str]
    size: NotRequired[int | None]
    mean_answer_logprob: NotRequired[float | None]
    strict: NotRequired[float | None]
    flexible: NotRequired[float | None]
    extractors_disagree: NotRequired[int | None]
    acc: NotRequired[float | None]
    acc_norm: NotRequired[float | None]
    always: NotRequired[ConstantAnswerRecord | None]
    power: NotRequired[PowerRecord | None]
    sampled: NotRequired[SampledAccuracyRecord | None]


class SampledFigureRecord(TypedDict):
    """A mean over items of what so many samples of each give."""

    samples: int
    value: float
    ci95: list[float]


class SampledAccuracyRecord(TypedDict):
    """How good sampled answers are: the mean share of right ones, pass@k and the majority of k."""

    mean: SampledFigureRecord
    pass_at: list[SampledFigureRecord]
    majority_at: list[SampledFigureRecord]


class SamplingRecord(TypedDict):
    """How answers were sampled."""

    samples: int
    temperature: float
    top_p: float
    top_k: int
    verdict: str
    seed: int


class ThoughtRecord(TypedDict):
    """What a target changes in the thoughts of one dataset: items whose thought, answer, or both are others."""

    target: str
    dataset: str
    ablation: str | None
    items: int
    thought_changed: int
    answer_changed: int
    both_changed: int


class SentenceReaderRecord(TypedDict):
    """A head that reads a sentence: of its attention on the thought so far the share there, and the even share."""

    target: str
    share: float
    even: float


class AnchoredSentenceRecord(TypedDict):
    """A sentence of a thought, what leaving it out changes, in nats, and the heads that read it for the answer."""

    text: str
    change: float | None
    readers: NotRequired[list[SentenceReaderRecord]]


class ThoughtAnchorsRecord(TypedDict):
    """The sentences of the thought before one item's baseline answer."""

    dataset: str
    item: str
    sentences: list[AnchoredSentenceRecord]
    note: NotRequired[str]


class FormChangeRecord(TypedDict):
    """How the items of one form changed under a target."""

    form: str
    items: int
    lost: int
    won: int


class FormsRecord(TypedDict):
    """An effect by the forms of the questions, and the test over forms."""

    number: int
    losing: int
    winning: int
    p_value: float
    p_adjusted: float
    design_effect: float | None
    changes: list[FormChangeRecord]


class EffectRecord(TypedDict):
    """The paired effect of one target on one dataset under one ablation; see :class:`~.stats.Effect`."""

    target: str
    dataset: str
    ablation: str | None
    items: int
    correct: int
    delta: float
    delta_ci95: list[float]
    delta_ci_simultaneous: NotRequired[list[float]]
    delta_shrunken: NotRequired[float | None]
    flips_to_wrong: int
    flips_to_right: int
    p_value: float
    p_discrete: NotRequired[float]
    p_page: NotRequired[float]
    p_adjusted: float
    q_value: NotRequired[float | None]
    delta_logprob: float | None
    delta_logprob_ci95: NotRequired[list[float] | None]
    median_logprob: NotRequired[float | None]
    median_logprob_ci95: NotRequired[list[float] | None]
    logprob_falls: NotRequired[int]
    logprob_rises: NotRequired[int]
    logprob_sign_p_value: NotRequired[float | None]
    logprob_p_discrete: NotRequired[float | None]
    logprob_p_page: NotRequired[float | None]
    logprob_p_value: NotRequired[float | None]
    logprob_p_adjusted: NotRequired[float | None]
    shift: NotRequired[dict[str, int] | None]
    forms: NotRequired[FormsRecord | None]


class PatchRecord(TypedDict):
    """What patching a target does on the items answered right: how often the answer becomes the other question's.

    Under ``restore`` that is the item's own, as its counterfactual was asked. The five behind ``changed`` are ``None``
    without the control, whose donors have the items' answers. ``differing`` counts the items on which one arm alone
    gives the other question's answer. ``dealt_became`` is on how many items the patched answer would be the other
    question's in the mean if these were dealt anew, and ``dealt_p_value`` its test; they are ``None`` where the other
    questions' answers are too much alike.
    """

    target: str
    dataset: str
    ablation: str
    items: int
    became: int
    changed: int
    control_became: int | None
    control_changed: int | None
    differing: int | None
    p_value: float | None
    p_adjusted: float | None
    dealt_became: NotRequired[float | None]
    dealt_p_value: NotRequired[float | None]


class RestoredRecord(TypedDict):
    """How often a set of heads makes the item's own answer of its counterfactual's, beside random sets of its size.

    ``more`` counts the items on which the set alone does so, ``fewer`` those on which the random set alone does.
    """

    target: str
    dataset: str
    heads: int
    items: int
    became: int
    random_became: int
    more: int
    fewer: int
    effect: float
    effect_ci95: list[float]
    p_value: float
    p_adjusted: float


class FamilyRecord(TypedDict):
    """The targets of one dataset and ablation, which are tested together; see :class:`~.stats.Detectable`."""

    dataset: str
    ablation: str | None
    items: int
    targets: int
    unmeasured: int
    p_critical: float
    flips_needed: int
    background_flips: float
    smallest_effect: float | None


class RankChangeRecord(TypedDict):
    """A target whose rank differs clearly between ablations."""

    target: str
    dataset: str
    ranks: dict[str, int]


class ControlTargetRecord(TypedDict):
    """The control task under one target."""

    target: str
    ablation: str | None
    logprob: float | None
    delta: float | None


class ControlRecord(TypedDict):
    """The control task: the mean log-probability of a token of neutral sentences."""

    sentences: int
    tokens: int
    logprob: float | None
    uniform: NotRequired[float]
    targets: list[ControlTargetRecord]


class RandomDirectionsRecord(TypedDict):
    """What switching off a named head changes, and what random directions of its size in its layer do."""

    target: str
    dataset: str
    ablation: str | None
    items: int
    change: float | None
    changes: list[float]
    median_change: float | None
    as_large: int
    p_value: float | None
    note: str


class PathItemRecord(TypedDict):
    """What one item gives along a path; ``answer``, ``correct`` and ``changed`` are ``None`` where it was not asked."""

    item: str
    change: float
    answer: str | None
    correct: bool | None
    changed: bool | None


PathRecord = TypedDict(  # "from" is a word of Python's own
    "PathRecord",
    {
        "dataset": str,
        "ablation": "str | None",
        "from": str,
        "to": str,
        "items": int,
        "change": "float | None",
        "median_change": "float | None",
        "falls": int,
        "rises": int,
        "p": "float | None",
        "p_adjusted": "float | None",
        "answers": "int | None",
        "answers_changed": "int | None",
        "questions": list[PathItemRecord],
        "note": str,
    },
)
"""What changes where a head does not read what an earlier one writes."""


class ShareRecord(TypedDict):
    """The share of what the heads do that a set of them does, with its interval."""

    share: float
    ci95: list[float]


class PartRecord(TypedDict):
    """What is recovered without some *heads* of a set: by the rest of the set alone, and by all other heads."""

    heads: list[str]
    circuit: float
    model: float


class RecoveredRecord(TypedDict):
    """How much of a measure's mean a set of heads recovers alone, and how much is lost without it, or parts of it."""

    items: int
    model: float
    empty: float
    faithfulness: float
    faithfulness_ci95: list[float]
    random_faithfulness: list[float]
    faithfulness_p: float
    completeness: float
    completeness_ci95: list[float]
    random_completeness: list[float]
    completeness_p: float
    parts: NotRequired[list[PartRecord]]


class CircuitRecord(TypedDict):
    """A set of heads scored on items that did not choose it."""

    dataset: str
    ablation: str | None
    source: str
    heads: list[str]
    chosen_on: int
    masks: int | None
    items: int
    sum_of_single: float | None
    logprob: RecoveredRecord | None
    answers: RecoveredRecord | None
    note: str


class BehaviourRecord(TypedDict):
    """What a head's losses are with one value of a tag, beside those of all other items that have the tag.

    ``right`` baseline answers have the value, of which ``lost`` are wrong without the head.
    """

    tag: str
    value: str
    lost: int
    right: int
    others_lost: int
    others_right: int
    p_adjusted: float


class MistakeRecord(TypedDict):
    """How many of a head's ``lost`` answers are wrong in one way, beside the losses of all other heads."""

    count: int
    lost: int
    others_count: int
    others_lost: int
    p_adjusted: float | None


class OverlapRecord(TypedDict):
    """The items that a head loses together with another, the ``target``, and how many chance gives."""

    target: str
    shared: int
    expected: float
    p_adjusted: float


class DirectRecord(TypedDict):
    """What a head writes to the logits by itself: the mean over its examples, and its rank among heads and MLPs."""

    mean: float
    rank: int


class ExampleRecord(TypedDict):
    """A flipped item: from ``position``, how the head's attention lies on the tokens, and its direct attribution.

    ``position`` counts the tokens of prompt and answer from 0. ``attention`` has a share for each of ``tokens``;
    with the attention on ``sinks``, by name, it sums to 1.
    """

    item: str
    position: int
    token_on: str
    token_off: str
    tokens: list[str]
    attention: list[float]
    sinks: NotRequired[dict[str, float] | None]
    parts: NotRequired[dict[str, float] | None]
    pattern: NotRequired[list[list[int]] | None]
    direct: float | None


class HeadRecord(TypedDict):
    """The card of a head on one dataset under one ablation; what was not measured is missing or ``None``."""

    target: str
    dataset: str
    ablation: str | None
    sentence: str
    behaviour: list[BehaviourRecord]
    mistakes: dict[str, MistakeRecord]
    overlap: list[OverlapRecord]
    scores: NotRequired[dict[str, float] | None]
    labels: NotRequired[list[str] | None]
    direct: NotRequired[DirectRecord | None]
    examples: NotRequired[list[ExampleRecord] | None]
    note: NotRequired[str | None]


class ErrorCountRecord(TypedDict):
    """The number of wrong answers of one category and kind."""

    dataset: str
    target: str
    ablation: str | None
    category: str | None
    kind: str | None
    count: int


class ExcessRecord(TypedDict):
    """How much more log-odds heads cost together than one by one, with the sign test of the items' excess."""

    items: int
    falls: int
    rises: int
    median: float
    sum_of_single: float
    p_value: float
    p_adjusted: float


class CarriedRecord(TypedDict):
    """The first measured number of kept heads that keeps nine tenths of the accuracy, with its 95 % range."""

    heads: int
    range95: list[int]


class AreaRecord(TypedDict):
    """CPR and CMD of a curve of kept heads, with their intervals."""

    cpr: float
    cpr_ci95: list[float]
    cmd: float
    cmd_ci95: list[float]


class AreasRecord(TypedDict):
    """These in two orders: by the signed effect, and by its size."""

    signed: AreaRecord
    by_size: AreaRecord | None


class CurvePointRecord(TypedDict):
    """The accuracy with so many heads switched off, or left on."""

    heads: int
    items: int
    correct: int
    accuracy: float
    ci95: list[float]
    mean_answer_logprob: float | None
    logprobs: int
    if_added: float | None
    excess: NotRequired[ExcessRecord | None]


class CurveRecord(TypedDict):
    """One cumulative curve, ``off`` or ``kept``, of one dataset under one ablation."""

    dataset: str
    ablation: str | None
    kind: str
    order: list[str]
    held_out: bool
    ranked_on: int
    orders: int
    carried: NotRequired[CarriedRecord | None]
    areas: NotRequired[AreasRecord | None]
    points: list[CurvePointRecord]


class ScreeningScoreRecord(TypedDict):
    """The estimated effect of one head, and whether it was measured: ``ranked``, ``sampled`` or ``None``."""

    target: str
    score: float | None
    measured: str | None


class HeadSelectionRecord(TypedDict):
    """Which heads of one dataset and ablation are measured."""

    dataset: str
    ablation: str | None
    items: int
    seed: int
    method: NotRequired[str | None]
    scores: list[ScreeningScoreRecord]


class ScreeningRecord(HeadSelectionRecord):
    """A selection of heads with what the measurements say of the heads that were not measured."""

    candidates: int
    ranked: int
    rest: int
    sampled: int
    missed: int
    miss_rate: float | None
    ci95: list[float]
    moved: NotRequired[int]
    found: NotRequired[int]
    smallest_effect: NotRequired[float | None]


class StoppedTargetRecord(TypedDict):
    """A target that a race stopped after so many items, of which it had made ``lost`` wrong and ``won`` right."""

    target: str
    items: int
    lost: int
    won: int


class RaceRecord(TypedDict):
    """The race of one dataset and ablation: what it stopped of all targets that are tested together.

    A head that costs ``smallest_effect``, which the full sweep would name in 80 % of runs, is named by it and stopped
    by the race in a share ``missed_share`` of simulated ones; ``largest_loss`` is the most that any stopped head may
    still cost.
    """

    dataset: str
    ablation: str | None
    items: int
    targets: int
    stopped: list[StoppedTargetRecord]
    largest_loss: NotRequired[float | None]
    smallest_effect: NotRequired[float | None]
    missed_share: NotRequired[float | None]
    ci95: NotRequired[list[float]]


# -- run.json: the gate, the user's sections ----------------------------------------------------------------------


class GateCheckRecord(TypedDict):
    """One dataset held to one limit."""

    dataset: NotRequired[str | None]
    rule: NotRequired[str]
    limit: NotRequired[float | None]
    value: NotRequired[float | None]
    passed: bool | None
    line: str
    p_value: NotRequired[float | None]
    right: NotRequired[int | None]
    was_right: NotRequired[int | None]
    items: NotRequired[int | None]


class ReferenceChangesRecord(TypedDict):
    """When and on what the gate's reference was made, and what differs in settings since."""

    started: str | None
    commit: str | None
    changed: list[list[str]]


class RegressionRecord(TypedDict):
    """An item that was right in the reference and is wrong now; ``before`` is what was answered then."""

    dataset: str
    item: str
    question: str
    expected: str
    answer: str | None
    before: NotRequired[str | None]
    category: str | None


class GateRecord(TypedDict):
    """The gate's verdict; ``passed`` is ``None`` where something could not be judged."""

    passed: bool | None
    checks: list[GateCheckRecord]
    notes: NotRequired[list[str] | None]
    regressions: NotRequired[list[RegressionRecord] | None]
    since: NotRequired[ReferenceChangesRecord | None]


class SectionRecord(TypedDict):
    """A section that the user's own code adds."""

    title: str
    text: str
    head: list[str]
    rows: list[list[str]]


# -- run.json: how the run went -----------------------------------------------------------------------------------


class TimingRecord(TypedDict):
    """Seconds, by part of the work."""

    load_s: NotRequired[float | None]
    proof_s: NotRequired[float | None]
    baseline_s: float | None
    sweep_s: float | None
    control_s: NotRequired[float | None]
    directions_s: NotRequired[float | None]
    describe_s: NotRequired[float | None]
    paths_s: NotRequired[float | None]
    circuits_s: NotRequired[float | None]
    screen_s: NotRequired[float | None]
    curve_s: NotRequired[float | None]
    total_s: float | None


class EngineRecord(TypedDict):
    """How the ablated answers were computed."""

    rows: int
    verified: int
    decoded: int
    settled_singly: int
    canaries: NotRequired[int]
    canaries_changed: NotRequired[int]
    unequal_batches: NotRequired[int]
    sampled: NotRequired[int]
    sampled_equal: NotRequired[int]
    numerics: NotRequired[str]
    numerics_why: NotRequired[str]
    path: NotRequired[str]
    why: NotRequired[str]
    peak_bytes: NotRequired[int | None]
    recalled: NotRequired[int | None]
    store: NotRequired[str | None]
    nodes: NotRequired[int]
    replicas: NotRequired[int]
    chunks: NotRequired[int]
    lost: NotRequired[int]
    notes: NotRequired[str]
    afterwards: NotRequired[str | None]
    outcomes_sha256: NotRequired[str | None]


class SkippedRecord(TypedDict):
    """An item that could not be asked."""

    dataset: str
    item: str
    reason: str


class PartialRecord(TypedDict):
    """How far a run got that ended early, in outcomes."""

    planned: int
    done: int


class InvocationRecord(TypedDict):
    """How a run was started: its command, when (ISO 8601, UTC), on which commit, its prompts' SHA-256 by dataset."""

    command: str | None
    started: str
    commit: str | None
    prompts: dict[str, str]


class RunRecord(TypedDict):
    """The content of ``run.json``."""

    schema_version: int
    invocation: NotRequired[InvocationRecord | None]
    model: ModelRecord
    generation: dict[str, GenerationRecord]
    prompting: NotRequired[PromptingRecord]
    sections: NotRequired[list[SectionRecord]]
    ablation: str
    where: NotRequired[str]
    sampling: NotRequired[SamplingRecord | None]
    think_tokens: NotRequired[int | None]
    thoughts: NotRequired[list[ThoughtRecord] | None]
    thought_anchors: NotRequired[list[ThoughtAnchorsRecord] | None]
    reference: NotRequired[dict[str, ReferenceRecord]]
    datasets: dict[str, DatasetRecord]
    owners: NotRequired[dict[str, list[str]] | None]
    targets: list[EffectRecord]
    families: NotRequired[list[FamilyRecord] | None]
    patching: NotRequired[list[PatchRecord] | None]
    restored: NotRequired[list[RestoredRecord] | None]
    rank_changes: NotRequired[list[RankChangeRecord] | None]
    control: NotRequired[ControlRecord | None]
    null_directions: NotRequired[list[RandomDirectionsRecord] | None]
    paths: NotRequired[list[PathRecord] | None]
    circuits: NotRequired[list[CircuitRecord] | None]
    describe: NotRequired[str | None]
    heads: NotRequired[list[HeadRecord] | None]
    errors: list[ErrorCountRecord]
    curves: NotRequired[list[CurveRecord] | None]
    screening: NotRequired[list[ScreeningRecord] | None]
    races: NotRequired[list[RaceRecord] | None]
    gate: NotRequired[GateRecord | None]
    timing: TimingRecord
    engine: EngineRecord
    versions: dict[str, str | None]
    skipped: list[SkippedRecord]
    skipped_tests: NotRequired[dict[str, list[str]] | None]
    partial: NotRequired[PartialRecord | None]
    shard: NotRequired[str | None]
    places: NotRequired[dict[str, dict[str, int]] | None]


# -- what a run is made from -------------------------------------------------------------------------------------------


class AnalysisRecords(TypedDict):
    """The results of the analyses beside a sweep."""

    null_directions: list[RandomDirectionsRecord]
    curves: list[CurveRecord]
    heads: list[HeadRecord]
    paths: list[PathRecord]
    circuits: list[CircuitRecord]
    restored: list[RestoredRecord]
    thought_anchors: list[ThoughtAnchorsRecord]


class RunFacts(AnalysisRecords):
    """What one process knows of a run beside its outcomes: records of ``run.json``, and what they are made from."""

    model: ModelRecord
    generation: dict[str, GenerationRecord]
    prompting: PromptingRecord
    ablation: str
    where: str
    sampling: SamplingRecord | None
    think_tokens: int | None
    formats: dict[str, str]
    sizes: dict[str, int]
    owners: dict[str, list[str]]
    reference: dict[str, ReferenceRecord]
    control: ControlRecord | None
    screening: list[HeadSelectionRecord]
    races: list[RaceRecord]
    describe: str
    timing: TimingRecord
    engine: EngineRecord
    versions: Mapping[str, str | None]
    shard: str
    places: dict[str, dict[str, int]]
    skipped: list[SkippedRecord]
