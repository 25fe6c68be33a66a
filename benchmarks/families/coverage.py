"""Tests every family of decoder-only models and writes the table of docs/reference/models.md.

    python -m benchmarks.families.coverage                # all families; writes models.json and the table
    python -m benchmarks.families.coverage llama bloom    # these only, updated in the same files
    python -m benchmarks.families.coverage --table        # only the table, from docs/measurements/models.json

The script builds a small random model of every family for which transformers has a causal language model. It then
checks whether the heads are found, with and without weights; whether they are verified; which path the engine takes;
and whether the answers of a sweep over heads, layers, key/value groups and MLPs equal those of ``generate`` on a model
whose weights were edited by hand (``tests/helpers/weight_edit_oracle.py``). Each family runs in a process of its own
with a limit of memory and time.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "measurements" / "models.json"
PAGE = ROOT / "docs" / "reference" / "models.md"
BEGIN, END = "<!-- what ran: begin -->", "<!-- what ran: end -->"

SECONDS = 60  # of processor time
WALL = 900
BYTES = 12 << 30
LIMIT = 6  # new tokens


def families() -> list[str]:
    """Return the model types for which the installed transformers has a causal language model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


# -- one family -------------------------------------------------------------------------------------------------------


def examine(family: str) -> dict[str, Any]:
    """Return the result of *family*: whether it is ``right``, else the ``step`` that failed and the ``reason``."""
    import torch

    from reasoning_probe.models.head_map import HeadError
    from reasoning_probe.models.heads import find_heads, verify_heads

    result: dict[str, Any] = {"family": family, "right": False, "step": "built"}
    try:
        from benchmarks.families.random_models import build, config_of

        config = config_of(family)
        model = build(config)
        result |= {"class": type(model).__name__, "parameters": sum(p.numel() for p in model.parameters())}
        result["step"] = "runs"
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[5, 6, 7, 8]]), use_cache=False).logits
        if not bool(logits.isfinite().all()):
            raise ValueError("random weights make it answer NaN")
        result["step"] = "heads found"
        head_map = find_heads(model)
        site = head_map.attention_layers[0]
        result |= {"layers": _layers(model, config), "attention_layers": len(head_map.attention_layers)}
        result |= {"heads": site.heads, "head_dim": site.head_dim, "kv_heads": site.kv_heads}
        result["step"] = "heads found without weights"
        if _without_weights(config) != head_map:
            raise HeadError("other heads are found than with weights")
        result["step"] = "proved"
        verify_heads(model, head_map)
        result["has"] = _features(model, config, head_map)
        result["step"] = "equal"
        result |= _compare(model, head_map)
        result["right"] = True
    except HeadError as error:
        result["reason"] = str(error)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        message = " ".join(str(error).split())[:200]
        result["reason"] = f"{type(error).__name__}: {message} ({Path(frame.filename).name}, line {frame.lineno})"
    return result


def _layers(model: Any, config: Any) -> int:
    from reasoning_probe.models.hooks import text_config

    text = text_config(config)
    names = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
    return int(next(value for name in names if isinstance(value := getattr(text, name, None), int)))


