"""The one entry: an observation of any kind and size becomes text within a bound.

Bytes are capped before they are decoded, the pruner of the kind works against a clock, and where it
fails the text is cut and the failure said: nothing is lost, for the keeper has the whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from agentkit.tools.errors import InvalidLimits
from agentkit.tools.prune.decoding import MAX_INPUT_BYTES, binary_text, decoded
from agentkit.tools.prune.earlier import Earlier
from agentkit.tools.prune.essence import readable
from agentkit.tools.prune.found import Found, Observation, cut_down
from agentkit.tools.prune.outline import Ask
from agentkit.tools.prune.pruned import Deadline, Kind, OutOfTime, Pruned
from agentkit.tools.prune.room import Room
from agentkit.tools.prune.shown import in_full, shown
from agentkit.tools.prune.terms import Terms

Keep = Callable[[str], str]
"""Keeps a whole observation and returns the handle that brings it back."""

DEFAULT_MAX_TOKENS = 1_000
DEFAULT_TIME_BUDGET_SECONDS = 2.0
_FOOTER_TOKENS = 32
_RECALL_EMPHASIS = 20.0
_RECALL_NAMES_PERCENT = 10
_ALL_TOKENS = 1_000_000

_log = logging.getLogger(__name__)


def prune(
    text: str | bytes,
    *,
    query: str = "",
    max_tokens: int | None = None,
    max_bytes: int | None = None,
    kind: Kind | None = None,
    time_budget_seconds: float = DEFAULT_TIME_BUDGET_SECONDS,
    keep: Keep | None = None,
    earlier: Earlier | None = None,
) -> Pruned:
    """The part of an observation that a later step most likely needs, within a bound.

    `query` is what the task, the last user turn and the call's arguments ask for. The bound is in
    tokens of o200k (1,000 by default) or in bytes. `kind` is detected unless given. `keep` is
    called once with the whole text where something had to go; the handle that it returns is named
    in the text. What `earlier` observations of the task told is not told again, but named. Nothing
    about `text` itself makes this raise: a pruner that fails or runs out of time leaves a cut text,
    and `failure` says so. Raises InvalidLimits for two bounds or a bound that is not above 0.

    >>> found = prune('[{"id": 7, "state": "open"}]')
    >>> found.kind, found.was_pruned
    ('json', False)
    """
    room = _room(max_tokens, max_bytes)
    if not time_budget_seconds > 0:
        raise InvalidLimits(f"time_budget_seconds is {time_budget_seconds!r}; give more than 0")
    room.cost("")  # loads the encoding, outside the time budget
    ask = Ask(
        terms=Terms.of(query),
        room=_inner(room),
        deadline=Deadline(time_budget_seconds),
        earlier=earlier,
    )
    found = _found(text, ask, room, kind)
    if (found.pruned or found.folded) and keep is not None:
        found = _kept(found, text, keep)
    return found.pruned_within(room)


def about(text: str, query: str, room: Room) -> str:
    """What a kept observation says about a query, which counts for more than all else here."""
    ask = Ask(
        terms=Terms.of(query, emphasis=_RECALL_EMPHASIS),
        room=_inner(room),
        deadline=Deadline(DEFAULT_TIME_BUDGET_SECONDS),
        names_percent=_RECALL_NAMES_PERCENT,
    )
    return _found(text, ask, room, None).pruned_within(room).text


def at_length(text: str) -> str:
    """All of a kept observation on lines; JSON as tightly as `prune` puts it with nothing gone."""
    ask = Ask(
        terms=Terms.of(""),
        room=Room(limit=_ALL_TOKENS, unit="tokens"),
        deadline=Deadline(DEFAULT_TIME_BUDGET_SECONDS),
    )
    try:
        return in_full(text, ask) or readable(text)
    except OutOfTime:
        return readable(text)


def _room(max_tokens: int | None, max_bytes: int | None) -> Room:
    if max_tokens is not None and max_bytes is not None:
        raise InvalidLimits("give max_tokens or max_bytes, not both")
    limit = DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens
    unit = "tokens"
    if max_bytes is not None:
        limit, unit = max_bytes, "bytes"
    if limit < 1:
        raise InvalidLimits(f"max_{unit} is {limit}; give 1 or more")
    return Room(limit=limit, unit=unit)


def _inner(room: Room) -> Room:
    """The room less the line that says what was left out."""
    footer = _FOOTER_TOKENS if room.unit == "tokens" else _FOOTER_TOKENS * 4
    return Room(limit=max(1, room.limit - min(footer, room.limit // 2)), unit=room.unit)


def _found(text: str | bytes, ask: Ask, room: Room, kind: Kind | None) -> Found:
    described = binary_text(text) if isinstance(text, bytes) else None
    if described is not None:
        return Found(
            text=described,
            kind="binary",
            pruned=False,
            kept_lines=1,
            original_lines=1,
            original_bytes=len(text),
        )
    capped, original_bytes = decoded(text)
    observation = Observation(text=capped, is_capped=original_bytes > MAX_INPUT_BYTES, kind=kind)
    try:
        found = shown(observation, ask, room)
    except Exception as error:  # noqa: BLE001  a pruner must never cost the observation
        _log.warning(
            "pruning an observation of %d bytes failed (%s); it was cut instead",
            original_bytes,
            type(error).__name__,
        )
        found = cut_down(observation, ask.room, type(error).__name__)
    return replace(found, original_bytes=original_bytes)


def _kept(found: Found, text: str | bytes, keep: Keep) -> Found:
    """Gives the whole to the keeper; where that fails, the pruned text must do."""
    try:
        handle = keep(text if isinstance(text, str) else text.decode(errors="replace"))
    except Exception as error:  # noqa: BLE001  a full disk must not cost the observation
        _log.warning("an observation could not be kept (%s)", type(error).__name__)
        return replace(found, failure=found.failure or f"not kept: {type(error).__name__}")
    return replace(found, handle=handle)
