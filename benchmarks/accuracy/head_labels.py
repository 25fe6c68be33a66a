"""How often labels of heads are right: on planted heads, and on random models, whose heads have no role.

    python -m benchmarks.accuracy.head_labels --seeds 20 --models 1000

The first lines count the seeds on which each planted head has its label. The last ones count the labels of heads of
random models, GPT-2 and Llama in turn: a score has a label where it reaches 0.5 and exceeds 99 % of the scores of heads
with permuted query and key weights, so that of each score at most 1 % of the heads should have one.
"""

from __future__ import annotations

import argparse
from collections import Counter

from reasoning_probe.analyses.head_scores import ScoredHeads, repeated_tokens, score_heads
from reasoning_probe.models.heads import find_heads
from tests.helpers.model_families import build
from tests.helpers.planted_heads import ASKING, DECIDING, PLACES, ROLES, VOCABULARY, planted_heads, prompts

HEADS = [(layer, head) for layer in range(3) for head in range(4)]


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--models", type=int, default=1000)
    arguments = parser.parse_args()
    labelled: Counter[str] = Counter()
    others = 0
    for seed in range(arguments.seeds):
        result = _scored(planted_heads(seed), seed)
        for role, head in ROLES.items():
            labelled[role] += role in (result.labels(DECIDING if role == "deciding" else ASKING, head) or ())
        free = [head for head in HEADS if head not in ROLES.values()]
        others += sum(bool(result.labels(name, head)) for name in (ASKING, DECIDING) for head in free)
    for role in ROLES if arguments.seeds else ():
        print(f"planted {role}: labelled on {labelled[role]} of {arguments.seeds} seeds")
    print(f"planted models' heads without a role: {others} labels")
    labels: Counter[str] = Counter()
    scores: Counter[str] = Counter()
    for seed in range(arguments.models):
        family = ("gpt2", "llama")[seed % 2]
        model = build(family, seed, vocab_size=VOCABULARY, max_position_embeddings=PLACES)
        result = _scored(model, seed)
        for name in (ASKING, DECIDING):
            for head in HEADS:
                scores.update(result.of_head(name, head).keys())
                labels.update(result.labels(name, head) or ())
    for name, count in scores.items():
        print(f"random models, {name}: {labels[name]} labels of {count} ({100 * labels[name] / count:.2f} %)")


def _scored(model: object, seed: int) -> ScoredHeads:
    tokens = repeated_tokens(VOCABULARY, seed, context=PLACES)
    return score_heads(model, find_heads(model), tokens, prompts(seed=seed), seed)


if __name__ == "__main__":
    main()
