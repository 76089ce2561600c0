"""What later calls copy from earlier text: ids, numbers with units, dates, paths, addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LONGEST = 120
_SHORTEST = 3
_MOST_CHARACTERS = 200_000
_WORD = re.compile(r"[^\s\"'`<>()\[\]{},;|=]{3,200}")
_QUOTED = re.compile(r"\"([^\"\n]{4,80})\"|`([^`\n]{4,80})`")
_MARKS = frozenset("0123456789@/\\_#")
_AROUND = ".:!?*-"


def identifiers(text: str) -> list[str]:
    """The identifiers in `text`, each once, in order; looks at the first 200,000 characters.

    Words that hold a digit or a mark such as `/`, `@`, `_`, and short quoted strings.
    """
    text = text[:_MOST_CHARACTERS]
    found = dict.fromkeys(
        word[:_LONGEST].strip(_AROUND)
        for word in _WORD.findall(text)
        if not _MARKS.isdisjoint(word)
    )
    for match in _QUOTED.finditer(text):
        found[match[1] or match[2]] = None
    return [each for each in found if len(each) >= _SHORTEST]


def lost(wanted: Iterable[str], text: str) -> list[str]:
    """Those of `wanted` that do not stand in `text`."""
    return [each for each in wanted if each not in text]
