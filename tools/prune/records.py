"""Alike records as a table: a header, what the columns hold, and the rows that tell most."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from agentkit.tools.prune.escapes import unmarked
from agentkit.tools.prune.outline import Ask, Outline
from agentkit.tools.prune.salience import is_trouble, names_something, salience

_HEAD_ROWS = 20
_TAIL_ROWS = 5
_SAMPLED_ROWS = 200
_MAX_ASKED_ROWS = 200
_MAX_CELL_CHARS = 300
_LEAST_CELL_CHARS = 80
_MAX_COLUMNS = 60
_MAX_HEAD_CHARS = 160
_EMPTY = "-"
_FEW_VALUES = 8
_MAX_COUNTED_ROWS = 200_000


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns with their names; every column has a cell for each row."""

    names: Sequence[str]
    columns: Sequence[Sequence[object]]

    @property
    def rows(self) -> int:
        return len(self.columns[0]) if self.columns else 0


def add_table(outline: Outline, table: Table, ask: Ask, *, title: str, parent: int) -> None:
    """Adds a table's header, its columns' ranges and counts, and its most telling rows."""
    indent = " " * (len(title) - len(title.lstrip()))
    shown, same = _varying(table)
    asked = _asked_rows(shown, ask)
    outliers = set[int]().union(*map(_outliers, shown.columns))
    rows = _cells(shown, _candidates(table.rows, asked.keys() | outliers), outline, ask)
    names = [_one_line(str(name)) for name in shown.names]
    between, empty = (" ", _EMPTY) if all(map(_are_words, (names, *rows.values()))) else ("|", "")
    header = between.join(name or empty for name in names)
    head = _add_head(outline, f"{title}[{table.rows}]: {header}", same, indent, parent)
    if table.rows > _HEAD_ROWS:
        for note in _aggregates(shown, ask):
            outline.add(f"{indent} ({note})", 18.0, head)
    naming = [names_something(str(name)) for name in shown.names]
    for number, cells in rows.items():
        ask.deadline.check()
        text = between.join(cell or empty for cell in cells)
        score = 40.0 * asked.get(number, 0.0) + 12.0 * is_trouble(text) + 6.0 * salience(text)
        score += (
            14.0 * (number in outliers)
            + 10.0 / (1 + number / 4)
            + (4.0 if number == table.rows - 1 else 0.0)
        )
        added = outline.add(f"{indent} {text}", score + 4.0, head)
        outline.names[added] = tuple(
            cell for cell, named in zip(cells, naming, strict=True) if named and len(cell) < 120
        )
    outline.unseen += table.rows - len(rows)


def _add_head(outline: Outline, names: str, same: str, indent: str, parent: int) -> int:
    """Adds the header, with what all rows have in common on its line or, if long, on the next."""
    told = f"{names}; each row: {same}" if same else names
    is_short = len(told) <= _MAX_HEAD_CHARS
    head = outline.add(told if is_short else names, 30.0, parent)
    outline.tables.add(head)
    if same and not is_short:
        outline.add(f"{indent} (each row: {same})", 28.0, head)
    return head


def _cells(
    shown: Table, numbers: Sequence[int], outline: Outline, ask: Ask
) -> dict[int, list[str]]:
    """The cells of rows as text, by row."""
    max_chars = ask.room.limit_chars // (2 * min(max(shown.rows, 2), 8))
    max_chars = max(_LEAST_CELL_CHARS, min(_MAX_CELL_CHARS, max_chars))
    rows: dict[int, list[str]] = {}
    for number in numbers:
        ask.deadline.check()
        rows[number] = [cell_text(column[number], max_chars) for column in shown.columns]
        outline.clipped += sum(len(cell) > max_chars for cell in rows[number])
    return rows


def _are_words(cells: Sequence[str]) -> bool:
    """Whether blanks tell the cells apart, with a dash for those that are empty."""
    return all(cell != _EMPTY and " " not in cell and "\t" not in cell for cell in cells)


def _varying(table: Table) -> tuple[Table, str]:
    """The columns that tell rows apart, and those that hold one value throughout, as text."""
    names: list[str] = []
    columns: list[Sequence[object]] = []
    same: list[str] = []
    for name, column in zip(table.names[:_MAX_COLUMNS], table.columns, strict=False):
        first = column[0]
        if twin := next((n for n, c in zip(names, columns, strict=True) if c == column), None):
            same.append(f"{name} as {twin}")
            continue
        if table.rows > 1 and column.count(first) == table.rows:
            if first not in (None, "", [], {}):
                same.append(f"{name} {cell_text(first)}")
        else:
            names.append(str(name))
            columns.append(column)
    if not columns:
        return Table(names=table.names[:1], columns=table.columns[:1]), ", ".join(same)
    return Table(names=names, columns=columns), ", ".join(same)


