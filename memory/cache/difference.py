"""Why two alike texts may still ask for different things: what no similarity overrules."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from typing import Literal

from agentkit.memory.cache.reading import Reading, is_negation, is_number, is_unit, stem

Difference = Literal[
    "numbers",
    "dates",
    "units",
    "names",
    "negation",
    "negated",
    "question",
    "opposite",
    "swapped",
    "added",
    "order",
]

_OPPOSITES = (
    "increase decrease, buy sell, open close, enable disable, start stop, before after, gain lose, "
    "best worst, good bad, male female, men women, boy girl, husband wife, old new, young old, "
    "first last, more less, high low, higher lower, add remove, send receive, import export, "
    "love hate, max min, maximum minimum, advantage disadvantage, benefit risk, up down, "
    "north south, east west, left right, upload download, deposit withdraw, debit credit, "
    "install uninstall, encrypt decrypt, login logout, legal illegal, possible impossible, "
    "include exclude, accept reject, accept decline, activate deactivate, block unblock, "
    "lock unlock, follow unfollow, subscribe unsubscribe, pros cons, hot cold, fast slow, "
    "cheap expensive, earlier later, above below, inside outside, push pull, win lose, "
    "public private, single multiple, incoming outgoing, mother father, son daughter, "
    "brother sister, wide narrow, long short, day night, positive negative, raise lower, "
    "strong weak, safe dangerous, allow forbid, allow deny, connect disconnect, lend borrow"
)
_OPPOSED: dict[str, frozenset[str]] = {}
for _pair in _OPPOSITES.split(","):
    _one, _other = map(stem, _pair.split())
    _OPPOSED[_one] = _OPPOSED.get(_one, frozenset()) | {_other}
    _OPPOSED[_other] = _OPPOSED.get(_other, frozenset()) | {_one}

_NARROW_QUESTIONS = frozenset(("who", "when", "where", "why"))
_DOUBT = 0.5
_LOOSE_DOUBT, _LOOSE_NEGATED = 0.1, 0.3
_LOOSE_SHARE = 0.05
_DOUBTFUL: frozenset[Difference] = frozenset(("question", "swapped", "added", "order"))
_LONGEST_EDIT_WORDS = 4
_DIRECTIONS = frozenset(("from", "to", "than", "into", "by", "over", "versus", "vs", "for", "of"))


def penalty(found: Difference | None, max_wrong: float = 0.0) -> float:
    """What a difference takes off the score of likeness, where `max_wrong` of hits may be wrong.

    Another number, date, unit or name, the opposite, a negation in otherwise the same words: never
    the same question. What may be another way to say the same costs half a point, which no
    threshold below a share of 5 % forgives, and a tenth from there on; a negation among other words
    is let through from there on alone. The two were chosen on the rows that thresholds are.
    """
    if found is None:
        return 0.0
    is_loose = max_wrong >= _LOOSE_SHARE
    if found == "negated":
        return _LOOSE_NEGATED if is_loose else math.inf
    if found in _DOUBTFUL:
        return _LOOSE_DOUBT if is_loose else _DOUBT
    return math.inf


def difference(cached: Reading, asked: Reading) -> Difference | None:
    """The weightiest thing in which two texts differ that changes what is asked; None for none.

    Cautious on purpose: a miss costs one call, a wrong answer costs trust.
    """
    edited = _edit(cached.words, asked.words)
    return _surely_differs(cached, asked, edited) or _may_differ(cached, asked, edited)


def _surely_differs(cached: Reading, asked: Reading, edited: set[str] | None) -> Difference | None:
    if _replaced(cached.numbers, asked.numbers):
        return "numbers"
    if _replaced(cached.dates, asked.dates):
        return "dates"
    if _replaced(cached.units, asked.units):
        return "units"
    if cached.negated != asked.negated and edited is not None:
        return "negation"
    if cached.negations != asked.negations and _same_words(cached, asked):
        return "negation"
    if _replaced(set(map(stem, cached.names)), set(map(stem, asked.names))):
        return "names"
    mine, theirs = set(cached.stems), set(asked.stems)
    if any(_OPPOSED.get(word, frozenset()) & (theirs - mine) for word in mine - theirs):
        return "opposite"
    return None if edited is None else _certain(edited, cached, asked)


def _same_words(cached: Reading, asked: Reading) -> bool:
    """Whether one text carries no meaning in words that the other has not, but for negations."""
    mine, theirs = ({s for s in each.stems if not is_negation(s)} for each in (cached, asked))
    return mine <= theirs or theirs <= mine


def _may_differ(cached: Reading, asked: Reading, edited: set[str] | None) -> Difference | None:
    if cached.negated != asked.negated:
        return "negated"
    if _questions_differ(cached.question, asked.question):
        return "question"
    mine, theirs = set(cached.stems), set(asked.stems)
    if mine == theirs:
        return "order" if _reordered(cached, asked) else None
    if edited is None:
        return None
    return "swapped" if mine - theirs and theirs - mine else "added"


def _replaced(cached: Set[str], asked: Set[str]) -> bool:
    """Both sides have some, and not the same; what only one side has is left to the edit below."""
    return bool(cached - asked) and bool(asked - cached)


def _questions_differ(one: str, other: str) -> bool:
    if one == other or not one or not other:
        return False
    narrow = one in _NARROW_QUESTIONS or other in _NARROW_QUESTIONS
    return narrow or one.startswith("how ") != other.startswith("how ") or " " in one


def _edit(one: Sequence[str], other: Sequence[str]) -> set[str] | None:
    """The words of the one place edited in a text that is otherwise the same; None for more.

    Who says the same in other words changes more than one place.
    """
    shorter = min(len(one), len(other))
    start = next((at for at in range(shorter) if one[at] != other[at]), shorter)
    rest = shorter - start
    end = next((at for at in range(rest) if one[-1 - at] != other[-1 - at]), rest)
    removed, put = one[start : len(one) - end], other[start : len(other) - end]
    if max(len(removed), len(put)) > _LONGEST_EDIT_WORDS or len(removed) == len(one):
        return None
    return {*removed, *put}


def _certain(edited: set[str], cached: Reading, asked: Reading) -> Difference | None:
    """What an edit of a few words cannot change without asking something else."""
    if any(is_negation(word) for word in edited):
        return "negation"
    if any(is_number(word) for word in edited):
        return "numbers"
    if any(is_unit(word) for word in edited):
        return "units"
    return "names" if edited & {*cached.names, *asked.names} else None


def _reordered(cached: Reading, asked: Reading) -> bool:
    """The same words in another order, where the order has a meaning of its own."""
    if cached.stems == asked.stems:
        return False
    directed = bool(_DIRECTIONS & {*cached.words, *asked.words})
    return directed or cached.negated or cached.names != asked.names
