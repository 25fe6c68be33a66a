"""How a list of targets is parsed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_probe.models.head_map import AttentionLayer, HeadMap
from reasoning_probe.models.targets import TargetError, check_spelling, every_head, every_layer, parse_targets


def head_map(*layers: int, heads: int = 4) -> HeadMap:
    return HeadMap(tuple(AttentionLayer(layer, f"h.{layer}", f"h.{layer}.attn.c_proj", heads, 8) for layer in layers))


PLAIN, HYBRID = head_map(*range(12)), head_map(1, 4, 7)


def test_every_head_is_a_target_lowest_layer_first() -> None:
    targets = every_head(head_map(0, 1, heads=2))
    assert [target.name for target in targets] == ["L0H0", "L0H1", "L1H0", "L1H1"]
    assert [target.heads for target in targets[:2]] == [{(0, 0)}, {(0, 1)}]


def test_every_layer_is_a_joint_target() -> None:
    assert [(target.name, len(target.heads), target.lowest) for target in every_layer(HYBRID)] == [
        ("L1", 4, 1),
        ("L4", 4, 4),
        ("L7", 4, 7),
    ]


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("L3H2", ["L3H2"]),
        ("l3h2", ["L3H2"]),
        ("L03H02", ["L3H2"]),
        ("L3", ["L3"]),
        ("L8-L11", ["L8", "L9", "L10", "L11"]),
        ("L3-L3", ["L3"]),
        ("L3H2+L5H1", ["L3H2+L5H1"]),
        ("L3 + L5H1", ["L3+L5H1"]),
        ("L3H2, L5 ,L8-L9", ["L3H2", "L5", "L8", "L9"]),
        ("L3H2,L3H2,L3-L4,L3", ["L3H2", "L3", "L4"]),
    ],
)
def test_a_spec_names_targets_each_once_in_its_order(spec: str, names: list[str]) -> None:
    assert [target.name for target in parse_targets(spec, PLAIN)] == names


def test_joint_heads_are_off_together() -> None:
    (target,) = parse_targets("L5H1+L3", PLAIN)
    assert target.heads == {(5, 1), *((3, head) for head in range(4))}
    assert (target.lowest, target.in_layer(3), target.in_layer(5), target.in_layer(4)) == (3, [0, 1, 2, 3], [1], [])


def test_a_range_takes_the_layers_of_a_hybrid_that_have_attention() -> None:
    assert [target.name for target in parse_targets("L0-L5", HYBRID)] == ["L1", "L4"]


@pytest.mark.parametrize(
    "spec",
    [
        "",
        ",",
        "L",
        "H3",
        "3.7",
        "L3H",
        "L3-",
        "L3-5",
        "L3H1-L4H2",
        "L3H2+",
        "+",
        "L-1",
        "L3H7 L5",
        "L" + "9" * 6,
        "L٣",
        "all",
    ],
)
def test_what_cannot_be_read_is_refused_whatever_the_model(spec: str) -> None:
    with pytest.raises(TargetError, match="cannot read the target"):
        check_spelling(spec)
    with pytest.raises(TargetError, match="cannot read the target"):
        parse_targets(spec, PLAIN)


@pytest.mark.parametrize(
    ("spec", "where", "line"),
    [
        ("L99H0", PLAIN, r"there is no attention layer L99: the model has L0 to L11 with 4 heads each \(H0 to H3\)"),
        ("L0H4", PLAIN, r"there is no head L0H4: the model has L0 to L11"),
        ("L8-L12", PLAIN, "there is no attention layer L12"),
        ("L2", HYBRID, "there is no attention layer L2: the model has L1, L4, L7 with 4 heads each"),
        ("L2-L3", HYBRID, "no layer of L2-L3 has attention heads: the model has L1, L4, L7"),
        ("L5-L3", PLAIN, "'L5-L3' runs backwards: write L3-L5"),
    ],
)
def test_what_the_model_does_not_have_is_refused(spec: str, where: HeadMap, line: str) -> None:
    check_spelling(spec)
    with pytest.raises(TargetError, match=f"^{line}"):
        parse_targets(spec, where)


@given(st.one_of(st.text(), st.text("LHlh0123456789-+, ")))
def test_any_text_is_read_or_refused_in_one_short_line(spec: str) -> None:
    try:
        targets = parse_targets(spec, PLAIN)
    except TargetError as error:
        message = str(error)
    else:
        message = ""
        check_spelling(spec)
        assert all(0 <= layer < 12 and 0 <= head < 4 for target in targets for layer, head in target.heads)
        assert parse_targets(",".join(target.name for target in targets), PLAIN) == targets
    assert "\n" not in message
    assert len(message) < 200
