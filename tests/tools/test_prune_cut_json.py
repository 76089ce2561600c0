"""JSON that was cut off is closed again, and what is whole in it is read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.tools.prune import prune
from agentkit.tools.prune.cut_json import CUT_MARK, closed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=st.lists(VALUES, min_size=1) | st.dictionaries(st.text(), VALUES, min_size=1),
       share=st.floats(0, 1), indent=st.sampled_from([None, 1]))  # fmt: skip
def test_wherever_json_is_cut_the_rest_can_be_read(
    value: object, share: float, indent: int | None
) -> None:
    text = json.dumps(value, indent=indent)
    cut = text[: 1 + int(share * (len(text) - 2))]
    found = closed(cut)
    assert found is not None
    json.loads(found)


@pytest.mark.parametrize(
    ("cut", "read"),
    [
        ('{"a": 1, "b": 12', {"a": 1}),  # nobody knows how the number went on
        ('{"a": 1, "b": "tw', {"a": 1, "b": f"tw{CUT_MARK}"}),
        ('{"a": 1, "b', {"a": 1}),
        ('[{"a": "x\\u00', [{"a": f"x{CUT_MARK}"}]),
        ("[1, [2, 3], [4,", [1, [2, 3], [4]]),
    ],
)
def test_only_what_is_whole_is_read(cut: str, read: object) -> None:
    assert json.loads(closed(cut) or "") == read


@pytest.mark.parametrize("text", ["[1}", "[1] and more", "plain", "", "[1] [2"])
def test_what_was_not_merely_cut_is_left_alone(text: str) -> None:
    assert closed(text) is None


def test_json_in_a_cut_envelope_of_mcp_is_shown_as_values() -> None:
    inner = json.dumps({"orders": [{"id": f"ORD-{n}", "total": n} for n in range(200)]}, indent=2)
    block = json.dumps({"content": [{"type": "text", "text": inner}]})
    whole = f"meta=None content=[TextContent(type='text', text={block!r}, annotations=None)]"
    found = prune(whole[:5_000], max_tokens=200)
    assert found.kind == "json"
    assert "id total" in found.text
    assert "\\" not in found.text
