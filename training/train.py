"""Train the bundled model: ``python -m training.train``.

Seeded, on two threads of a CPU. The measured accuracies and the effect of each head go to ``measured.json`` in the
model's folder and to ``MODEL_CARD.md`` beside that folder. ``--out`` writes elsewhere; with ``--work`` an interrupted
run goes on where its last checkpoint was made.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel

from reasoning_probe.data.generators import NAMES
from reasoning_probe.data.prompts.prompting import PLAIN
from reasoning_probe.models import bundled
from training import corpus, measure, tokenizer

IGNORED = -100  # the label of tokens that carry no loss, as in cross_entropy
REPORT_EVERY = 500  # steps


@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on, beside the corpus."""

    seed: int = 0
    steps: int = 2_400
    learning_rate: float = 2e-3
    warm_up: int = 100
    weight_decay: float = 0.1
    vocabulary: int = 1024  # at most; the corpus has merges for fewer
    context: int = 512
    width: int = 128
    layers: int = 4
    heads: int = 4
    match_std: float = 0.1
    sparing_steps: int = 900
    sparing_rate: float = 1e-3
    spared: float = 0.6
    core: tuple[tuple[int, int], ...] = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 3), (2, 1), (2, 2), (3, 1))


@dataclass(frozen=True)
class Share:
    """What one kind of example has of the training: rows in a step, weight of its loss, every how many steps.

    ``prompt`` is the weight of the loss on the prompt's own tokens, beside the answer's. To foretell the words of a
    logic question the model must learn to match them with those of the premises, which the answers alone teach slowly.
    """

    rows: int
    weight: float
    every: int = 1
    prompt: float = 0.0


# From which step on, what is trained. Words come first: the many sums would drown what teaches the model to match them.
PHASES = (
    (0, {"logic": Share(48, 1.0, prompt=0.1), "premises": Share(24, 1.0)}),
    (
        400,
        {
            "arithmetic": Share(112, 1.0),
            "logic": Share(32, 1.0, prompt=0.1),
            "stories": Share(16, 0.6, prompt=0.1),
            "long": Share(4, 0.1, every=8),
        },
    ),
    (
        1_500,
        {
            "arithmetic": Share(96, 1.0),
            "logic": Share(16, 0.5, prompt=0.1),
            "stories": Share(48, 1.0, prompt=0.1),
            "long": Share(4, 0.1, every=8),
        },
    ),
)


SPARING = {
    "arithmetic": Share(96, 1.0),
    "logic": Share(20, 1.0, prompt=0.1),
    "stories": Share(40, 1.0, prompt=0.1),
    "long": Share(4, 0.1, every=8),
}
"""The last phase, after ``steps``: in each step every head outside ``core`` is off with probability ``spared``."""


class Sparing:
    """Dropout of whole heads: the model learns to do without those outside the core, as larger models can by nature."""

    def __init__(self, recipe: Recipe, model: Any) -> None:
        self.recipe = recipe
        self.chance = torch.full((recipe.layers, recipe.heads), recipe.spared)
        for layer, head in recipe.core:
            self.chance[layer, head] = 0.0
        self.on = torch.ones(recipe.layers, recipe.heads)
        for layer, block in enumerate(model.transformer.h):
            block.attn.c_proj.register_forward_pre_hook(self._hook(layer))

    def draw(self, step: int, generator: torch.Generator) -> None:
        """Choose the heads that are on in *step* of the phase; the chance grows over its first half."""
        grown = min(1.0, 2 * step / self.recipe.sparing_steps)
        self.on = (torch.rand(self.chance.shape, generator=generator) >= grown * self.chance).float()

    def _hook(self, layer: int) -> Any:
        def drop(module: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor] | None:
            if not module.training:
                return None
            split = args[0].view(*args[0].shape[:2], self.recipe.heads, -1)  # (rows, tokens, heads, head_dim)
            return ((split * self.on[layer, :, None]).view(args[0].shape),)

        return drop


