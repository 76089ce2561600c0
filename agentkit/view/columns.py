"""Columns of whole numbers as bytes that a browser reads in place.

A body is the length of its head (8 bytes, little-endian), the head as JSON, and the columns. The
head's `columns` says of each its type (`u1`, `u2`, `u4`, `i4`, `f8`), where it begins behind the
head, and its length. Head and columns are padded to 8 bytes, for typed arrays begin at multiples.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Mapping, Sequence

_ALIGNED = 8
_TYPES = (
    ("u1", "B", 0, 2**8),
    ("u2", "H", 0, 2**16),
    ("u4", "I", 0, 2**32),
    ("i4", "i", -(2**31), 2**31),
)


def packed(head: Mapping[str, object], columns: Mapping[str, Sequence[float]]) -> bytes:
    """`head` and `columns` as one body. Numbers past 2**53 lose their last digits, as in JSON."""
    parts: list[bytes] = []
    places: dict[str, tuple[str, int, int]] = {}
    at = 0
    for name, values in columns.items():
        kind, data = _as_bytes(values)
        places[name] = (kind, at, len(values))
        parts.append(_padded(data))
        at += len(parts[-1])
    text = json.dumps({**head, "columns": places}, ensure_ascii=False, separators=(",", ":"))
    encoded = _padded(text.encode(errors="replace"), with_byte=b" ")
    return b"".join((len(encoded).to_bytes(8, "little"), encoded, *parts))


def _as_bytes(values: Sequence[float]) -> tuple[str, bytes]:
    """In the smallest type that holds all of them."""
    low, high = min(values, default=0), max(values, default=0)
    if all(isinstance(edge, int) for edge in (low, high)):
        for name, code, least, end in _TYPES:
            if least <= low and high < end:
                try:
                    return name, _little(array(code, values))
                except TypeError:
                    break
    return "f8", _little(array("d", values))


def _little(numbers: array[int] | array[float]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _padded(data: bytes, *, with_byte: bytes = b"\0") -> bytes:
    return data + with_byte * (-len(data) % _ALIGNED)
