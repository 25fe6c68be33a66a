"""Coverage-guided fuzzing: each reader accepts any input and keeps its promises, or refuses it in one line.

    pip install 'reasoning-probe[fuzz]'
    python -m tests.robustness.fuzz_targets --inputs 1000000   # of all targets; or name some: judge items heads

Each target takes any bytes and raises where a promise is broken. ``tests/robustness/test_fuzzing.py`` runs the same
targets under hypothesis. An input that breaks a promise is saved as ``crash-...``. The file has more than 400 lines
because the modules that guide the fuzzer must be imported once, at its top.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.helpers.project import ROOT

IN_PROCESS = "--in-process"


def _instrumented() -> AbstractContextManager[None]:
    """Return a context in which imports report their coverage to atheris, in the process that fuzzes."""
    if __name__ != "__main__" or IN_PROCESS not in sys.argv:
        return nullcontext()
    import atheris

    imports: AbstractContextManager[None] = atheris.instrument_imports(include=["reasoning_probe"])
    return imports


with _instrumented():
    from reasoning_probe.data.datasets import load, safe_id, safe_ids
    from reasoning_probe.data.items import Item, ItemError
    from reasoning_probe.data.prompts import limits
    from reasoning_probe.data.prompts.prompting import Generation, PromptError, Prompting, cut_at_stop
    from reasoning_probe.data.prompts.query import query
    from reasoning_probe.data.prompts.render import PromptRenderer
    from reasoning_probe.data.shards import parse_shard
    from reasoning_probe.data.sources import lm_eval_files
    from reasoning_probe.data.sources.base import DatasetError
    from reasoning_probe.data.sources.lm_eval_files import check_task_file
    from reasoning_probe.engine.cache.store import FILE, CachedAnswer, CacheError, OutcomeCache, entries, prune
    from reasoning_probe.models.errors import ModelError
    from reasoning_probe.models.files.adapter_checks import FIELDS, TYPES, check_adapter
    from reasoning_probe.models.files.generation_checks import check_generation
    from reasoning_probe.models.files.model_files import ModelFiles
    from reasoning_probe.models.files.tokenizer_checks import check_rules
    from reasoning_probe.models.head_map import AttentionLayer, HeadMap
    from reasoning_probe.models.targets import TargetError, check_spelling, parse_targets
    from reasoning_probe.pytest_plugin.option_types import OptionError
    from reasoning_probe.pytest_plugin.options import OPTIONS
    from reasoning_probe.report.ci.markdown import markdown_summary
    from reasoning_probe.results.run import Run, RunError, read_run
    from reasoning_probe.scoring.error_categories import CATEGORIES
    from reasoning_probe.scoring.judge import judge
    from reasoning_probe.utils.files import to_json_types
    from tests.helpers.fake_runs import full_run, outcome
    from tests.helpers.terminal_lines import summary_lines

SLOW_S = 2.0
"""The time limit in seconds for an input of a few thousand bytes."""

FRAGMENTS = (
    "the answer is ", "Answer: ", "#### ", "\\boxed{", "}", "Question: ", "yes", "no", "unknown", "cannot be known",
    "Max is an animal", "not ", " = ", " + ", " - ", " * ", " / ", "1,000.00", "10", "4", "6", "-3", "1/2", "1e9",
    "50%", "$", "twenty-one", "half a dozen", "So ", "wait, no, ", "A) ", "B) ", "<<10-4=6>>", "<|end|>", "</s>",
    "\n\n", "1. ", "\\frac{1}{2}", "which is ", "I'm sorry, ", "Alice has ", " dollars", "?", "(", ")", "\u00bd",
    "\u0663", "\u2019", "L3H7", "L8-L11", "L3", "H", ",", "=", "GB", "2/8", "zero", "mean", "cuda:1", "\ud800",
    "\u202e", "\x00",
)  # fmt: skip
"""The texts that bytes from 128 on stand for, so that mutations contain what the readers look for."""


def text_of(data: bytes) -> str:
    """Read each byte as an ASCII character or as a fragment."""
    return "".join(chr(byte) if byte < 128 else FRAGMENTS[(byte - 128) % len(FRAGMENTS)] for byte in data)


def one_line(error: Exception, named: str = "") -> None:
    message = str(error)
    assert named in message
    assert message, "an error that says nothing"
    assert len(message.splitlines()) == 1, f"an error of several lines: {message!r}"
    assert message.isprintable(), f"an error that a terminal would obey: {message!r}"
    assert len(message) < 1000, f"an error of {len(message)} characters"


# -- the targets ------------------------------------------------------------------------------------------------------


class Folder:
    """A temporary folder of this process, in memory where the system allows, created on first use."""

    def __init__(self) -> None:
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        if self._path is None:
            memory = Path("/dev/shm")
            self._path = Path(tempfile.mkdtemp(prefix="fuzzing-", dir=memory if memory.is_dir() else None))
        return self._path


HERE = Folder()


def fuzz_items(data: bytes) -> None:
    """An item file gives items with unique ids, or an error of one line that names the file."""
    path = HERE.path / "items.jsonl"
    path.write_bytes(data)
    try:
        dataset = load("x", path)
    except DatasetError as error:
        return one_line(error, str(path))
    ids = [item.id or "" for item in dataset.items]
    assert ids
    assert len({*ids}) == len(ids)
    safe = safe_ids(ids)
    assert len({*safe}) == len(ids)
    assert all(id == safe_id(id) for id in safe)
    assert all(item.question.strip() and item.answer.strip() and item.kind for item in dataset.items)
    return None


KINDS = ("number", "label", "text", None)
ANSWERS = {"number": "6", "label": "No", "text": "blue", None: "6 dollars"}
QUESTIONS = (
    "Alice has 10 dollars, spends 4. How much left?",
    "All dogs are animals. Max is a dog. Is Max an animal?",
    "What colour is the sky?",
)


def fuzz_judge(data: bytes) -> None:
    """Any response to any question gets a judgement that is deterministic and has a documented category."""
    how, text = (data[0], text_of(data[1:])) if data else (0, "")
    kind = KINDS[how % 4]
    parts = text.split("\x01", 2)
    question = parts[1] if len(parts) > 1 and parts[1].strip() else QUESTIONS[how // 8 % 3]
    answer = parts[2] if len(parts) > 2 else ANSWERS[kind]
    try:
        item = Item(question=question, answer=answer, kind=kind, solution=answer if how & 64 else None)
    except ItemError as error:
        return one_line(error)
    truncated = bool(how & 4)
    judgement = judge(item, parts[0], truncated)
    assert judgement == judge(item, parts[0], truncated)
    assert judgement.correct == (judgement.category is None) == (judgement.kind is None) == (judgement.reason is None)
    assert judgement.category is None or judgement.category in CATEGORIES
    assert judgement.answer is not None or judgement.category == "incomplete"
    if judgement.reason is not None:
        assert len(judgement.reason) < 600, judgement.reason
    return None


HEAD_MAP = HeadMap(tuple(AttentionLayer(layer, "block", "path", 3 + layer % 2, 8) for layer in (0, 1, 3, 4)))


def fuzz_heads(data: bytes) -> None:
    """A spec of heads gives targets of the model whose names parse to the same targets, or an error of one line."""
    spec = text_of(data)
    try:
        targets = parse_targets(spec, HEAD_MAP)
    except TargetError as error:
        return one_line(error)
    check_spelling(spec)
    names = [target.name for target in targets]
    assert names
    assert len({*names}) == len(names)
    layers = {site.layer: site.heads for site in HEAD_MAP.attention_layers}
    for target in targets:
        assert target.heads
        assert all(head < layers[layer] for layer, head in target.heads)
        assert parse_targets(target.name, HEAD_MAP) == [target]
    return None


def fuzz_options(data: bytes) -> None:
    """Every option accepts any text, or refuses it in one line."""
    text = text_of(data)
    for option in OPTIONS:
        if option.read is not None:
            try:
                option.read(text)
            except OptionError as error:
                one_line(error)
    try:
        shard = parse_shard(text)
        assert 1 <= shard.number <= shard.of
        assert parse_shard(str(shard)) == shard
    except ValueError as error:
        one_line(error)


def fuzz_prompts(data: bytes) -> None:
    """A prompt contains its question, and a response ends before the first stop string, whatever the strings are."""
    text = text_of(data)
    question, _, rest = text.partition("\x01")
    response, *stops = rest.split("\x02")
    stop = tuple(word for word in stops if word) or Generation.stop
    cut = cut_at_stop(response, stop)
    assert response.startswith(cut)
    assert not any(word in cut for word in stop)
    assert cut == response or any(response.startswith(word, len(cut)) for word in stop)
    if question.strip():
        try:
            item = Item(question=question, answer="8", id="a")
        except ItemError as error:  # half of a surrogate pair
            one_line(error)
        else:
            assert question in query("x", item, Generation()).prompt


RUN = to_json_types(full_run(layers=1, heads=2, items=4).summary)
LINES = [outcome(), outcome(target="L0H0", correct=False, answer="7", category="off_by_one")]
SCALARS: tuple[Any, ...] = (None, True, 0, -1, 2**63, 1.5, -1e300, "", "x", [], {}, [[]], {"x": None}, "\ud800\x1b[2J")


def _mutated(content: Any, data: bytes) -> Any:
    """Return *content* with changes that *data* determines, three bytes each: two for the place, one for the value."""
    content = json.loads(json.dumps(content))
    for start in range(0, min(len(data), 24) - 2, 3):
        place, key = content, None
        for step in (data[start], data[start + 1]):
            holder = place if key is None else place[key]
            if not isinstance(holder, dict | list) or not holder:
                break
            place, key = (
                holder,
                (sorted(holder)[step % len(holder)] if isinstance(holder, dict) else step % len(holder)),
            )
        if key is None:
            continue
        what = data[start + 2]
        if what % 16 == 15:
            del place[key]
        elif what % 16 == 14 and isinstance(place[key], dict | list) and place[key]:
            inner = place[key]
            deeper = sorted(inner)[what // 16 % len(inner)] if isinstance(inner, dict) else what // 16 % len(inner)
            inner[deeper] = copy.deepcopy(SCALARS[data[start] % len(SCALARS)])  # a shared list would hold itself
        else:
            place[key] = copy.deepcopy(SCALARS[what % len(SCALARS)])
    return content


def fuzz_run(data: bytes) -> None:
    """A run's files, raw bytes or a real run with changes, are read and printed, or refused in one line."""
    how, rest = (data[0], data[1:]) if data else (0, b"")
    folder = HERE.path
    good = json.dumps(RUN).encode()
    lines = [json.dumps(line.as_dict()).encode() for line in LINES]
    if how % 4 == 0:
        good = rest
    elif how % 4 == 1:
        lines.append(rest)
    elif how % 4 == 2:
        good = json.dumps(_mutated(RUN, rest)).encode()
    else:
        lines[0] = json.dumps(_mutated(LINES[0].as_dict(), rest)).encode()
    (folder / "run.json").write_bytes(good)
    (folder / "outcomes.jsonl").write_bytes(b"\n".join(lines))
    try:
        run = read_run(folder)
    except RunError as error:
        one_line(error)
        return
    _check_printed(run)


