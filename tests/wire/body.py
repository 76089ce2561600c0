"""Reads JSON bodies field by field, refusing wrong types in the provider's manner."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from tests.wire.refusal import Refusal
from tests.wire.script import Json


def mapping(value: object, where: str) -> dict[str, object]:
    """`value` as an object."""
    if not isinstance(value, dict):
        raise Refusal(f"{where}: Input should be a valid dictionary", param=where)
    return cast("dict[str, object]", value)


def sequence(value: object, where: str) -> list[object]:
    """`value` as an array."""
    if not isinstance(value, list):
        raise Refusal(f"{where}: Input should be a valid array", param=where)
    return cast("list[object]", value)


def text(value: object, where: str) -> str:
    """`value` as a string."""
    if not isinstance(value, str):
        raise Refusal(f"{where}: Input should be a valid string", param=where)
    return value


def optional_mapping(body: Json, key: str) -> dict[str, object]:
    """The object at `key`, or an empty one if there is none."""
    value = body.get(key)
    return {} if value is None else mapping(value, key)


def optional_sequence(body: Json, key: str) -> list[object]:
    """The array at `key`, or an empty one if there is none."""
    value = body.get(key)
    return [] if value is None else sequence(value, key)


def required(body: Json, key: str) -> object:
    """The value at `key`; refuses where there is none (OpenAI's words)."""
    if body.get(key) is None:
        raise Refusal(
            f"Missing required parameter: '{key}'.", param=key, code="missing_required_parameter"
        )
    return body[key]


def flag(body: Json, key: str, default: bool = False) -> bool:
    """The truth value at `key`."""
    value = body.get(key, default)
    return default if value is None else bool(value)


def positive(body: Json, key: str) -> int | None:
    """The positive integer at `key`, or None if there is none (OpenAI's words)."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refusal(f"Invalid type for '{key}': expected an integer.", param=key)
    if value < 1:
        raise Refusal(
            f"Invalid '{key}': integer below minimum value. "
            f"Expected a value >= 1, but got {value} instead.",
            param=key,
            code="integer_below_min_value",
        )
    return value


def refuse_unknown(body: Json, known: Collection[str]) -> None:
    """Refuses the first field that is not `known` (OpenAI's words)."""
    for key in body:
        if key not in known:
            raise Refusal(f"Unknown parameter: '{key}'.", param=key, code="unknown_parameter")
