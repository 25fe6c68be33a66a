"""Estimates time, memory and cost of a sweep of a 70B model by arithmetic from smaller measurements.

    python -m benchmarks.speed.extrapolate_70b --chunk-ms 5 --row-ms 0.1 --session-ms 1

Every assumption is a field of :class:`Assumptions`; the tables appear in ``docs/how-to/clusters.md``. No figure printed
here was measured on such a model.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

HOUR = 3600.0


@dataclass(frozen=True)
class Assumptions:
    """The shape of Llama 3 70B, GSM8K's test split, and H200 GPUs."""

    parameters: float = 70.6e9
    layers: int = 80
    heads: int = 64  # of a layer
    key_value_heads: int = 8
    head_dim: int = 128
    hidden: int = 8192
    vocabulary: int = 128_256
    weight_bytes: int = 2
    cache_bytes: int = 4  # of a number in the cache of keys and values: invariant numerics keep float32
    items: int = 1319
    prompt: float = 70.0  # tokens; GSM8K's questions have 67 by SmolLM2's tokenizer
    answer: float = 150.0  # tokens; GSM8K's own solutions have 95
    limit: int = 256
    longest_prompt: int = 200
    diverging: float = 0.5  # share of rows that diverge from the baseline; SmolLM2: 0.48 within 32 tokens
    diverging_at: float = 0.5  # average position of the divergence, as a share of the answer
    flops: float = 989e12  # of a GPU, dense bfloat16
    bandwidth: float = 4.8e12  # bytes per second of a GPU's memory
    verifying: float = 0.40  # share of the peak that passes over many tokens reach
    decoding: float = 0.15  # share of the peak that steps of some hundred rows reach
    attention_flops: float = 67e12  # of a GPU, float32: attention in fixed tiles
    tile: int = 64  # rows and keys of attention's products, padded
    settled: float = 92 / 120  # share of rows that settling answers one by one; SmolLM2 in bfloat16
    gpu_bytes: float = 141e9
    gpus: int = 2  # of a replica; with device_map they compute one after the other
    dollars: float = 3.5  # per GPU and hour
    chunk_rows: int = 256
    together: int = 32  # baselines that are decoded together
    screened: int = 100  # heads that are measured after screening, and half as many of the others
    screening_items: int = 200
    outcome_bytes: float = 484.0  # in the outcome cache, measured with responses of 400 characters
    object_bytes: float = 1500.0  # in the driver's memory: 840 measured for the outcome, the rest for its case

    @property
    def all_heads(self) -> int:
        """The number of the model's heads."""
        return self.layers * self.heads

    @property
    def case_flop(self) -> tuple[float, float]:
        """The average FLOPs of a case: of its verification, and of its decoding.

        Verification starts in the target's layer, so it passes half of the layers on average. A row that has diverged
        decodes through all layers.
        """
        verify = 2 * self.parameters * 0.5 * (self.prompt + self.answer)
        return verify, self.diverging * (1 - self.diverging_at) * self.answer * 2 * self.parameters

    @property
    def case_s(self) -> float:
        """Seconds of a case on one replica, which computes like one GPU because its GPUs take turns."""
        verify, decode = self.case_flop
        products = verify / (self.verifying * self.flops) + decode / (self.decoding * self.flops)
        return products + self.attention_s

    @property
    def attention_s(self) -> float:
        """Seconds of a case's attention: its products in float32, those of a decoding step padded to a tile."""
        length = self.prompt + self.answer
        keys = self.tile * -(-length // self.tile)
        token = self.layers * 4 * self.heads * self.head_dim * keys  # FLOPs of one token
        group = self.heads // self.key_value_heads
        steps = self.diverging * (1 - self.diverging_at) * self.answer
        verify = 0.5 * length * token / (self.verifying * self.attention_flops)
        return verify + steps * token * self.tile / group / (self.decoding * self.attention_flops)

    @property
    def naive_s(self) -> float:
        """Seconds of one ``generate``, one row: each token reads all weights."""
        return self.answer * self.step_s

    @property
    def settling_case_s(self) -> float:
        """Seconds of a case where near ties are settled: most rows in bfloat16 run once more, alone."""
        return self.case_s + self.settled * self.naive_s

    @property
    def step_s(self) -> float:
        """Seconds of one token of one row, in which all weights are read once."""
        return self.parameters * self.weight_bytes / self.bandwidth

    @property
    def baseline_s(self) -> float:
        """Seconds of an item's baseline: so many are decoded together, at the cost of any row that is decoded."""
        tokens = self.prompt / self.verifying + self.answer / self.decoding
        return max(2 * self.parameters * tokens / self.flops, self.naive_s / self.together)

    @property
    def screening_s(self) -> float:
        """Seconds of the screening on one replica: a forward and a backward pass per item at a tenth of the peak."""
        return self.screening_items * 3 * 2 * self.parameters * (self.prompt + self.answer) / (0.1 * self.flops)

    @property
    def row_bytes(self) -> float:
        """Bytes of one row during verification: keys and values, activations, and the logits of a window."""
        token = 2 * self.layers * self.key_value_heads * self.head_dim * self.cache_bytes
        length = self.longest_prompt + self.limit
        return length * (token + 12 * self.hidden * self.weight_bytes) + 4 * 8 * self.vocabulary * 4

    @property
    def rows(self) -> int:
        """Rows that a replica verifies at a time: the engine uses half of the free memory."""
        return int(0.5 * (self.gpus * self.gpu_bytes - self.parameters * self.weight_bytes) / self.row_bytes)


def sweep(assumptions: Assumptions, targets: int, replicas: int, chunk_s: float, row_s: float) -> dict[str, float]:
    """Return the hours and the cost of a sweep, in which the driver needs *chunk_s* per chunk and *row_s* per row.

    The driver judges the responses too, so *row_s* includes that.
    """
    cases = targets * assumptions.items
    baselines = assumptions.items * assumptions.baseline_s
    sending = cases / assumptions.chunk_rows * chunk_s + cases * row_s
    computing = cases * assumptions.case_s
    seconds = (baselines + computing) / replicas + sending
    return {
        "cases": cases,
        "baselines_h": baselines / HOUR,
        "computing_h": computing / HOUR,
        "sending_h": sending / HOUR,
        "wall_h": seconds / HOUR,
        "gpu_h": seconds * replicas * assumptions.gpus / HOUR,
        "dollars": seconds * replicas * assumptions.gpus / HOUR * assumptions.dollars,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--chunk-ms", type=float, required=True, help="overhead per chunk, from benchmarks.speed.ray_cluster"
    )
    parser.add_argument("--row-ms", type=float, required=True, help="overhead per row, from the same benchmark")
    parser.add_argument(
        "--session-ms", type=float, required=True, help="judging, storing and the page, per row, from a session"
    )
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 8, 32])
    options = parser.parse_args()
    assumptions = Assumptions()
    verify, decode = assumptions.case_flop
    print(
        f"weights {assumptions.parameters * assumptions.weight_bytes / 1e9:.0f} GB; rows at a time {assumptions.rows},"
    )
    print(f"each {assumptions.row_bytes / 1e6:.0f} MB; a case {verify / 1e12:.1f} + {decode / 1e12:.1f} Tflop,")
    print(f"{1000 * assumptions.case_s:.0f} ms; of it attention {1000 * assumptions.attention_s:.0f} ms;")
    print(f"a baseline {assumptions.baseline_s:.2f} s;")
    print(f"screening {assumptions.screening_s / 60:.0f} min;")
    ratio = assumptions.naive_s / assumptions.case_s
    print(f"the naive loop, one generate a case: {assumptions.naive_s:.1f} s a case, {ratio:.0f} times the engine's;")
    settling = assumptions.settling_case_s
    print(f"settling: {settling:.1f} s a case, {settling / assumptions.case_s:.0f} times the engine's\n")
    print("| | heads | cases | replicas | wall clock, h | of it in the driver, h | GPU hours | cost, $ |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    few = assumptions.screened + assumptions.screened // 2
    for name, heads, before in (("every head", assumptions.all_heads, 0.0), ("screened", few, assumptions.screening_s)):
        for replicas in options.replicas:
            costs = sweep(
                assumptions, heads, replicas, options.chunk_ms / 1000, (options.row_ms + options.session_ms) / 1000
            )
            wall = costs["wall_h"] + before / HOUR
            gpu = wall * replicas * assumptions.gpus
            cells = (
                name,
                f"{heads:,}",
                f"{costs['cases']:,.0f}",
                replicas,
                f"{wall:,.1f}",
                f"{costs['sending_h']:.2f}",
            )
            print("|", *(f"{cell} |" for cell in (*cells, f"{gpu:,.0f}", f"{gpu * assumptions.dollars:,.0f}")))
    cases = assumptions.all_heads * assumptions.items
    print(f"\nevery head: the store takes {cases * assumptions.outcome_bytes / 1e9:.1f} GB,")
    print(f"the driver's memory {cases * assumptions.object_bytes / 1e9:.0f} GB")


if __name__ == "__main__":
    main()