def _check_printed(run: Run) -> None:
    for line in summary_lines(run):
        assert len(line.splitlines()) <= 1, line
        assert "\x1b" not in line
    assert "\x1b" not in markdown_summary(run)


def fuzz_store(data: bytes) -> None:
    """A cache file with any bytes changed is used, moved aside or ignored; it never ends a run or invents an answer."""
    folder = HERE.path / "cache"
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    path = folder / FILE
    content = bytearray(_store_bytes())
    if data[:1] == b"\x00":
        content = bytearray(data[1:])
    else:
        for start in range(1, len(data) - 2, 3):
            content[int.from_bytes(data[start : start + 2], "big") % len(content)] = data[start + 2]
    path.write_bytes(content)
    for look in (entries, lambda cache_folder: prune(cache_folder, unused_days=1e6)):
        try:
            look(folder)
        except CacheError as error:
            one_line(error)
    cache = OutcomeCache(folder)
    try:
        cache.attach(b"digest", {"name": "x"})
        for answer in cache.get([b"one", b"two"]).values():
            assert isinstance(answer.response, str)
            assert isinstance(answer.truncated, bool)
        cache.put({b"three": CachedAnswer("3", False, None)})
        assert cache.notes or cache.get([b"three"]) == {b"three": CachedAnswer("3", False, None)}
        for note in cache.notes:
            one_line(ValueError(note))
    finally:
        cache.close()


