"""Train the bundled model: ``python -m training.train``.

The run is seeded and takes two threads of a CPU. The measured accuracies and the effect of each head go to
``measured.json`` in the model's folder and to ``MODEL_CARD.md`` beside that folder. ``--out`` names another folder.
With ``--work`` an interrupted run continues from its last checkpoint.
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
from training import corpus, measure
from training.tokenizer import END, save_tokenizer, train_tokenizer

IGNORED = -100  # the label of tokens that carry no loss, as in cross_entropy
REPORT_EVERY = 500  # steps


@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on besides the corpus."""

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
    dropout_steps: int = 900
    dropout_learning_rate: float = 1e-3
    dropout: float = 0.6
    core: tuple[tuple[int, int], ...] = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 3), (2, 1), (2, 2), (3, 1))


@dataclass(frozen=True)
class Share:
    """The share of one kind of example in the training: its rows in a step, the weight of its loss, and its interval.

    It is trained on in one of ``every`` steps. ``prompt`` is the weight of the loss on the prompt's tokens relative to
    that on the answer's. To predict the words of a logic question, the model must learn to match them with those of
    the premises, which it learns slowly from the answers alone.
    """

    rows: int
    weight: float
    every: int = 1
    prompt: float = 0.0


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
"""The first step of each phase, and what is trained in it.

Matching words comes first, because the many sums would outweigh the examples that teach it.
"""

DROPOUT_PHASE = {
    "arithmetic": Share(96, 1.0),
    "logic": Share(20, 1.0, prompt=0.1),
    "stories": Share(40, 1.0, prompt=0.1),
    "long": Share(4, 0.1, every=8),
}
"""The last phase, after ``steps``, in which every head outside ``core`` is off with probability ``dropout``."""