def cell_text(value: object, max_chars: int = _MAX_CELL_CHARS) -> str:
    """One cell on one line, of at most about `max_chars`."""
    if isinstance(value, str):
        text = unmarked(value).strip()
    elif value is None:
        text = ""
    elif isinstance(value, (dict, list)):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    else:
        text = json.dumps(value) if isinstance(value, bool) else str(value)
    if len(text) > max_chars:
        text = f"{text[:max_chars]}…"
    return _one_line(text)


def _one_line(text: str) -> str:
    return " ".join(text.split()) if "\n" in text or "\r" in text or "   " in text else text


def _asked_rows(table: Table, ask: Ask) -> dict[int, float]:
    """Rows that speak of the query; a row with two of its terms goes before one with either."""
    found: dict[int, float] = {}
    if not ask.terms.words or not table.rows:
        return found
    for column in table.columns:
        ask.deadline.check()
        cells = [value if isinstance(value, str) else str(value) for value in column]
        if sum(map(len, cells)) > 50 * 1024 * 1024:
            continue
        for number, weight in ask.terms.hits([_one_line(cell) for cell in cells]).items():
            found[number] = found.get(number, 0.0) + weight
    best = sorted(found, key=lambda number: -found[number])[:_MAX_ASKED_ROWS]
    return {number: found[number] for number in best}


def _candidates(rows: int, telling: set[int]) -> list[int]:
    """The first and last rows, an even sample, and those that tell something."""
    chosen = set(range(min(_HEAD_ROWS, rows))) | set(range(max(0, rows - _TAIL_ROWS), rows))
    return sorted(chosen | telling | set(range(0, rows, max(1, rows // _SAMPLED_ROWS))))


def _outliers(column: Sequence[object]) -> set[int]:
    """The rows of the least and the greatest number, and of values that are rare where few are."""
    numbers = _numbers(column)
    if numbers and len(numbers) == len(column):
        return {numbers.index(min(numbers)), numbers.index(max(numbers))}
    counts = _counts(column)
    if counts is None or len(counts) > 3 * _FEW_VALUES:
        return set()
    rare = [value for value, count in counts.items() if count <= 2 and len(column) > _HEAD_ROWS]
    texts = list(map(_counted, column))
    return {texts.index(value) for value in rare}


def _aggregates(table: Table, ask: Ask) -> list[str]:
    notes: list[str] = []
    for name, column in zip(table.names, table.columns, strict=True):
        ask.deadline.check()
        numbers = _numbers(column)
        if len(numbers) > len(column) // 2:
            total = sum(numbers)
            is_sum = abs(total) < 1e15 and not str(name).lower().endswith("id")
            sum_text = f", sum {total:.12g}" if is_sum else ""
            notes.append(f"{name}: {min(numbers):.12g} to {max(numbers):.12g}{sum_text}")
            continue
        counts = _counts(column)
        if counts and 1 < len(counts) <= _FEW_VALUES:
            most = ", ".join(f"{value or '(none)'} {n}" for value, n in counts.most_common())
            notes.append(f"{name}: {most}")
    return notes


def _numbers(column: Sequence[object]) -> list[float]:
    """The column's numbers, also those written as text; [] where the first cells are none."""
    if not any(_number(value) is not None for value in column[:5]):
        return []
    if all(isinstance(value, str) for value in column[:5]):
        with suppress(ValueError, TypeError, OverflowError):
            found = list(map(float, cast("Sequence[str]", column)))
            return found if all(map(math.isfinite, found)) else []
    numbers = (_number(value) for value in column[:_MAX_COUNTED_ROWS])
    return [number for number in numbers if number is not None]


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)) or (
        isinstance(value, str) and len(value) < 20 and value[:1] in "-0123456789." and value
    ):
        try:
            found = float(value)
        except (ValueError, OverflowError):
            return None
        return found if abs(found) < 1e300 else None
    return None


def _counts(column: Sequence[object]) -> Counter[str] | None:
    """How often each value stands there; None where there are too many, judged by a sample."""
    sample = column[:: max(1, len(column) // 200)]
    if len(set(map(_counted, sample))) > 3 * _FEW_VALUES:
        return None
    return Counter(map(_counted, column[:_MAX_COUNTED_ROWS]))


def _counted(value: object) -> str:
    if isinstance(value, str):
        return value if len(value) < 60 else value[:60]
    return "" if value is None else str(value)[:60]