_STORE: list[bytes] = []


def _store_bytes() -> bytes:
    if not _STORE:
        folder = Path(tempfile.mkdtemp(dir=HERE.path))
        cache = OutcomeCache(folder)
        cache.attach(b"digest", {"name": "x"})
        cache.put({b"one": CachedAnswer(" 8", False, -0.5), b"two": CachedAnswer("", True, None)})
        cache.close()
        _STORE.append((folder / FILE).read_bytes())
    return _STORE[0]


def _content(data: bytes, good: Any) -> bytes:
    """Return *data* itself, or *good* with changes that *data* determines, as JSON."""
    return data[1:] if data[:1] == b"\x00" else json.dumps(_mutated(good, data[1:])).encode()


ADAPTER = {
    "peft_type": "LORA",
    "base_model_name_or_path": "base",
    "r": 8,
    "target_modules": ["q_proj", "v_proj"],
    "rank_pattern": {},
    "megatron_config": None,
    "megatron_core": "megatron.core",
    "auto_mapping": {"base_model_class": "X", "parent_library": "transformers.models.gpt2.modeling_gpt2"},
    "init_lora_weights": True,
    "layer_replication": None,
}


def fuzz_adapter(data: bytes) -> None:
    """An adapter's config is refused in one line, or sets nothing that can name code, files or another model."""
    (HERE.path / "adapter_config.json").write_bytes(_content(data, ADAPTER))
    files = ModelFiles("x", str(HERE.path))
    try:
        config = files.json("adapter_config.json")
        check_adapter(files, config, remote_code=False)
    except ModelError as error:
        return one_line(error)
    assert config["peft_type"] in TYPES
    assert config.get("megatron_core") in (None, False, "megatron.core", {}, [])
    others = {key: config[key] for key in config if key not in FIELDS | {"megatron_core", "auto_mapping"}}
    assert not any(others.values()), others
    return None