@dataclass(frozen=True)
class Rows:
    """The encoded examples of one kind, right-padded."""

    tokens: torch.Tensor  # (rows, longest)
    labels: torch.Tensor  # (rows, longest): the next token, IGNORED in the padding
    answer_from: torch.Tensor  # (rows,): where the answer's first token is the next one
    lengths: torch.Tensor  # (rows,)
    weights: torch.Tensor  # (rows,)

    def draw(self, n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the tokens, the answers' labels and the prompts' labels of *n* rows drawn by weight."""
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        longest = int(self.lengths[chosen].max())
        labels = self.labels[chosen, :longest].long()
        in_answer = torch.arange(longest) >= self.answer_from[chosen, None]
        answers, prompts = labels.masked_fill(~in_answer, IGNORED), labels.masked_fill(in_answer, IGNORED)
        return self.tokens[chosen, :longest].long(), answers, prompts


def encode(examples: tuple[corpus.Example, ...], coder: Any) -> Rows:
    """Return *examples* as rows: prompt, answer and end token."""
    prompts = coder([PLAIN.format(question=example.question) for example in examples])["input_ids"]
    answers = coder([f" {example.answer}{tokenizer.END}" for example in examples])["input_ids"]
    lengths = torch.tensor([len(p) + len(a) - 1 for p, a in zip(prompts, answers, strict=True)])
    tokens = torch.full((len(examples), int(lengths.max())), coder.pad_token_id, dtype=torch.int16)
    labels = torch.full_like(tokens, IGNORED)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        whole = torch.tensor(prompt + answer, dtype=torch.int16)
        tokens[row, : len(whole) - 1] = whole[:-1]
        labels[row, : len(whole) - 1] = whole[1:]
    weights = torch.tensor([example.weight for example in examples], dtype=torch.float64)
    answer_from = torch.tensor([len(prompt) - 1 for prompt in prompts])
    return Rows(tokens, labels, answer_from, lengths, weights / weights.sum())


def losses(
    model: Any, tokens: torch.Tensor, answers: torch.Tensor, prompts: torch.Tensor, prompt: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean loss over the answers' tokens, and that with *prompt* times the one over the prompts' added."""
    hidden = model.transformer(tokens, use_cache=False).last_hidden_state  # (rows, tokens, width)

    def mean(labels: torch.Tensor) -> torch.Tensor:
        asked = labels != IGNORED  # only these pass through the vocabulary projection
        return cross_entropy(model.lm_head(hidden[asked]), labels[asked])

    answer = mean(answers)
    return answer, answer + prompt * mean(prompts) if prompt else answer


def build(recipe: Recipe, coder: Any) -> Any:
    """Return the untrained model."""
    config = GPT2Config(
        vocab_size=len(coder),
        n_positions=recipe.context,
        n_embd=recipe.width,
        n_layer=recipe.layers,
        n_head=recipe.heads,
        activation_function="gelu_pytorch_tanh",  # GPT-2's own, in one kernel
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=coder.eos_token_id,
        eos_token_id=coder.eos_token_id,
        pad_token_id=coder.pad_token_id,
    )
    model = GPT2LMHeadModel(config)
    for block in model.transformer.h:
        match_words(block.attn.c_attn.weight, recipe)
    return model


def match_words(weight: torch.Tensor, recipe: Recipe) -> None:
    """Let half of a layer's heads begin by looking at the same word elsewhere: their keys start equal to their queries.

    From a usual start, where queries and keys have nothing in common, logic stays for thousands of steps at what can be
    guessed without telling names and classes apart. *weight* is that of queries, keys and values (width, 3 * width).
    """
    half = recipe.heads // 2 * (recipe.width // recipe.heads)
    with torch.no_grad():
        weight[:, :half].normal_(std=recipe.match_std)
        weight[:, recipe.width : recipe.width + half] = weight[:, :half]


def rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate of *step*: in either part a linear warm-up, then half a cosine down to a hundredth."""
    peak, steps, warm_up = recipe.learning_rate, recipe.steps, recipe.warm_up
    if step >= recipe.steps:
        peak, steps, step = recipe.sparing_rate, recipe.sparing_steps, step - recipe.steps
    if step < warm_up:
        return peak * (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


def optimizers_of(recipe: Recipe, model: Any) -> tuple[torch.optim.Optimizer, ...]:
    """Return Muon for the matrices of the layers (it needs half the steps that AdamW does), AdamW for the rest."""
    matrices = {name for name, p in model.named_parameters() if p.dim() == 2 and ".h." in name}
    hidden = [p for name, p in model.named_parameters() if name in matrices]
    others = [p for name, p in model.named_parameters() if name not in matrices]
    return (
        torch.optim.Muon(hidden, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, weight_decay=0.01, betas=(0.9, 0.98)),
    )


def prepare(recipe: Recipe) -> tuple[Any, dict[str, Rows]]:
    """Return the tokenizer and the encoded training data by kind, of which nothing is reserved."""
    data = corpus.examples(recipe.seed)
    reserved = {item.question for item in corpus.reserved()}
    assert not any(example.question in reserved for examples in data.values() for example in examples)
    coder = tokenizer.train(
        # The single premises are left out: their words are logic's.
        (
            PLAIN.format(question=example.question) + f" {example.answer}"
            for kind, examples in data.items()
            if kind != "premises"
            for example in examples[:20_000]
        ),
        recipe.vocabulary,
        recipe.context,
    )
    return coder, {kind: encode(examples, coder) for kind, examples in data.items()}


def train(recipe: Recipe, work: Path | None = None) -> tuple[Any, Any, float]:
    """Return the trained model, its tokenizer and the seconds it took; checkpoints in *work* are taken up again."""
    torch.manual_seed(recipe.seed)
    coder, rows = prepare(recipe)
    model = build(recipe, coder).train()
    sparing = Sparing(recipe, model)
    optimizers = optimizers_of(recipe, model)
    generator = torch.Generator().manual_seed(recipe.seed)
    first, spent = (0, 0.0) if work is None else restore(work, model, optimizers, generator)
    began = time.monotonic() - spent
    running: dict[str, float] = {}  # the answers' loss by kind, smoothed
    for step in range(first, recipe.steps + recipe.sparing_steps):
        mix = [kinds for start, kinds in (*PHASES, (recipe.steps, SPARING)) if start <= step][-1]
        if step >= recipe.steps:
            sparing.draw(step - recipe.steps, generator)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = rate(recipe, step)
        for kind, share in mix.items():
            if step % share.every == 0:
                answer, loss = losses(model, *rows[kind].draw(share.rows, generator), share.prompt)
                torch.autograd.backward(share.weight * loss)
                running[kind] = 0.98 * running.get(kind, answer.item()) + 0.02 * answer.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        done = step + 1
        if done % REPORT_EVERY == 0:
            seconds = time.monotonic() - began
            print(f"step {done}, {seconds:.0f} s, loss {_line(running)}, {_line(validate(model, coder))}", flush=True)
            if work is not None:
                keep(work, model, optimizers, generator, done, seconds)
    return model.eval(), coder, time.monotonic() - began


def keep(
    work: Path,
    model: Any,
    optimizers: tuple[torch.optim.Optimizer, ...],
    generator: torch.Generator,
    step: int,
    seconds: float,
) -> None:
    """Write a checkpoint, from which the run goes on as if it had not been interrupted."""
    state = {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "generator": generator.get_state(),
        "step": step,
        "seconds": seconds,
    }
    torch.save(state, work / "unfinished.pt")
    (work / "unfinished.pt").replace(work / "checkpoint.pt")


def restore(
    work: Path, model: Any, optimizers: tuple[torch.optim.Optimizer, ...], generator: torch.Generator
) -> tuple[int, float]:
    """Take up the checkpoint in *work*, if there is one; return the steps done and the seconds they took."""
    if not (work / "checkpoint.pt").is_file():
        return 0, 0.0
    state = torch.load(work / "checkpoint.pt", weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, its in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(its)
    generator.set_state(state["generator"])
    return state["step"], state["seconds"]


def validate(model: Any, coder: Any) -> dict[str, float]:
    """Return the accuracy on the validation items of each generated dataset."""
    model.eval()
    accuracy = {name: measure.accuracy(model, coder, measure.validation(name)) for name in NAMES}
    model.train()
    return accuracy


def _line(numbers: dict[str, float]) -> str:
    return " ".join(f"{name} {number:.3f}" for name, number in numbers.items())


def main() -> None:
    """Train, measure and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=bundled.path(), help="folder of the model (default: the package's)")
    parser.add_argument("--work", type=Path, help="folder for checkpoints (default: none are made)")
    parser.add_argument(
        "--steps", type=int, default=Recipe.steps, help="steps before the sparing ones (default: %(default)s)"
    )
    options = parser.parse_args()
    torch.set_num_threads(2)
    if options.work is not None:
        options.work.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(steps=options.steps)
    model, coder, seconds = train(recipe, options.work)
    model.save_pretrained(options.out)
    tokenizer.save(coder, options.out)
    steps = recipe.steps + recipe.sparing_steps
    measure.write(measure.measure(model, coder, steps, seconds / 60), options.out)


if __name__ == "__main__":
    main()
