"""Carries what was measured on to a model that fits no machine here: time, memory, cost of a 70B sweep, by arithmetic.

    python -m benchmarks.speed.extrapolate_70b --chunk-ms 5 --row-ms 0.1

Every assumption is a field of :class:`Assumptions`; the tables are those of ``docs/how-to/clusters.md``. No figure
printed here was measured on such a model.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

HOUR = 3600.0


@dataclass(frozen=True)
class Assumptions:
    """A model of Llama 3 70B's shape, GSM8K's test split, H200 GPUs."""

    parameters: float = 70.6e9
    layers: int = 80
    heads: int = 64  # of a layer
    key_value_heads: int = 8
    head_dim: int = 128
    hidden: int = 8192
    vocabulary: int = 128_256
    weight_bytes: int = 2
    items: int = 1319
    prompt: float = 70.0  # tokens; GSM8K's questions have 67 by SmolLM2's tokenizer
    answer: float = 150.0  # tokens; GSM8K's own solutions have 95
    limit: int = 256
    longest_prompt: int = 200
    leaving: float = 0.5  # share of rows that leave the baseline; SmolLM2: 0.48 within 32 tokens
    left_at: float = 0.5  # of the answer, where they do so on average
    flops: float = 989e12  # of a GPU, dense bfloat16
    bandwidth: float = 4.8e12  # bytes a second of a GPU's memory
    verifying: float = 0.40  # share of the peak that passes over many tokens reach
    decoding: float = 0.15  # and that steps of some hundred rows reach
    gpu_bytes: float = 141e9
    gpus: int = 2  # of a replica, which device_map makes take turns
    dollars: float = 3.5  # a GPU and hour
    chunk_rows: int = 256
    screened: int = 100  # heads that are measured after screening, and half as many of the others
    screening_items: int = 200
    outcome_bytes: float = 484.0  # in the store, measured with responses of 400 characters
    object_bytes: float = 1500.0  # in the driver's memory: 840 measured for the outcome, the rest for its case

    @property
    def all_heads(self) -> int:
        """Heads of the model."""
        return self.layers * self.heads

    @property
    def case_flop(self) -> tuple[float, float]:
        """Operations of a case on average: of its verification, and of its decoding.

        A target starts in its own layer: half of the layers on average. A row that has left takes whole steps.
        """
        verify = 2 * self.parameters * 0.5 * (self.prompt + self.answer)
        return verify, self.leaving * (1 - self.left_at) * self.answer * 2 * self.parameters

    @property
    def case_s(self) -> float:
        """Seconds of a case on one replica: its GPUs take turns, so it computes like one GPU."""
        verify, decode = self.case_flop
        return verify / (self.verifying * self.flops) + decode / (self.decoding * self.flops)

    @property
    def step_s(self) -> float:
        """Seconds of one token for one row: all weights are read once."""
        return self.parameters * self.weight_bytes / self.bandwidth

    @property
    def baseline_s(self) -> float:
        """Seconds of an item's baseline, which is decoded alone."""
        return self.answer * self.step_s

    @property
    def screening_s(self) -> float:
        """Seconds of the screening on one replica: a forward and a backward pass an item, at a tenth of the peak."""
        return self.screening_items * 3 * 2 * self.parameters * (self.prompt + self.answer) / (0.1 * self.flops)

    @property
    def row_bytes(self) -> float:
        """Memory of one row while it is verified: keys and values, activations, logits of a window."""
        token = 2 * self.layers * self.key_value_heads * self.head_dim * self.weight_bytes
        length = self.longest_prompt + self.limit
        return length * (token + 12 * self.hidden * self.weight_bytes) + 4 * 8 * self.vocabulary * 4

    @property
    def rows(self) -> int:
        """Rows that a replica verifies at a time: the engine takes half of what is free."""
        return int(0.5 * (self.gpus * self.gpu_bytes - self.parameters * self.weight_bytes) / self.row_bytes)


def sweep(given: Assumptions, targets: int, replicas: int, chunk_s: float, row_s: float) -> dict[str, float]:
    """Return hours of a sweep of so many targets on so many replicas; a chunk and a row cost the driver something."""
    cases = targets * given.items
    baselines = given.items * given.baseline_s
    sending = cases / given.chunk_rows * chunk_s + cases * row_s
    computing = cases * given.case_s
    seconds = (baselines + computing) / replicas + sending
    return {
        "cases": cases,
        "baselines_h": baselines / HOUR,
        "computing_h": computing / HOUR,
        "sending_h": sending / HOUR,
        "wall_h": seconds / HOUR,
        "gpu_h": seconds * replicas * given.gpus / HOUR,
        "dollars": seconds * replicas * given.gpus / HOUR * given.dollars,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--chunk-ms", type=float, required=True, help="of a chunk, as benchmarks.speed.ray_cluster measures it"
    )
    parser.add_argument("--row-ms", type=float, required=True, help="of a row, likewise")
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 8, 32])
    options = parser.parse_args()
    given = Assumptions()
    verify, decode = given.case_flop
    naive = given.answer * given.step_s
    print(f"weights {given.parameters * given.weight_bytes / 1e9:.0f} GB; rows at a time {given.rows},")
    print(f"each {given.row_bytes / 1e6:.0f} MB; a case {verify / 1e12:.1f} + {decode / 1e12:.1f} Tflop,")
    print(f"{1000 * given.case_s:.0f} ms; a baseline {given.baseline_s:.1f} s;")
    print(f"screening {given.screening_s / 60:.0f} min;")
    print(f"the naive loop, one generate a case: {naive:.1f} s a case, {naive / given.case_s:.0f} times the engine's\n")
    print("| | heads | cases | replicas | wall clock, h | of it sending, h | GPU hours | cost, $ |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    few = given.screened + given.screened // 2
    for name, heads, before in (("every head", given.all_heads, 0.0), ("screened", few, given.screening_s)):
        for replicas in options.replicas:
            found = sweep(given, heads, replicas, options.chunk_ms / 1000, options.row_ms / 1000)
            wall = found["wall_h"] + before / HOUR
            gpu = wall * replicas * given.gpus
            cells = (
                name,
                f"{heads:,}",
                f"{found['cases']:,.0f}",
                replicas,
                f"{wall:,.1f}",
                f"{found['sending_h']:.2f}",
            )
            print("|", *(f"{cell} |" for cell in (*cells, f"{gpu:,.0f}", f"{gpu * given.dollars:,.0f}")))
    cases = given.all_heads * given.items
    print(f"\nevery head: the store takes {cases * given.outcome_bytes / 1e9:.1f} GB,")
    print(f"the driver's memory {cases * given.object_bytes / 1e9:.0f} GB")


if __name__ == "__main__":
    main()
