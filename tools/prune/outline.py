"""An observation as lines with scores, and the choice of those that fit.

Every pruner makes an outline; one place here decides what stays. A line that stays brings the lines
that it stands under.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentkit.tools.prune.pruned import Deadline
from agentkit.tools.prune.room import Room
from agentkit.tools.prune.terms import Terms

if TYPE_CHECKING:
    from agentkit.tools.prune.earlier import Earlier

_MAX_MISSES = 40
_GAP = "…"
_JOINT = "; "
_JOINED_CHARS = 200


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a pruner works for: the query's terms, the room, the time, and what was told before.

    `names_percent` of the room are kept for the names in what has to go.
    """

    terms: Terms
    room: Room
    deadline: Deadline
    earlier: Earlier | None = None
    names_percent: int = 40


@dataclass(kw_only=True)
class Outline:
    """Lines in the order of the observation.

    `unseen` counts the lines not even considered, `clipped` those that their pruner shortened;
    `legend` explains the marks that the lines carry. Between the rows of `tables`, which are the
    numbers of their headers, gaps go unmarked: the header has the count. Where it `joins`, short
    lines side by side under one line are shown on one. `names` are those of the things that lines
    are about: they are worth showing where their line goes.
    """

    unit: str = "lines"
    unseen: int = 0
    clipped: int = 0
    legend: str = ""
    gaps: bool = True
    joins: bool = False
    clip_chars: int = 2_000
    texts: list[str] = field(default_factory=list[str])
    scores: list[float] = field(default_factory=list[float])
    parents: list[int] = field(default_factory=list[int])
    tables: set[int] = field(default_factory=set[int])
    names: dict[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])

    def add(self, text: str, score: float, parent: int = -1) -> int:
        """Adds a line below the others; returns its number, for lines that stand under it."""
        self.texts.append(text)
        self.scores.append(score)
        self.parents.append(parent)
        return len(self.texts) - 1

    @property
    def total(self) -> int:
        return len(self.texts) + self.unseen


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The lines that stay, as text."""

    text: str
    kept_lines: int
    clipped: int = 0
    numbers: frozenset[int] = frozenset()


def whole(outline: Outline) -> str:
    """Every line of the outline."""
    if not outline.joins:
        return "\n".join(outline.texts)
    return "\n".join(text for text, _ in _joined(outline, range(len(outline.texts))))


def fit(outline: Outline, room: Room, deadline: Deadline) -> Fit:
    """The best lines that fit the room, in their order, gaps marked; `text` is "" if none fits."""
    chosen = _choose(outline, room, deadline)
    while chosen:
        deadline.check()
        found = _render(outline, chosen)
        surplus = room.cost(found.text) - room.limit
        if surplus <= 0:
            return found
        _drop_last(outline, chosen, surplus, room)
    return Fit(text="", kept_lines=0)


def _choose(outline: Outline, room: Room, deadline: Deadline) -> dict[int, int]:
    """Line numbers with their costs, in the order of the choice: parents before their children."""
    chosen: dict[int, int] = {}
    left = room.limit
    misses = 0
    scores = outline.scores
    for number in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if misses > _MAX_MISSES or left <= 1:
            break
        deadline.check()
        chain = _unchosen_chain(outline, number, chosen)
        costs = [room.cost(_clip(outline.texts[i], outline.clip_chars)) + 1 for i in chain]
        if sum(costs) > left:
            misses += 1
            continue
        left -= sum(costs)
        chosen.update(zip(chain, costs, strict=True))
    return chosen


def _unchosen_chain(outline: Outline, number: int, chosen: dict[int, int]) -> list[int]:
    chain: list[int] = []
    while number >= 0 and number not in chosen:
        chain.append(number)
        number = outline.parents[number]
    return chain[::-1]


def _drop_last(outline: Outline, chosen: dict[int, int], surplus: int, room: Room) -> None:
    """Takes back the latest choices until the surplus is gone, at least one of them."""
    while chosen:
        _, cost = chosen.popitem()
        surplus -= cost
        if surplus <= 0:
            return


def _render(outline: Outline, chosen: Iterable[int]) -> Fit:
    lines: list[str] = []
    expected = 0
    numbers = sorted(chosen)
    clipped = sum(len(outline.texts[number]) > outline.clip_chars for number in numbers)
    for text, (first, last) in _joined(outline, numbers):
        in_table = outline.parents[first] in outline.tables
        if outline.gaps and first > expected > 0 and not in_table:
            lines.append(_GAP)
        lines.append(text)
        expected = last + 1
    if outline.gaps and expected < len(outline.texts):
        lines.append(_GAP)
    return Fit(
        text="\n".join(lines), kept_lines=len(numbers), clipped=clipped, numbers=frozenset(numbers)
    )


def _joined(outline: Outline, numbers: Sequence[int]) -> Iterator[tuple[str, tuple[int, int]]]:
    """The lines' texts with the first and last number of each; neighbours joined where they may."""
    heads = set(outline.parents) if outline.joins else set[int]()
    text, first, last = "", -1, -1
    for number in numbers:
        line = _clip(outline.texts[number], outline.clip_chars)
        if (
            first >= 0
            and number == last + 1
            and outline.joins
            and outline.parents[number] == outline.parents[first]
            and outline.parents[number] not in outline.tables
            and last not in heads
            and number not in heads
            and len(text) + len(line) <= _JOINED_CHARS
        ):
            text, last = f"{text}{_JOINT}{line.lstrip()}", number
            continue
        if first >= 0:
            yield text, (first, last)
        text, first, last = line, number, number
    if first >= 0:
        yield text, (first, last)


def _clip(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    tail = max_chars // 4
    return f"{text[: max_chars - tail]}{_GAP}{text[-tail:]}"