def _without_weights(config: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    from reasoning_probe.models.heads import find_heads

    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    return find_heads(skeleton)


def _features(model: Any, config: Any, head_map: Any) -> list[str]:
    """Return the architectural features that are known to break such tools, detected on the model and its config."""
    from torch import nn

    from reasoning_probe.models.hooks import text_config

    text = text_config(config)
    site = head_map.attention_layers[0]
    values = {name: value for name, value in vars(text).items() if isinstance(value, int | str | list)} | {
        "use_sliding_window": getattr(text, "use_sliding_window", True)
    }
    names = [name for name, _ in [*model.named_parameters(), *model.named_buffers()]]
    code = Path(sys.modules[type(model).__module__].__file__ or "").read_text(encoding="utf-8")
    token_table = model.get_input_embeddings()
    places = int(values.get("max_position_embeddings") or values.get("n_positions") or 128)
    positions = [m for m in model.modules() if isinstance(m, nn.Embedding) and m is not token_table]
    head = model.get_output_embeddings()
    kinds = values.get("layer_types") or []
    facts = {
        "latent attention (MLA)": isinstance(values.get("kv_lora_rank"), int),
        "multi-query": site.kv_heads == 1 < site.heads and "kv_lora_rank" not in values,
        "grouped-query": 1 < site.kv_heads < site.heads,
        "sliding window": any("sliding" in str(kind) for kind in kinds)
        if kinds
        else values.get("use_sliding_window", True) is not False
        and any("window" in name and isinstance(size, int) and size > 1 for name, size in values.items()),
        "attention sinks": any(name.endswith("sinks") for name in names),
        "mixture of experts": any(".experts." in name for name in names)
        or any("expert" in name and isinstance(number, int) and number > 1 for name, number in values.items()),
        "ALiBi": "alibi" in code and getattr(text, "alibi", True) is True and "rotary" not in code.lower(),
        "learned positions": any(places <= m.num_embeddings <= places + 4 for m in positions),
        "parallel blocks": _parallel(model, site),
        "hybrid": len(head_map.attention_layers) < _layers(model, config),
        "tied embeddings": head is not None and getattr(head, "weight", None) is token_table.weight,
    }
    return [name for name, so in facts.items() if so]


def _parallel(model: Any, site: Any) -> bool:
    """Return whether the MLP's input is independent of the attention's output in the same layer."""
    import torch

    from reasoning_probe.models.ablation import ablate
    from reasoning_probe.models.head_map import HeadMap
    from reasoning_probe.models.hooks import hooks, probe_ids
    from reasoning_probe.models.targets import Target

    if not site.mlp:
        return False
    seen: list[Any] = []
    mlp = model.get_submodule(site.mlp)
    heads = Target("all", frozenset((site.layer, head) for head in range(site.heads)))
    with hooks([mlp.register_forward_hook(lambda module, args, output: seen.append(args[0]))]), torch.no_grad():
        model(input_ids=probe_ids(model), use_cache=False)
        with ablate(model, HeadMap((site,)), [heads]):
            model(input_ids=probe_ids(model), use_cache=False)
    return bool(torch.equal(*seen))


# -- the sweep against edited weights ---------------------------------------------------------------------------------


def _compare(model: Any, head_map: Any) -> dict[str, Any]:
    """Sweep heads, layers, key/value groups and MLPs; raise ``HeadError`` where edited weights give another outcome."""
    import reasoning_probe as rp
    from reasoning_probe.data.prompts.prompting import Generation
    from reasoning_probe.data.prompts.query import query
    from reasoning_probe.engine.engine import LocalEngine
    from reasoning_probe.engine.protocol import SweepRequest
    from reasoning_probe.models.head_map import HeadError
    from reasoning_probe.models.heads import verify_heads
    from reasoning_probe.models.targets import parse_targets
    from tests.helpers.character_tokenizer import Letters

    first, last = head_map.attention_layers[0], head_map.attention_layers[-1]
    targets = [f"L{first.layer}H1", f"L{last.layer}H0", f"L{last.layer}", f"L{first.layer}H2+L{last.layer}H3"]
    facts: dict[str, Any] = {}
    if 0 < first.kv_heads < first.heads:
        group = f"L{first.layer}KV{first.kv_heads - 1}"
        facts["groups"] = _provable(lambda: verify_heads(model, head_map, parse_targets(group, head_map)))
        targets += [group] if facts["groups"] == "yes" else []
    else:
        facts["groups"] = "each head has its own" if first.kv_heads else "cannot be told"
    if first.mlp and last.mlp:
        mlps = f"L{first.layer}MLP,L{last.layer}MLP"
        facts["mlp"] = _provable(lambda: verify_heads(model, head_map, parse_targets(mlps, head_map)))
        targets += mlps.split(",") if facts["mlp"] == "yes" else []
    else:
        facts["mlp"] = "cannot be told"
    items = [rp.Item(question="What is 5 + 3?", answer="8", id="a"), rp.Item(question="Max?", answer="Yes", id="b")]
    letters = Letters()
    engine = LocalEngine(model, letters, head_map)
    ablated = tuple((target, "zero") for name in targets for target in parse_targets(name, head_map))
    plan = [SweepRequest(query("items", item, Generation(LIMIT, ())), ablated) for item in items]
    outcomes = [outcome for batch in engine.run(plan) for outcome in batch]
    facts |= {"path": engine.path_name, "why": engine.why}
    different = set()
    expected = {
        target: [(item.id, *_edited_answer(model, head_map, letters, target, item)) for item in items]
        for target in ["baseline", *targets]
    }
    for outcome in outcomes:
        response, logprob = next(rest for name, *rest in expected[outcome.target] if name == outcome.item)
        if outcome.response != response or not abs(outcome.answer_logprob - logprob) <= 2e-3 + 1e-4 * abs(logprob):
            raise HeadError(
                f"{outcome.target}: the sweep says {outcome.response!r} ({outcome.answer_logprob:.4f}), edited weights"
                f" {response!r} ({logprob:.4f})"
            )
        plain = next(o for o in outcomes if o.item == outcome.item and o.target == "baseline")
        if outcome.response != plain.response:
            different.add(outcome.target)
    if len(outcomes) != len(items) * (1 + len(targets)):
        raise HeadError(f"{len(outcomes)} outcomes")
    moved = [t for t in targets if abs(expected[t][0][2] - expected["baseline"][0][2]) > 1e-3 or t in different]
    if not moved:
        raise HeadError("no target changed anything: nothing was tested")
    return facts | {"targets": len(targets), "answers_changed": len(different), "moved": len(moved)}


def _provable(prove: Any) -> str:
    from reasoning_probe.models.head_map import HeadError

    try:
        prove()
    except HeadError as error:
        return str(error)
    return "yes"


def _edited_answer(model: Any, head_map: Any, letters: Any, target: str, item: Any) -> tuple[str, float]:
    """Return the response, and the expected answer's log-probability, of a copy of *model* with edited weights."""
    import torch

    from reasoning_probe.data.prompts.prompting import Generation
    from reasoning_probe.data.prompts.query import query
    from reasoning_probe.models.targets import parse_targets
    from tests.helpers.weight_edit_oracle import edit, greedy, logprob

    twin = copy.deepcopy(model)
    if target != "baseline":
        (off,) = parse_targets(target, head_map)
        for site in head_map.attention_layers:
            edit(twin, site.path, site.heads, off.in_layer(site.layer))
            if site.layer in off.mlps:
                with torch.no_grad():
                    for parameter in twin.get_submodule(site.mlp).parameters():
                        parameter.zero_()
    prompt = query("items", item, Generation()).prompt
    ids = letters(prompt)["input_ids"]
    tokens = greedy(twin, ids, LIMIT, letters.eos_token_id)
    answer = letters(" " + item.answer)["input_ids"]
    return letters.decode(tokens), logprob(twin, ids, answer)


# -- all families -----------------------------------------------------------------------------------------------------


def examined(names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Examine each family in a process of its own, forked so that torch is imported once."""
    import torch
    from transformers.utils import logging

    for module in ("transformers.models.bart.modeling_bart", "reasoning_probe.engine.engine"):
        importlib.import_module(module)  # slow imports, done once before the forks
    torch.set_num_threads(1)  # threads do not survive a fork
    logging.set_verbosity_error()
    for family in names:
        yield _in_a_process(family)


def _in_a_process(family: str) -> dict[str, Any]:
    reader, writer = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        signal.alarm(WALL)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        try:
            os.write(writer, json.dumps(examine(family)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        output = pipe.read()
    _, status = os.waitpid(child, 0)
    seconds = {"seconds": round(time.monotonic() - started, 1)}
    if output:
        result: dict[str, Any] = json.loads(output)
        return result | seconds
    late = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGALRM, signal.SIGXCPU, signal.SIGKILL)
    ended = f"it did not end in {SECONDS} s" if late else "the process died"
    return {"family": family, "right": False, "step": "built", "reason": ended} | seconds


# -- the page ---------------------------------------------------------------------------------------------------------


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    rows = results["families"]
    right = [row for row in rows if row["right"]]
    wrong = [row for row in rows if not row["right"]]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        f"{len(rows)} families, {len(right)} right ({versions}).",
        "",
        "| family | heads | it has | engine | `KV` targets | `MLP` targets |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in right:
        heads = f"{one['heads']} x {one['head_dim']}" + (
            f", {one['attention_layers']} of {one['layers']} layers" if "hybrid" in one["has"] else ""
        )
        has = ", ".join(one["has"])
        engine = one["why"] if one["path"] == "fast" else f"plain: {_short(one['why'])}"
        lines.append(
            f"| `{one['family']}` | {heads} | {has} | {engine} | {_brief(one['groups'])} | {_brief(one['mlp'])} |"
        )
    lines += ["", f"The other {len(wrong)}:", "", "| family | got to | why not further |", "| --- | --- | --- |"]
    lines += [f"| `{one['family']}` | {one['step']} | {_short(one['reason'])} |" for one in wrong]
    counts = {name: sum(name in one["has"] for one in right) for name in sorted({n for o in right for n in o["has"]})}
    lines += ["", "Among those right: " + ", ".join(f"{name} {number}" for name, number in counts.items()) + "."]
    paths: dict[str, int] = {}
    for one in right:
        paths[one["why"] if one["path"] == "fast" else "plain"] = (
            paths.get(one["why"] if one["path"] == "fast" else "plain", 0) + 1
        )
    lines += ["", "Paths: " + ", ".join(f"{name} {number}" for name, number in sorted(paths.items())) + "."]
    return "\n".join(lines)


def _brief(text: str) -> str:
    if "cannot be proved" in text or "no target" in text:
        return "refused"
    return {"each head has its own": "-", "cannot be told": "none"}.get(text, text)


def _short(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:180]


def write_page(results: dict[str, Any]) -> None:
    """Write the table between the markers of docs/reference/models.md."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(results)}\n\n{END}{after}", encoding="utf-8")


def main(argv: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", help="examine these only")
    parser.add_argument("--table", action="store_true", help="only write the table, from docs/measurements/models.json")
    options = parser.parse_args(None if argv is None else list(argv))
    if options.table:
        write_page(json.loads(RESULTS.read_text(encoding="utf-8")))
        return
    from importlib.metadata import version

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    versions = {name: version(name).partition("+")[0] for name in ("transformers", "torch")}
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if options.families and RESULTS.is_file() else {}
    by_family = {one["family"]: one for one in known.get("families", ()) if known["versions"] == versions}
    for one in examined(options.families or families()):
        by_family[one["family"]] = one
        detail = one.get("why", "") if one["right"] else f"{one['step']}: {one['reason']}"
        results = {"versions": versions, "families": [by_family[name] for name in sorted(by_family)]}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(
            f"{'right' if one['right'] else 'NOT  '} {one['family']:26} {one['seconds']:5.1f} s  {detail}", flush=True
        )
    write_page(json.loads(RESULTS.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
