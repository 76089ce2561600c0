"""Sums of recorded calls by any dimension; whatever the dimension, they add up to the ledger's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast, get_args

from agentkit.budgets.journal_query import (
    EVERYTHING,
    CallSums,
    GroupSums,
    JournalFilter,
    Key,
    Measures,
)
from agentkit.budgets.store import Store

NO_VALUE = "(none)"
"""Stands for a tag that a call does not have, the outcome of a task that still runs,
or the model of a call whose process died."""
_KEYS = frozenset(get_args(Key)) - {"tags"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportRow:
    """One line of a report: a value for each dimension, and the sums of its calls."""

    values: tuple[str, ...]
    sums: CallSums


def report(
    store: Store,
    by: Sequence[str],
    where: JournalFilter = EVERYTHING,
    *,
    measures: Measures = "basic",
) -> list[ReportRow]:
    """The calls that `where` takes, summed by the dimensions `by`, the dearest first.

    A dimension is a `Key` of the journal (`model`, `day`, `scope`, `outcome`, `source` …) or the
    name of any tag (`feature`, `user`, `team` …). `day` and `hour` are in UTC; with one of them
    first, rows go by time.
    """
    keys = _keys(by)
    places = [keys.index(_key(name)) for name in by]
    merged: dict[tuple[str, ...], CallSums] = {}
    readers = [_Reader(name) for name in by]
    for group in store.sum_calls(keys, where, measures=measures):
        values = tuple(
            read.value(group.key[place]) for read, place in zip(readers, places, strict=True)
        )
        known = merged.get(values)
        merged[values] = group.sums if known is None else known.plus(group.sums)
    rows = [ReportRow(values=values, sums=sums) for values, sums in merged.items()]
    if by and by[0] in ("day", "hour"):
        return sorted(rows, key=lambda row: row.values)
    return sorted(rows, key=lambda row: (-row.sums.cost_nusd, row.values))


def total(store: Store, where: JournalFilter = EVERYTHING) -> CallSums:
    """All measures, summed over every call that `where` takes."""
    groups: list[GroupSums] = store.sum_calls((), where)
    return groups[0].sums if groups else CallSums()


def day_of(number: int) -> str:
    """The date of a day counted from 1970, in UTC."""
    return (_EPOCH + timedelta(days=number)).strftime("%Y-%m-%d")


def tags_of(key: str) -> dict[str, str]:
    """The tags in a key of the journal."""
    return cast("dict[str, str]", json.loads(key))


class _Reader:
    """Turns a key of the journal into the text of one dimension; each tag set is read once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._known: dict[str | int, str] = {}

    def value(self, key: str | int) -> str:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._read(key) or NO_VALUE
        return known

    def _read(self, key: str | int) -> str:
        if self._name == "day":
            return day_of(int(key))
        if self._name == "hour":
            return (_EPOCH + timedelta(hours=int(key))).strftime("%Y-%m-%d %H:00")
        if self._name in _KEYS:
            return "" if key == ":" else str(key)
        return str(tags_of(str(key)).get(self._name, ""))


def _keys(by: Sequence[str]) -> list[Key]:
    return list(dict.fromkeys(_key(name) for name in by))


def _key(name: str) -> Key:
    return cast("Key", name) if name in _KEYS else "tags"
