"""Names in what had to go, as one dense line: quoted words, identifiers, addresses, dates.

They cost a few tokens each, and they are what later calls copy.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable
from itertools import islice

from agentkit.tools.prune.room import Room
from agentkit.tools.prune.terms import Terms

_MENTION = re.compile(
    r"(?P<address>https?://[^\s\"'<>()\[\]{}|\\]{4,120}|[\w.+-]{1,60}@[\w-]{1,60}\.[\w.]{2,40})"
    r"|\"(?P<double>[^\"\n]{2,40})\"|(?<!\w)'(?P<single>[^'\n]{2,40})'(?!\w)|`(?P<tick>[^`\n]{2,60})`"
    r"|\((?:[\w.]{1,12}:? )?"
    r"(?P<choice>[\w\"'|/-]{1,30}(?:, ?[\w\"'|/-]{1,30}){0,8},? or [\w\"'-]{1,30})\)"
    r"|(?P<date>\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?)"
    r"|(?P<id>\b(?=[\w.-]{0,40}[\d_])(?=[\w.-]{0,40}[A-Za-z])[A-Za-z0-9_.-]{4,40}\b)"
)
_WORTH = {"address": 3.0, "choice": 2.5, "double": 2.0, "single": 2.0, "tick": 2.0, "id": 1.5}
_DATE_WORTH = 1.0
_NAME_WORTH = 3.0
_ASKED = 3.0
_MAX_LINES = 400
_MAX_LINE_CHARS = 1_000
_MAX_NAMES = 2_000
_MAX_CANDIDATES = 300
_LEAST_DIGITS = 5
_WORDY = re.compile(r"\s\S+\s\S+\s")


def mentions(
    left_out: Iterable[str], names: Iterable[str], shown: str, terms: Terms, room: Room
) -> str:
    """The most telling names of the lines left out that `shown` lacks, within the room."""
    found: dict[str, float] = {}
    for name in islice(names, _MAX_NAMES):
        if _could_be_copied(name) and name not in shown:
            found.setdefault(name, _NAME_WORTH + _ASKED * min(3.0, terms.weight(name)))
    for count, line in enumerate(left_out):
        if count >= _MAX_LINES or len(found) >= _MAX_NAMES + _MAX_CANDIDATES:
            break
        for match in _MENTION.finditer(line[:_MAX_LINE_CHARS]):
            kind = match.lastgroup or "id"
            name = match.group(kind).strip()
            if len(name) < 2 or _WORDY.search(name) or name in shown:
                continue
            found.setdefault(
                name, _WORTH.get(kind, _DATE_WORTH) + _ASKED * min(3.0, terms.weight(name))
            )
    best = heapq.nlargest(_MAX_CANDIDATES, found, key=lambda name: found[name])
    costs = {name: room.cost(f", {name}") for name in best}
    left = room.limit
    kept: list[str] = []
    for name in sorted(best, key=lambda name: -found[name] / costs[name] ** 0.5):
        if costs[name] <= left:
            kept.append(name)
            left -= costs[name]
    return ", ".join(kept)


def _could_be_copied(name: str) -> bool:
    """Whether a value looks like a name, and not like a small number or an explanation."""
    if name.isdigit():
        return len(name) >= _LEAST_DIGITS
    return len(name) > 2 and not name.startswith("(")
