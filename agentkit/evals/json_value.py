"""JSON values, and paths into them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, cast

from agentkit.errors import ConfigError

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d{1,9})\]")


class Absent(Exception):
    """There is nothing at a path."""


def steps_of(path: str) -> tuple[str | int, ...]:
    """The steps of a path like `order.items[0].id`; `$.` may begin it. Raises ConfigError."""
    rest = path.removeprefix("$")
    steps: list[str | int] = []
    at = 0
    while at < len(rest):
        match = _STEP.match(rest, at)
        if match is None:
            raise ConfigError(f"path {path[:80]!r}: write it like order.items[0].id")
        steps.append(match[1] if match[2] is None else int(match[2]))
        at = match.end()
    return tuple(steps)


def at_path(value: Json, steps: Sequence[str | int]) -> Json:
    """What stands at a path; raises Absent."""
    for step in steps:
        if isinstance(step, str) and isinstance(value, Mapping):
            if step not in value:
                raise Absent(f"there is no {step[:60]!r}")
            value = value[step]
        elif isinstance(step, int) and isinstance(value, list | tuple):
            items = cast("Sequence[Json]", value)
            if step >= len(items):
                raise Absent(f"there are {len(items)} items, so no [{step}]")
            value = items[step]
        else:
            raise Absent(f"{step!r} leads into no {'object' if isinstance(step, str) else 'list'}")
    return value


def differences(found: Json, wanted: Json, *, subset: bool, at: str = "$") -> Iterator[str]:
    """Where `found` is not what is wanted, path by path.

    With `subset`, an object may hold more keys than are wanted. Numbers are compared by value; true
    is not 1.
    """
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key, value in wanted.items():
            if key in found:
                yield from differences(found[key], value, subset=subset, at=f"{at}.{key}")
            else:
                yield f"{at}.{key} is missing"
        if not subset:
            yield from (f"{at}.{key} is too much" for key in found if key not in wanted)
    elif isinstance(wanted, list | tuple) and isinstance(found, list | tuple):
        pairs = cast("tuple[Sequence[Json], Sequence[Json]]", (found, wanted))
        if len(pairs[0]) != len(pairs[1]):
            yield f"{at} has {len(pairs[0])} items, not {len(pairs[1])}"
            return
        for place, (one, other) in enumerate(zip(*pairs, strict=True)):
            yield from differences(one, other, subset=subset, at=f"{at}[{place}]")
    elif isinstance(wanted, bool) != isinstance(found, bool) or found != wanted:
        yield f"{at} differs"
