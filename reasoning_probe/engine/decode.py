"""Decoding what differs, from the keys and values of the verification pass, all rows of a query in step.

Rows of one query share the prompt's length, so at any position all of them are equally long: a row joins the batch at
the position of its first difference and leaves when its answer ends. There is no padding and no mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from reasoning_probe.ablation import Replacement
from reasoning_probe.engine.passes import Driver, Plan, off_pairs
from reasoning_probe.engine.plain import CANARY, NOISE_MARGIN
from reasoning_probe.engine.replies import Codec
from reasoning_probe.engine.slots import Slots
from reasoning_probe.engine.verify import Clean, Row, _noise


def decode(
    driver: Driver, codec: Codec, clean: Clean, rows: Sequence[Row], stop: tuple[str, ...], replacement: Replacement
) -> None:
    """Decode *rows*, each from its last token on, until they end; ``tokens`` and ``near_tie`` are set on them."""
    limit = clean.encoded.limit
    unfinished = [row for row in rows if len(row.tokens) < limit and not codec.ended(tuple(row.tokens), stop)]
    if not unfinished:
        return
    first = min(len(row.tokens) for row in unfinished)
    canary = Row(CANARY, -1, len(driver.blocks), list(clean.draft[:first]))
    waiting = sorted([*unfinished, canary], key=lambda row: len(row.tokens))
    slots = _gathered(driver, clean, waiting)
    active: list[Row] = []
    homes = {id(row): index for index, row in enumerate(waiting)}
    device = clean.encoded.prompt.device
    off: dict[int, object] = {}
    changed = True
    length = first
    while waiting or active:
        slots.length = clean.prompt_length + length - 1  # tokens whose keys and values are known
        while waiting and len(waiting[0].tokens) == length:
            row = waiting.pop(0)
            slots.move(homes[id(row)], len(active))
            active.append(row)
            changed = True
        if not active:
            length += 1
            continue
        if changed:
            plan_off = off_pairs([row.target for row in active], driver.head_map, replacement, device)
            changed = False
        ids = torch.tensor([[row.tokens[-1]] for row in active], device=device)  # (rows, 1)
        logits = driver.run(ids, slots, Plan(off=plan_off))[:, -1]  # (rows, vocabulary)
        slots.length += 1
        best = logits.topk(2, dim=-1)
        tokens, values = best.indices[:, 0].tolist(), best.values.float().tolist()
        noise = next((_noise(clean.baseline, [v[0]], length) for r, v in zip(active, values) if r is canary), None)
        if noise is not None:
            worst = noise if length == first else max(worst, noise)
        finished = []
        for index, row in enumerate(active):
            if row is canary:
                row.tokens.append(clean.draft[length])
                if len(row.tokens) >= len(clean.draft):
                    finished.append(index)
                continue
            row.near_tie |= values[index][0] - values[index][1] <= NOISE_MARGIN * worst
            row.tokens.append(tokens[index])
            if len(row.tokens) >= limit or codec.ended(tuple(row.tokens), stop):
                finished.append(index)
        for index in reversed(finished):
            last = len(active) - 1
            if index != last:
                slots.move(last, index)
                active[index] = active[last]
            active.pop()
            changed = True
        length += 1


def _gathered(driver: Driver, clean: Clean, rows: Sequence[Row]) -> Slots:
    """Return slots in which row *i* holds the keys and values of ``rows[i]``: its own from its start on, else clean."""
    capacity = clean.prompt_length + clean.encoded.limit
    slots = Slots(len(driver.blocks), capacity, rows=len(rows))
    length = clean.prompt_length + max(len(row.tokens) for row in rows) - 1
    sources: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        sources.setdefault(id(row.source), []).append(index)
    for layer, keys, values in clean.slots.buffers():
        slot = slots.layers[layer]
        for name, clean_buffer in (("key_buffer", keys), ("value_buffer", values)):
            buffer = clean_buffer.new_empty(len(rows), *clean_buffer.shape[1:2], capacity, clean_buffer.shape[3])
            known = min(length, clean_buffer.shape[2])
            buffer[:, :, :known] = clean_buffer[:, :, :known]
            setattr(slot, name, buffer)
    for indices in sources.values():
        for layer, keys, values in rows[indices[0]].source:
            own = [index for index in indices if rows[index].start <= layer]
            if own:
                to = torch.tensor(own, device=keys.device)
                taken = torch.tensor([rows[index].source_row for index in own], device=keys.device)
                known = min(length, keys.shape[2])
                slots.layers[layer].key_buffer[to, :, :known] = keys[taken, :, :known]
                slots.layers[layer].value_buffer[to, :, :known] = values[taken, :, :known]
    return slots
