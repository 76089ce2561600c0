"""Alike records out of JSON values: fields of nested objects become columns of one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from agentkit.tools.prune.records import Table

Record = dict[str, object]

_MIN_RECORDS = 2
_MAX_RECORD_CHARS = 600
_MAX_NESTED_FIELDS = 12
_MAX_NESTING = 3
_LEAST_FILLED = 0.6
_SAMPLE = 100


def table_of(items: Sequence[object]) -> Table | None:
    """The items as a table where they are records with much the same, mostly plain fields.

    Lists of records that lie side by side become one table whose first column numbers the lists.
    """
    if len(items) < _MIN_RECORDS:
        return None
    if all(isinstance(item, dict) for item in items):
        return _table(cast("Sequence[Record]", items))
    if all(items) and all(isinstance(item, list) for item in items):
        return _grouped(cast("Sequence[Sequence[object]]", items))
    return None


def keyed_table(value: Record) -> Table | None:
    """An object whose values are alike records as a table; its keys are the first column."""
    records = list(value.values())
    if len(records) < _MIN_RECORDS or not all(isinstance(item, dict) for item in records):
        return None
    table = _table(cast("Sequence[Record]", records))
    return None if table is None else _with_column(table, "key", list(value))


def _grouped(groups: Sequence[Sequence[object]]) -> Table | None:
    records = [item for group in groups for item in group]
    if not all(isinstance(item, dict) for item in records):
        return None
    table = _table(cast("Sequence[Record]", records))
    numbers = [number for number, group in enumerate(groups) for _ in group]
    return None if table is None else _with_column(table, "#", numbers)


def _with_column(table: Table, name: str, column: Sequence[object]) -> Table:
    return Table(names=[name, *table.names], columns=[column, *table.columns])


def _table(records: Sequence[Record]) -> Table | None:
    if len(records) < _MIN_RECORDS:
        return None
    sample = records[:: max(1, len(records) // _SAMPLE)]
    if any(isinstance(value, dict) for record in sample for value in record.values()):
        records = [dict(_flat(record, "", 0)) for record in records]
        sample = records[:: max(1, len(records) // _SAMPLE)]
    names: dict[str, None] = {}
    for record in sample:
        names.update(dict.fromkeys(record))
    filled = sum(len(record) for record in sample)
    if not names or filled < _LEAST_FILLED * len(names) * len(sample):
        return None
    width = sum(len(str(value)[:1000]) for record in sample for value in record.values())
    if width > _MAX_RECORD_CHARS * len(sample):
        return None
    return _columns(records, names)


def _columns(records: Sequence[Record], names: dict[str, None]) -> Table:
    columns: list[Sequence[object]] = [[record.get(name) for record in records] for name in names]
    for record in records:  # keys that the sample lacked must not get lost
        if not record.keys() <= names.keys():
            others = [{k: r[k] for k in r.keys() - names.keys()} or None for r in records]
            return Table(names=[*names, "…"], columns=[*columns, others])
    return Table(names=list(names), columns=columns)


def _flat(record: Record, prefix: str, depth: int) -> Iterator[tuple[str, object]]:
    for name, value in record.items():
        if isinstance(value, dict) and depth < _MAX_NESTING:
            nested = cast("Record", value)
            if len(nested) <= _MAX_NESTED_FIELDS:
                yield from _flat(nested, f"{prefix}{name}.", depth + 1)
                continue
        yield f"{prefix}{name}", value