RULES = {
    "added_tokens": [{"id": 3, "content": "<s>", "special": True, "normalized": False, "lstrip": False}],
    "normalizer": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"},
            {"type": "Replace", "pattern": {"Regex": "b+"}, "content": "c"},
            {"type": "Lowercase"},
        ],
    },
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}]},
    "post_processor": None,
    "decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}]},
    "model": {"type": "WordLevel", "vocab": {"a": 0, "aa": 1, "u": 2}, "unk_token": "u"},
}
PLAIN = "a banana and a Grass, " * 10


def fuzz_tokenizer(data: bytes) -> None:
    """Rules are refused in one line, or lengthen no text beyond the limit; a library's own refusal is one, too."""
    from tokenizers import Tokenizer

    (HERE.path / "tokenizer.json").write_bytes(_content(data, RULES))
    try:
        rules = ModelFiles("x", str(HERE.path)).json("tokenizer.json")
        check_rules(rules, "tokenizer.json", "x")
    except ModelError as error:
        return one_line(error)
    try:
        tokenizer = Tokenizer.from_str(json.dumps(rules | {"version": "1.0"}))
        tokens = tokenizer.encode(PLAIN)
    except Exception:
        return None
    assert len(tokens.ids) < 1000 * len(PLAIN)
    assert all(0 <= id <= 2**24 for id in tokens.ids)
    return None


GENERATION = {
    "eos_token_id": [1, 2],
    "pad_token_id": 0,
    "max_length": 20,
    "temperature": 0.7,
    "do_sample": False,
    "suppress_tokens": [5],
    "bad_words_ids": [[5]],
    "repetition_penalty": 1.1,
    "stop_strings": ["x"],
}


def fuzz_generation(data: bytes) -> None:
    """A generation config is refused in one line, or its ids are ids and its numbers numbers."""
    (HERE.path / "generation_config.json").write_bytes(_content(data, GENERATION))
    try:
        config = ModelFiles("x", str(HERE.path)).json("generation_config.json")
        check_generation(config, "x")
    except ModelError as error:
        return one_line(error)
    ids = config.get("eos_token_id")
    assert all(type(id) is int for id in (ids if isinstance(ids, list) else [ids]) if id is not None)
    assert config.get("repetition_penalty") is None or config["repetition_penalty"] > 0
    assert isinstance(config.get("temperature"), int | float | None)
    return None


