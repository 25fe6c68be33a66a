"""Effects by form: counted by hand, and compared with the variance of resampled forms."""

from __future__ import annotations

import numpy as np
import pytest

from reasoning_probe.results.forms import FormChange, design_effect, form_changes, forms_records
from reasoning_probe.results.outcome import Outcome
from tests.helpers.fake_runs import outcome as fake_outcome


def outcome(item: str, form: str | None, correct: bool, target: str = "L0H0") -> Outcome:
    return fake_outcome("logic", item, target, correct=correct, form=form)


def test_losses_and_wins_are_counted_by_form() -> None:
    rows = [("a", "chain", 1, 0), ("b", "chain", 1, 0), ("c", "chain", 0, 1), ("d", "all", 1, 1), ("e", None, 1, 0)]
    baselines = {item: outcome(item, form, bool(before), "baseline") for item, form, before, _ in rows}
    cases = [outcome(item, form, bool(after)) for item, form, _, after in rows]
    assert form_changes(cases, baselines) == [FormChange("chain", 3, 2, 1), FormChange("all", 1, 0, 0)]


def test_losses_in_one_form_alone_do_not_hold_across_forms() -> None:
    alone = [FormChange("chain", 10, 10, 0), *(FormChange(f"f{n}", 10, 0, 0) for n in range(9))]
    spread = [FormChange(f"f{n}", 10, 1, 0) for n in range(10)]
    one, many = forms_records([alone, spread])
    assert one
    assert many
    assert (one["losing"], one["winning"], one["p_value"]) == (1, 0, 1)
    assert (many["losing"], many["winning"]) == (10, 0)
    assert many["p_value"] == pytest.approx(2 / 2**10)
    assert many["p_adjusted"] == pytest.approx(2 / 2**10)  # one form alone can reach no such p-value
    assert one["changes"] == [{"form": "chain", "items": 10, "lost": 10, "won": 0}]


def test_four_forms_can_never_show_an_effect_across_forms() -> None:
    record = forms_records([[FormChange(name, 50, 50, 0) for name in ("add", "sub", "mul", "div")]])[0]
    assert record
    assert record["p_value"] == pytest.approx(0.125)


def test_one_form_or_none_has_no_record() -> None:
    assert forms_records([[FormChange("add", 5, 5, 0)], []]) == [None, None]


def test_the_design_effect_is_the_ratio_of_the_variances_of_resampled_forms_and_items() -> None:
    rng = np.random.default_rng(1)
    sizes, shares = [30] * 20, rng.uniform(0, 0.8, 20)
    changes = [FormChange(f"f{n}", 30, int(rng.binomial(30, share)), 0) for n, share in enumerate(shares)]
    by_form = np.array([change.lost / 30 for change in changes])
    forms = np.array([rng.choice(by_form, 20).mean() for _ in range(20_000)])
    flat = np.concatenate([[1] * change.lost + [0] * (30 - change.lost) for change in changes])
    items = np.array([rng.choice(flat, len(flat)).mean() for _ in range(20_000)])
    assert sum(sizes) == len(flat)
    assert design_effect(changes) == pytest.approx(forms.var() / items.var(), rel=0.1)  # with 20 forms, 19/20 apart


def test_independent_items_have_a_design_effect_of_about_one() -> None:
    rng = np.random.default_rng(2)
    effects = [
        design_effect([FormChange(f"f{n}", 40, int(rng.binomial(40, 0.2)), 0) for n in range(20)]) for _ in range(200)
    ]
    assert np.mean([effect for effect in effects if effect is not None]) == pytest.approx(1, abs=0.1)


def test_no_change_has_no_design_effect() -> None:
    assert design_effect([FormChange("a", 3, 0, 0), FormChange("b", 3, 0, 0)]) is None
    assert design_effect([FormChange("a", 3, 3, 0), FormChange("b", 3, 3, 0)]) is None
    assert design_effect([FormChange("a", 3, 1, 0)]) is None
