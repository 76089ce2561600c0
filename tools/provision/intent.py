"""A request taken apart into the several things it asks for."""

from __future__ import annotations

import re

MAX_INTENTS = 8
MAX_REQUEST_CHARS = 4_000
_LEAST_WORDS = 2
_LEAST_CHARS = 8
_BOUNDARY = re.compile(
    r"(?<=[.!?;。！？；])\s*(?=[^\d\s])|\n+"
    r"|,?\s+(?:and then|and also|then|also|and|plus|as well as)\s+"
    r"|,\s+",
    re.IGNORECASE,
)


def intents(request: str) -> tuple[str, ...]:
    """The parts of a request that may each need a tool of its own; none where it is one thing.

    Cut at the ends of sentences, commas and conjunctions; at most MAX_INTENTS, the first ones.
    """
    parts = [part.strip(" ,.;:") for part in _BOUNDARY.split(request[:MAX_REQUEST_CHARS])]
    worth = [part for part in parts if _is_worth(part)]
    distinct = tuple(dict.fromkeys(worth))
    return distinct[:MAX_INTENTS] if len(distinct) > 1 else ()


def _is_worth(part: str) -> bool:
    return len(part) >= _LEAST_CHARS and (len(part.split()) >= _LEAST_WORDS or not part.isascii())