class FakeTokenizer:
    """A tokenizer with a chat template, which it renders in Jinja's sandbox as transformers does."""

    def __init__(self, chat_template: str) -> None:
        self.chat_template = chat_template

    def apply_chat_template(self, turns: Any, tokenize: bool, add_generation_prompt: bool, **more: Any) -> str:
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        template = environment.from_string(self.chat_template)
        return template.render(messages=turns, add_generation_prompt=add_generation_prompt, bos_token="<s>")


TEMPLATE_PARTS = (
    "{{ ", " }}", "{% ", " %}", "for m in messages", "endfor", "if ", "else", "endif", "m.content", "messages",
    "range(99999)", "range(9)", "'a' * 99999", " * ", "x", "macro f(n)", "endmacro", "f(1)", "|join", "set x = ",
    "|tojson", "|center(99999999)", "loop.index", "bos_token", ".__class__", ".__init__.__globals__", "[0]", "['role']",
    "|length", "|list", " + ", " ~ ", "not ", "namespace(a=1)", ".append(1)", "|replace('a', 'aa')", "{# ", " #}", "\n",
    "- %}", "{%- ", "**", "9", "is defined", "|sum", "|batch(2)", "|trim", "|upper", "in ", "(", ")", "{", "}",
)  # fmt: skip


def fuzz_chat(data: bytes) -> None:
    """A chat template makes a text of bounded length in bounded time, or is refused in one line."""
    template = "".join(
        chr(byte) if byte < 128 else TEMPLATE_PARTS[(byte - 128) % len(TEMPLATE_PARTS)] for byte in data[:400]
    )
    try:
        with patch.object(limits, "LONGEST_S", 0.3):
            renderer = PromptRenderer(Prompting(chat="auto"), FakeTokenizer(template))
            prompt = renderer.query("x", Item(question="What is 2 + 2?", answer="4", id="a"), Generation()).prompt
    except PromptError as error:
        return one_line(error)
    assert len(prompt) <= limits.LONGEST_TEXT
    return None


TASK = {
    "task": "mine",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "test.jsonl"}},
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "metric_list": [{"metric": "exact_match"}],
    "include": None,
    "generation_kwargs": {"until": ["x"], "max_gen_toks": 9},
}


def fuzz_tasks(data: bytes) -> None:
    """A task file is refused in one line, or has keys of the list alone and names no code."""
    import yaml

    path = HERE.path / "task.yaml"
    path.write_bytes(_content(data, TASK))
    try:
        with patch.object(lm_eval_files, "_metrics", lambda: ("exact_match",)):
            check_task_file(path, "lm-eval:task.yaml")
    except DatasetError as error:
        return one_line(error, "lm-eval:task.yaml")
    task = yaml.safe_load(path.read_bytes())
    assert {key for key, value in task.items() if value is not None} <= lm_eval_files.KEYS
    assert task.get("dataset_path") in (None, *lm_eval_files.MODULES) or "/" not in task["dataset_path"][:1]
    return None


TARGETS: dict[str, Callable[[bytes], None]] = {
    "items": fuzz_items,
    "judge": fuzz_judge,
    "heads": fuzz_heads,
    "options": fuzz_options,
    "prompts": fuzz_prompts,
    "run": fuzz_run,
    "store": fuzz_store,
    "adapter": fuzz_adapter,
    "tokenizer": fuzz_tokenizer,
    "generation": fuzz_generation,
    "chat": fuzz_chat,
    "tasks": fuzz_tasks,
}

SHARES = {"items": 17, "judge": 25, "heads": 13, "options": 5, "prompts": 8, "run": 4, "store": 3}
SHARES |= dict.fromkeys(("adapter", "tokenizer", "generation", "chat", "tasks"), 5)
"""Each target's share of the inputs; ``run`` and ``store`` write files, which takes longer."""

