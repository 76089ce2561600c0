"""What earlier observations of a task have told already, so that it is not told again."""

from __future__ import annotations

from agentkit.tools.prune.outline import Outline

_SHOWN_LINES = 2
_LEAST_LINES = 4
_LEAST_CHARS = 80
_LONG_TEXT_CHARS = 200
_NAMED_CHARS = 60
_MAX_PAIRS = 400_000


class Earlier:
    """Remembers which lines followed which in the observations of one task.

    Lines are told apart by their hash, without their indentation; a run that comes again is shown
    by its first two lines and the count of the others.
    """

    def __init__(self) -> None:
        self._pairs: set[tuple[int, int]] = set()
        self._values: set[int] = set()
        self.folded = 0

    def copy(self) -> Earlier:
        """Another one that remembers the same."""
        other = Earlier()
        other._pairs = set(self._pairs)
        other._values = set(self._values)
        return other

    def fold_values(self, value: object) -> object:
        """`value` with the objects and long texts in it that were told before named only."""
        told: set[int] = set()
        folded = self._folded(value, told, 0)[0]
        self._values |= told
        return folded

    def _folded(self, value: object, told: set[int], depth: int) -> tuple[object, int, int]:
        """The value to show, its hash, and about how many characters it has."""
        if isinstance(value, dict) and depth < 40:
            parts = {k: self._folded(v, told, depth + 1) for k, v in value.items()}
            key = hash(tuple((k, h) for k, (_, h, _) in parts.items()))
            size = sum(len(str(k)) + s for k, (_, _, s) in parts.items())
            if size >= _LEAST_CHARS:
                told.add(key)
                if key in self._values:
                    self.folded += 1
                    return _named(value), key, size
            return {k: v for k, (v, _, _) in parts.items()}, key, size
        if isinstance(value, list) and depth < 40:
            items = [self._folded(v, told, depth + 1) for v in value]
            key = hash(tuple(h for _, h, _ in items))
            return [v for v, _, _ in items], key, sum(s for _, _, s in items)
        text = value if isinstance(value, str) else repr(value)
        key = hash(text)
        if len(text) >= _LONG_TEXT_CHARS:
            told.add(key)
            if key in self._values:
                self.folded += 1
                return f"{text[:_NAMED_CHARS].strip()}… [as before]", key, len(text)
        return value, key, len(text)

    def fold(self, outline: Outline) -> int:
        """Takes the runs that were told before out of `outline`; returns how many lines went.

        What is left is remembered with the rest.
        """
        keys = [hash(text.strip()) for text in outline.texts]
        told = self._told(outline, keys)
        self._remember(outline, keys)
        return _take_out(outline, told)

    def _told(self, outline: Outline, keys: list[int]) -> list[tuple[int, int]]:
        """The first line and the end of each run that is long enough to be worth its mark."""
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

    def _remember(self, outline: Outline, keys: list[int]) -> None:
        if len(self._pairs) + len(keys) > _MAX_PAIRS:
            self._pairs.clear()
        self._pairs.update(zip(keys, keys[1:], strict=False))


def _named(value: dict[str, object]) -> object:
    """The first plain fields of an object that was told before."""
    named: dict[str, object] = {}
    for name, item in value.items():
        if len(named) == 2 or not isinstance(item, (str, int, float)) or len(str(item)) > 80:
            break
        named[name] = item
    return {**named, "…": "as before"}


def _take_out(outline: Outline, told: list[tuple[int, int]]) -> int:
    """Leaves of each run its first lines and a mark; lines that stand under others stay in place."""
    if not told:
        return 0
    gone: dict[int, tuple[int, int]] = {}
    for start, end in told:
        for number in range(start + _SHOWN_LINES, end):
            gone[number] = (start, end)
    places: dict[int, int] = {-1: -1}
    texts, scores, parents, tables, names = [], [], [], set[int](), {}
    for number, text in enumerate(outline.texts):
        if number in gone:
            start, end = gone[number]
            places[number] = places[start]
            if number == start + _SHOWN_LINES:
                indent = " " * (len(text) - len(text.lstrip()))
                texts.append(f"{indent}[{end - number} lines as before]")
                scores.append(outline.scores[start])
                parents.append(places[start])
            continue
        places[number] = len(texts)
        texts.append(text)
        scores.append(outline.scores[number])
        parents.append(places[outline.parents[number]])
        if number in outline.tables:
            tables.add(places[number])
        if number in outline.names:
            names[places[number]] = outline.names[number]
    outline.texts, outline.scores, outline.parents = texts, scores, parents
    outline.tables, outline.names = tables, names
    return len(gone)
