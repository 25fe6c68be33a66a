"""Effects by form: which forms of questions a named target costs, and whether that holds across the forms."""

from __future__ import annotations

from reasoning_probe.report.effects import EffectGroup
from reasoning_probe.report.format import p_value
from reasoning_probe.results.naming import holds_across_forms
from reasoning_probe.results.record import EffectRecord, FormsRecord
from reasoning_probe.utils.text import join_names

HEAD = ("forms that lose", "forms that win", "p over forms", "design effect", "lost most")
"""The headings of the columns of :func:`form_rows` after the target's."""

_MOST_FORMS = 4


def form_rows(group: EffectGroup) -> list[list[str]]:
    """Return a row of text for each significant target of *group* whose items have forms; see :data:`HEAD`."""
    return [_cells(row, forms) for row in group.significant if (forms := row.get("forms")) is not None]


def _cells(row: EffectRecord, forms: FormsRecord) -> list[str]:
    effect = forms["design_effect"]
    losing = sorted(forms["changes"], key=lambda change: change["won"] - change["lost"])
    most = [f"{one['form']} ({one['lost']} of {one['items']})" for one in losing if one["lost"] > one["won"]]
    return [
        row["target"],
        f"{forms['losing']} of {forms['number']}",
        f"{forms['winning']}",
        p_value(forms["p_adjusted"]),
        "-" if effect is None else f"{effect:.1f}",
        join_names(most, _MOST_FORMS) if most else "-",
    ]


def mixture(group: EffectGroup) -> int | None:
    """Return how many forms the items of *group* have if some significant target does not hold across them."""
    numbers = [forms["number"] for row in group.significant if (forms := row.get("forms")) is not None]
    return max(numbers) if numbers and not all(map(holds_across_forms, group.significant)) else None