SEEDS: dict[str, tuple[bytes, ...]] = {
    "items": (
        b'{"question": "What is 2 + 2?", "answer": "4"}\n{"id": "a/b", "question": "Why?", "answer": 8.50}\n',
        b'\xef\xbb\xbf{"question": "Q", "answer": "So\\n#### 1,200", "kind": "number", "operands": [1, "2"]}\r\n',
    ),
    "judge": (b"\x00 6\n\nThe answer is: 6", b"\x04 10 - 4 = 5 dollars", b"\x01Max is not an animal.", b"\x42\x80\x93"),
    "heads": (b"L0H1,L1,L3-L4", b"l0h1+L1, L1H2"),
    "options": (b"zero,mean", b"2/8", b"1.5GiB", b"gsm8k=a.jsonl"),
    "prompts": (b"What?\x01 8\nQuestion: next\x02Question:\x02\n\n",),
    "run": (b"\x02\x00\x00\x00", b"\x03\x01\x01\x01", b"\x00{}", b"\x01{}"),
    "store": (b"\x01\x00\x00\x00", b"\x00SQLite format 3\x00"),
    "adapter": (
        b"\x01",
        b"\x01\x05\x00\x08",
        b'\x00{"peft_type": "LORA", "megatron_core": "os"}',
        b"\x00" + b"[" * 900,
    ),
    "tokenizer": (b"\x01", b"\x01\x02\x00\x08", b'\x00{"normalizer": {"type": "Replace"}}', b"\x00" + b'{"a":' * 70),
    "generation": (b"\x01", b"\x01\x02\x00\x08", b'\x00{"eos_token_id": "x"}', b"\x00[1]"),
    "chat": (b"\x80\x89\x81", b"\x82\x84\x83\x80\x89\x81\x82\x85\x83", b"{{ messages[0]['content'] }}"),
    "tasks": (b"\x01", b"\x01\x02\x00\x08", b"\x00task: x\nprocess_docs: !function a.b\n", b"\x00a: &a [*a]"),
}


# -- the long form ----------------------------------------------------------------------------------------------------


def fuzz(name: str, options: argparse.Namespace) -> None:
    """Run ``options.inputs`` inputs on one target under atheris, which ends this process."""
    import atheris

    target = TARGETS[name]
    worst = [0.0]

    def timed(data: bytes) -> None:
        started = time.thread_time()
        target(data)
        seconds = time.thread_time() - started
        worst[0] = max(worst[0], seconds)
        assert seconds < SLOW_S, f"{len(data)} bytes took {seconds:.1f} s"

    corpus = options.corpus / name if options.corpus else Path(tempfile.mkdtemp(prefix=f"corpus-{name}-"))
    corpus.mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(SEEDS[name]):
        (corpus / str(index)).write_bytes(data)
    flags = [
        f"-runs={options.inputs}",
        "-max_len=4096",
        f"-seed={options.seed}",
        "-timeout=20",
        "-verbosity=0",
        "-print_final_stats=1",
        *([f"-max_total_time={options.seconds}"] if options.seconds else []),
        *(["-len_control=0"] if options.long else []),
    ]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], timed)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--inputs", type=int, default=10_000, help="inputs of all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, help="time limit of each target; with --corpus a later call continues")
    parser.add_argument(
        "--long", action="store_true", help="inputs of up to 4 kB from the start, not only after short ones"
    )
    parser.add_argument("--corpus", type=Path, help="a folder for the inputs that reached new code, to continue from")
    parser.add_argument(IN_PROCESS, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    if options.in_process:
        fuzz(names[0], options)
    broken = 0
    for name in names:
        started = time.perf_counter()
        inputs = options.inputs * SHARES[name] // sum(SHARES[each] for each in names)
        command = [
            sys.executable,
            "-m",
            "tests.robustness.fuzz_targets",
            name,
            IN_PROCESS,
            f"--inputs={inputs}",
            f"--seed={options.seed}",
        ]
        command += [f"--seconds={options.seconds}"] if options.seconds else []
        command += [f"--corpus={options.corpus}"] if options.corpus else []
        command += ["--long"] if options.long else []
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
        lines = (done.stdout + done.stderr).splitlines()
        count = next((line.split()[-1] for line in lines if "number_of_executed_units" in line), "?")
        verdict = "BROKEN" if done.returncode else "held"
        print(f"{name:8} {count:>9} inputs, {time.perf_counter() - started:6.0f} s: {verdict}", flush=True)
        if done.returncode:
            broken += 1
            print("\n".join(lines[-40:]), flush=True)
    return broken


if __name__ == "__main__":
    sys.exit(main())
