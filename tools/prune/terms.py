"""What a query asks for, and where a text speaks of it."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

_WORD = re.compile(r"[^\W_]+(?:[-_.@:/#][^\W_]+)*")
_COMMON = frozenset(
    "a about all also an and any are as at be been but by can could did do does find for from get "
    "give had has have how i if in into is it its list look make may me my need of on or our out "
    "please query search shall should show so some tell text than that the their them then there "
    "these they this to up use used was we were what when where which who why will with would you "
    "your".split()
)
_MAX_QUERY_CHARS = 4_000
_MAX_TERMS = 24
_MAX_HITS_PER_TERM = 2_000


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The words of a query that say something, lower-cased; `emphasis` multiplies their weight."""

    words: tuple[str, ...] = ()
    emphasis: float = 1.0

    @classmethod
    def of(cls, query: str, *, emphasis: float = 1.0) -> Terms:
        """At most 24 terms: identifiers and long words before short ones, no function words."""
        found: dict[str, None] = {}
        for match in _WORD.finditer(query[:_MAX_QUERY_CHARS].lower()):
            word = match.group()
            for part in (word, *re.split(r"[-_.@:/#]", word)):
                if len(part) > 1 and part not in _COMMON:
                    found[part] = None
        ranked = sorted(found, key=lambda word: (word.isalpha(), -len(word)))
        return cls(words=tuple(ranked[:_MAX_TERMS]), emphasis=emphasis)

    def weight(self, text: str) -> float:
        """How much of the query one short text speaks of: the number of its terms found."""
        if not self.words:
            return 0.0
        lowered = text.lower()
        return self.emphasis * sum(word in lowered for word in self.words)

    def hits(self, lines: Sequence[str]) -> dict[int, float]:
        """The weights of the lines that speak of the query; a term seen everywhere weighs little.

        One pass of plain substring search per term, so that long texts cost next to nothing.
        """
        if not self.words or not lines:
            return {}
        text = "\n".join(lines).lower()
        starts = [0, *accumulate(len(line.lower()) + 1 for line in lines)]
        weights: dict[int, float] = {}
        for word in self.words:
            found = _lines_with(word, text, starts)
            weight = self.emphasis / (1.0 + math.log1p(len(found)) / 2)
            for index in found:
                weights[index] = weights.get(index, 0.0) + weight
        return weights


def _lines_with(word: str, text: str, starts: Sequence[int]) -> list[int]:
    found: list[int] = []
    position = text.find(word)
    while position >= 0 and len(found) < _MAX_HITS_PER_TERM:
        line = bisect_right(starts, position) - 1
        found.append(line)
        position = text.find(word, starts[line + 1])
    return found
