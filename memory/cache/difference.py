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
_DOUBTFUL: frozenset[Difference] = frozenset(("question", "swapped", "added", "order"))
_DOUBT = 0.5
_LONGEST_EDIT_WORDS = 4
_DIRECTIONS = frozenset(("from", "to", "than", "into", "by", "over", "versus", "vs", "for", "of"))


def penalty(found: Difference | None) -> float:
    """What a difference takes off the score of likeness.

    Another number, date, unit or name, a negation, the opposite: never the same question. What may
    be another way to say the same costs half a point, which only a threshold of a looser promise
    forgives.
    """
    if found is None:
        return 0.0
    return _DOUBT if found in _DOUBTFUL else math.inf


def difference(cached: Reading, asked: Reading) -> Difference | None:
    """The first thing in which two texts differ that changes what is asked; None where none does.

    Cautious on purpose: a miss costs one call, a wrong answer costs trust.
    """
    if _replaced(cached.numbers, asked.numbers):
        return "numbers"
    if _replaced(cached.dates, asked.dates):
        return "dates"
    if _replaced(cached.units, asked.units):
        return "units"
    if cached.negated != asked.negated:
        return "negation"
    if _replaced(set(map(stem, cached.names)), set(map(stem, asked.names))):
        return "names"
    if _questions_differ(cached.question, asked.question):
        return "question"
    return _words_differ(cached, asked)


def _replaced(cached: Set[str], asked: Set[str]) -> bool:
    """Both sides have some, and not the same; what only one side has is left to the edit below."""
    return bool(cached - asked) and bool(asked - cached)


def _questions_differ(one: str, other: str) -> bool:
    if one == other or not one or not other:
        return False
    narrow = one in _NARROW_QUESTIONS or other in _NARROW_QUESTIONS
    return narrow or one.startswith("how ") != other.startswith("how ") or " " in one


def _words_differ(cached: Reading, asked: Reading) -> Difference | None:
    mine, theirs = set(cached.stems), set(asked.stems)
    only_cached, only_asked = mine - theirs, theirs - mine
    if any(_OPPOSED.get(word, frozenset()) & only_asked for word in only_cached):
        return "opposite"
    edited = _edit(cached.words, asked.words)
    if edited is not None and (certain := _certain(edited, cached, asked)) is not None:
        return certain
    if not only_cached and not only_asked:
        return "order" if _reordered(cached, asked) else None
    if edited is None:
        return None
    return "swapped" if only_cached and only_asked else "added"


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
