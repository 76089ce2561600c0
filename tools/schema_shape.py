"""A quick look at a JSON schema: most are plainly valid, and need no check by the metaschema.

The metaschema takes milliseconds a tool, so a minute for ten thousand; this takes microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

_MOST_DEPTH = 32
_TYPES = frozenset({"string", "integer", "number", "boolean", "object", "array", "null"})
_TEXTS = frozenset({"title", "description", "format", "$comment"})
_FLAGS = frozenset({"uniqueItems", "deprecated", "readOnly", "writeOnly"})
_NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems"})
_SCHEMAS = frozenset({"items", "additionalProperties", "not"})
_NAMED = frozenset({"properties", "$defs"})
_LISTED = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_LOCAL_REF = re.compile(r"#(/[A-Za-z0-9_$.-]+)*")


def is_plainly_valid(schema: object, depth: int = _MOST_DEPTH) -> bool:
    """True where the schema is valid by draft 2020-12; False where that has to be looked up."""
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict) or depth == 0:
        return False
    return all(
        _fits(key, value, depth) for key, value in cast("dict[object, object]", schema).items()
    )


def _fits(key: object, value: object, depth: int) -> bool:
    if not isinstance(key, str):
        return False
    if key in _SCHEMAS:
        return is_plainly_valid(value, depth - 1)
    if key in _NAMED:
        return isinstance(value, dict) and all(
            isinstance(name, str) and is_plainly_valid(member, depth - 1)
            for name, member in cast("dict[object, object]", value).items()
        )
    if key in _LISTED:
        members = cast("list[object]", value) if isinstance(value, list) else []
        return bool(members) and all(is_plainly_valid(member, depth - 1) for member in members)
    check = _CHECKS.get(key)
    return check is not None and check(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_type(value: object) -> bool:
    return isinstance(value, str) and value in _TYPES


def _are_names(value: object) -> bool:
    if not isinstance(value, list):
        return False
    names = cast("list[object]", value)
    return all(isinstance(n, str) for n in names) and len({str(n) for n in names}) == len(names)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_local_reference(value: object) -> bool:
    return isinstance(value, str) and _LOCAL_REF.fullmatch(value) is not None


_CHECKS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(_TEXTS, _is_text),
    **dict.fromkeys(_FLAGS, _is_flag),
    **dict.fromkeys(_NUMBERS, _is_number),
    **dict.fromkeys(_COUNTS, _is_count),
    "type": _is_type,
    "required": _are_names,
    "enum": _is_list,
    "$ref": _is_local_reference,
    "default": lambda _: True,
    "const": lambda _: True,
}
