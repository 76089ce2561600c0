"""What earlier observations of a task have told already, so that it is not told again."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

from agentkit.tools.prune.outline import Outline

_NUMBER = re.compile(r"\d+ ")
_SHOWN_LINES = 2
_LEAST_LINES = 4
_LEAST_CHARS = 80
_LONG_TEXT_CHARS = 200
_NAMED_CHARS = 60
_NAMED_FIELDS = 2
_MAX_NAME_CHARS = 80
_MAX_DEPTH = 40
_MAX_REMEMBERED = 400_000
_AS_BEFORE = "as before"


@dataclass(frozen=True, kw_only=True)
class _Read:
    """A value as it is shown, its hash, and about how many characters it has."""

    shown: object
    key: int
    chars: int


@dataclass(kw_only=True)
class Earlier:
    """Remembers the observations of one task: objects, long texts, and which lines followed which.

    Lines are told apart without their indentation and number. What comes again is named: an object
    by its first fields, a long text by its beginning, a run of lines by its first two.
    """

    _pairs: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    _values: set[int] = field(default_factory=set[int])
    _folded: int = 0

    def copy(self) -> Earlier:
        """Another one that remembers the same."""
        return Earlier(_pairs=set(self._pairs), _values=set(self._values))

    def fold_values(self, value: object) -> object:
        """`value` with the objects and long texts in it that were told before named only."""
        told: set[int] = set()
        shown = self._read(value, told, 0).shown
        if len(self._values) + len(told) > _MAX_REMEMBERED:
            self._values.clear()
        self._values |= told
        return shown

    def fold(self, outline: Outline) -> int:
        """Takes the runs that were told before out of `outline`, and remembers its lines.

        Returns how many lines went, and values since the last time.
        """
        keys = [hash(_numberless(text.strip())) for text in outline.texts]
        told = self._told(outline, keys)
        if len(self._pairs) + len(keys) > _MAX_REMEMBERED:
            self._pairs.clear()
        self._pairs.update(pairwise(keys))
        folded, self._folded = self._folded, 0
        return folded + _take_out(outline, told)

    def _read(self, value: object, told: set[int], depth: int) -> _Read:
        if depth >= _MAX_DEPTH:
            return _Read(shown=value, key=id(value), chars=0)
        if isinstance(value, dict):
            return self._read_object(cast("dict[str, object]", value), told, depth)
        if isinstance(value, list):
            items = [self._read(item, told, depth + 1) for item in cast("list[object]", value)]
            return _Read(
                shown=[item.shown for item in items],
                key=hash(tuple(item.key for item in items)),
                chars=sum(item.chars for item in items),
            )
        text = value if isinstance(value, str) else repr(value)
        key = hash(text)
        if len(text) >= _LONG_TEXT_CHARS and self._knows(key, told):
            value = f"{text[:_NAMED_CHARS].strip()}… [{_AS_BEFORE}]"
        return _Read(shown=value, key=key, chars=len(text))

    def _read_object(self, value: dict[str, object], told: set[int], depth: int) -> _Read:
        fields = {name: self._read(item, told, depth + 1) for name, item in value.items()}
        key = hash(tuple((name, item.key) for name, item in fields.items()))
        chars = sum(len(name) + item.chars for name, item in fields.items())
        shown: object = {name: item.shown for name, item in fields.items()}
        if chars >= _LEAST_CHARS and self._knows(key, told):
            shown = _named(value)
        return _Read(shown=shown, key=key, chars=chars)

    def _knows(self, key: int, told: set[int]) -> bool:
        """Whether an earlier observation had it; it is remembered for the next one."""
        told.add(key)
        known = key in self._values
        self._folded += known
        return known

    def _told(self, outline: Outline, keys: list[int]) -> list[tuple[int, int]]:
        """First line and end of each run that is long enough to be worth its mark."""
        found: list[tuple[int, int]] = []
        start = 0
        while start < len(keys):
            end = start + 1
            while end < len(keys) and (keys[end - 1], keys[end]) in self._pairs:
                end += 1
            chars = sum(len(text) for text in outline.texts[start + _SHOWN_LINES : end])
            if end - start >= _LEAST_LINES and chars >= _LEAST_CHARS:
                found.append((start, end))
            start = end
        return found


def _numberless(line: str) -> str:
    number = _NUMBER.match(line)
    return line[number.end() :] if number else line


def _named(value: dict[str, object]) -> object:
    """The first plain fields of an object that was told before."""
    named: dict[str, object] = {}
    for name, item in value.items():
        plain = isinstance(item, (str, int, float)) and len(str(item)) <= _MAX_NAME_CHARS
        if len(named) == _NAMED_FIELDS or not plain:
            break
        named[name] = item
    return {**named, "…": _AS_BEFORE}


def _take_out(outline: Outline, told: list[tuple[int, int]]) -> int:
    """Leaves of each run its first lines and a mark; what stands under others stays in place."""
    if not told:
        return 0
    gone: dict[int, tuple[int, int]] = {}
    for start, end in told:
        gone.update(dict.fromkeys(range(start + _SHOWN_LINES, end), (start, end)))
    kept = Outline(unit=outline.unit)
    places: dict[int, int] = {-1: -1}
    for number, text in enumerate(outline.texts):
        parent = places[outline.parents[number]]
        if number not in gone:
            places[number] = kept.add(text, outline.scores[number], parent)
            if number in outline.tables:
                kept.tables.add(places[number])
            if number in outline.names:
                kept.names[places[number]] = outline.names[number]
            continue
        start, end = gone[number]
        places[number] = places[start]
        if number == start + _SHOWN_LINES:
            indent = " " * (len(text) - len(text.lstrip()))
            mark = f"{indent}[{end - number} lines {_AS_BEFORE}]"
            kept.add(mark, outline.scores[start], places[outline.parents[start]])
    outline.texts, outline.scores, outline.parents = kept.texts, kept.scores, kept.parents
    outline.tables, outline.names = kept.tables, kept.names
    return len(gone)
