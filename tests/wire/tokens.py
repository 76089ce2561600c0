"""How many tokens the scripted provider counts: its own measure, by the published rules."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import cast

Count = Callable[[str], int]

IMAGE_TOKENS = 1_600
_FUNCTION, _PROPERTIES, _KEY, _ENUM, _ITEM, _END = 7, 3, 3, -3, 3, 12


def quarter_count(text: str) -> int:
    """A stand-in that needs no tables: a token for four characters, and one more."""
    return len(text) // 4 + 1


class Meter:
    """Counts with `count` and bills `factor` times that, rounded up once for a sum."""

    def __init__(self, count: Count = quarter_count, factor: str | int | Fraction = 1) -> None:
        self._factor = Fraction(factor)
        self.count: Count = lru_cache(maxsize=20_000)(count)

    def billed(self, counted: int) -> int:
        """Tokens billed for `counted` tokens."""
        return math.ceil(counted * self._factor)

    def longest_prefix(self, text: str, most_billed: int) -> str:
        """The longest start of `text` that bills at most `most_billed`."""
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self.billed(self.count(text[:middle])) <= most_billed:
                low = middle
            else:
                high = middle - 1
        return text[:low]


def canonical(value: object) -> str:
    """JSON text of `value` in the order it was sent."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def tool_tokens(count: Count, name: str, description: str, schema: Mapping[str, object]) -> int:
    """Tokens of one function by OpenAI's published figures for gpt-4o, nested objects alike.

    The closing 12 of the whole list is `TOOLS_END`.
    """
    return _FUNCTION + count(f"{name}:{description}") + _schema_tokens(count, schema)


TOOLS_END = _END


def _schema_tokens(count: Count, schema: Mapping[str, object]) -> int:
    if not schema:
        return 0
    tokens = 0
    properties = _mapping(schema.get("properties"))
    if properties:
        tokens += _PROPERTIES
    for key, value in properties.items():
        tokens += _KEY + _property_tokens(count, key, _mapping(value))
    for part in ("items", "additionalProperties"):
        tokens += _schema_tokens(count, _mapping(schema.get(part)))
    for part in ("anyOf", "oneOf", "allOf"):
        options = schema.get(part)
        for option in cast("list[object]", options) if isinstance(options, list) else []:
            tokens += _KEY + _schema_tokens(count, _mapping(option))
    for part in ("$defs", "definitions"):
        for value in _mapping(schema.get(part)).values():
            tokens += _KEY + _schema_tokens(count, _mapping(value))
    return tokens


def _property_tokens(count: Count, key: str, value: Mapping[str, object]) -> int:
    kind, description = value.get("type", ""), str(value.get("description", ""))
    tokens = count(f"{key}:{kind}:{description.rstrip('.')}") + _schema_tokens(count, value)
    choices = value.get("enum")
    if isinstance(choices, list):
        tokens += _ENUM
        for choice in cast("list[object]", choices):
            tokens += _ITEM + count(str(choice))
    return tokens


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}
