"""A hypothesis strategy for JSON with one defect, for the tests of its readers."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**30, -(10**30), 2**53, 0, 1, -1])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def damaged(draw: st.DrawFn, content: Any) -> Any:
    """Return *content* with one value replaced, removed, duplicated or added."""
    changed = copy.deepcopy(content)
    place, key = _place(draw, changed)
    how = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
    if how == "add":
        if isinstance(place, dict):
            place[draw(st.text(max_size=5))] = draw(VALUES)
        else:
            place.append(draw(VALUES | st.just(place[key])))
    elif how == "remove":
        del place[key]
    else:
        place[key] = draw(VALUES)
    return changed


def _place(draw: st.DrawFn, content: Any) -> tuple[Any, Any]:
    """Return a container in *content* with one of its keys, at any depth."""
    while True:
        key = draw(st.sampled_from(sorted(content) if isinstance(content, dict) else range(len(content))))
        inner = content[key]
        if not (isinstance(inner, dict | list) and inner) or not draw(st.integers(0, 3)):
            return content, key
        content = inner
