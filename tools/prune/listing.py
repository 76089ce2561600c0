"""Tables as text, directory listings and search results: entries grouped by what they share."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from agentkit.tools.prune.detect import delimiter_of
from agentkit.tools.prune.outline import Ask, Outline
from agentkit.tools.prune.prose import add_prose
from agentkit.tools.prune.records import Table, add_table
from agentkit.tools.prune.salience import is_trouble, salience

_RULE = re.compile(r"[\s|:+=-]+")
_HIT = re.compile(r"((?:[\w.\-~]*[/\\])*[\w.\-]{1,200})([:-]\d+[:-].*)", re.DOTALL)
_FIELD_LIMIT_CHARS = 131_072
_MAX_ENTRIES = 4_000
_MAX_COLUMNS = 200


def table_outline(text: str, ask: Ask) -> Outline:
    """The table of delimited text; what stands around it as text. Raises ValueError for none."""
    lines = text.split("\n")
    delimiter = delimiter_of([line for line in lines[:60] if line.strip()])
    if delimiter is None:
        raise ValueError("no delimiter")
    rows = _rows(lines, delimiter, ask)
    width = len(rows[0])
    columns = [[row[i] if i < len(row) else "" for row in rows[1:]] for i in range(width)]
    beyond = [delimiter.join(row[width:]) for row in rows[1:]]
    if any(beyond):
        columns.append(beyond)
    outline = Outline(unit="rows")
    names = [*rows[0], *(["…"] if any(beyond) else [])]
    add_table(outline, Table(names=names, columns=columns), ask, title="rows", parent=-1)
    return outline


def _rows(lines: Sequence[str], delimiter: str, ask: Ask) -> list[list[str]]:
    if delimiter == "|":
        kept = [line for line in lines if line.strip() and not _RULE.fullmatch(line[:2000])]
        return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in kept]
    rows: list[list[str]] = []
    try:
        for row in csv.reader((line for line in lines if line.strip()), delimiter=delimiter):
            rows.append(row[:_MAX_COLUMNS])
            if len(rows) % 1024 == 0:
                ask.deadline.check()
    except csv.Error as error:
        raise ValueError(str(error)) from None
    return rows


def listing_outline(text: str, ask: Ask) -> Outline:
    """Entries of a listing; paths of one folder are shown under it, once."""
    lines = [line.rstrip() for line in text.split("\n") if line.strip()]
    outline = Outline(unit="entries")
    asked = ask.terms.hits(lines)
    numbers = _sampled(len(lines), asked)
    outline.unseen = len(lines) - len(numbers)
    folders: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for line in lines:
        folder = line.rpartition("/")[0]
        sizes[folder] = sizes.get(folder, 0) + 1
    for number in numbers:
        ask.deadline.check()
        line = lines[number]
        folder, slash, name = line.rpartition("/")
        score = 30.0 * asked.get(number, 0.0) + 4.0 * min(1.0, salience(line))
        score += 6.0 / (1 + number / 10)
        if not slash or not name or sizes[folder] < 3 or " " in folder:
            outline.add(line, score)
            continue
        if folder not in folders:
            folders[folder] = outline.add(f"{folder}/ ({sizes[folder]}):", 10.0 - folder.count("/"))
        outline.add(f" {name}", score, folders[folder])
    return outline


def search_outline(text: str, ask: Ask) -> Outline:
    """Hits in their files for the output of a code search; other results as text."""
    lines = [line.rstrip() for line in text.split("\n") if line.strip()]
    if sum(_HIT.match(line[:1000]) is not None for line in lines[:60]) < min(len(lines), 60) // 2:
        outline = Outline(unit="sentences")
        add_prose(outline, text, ask, indent="", parent=-1)
        return outline
    outline = Outline(unit="hits")
    asked = ask.terms.hits(lines)
    numbers = _sampled(len(lines), asked)
    outline.unseen = len(lines) - len(numbers)
    files: dict[str, tuple[int, int]] = {}
    for number in numbers:
        ask.deadline.check()
        match = _HIT.match(lines[number][:2_000])
        if match is None:
            outline.add(lines[number], 4.0 + 20.0 * asked.get(number, 0.0))
            continue
        path, rest = match.groups()
        if path not in files:
            files[path] = (outline.add(path, 14.0), 0)
        head, shown = files[path]
        files[path] = (head, shown + 1)
        score = 12.0 / (1 + shown) + 20.0 * asked.get(number, 0.0) + 4.0 * is_trouble(rest)
        outline.add(f" {rest[1:]}", score, head)
    return outline


def _sampled(count: int, asked: dict[int, float]) -> list[int]:
    if count <= _MAX_ENTRIES:
        return list(range(count))
    kept = set(range(0, count, count // (_MAX_ENTRIES // 2))) | set(range(200))
    kept |= set(sorted(asked, key=lambda number: -asked[number])[:_MAX_ENTRIES])
    return sorted(kept)
