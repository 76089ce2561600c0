"""Brings back what pruning left out: the part of a kept observation that is asked for, bounded."""

from __future__ import annotations

import re
from collections.abc import Callable

from agentkit.tools.catalogue import ToolSpec
from agentkit.tools.observation_store import ObservationStore
from agentkit.tools.prune.pruning import about, at_length
from agentkit.tools.prune.room import Room

RECALL = "recall"
"""The name of the tool."""
DEFAULT_RECALL_TOKENS = 1_000
_RANGE = re.compile(r"\s*(\d{1,12})?\s*(?:(-|–|:|\.\.)\s*(\d{1,12})?)?\s*")
_MIN_TOKENS = 64
_NOTE_TOKENS = 24
_MAX_SHOWN_HANDLE_CHARS = 40


def recall(
    store: ObservationStore,
    task_id: str,
    handle: str,
    query: str | None = None,
    range: str | None = None,
    *,
    max_tokens: int = DEFAULT_RECALL_TOKENS,
) -> str:
    """What a kept observation says about `query`, or its lines in `range` ("120-180"), bounded.

    With neither it is the beginning. The answer never has more than `max_tokens` tokens of o200k
    (64 at least) and says which lines it shows. What cannot be brought back is said, for the model
    to read. Raises what the store raises.
    """
    room = Room(limit=max(_MIN_TOKENS, max_tokens), unit="tokens")
    text = store.get(task_id, handle.strip())
    if text is None:
        name = handle.strip()[:_MAX_SHOWN_HANDLE_CHARS]
        said = f"[nothing is kept as {name}: expired or misspelt; call the tool again]"
        return said if room.holds(said) else "[nothing is kept under this handle]"
    if query and query.strip() and not range:
        return about(text, query, room)
    lines = at_length(text).split("\n")
    bounds = _bounds(range or "", len(lines))
    if bounds is None:
        return f'[no such range; give lines of 1 to {len(lines):,}, as in "120-180"]'
    return _lines(lines, *bounds, room)


def recall_tool(
    store: ObservationStore,
    task_id: Callable[[], str],
    *,
    max_tokens: int = DEFAULT_RECALL_TOKENS,
    range_tokens: int | None = None,
) -> ToolSpec:
    """The tool `recall`, for a catalogue; `task_id` says whose observations a call may see.

    `range_tokens` bound a range of lines, by default as many as `max_tokens`.

    What it returns is bounded already and must not be pruned again.
    """

    def bring_back(handle: str, query: str = "", range: str = "") -> str:
        most = max_tokens if range_tokens is None or not range.strip() else range_tokens
        return recall(store, task_id(), handle, query, range, max_tokens=most)

    return ToolSpec.of(
        bring_back,
        name=RECALL,
        description=(
            "Bring back what a shortened observation left out: what it says about a query, or its "
            'lines in a range like "120-180".'
        ),
        side_effect="read",
    )


def _bounds(wanted: str, count: int) -> tuple[int, int] | None:
    """First and last line, counted from 1; None for what is no range of this text."""
    match = _RANGE.fullmatch(wanted)
    if match is None:
        return None
    first, dash, last = match.groups()
    start = int(first or 1)
    end = int(last) if last else count if dash or not first else start
    return (start, min(end, count)) if 1 <= start <= min(end, count) else None


def _lines(lines: list[str], start: int, end: int, room: Room) -> str:
    """As many of the lines as fit, and which they are; a line too long for the room is cut."""
    left = room.limit - _NOTE_TOKENS
    shown: list[str] = []
    for line in lines[start - 1 : end]:
        cost = room.cost(line[: left * 16]) + 1
        if cost > left or len(line) > left * 16:
            break
        left -= cost
        shown.append(line)
    if not shown:
        shown = [Room(limit=left, unit="tokens").cut(lines[start - 1])]
    last = start + len(shown) - 1
    more = f"; next: {last + 1}-{end}" if last < end else ""
    note = f"[lines {start:,} to {last:,} of {len(lines):,}{more}]"
    text = "\n".join([*shown, note])
    return text if room.holds(text) else room.cut(text)
