"""Packed columns come back as they were."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentkit.view.columns import packed

_CODES = {"u1": "B", "u2": "H", "u4": "I", "i4": "i", "f8": "d"}


def unpack(body: bytes) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """What static/book.js does, in Python."""
    length = int.from_bytes(body[:8], "little")
    head = json.loads(body[8 : 8 + length])
    columns: dict[str, list[float]] = {}
    for name, (kind, at, size) in head["columns"].items():
        assert (8 + length + at) % 8 == 0
        columns[name] = list(struct.unpack_from(f"<{size}{_CODES[kind]}", body, 8 + length + at))
    return head, columns


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.text(max_size=5),
        st.lists(st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False)), max_size=9),
        max_size=4,
    ),
    st.text(max_size=9),
)
def test_any_columns_come_back(columns: dict[str, list[float]], text: str) -> None:
    head, found = unpack(packed({"told": text.encode(errors="replace").decode()}, columns))
    assert found == columns
    assert head["told"] == text.encode(errors="replace").decode()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 255], "u1"),
        ([0, 256], "u2"),
        ([65_536], "u4"),
        ([-1, 3], "i4"),
        ([2**32], "f8"),
        ([1, 2.5, 3], "f8"),
        ([], "u1"),
    ],
)
def test_the_smallest_type_that_fits(values: list[float], kind: str) -> None:
    head, _ = unpack(packed({}, {"x": values}))
    assert head["columns"]["x"][0] == kind