class HeadDropout:
    """Dropout of whole heads, so that the model does without the heads outside the core, as larger models can."""

    def __init__(self, recipe: Recipe, model: Any) -> None:
        self.recipe = recipe
        self.probability = torch.full((recipe.layers, recipe.heads), recipe.dropout)  # (layers, heads)
        for layer, head in recipe.core:
            self.probability[layer, head] = 0.0
        self.on = torch.ones(recipe.layers, recipe.heads)  # (layers, heads)
        for layer, block in enumerate(model.transformer.h):
            block.attn.c_proj.register_forward_pre_hook(self._hook(layer))

    def draw(self, step: int, generator: torch.Generator) -> None:
        """Draw the heads that are on in *step* of the phase, in whose first half the probability of dropout grows."""
        growth = min(1.0, 2 * step / self.recipe.dropout_steps)
        self.on = (torch.rand(self.probability.shape, generator=generator) >= growth * self.probability).float()

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
    answer_from: torch.Tensor  # (rows,): the position of which the next token is the first of the answer
    lengths: torch.Tensor  # (rows,)
    weights: torch.Tensor  # (rows,)

    def draw(self, n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the tokens, the answers' labels and the prompts' labels of *n* rows drawn by weight."""
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)  # (n,)
        longest = int(self.lengths[chosen].max())
        labels = self.labels[chosen, :longest].long()  # (n, longest)
        in_answer = torch.arange(longest) >= self.answer_from[chosen, None]  # (n, longest)
        answers, prompts = labels.masked_fill(~in_answer, IGNORED), labels.masked_fill(in_answer, IGNORED)
        return self.tokens[chosen, :longest].long(), answers, prompts


def encode(examples: tuple[corpus.Example, ...], tokenizer: Any) -> Rows:
    """Return *examples* as rows of prompt, answer and end token."""
    prompts = tokenizer([PLAIN.format(question=example.question) for example in examples])["input_ids"]
    answers = tokenizer([f" {example.answer}{END}" for example in examples])["input_ids"]
    lengths = torch.tensor([len(p) + len(a) - 1 for p, a in zip(prompts, answers, strict=True)])
    tokens = torch.full((len(examples), int(lengths.max())), tokenizer.pad_token_id, dtype=torch.int16)
    labels = torch.full_like(tokens, IGNORED)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        ids = torch.tensor(prompt + answer, dtype=torch.int16)
        tokens[row, : len(ids) - 1] = ids[:-1]
        labels[row, : len(ids) - 1] = ids[1:]
    weights = torch.tensor([example.weight for example in examples], dtype=torch.float64)
    answer_from = torch.tensor([len(prompt) - 1 for prompt in prompts])
    return Rows(tokens, labels, answer_from, lengths, weights / weights.sum())


def losses(
    model: Any, tokens: torch.Tensor, answers: torch.Tensor, prompts: torch.Tensor, prompt: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean loss over the answers' tokens, and its sum with *prompt* times the mean over the prompts'."""
    hidden = model.transformer(tokens, use_cache=False).last_hidden_state  # (rows, tokens, width)

    def mean(labels: torch.Tensor) -> torch.Tensor:
        labelled = labels != IGNORED  # only these pass through the vocabulary projection
        return cross_entropy(model.lm_head(hidden[labelled]), labels[labelled])

    answer = mean(answers)
    return answer, answer + prompt * mean(prompts) if prompt else answer


def build(recipe: Recipe, tokenizer: Any) -> Any:
    """Return the untrained model."""
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=recipe.context,
        n_embd=recipe.width,
        n_layer=recipe.layers,
        n_head=recipe.heads,
        activation_function="gelu_pytorch_tanh",  # GPT-2's own, in one kernel
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = GPT2LMHeadModel(config)
    for block in model.transformer.h:
        match_words(block.attn.c_attn.weight, recipe)
    return model


def match_words(weight: torch.Tensor, recipe: Recipe) -> None:
    """Start half of a layer's heads with keys equal to their queries, so that they attend to the same word elsewhere.

    From a usual start with independent queries and keys, the accuracy on logic stays for thousands of steps at what can
    be guessed without telling names and classes apart. *weight* is the one of queries, keys and values,
    ``(width, 3 * width)``.
    """
    half = recipe.heads // 2 * (recipe.width // recipe.heads)
    with torch.no_grad():
        weight[:, :half].normal_(std=recipe.match_std)
        weight[:, recipe.width : recipe.width + half] = weight[:, :half]


def rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate of *step*: in both parts a linear warm-up, then half a cosine down to a hundredth."""
    peak, steps, warm_up = recipe.learning_rate, recipe.steps, recipe.warm_up
    if step >= recipe.steps:
        peak, steps, step = recipe.dropout_learning_rate, recipe.dropout_steps, step - recipe.steps
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)


def optimizers_of(recipe: Recipe, model: Any) -> tuple[torch.optim.Optimizer, ...]:
    """Return Muon for the layers' matrices, where it needs half as many steps as AdamW, and AdamW for the rest."""
    matrices = {name for name, p in model.named_parameters() if p.dim() == 2 and ".h." in name}
    hidden = [p for name, p in model.named_parameters() if name in matrices]
    others = [p for name, p in model.named_parameters() if name not in matrices]
    return (
        torch.optim.Muon(hidden, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, weight_decay=0.01, betas=(0.9, 0.98)),
    )


def prepare(recipe: Recipe) -> tuple[Any, dict[str, Rows]]:
    """Return the tokenizer and the encoded training data by kind, without any reserved question."""
    data = corpus.examples(recipe.seed)
    reserved = {item.question for item in corpus.reserved()}
    assert not any(example.question in reserved for examples in data.values() for example in examples)
    tokenizer = train_tokenizer(
        # The single premises are left out, because their words are those of logic.
        (
            PLAIN.format(question=example.question) + f" {example.answer}"
            for kind, examples in data.items()
            if kind != "premises"
            for example in examples[:20_000]
        ),
        recipe.vocabulary,
        recipe.context,
    )
    return tokenizer, {kind: encode(examples, tokenizer) for kind, examples in data.items()}


def train(recipe: Recipe, work: Path | None = None) -> tuple[Any, Any, float]:
    """Return the trained model, its tokenizer and the seconds it took; a checkpoint in *work* is resumed."""
    torch.manual_seed(recipe.seed)
    tokenizer, rows = prepare(recipe)
    model = build(recipe, tokenizer).train()
    dropout = HeadDropout(recipe, model)
    optimizers = optimizers_of(recipe, model)
    generator = torch.Generator().manual_seed(recipe.seed)
    first, spent = (0, 0.0) if work is None else restore_checkpoint(work, model, optimizers, generator)
    started = time.monotonic() - spent
    smoothed: dict[str, float] = {}  # the answers' loss by kind, as a moving average
    for step in range(first, recipe.steps + recipe.dropout_steps):
        shares = [kinds for start, kinds in (*PHASES, (recipe.steps, DROPOUT_PHASE)) if start <= step][-1]
        if step >= recipe.steps:
            dropout.draw(step - recipe.steps, generator)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = rate(recipe, step)
        for kind, share in shares.items():
            if step % share.every == 0:
                answer, loss = losses(model, *rows[kind].draw(share.rows, generator), share.prompt)
                torch.autograd.backward(share.weight * loss)
                smoothed[kind] = 0.98 * smoothed.get(kind, answer.item()) + 0.02 * answer.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        done = step + 1
        if done % REPORT_EVERY == 0:
            seconds = time.monotonic() - started
            print(
                f"step {done}, {seconds:.0f} s, loss {_line(smoothed)}, {_line(validate(model, tokenizer))}", flush=True
            )
            if work is not None:
                save_checkpoint(work, model, optimizers, generator, done, seconds)
    return model.eval(), tokenizer, time.monotonic() - started


def save_checkpoint(
    work: Path,
    model: Any,
    optimizers: tuple[torch.optim.Optimizer, ...],
    generator: torch.Generator,
    step: int,
    seconds: float,
) -> None:
    """Write a checkpoint from which a run continues as if it had not been interrupted."""
    state = {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "generator": generator.get_state(),
        "step": step,
        "seconds": seconds,
    }
    torch.save(state, work / "unfinished.pt")
    (work / "unfinished.pt").replace(work / "checkpoint.pt")


def restore_checkpoint(
    work: Path, model: Any, optimizers: tuple[torch.optim.Optimizer, ...], generator: torch.Generator
) -> tuple[int, float]:
    """Load the checkpoint in *work*, if there is one; return the number of steps done and the seconds they took."""
    if not (work / "checkpoint.pt").is_file():
        return 0, 0.0
    state = torch.load(work / "checkpoint.pt", weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, optimizer_state in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(optimizer_state)
    generator.set_state(state["generator"])
    return state["step"], state["seconds"]


def validate(model: Any, tokenizer: Any) -> dict[str, float]:
    """Return the accuracy on the validation items of each generated dataset."""
    model.eval()
    accuracy = {name: measure.accuracy(model, tokenizer, measure.validation(name)) for name in NAMES}
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
        "--steps", type=int, default=Recipe.steps, help="steps before the head dropout (default: %(default)s)"
    )
    options = parser.parse_args()
    torch.set_num_threads(2)
    if options.work is not None:
        options.work.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(steps=options.steps)
    model, tokenizer, seconds = train(recipe, options.work)
    model.save_pretrained(options.out)
    save_tokenizer(tokenizer, options.out)
    steps = recipe.steps + recipe.dropout_steps
    measure.write(measure.measure(model, tokenizer, steps, seconds / 60), options.out)


if __name__ == "__main__":
    main()
