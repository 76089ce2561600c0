"""JSON from outside, narrowed to what it is: schemas of unknown servers, text of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast


def as_object(value: object) -> Mapping[str, Any] | None:
    """`value` if it is a JSON object."""
    if not isinstance(value, Mapping):
        return None
    return cast("Mapping[str, Any]", value)


def as_list(value: object) -> list[Any] | None:
    """`value` if it is a JSON array."""
    if not isinstance(value, list | tuple):
        return None
    return list(cast("list[Any]", value))


def property_schemas(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schemas of an object's fields; none where it states none."""
    return as_object(schema.get("properties")) or {}


def required_names(schema: Mapping[str, Any]) -> list[str]:
    """The fields that an object must have."""
    return [str(name) for name in as_list(schema.get("required")) or []]
