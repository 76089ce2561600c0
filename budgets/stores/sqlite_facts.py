"""The journal's calls as rows of integers, which SQLite sums in a fraction of a second.

A call's JSON record stays in the table `call`; what is grouped and summed stands in `fact` beside
it, written in the same transaction. Texts are numbered in `label`, so that a row is about 80 bytes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from agentkit.budgets.journal import CallRecord, Outcome
from agentkit.budgets.journal_query import (
    BASIC,
    CallSums,
    GroupSums,
    JournalFilter,
    Key,
    Measures,
    TaskGroup,
    TaskKey,
    at_ms,
    is_escalated,
    measured,
    tags_key,
)

_KINDS = ("task", "scope", "model", "tags", "outcome", "prefix", "purpose", "status", "source")
_TASK, _SCOPE, _MODEL, _TAGS, _OUTCOME = _KINDS[:5]
_PLAIN = ("tier", "step", "confirmed", "escalated")
_SUMMED = tuple(name for name in CallSums._fields if name != "calls")
_COLUMNS = ("call", "at_ms", *_KINDS, *_PLAIN, *_SUMMED)

FACT_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS label (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, text TEXT NOT NULL, UNIQUE (kind, text))""",
    "CREATE TABLE IF NOT EXISTS fact (call INTEGER PRIMARY KEY, "
    + ", ".join(f"{name} INTEGER NOT NULL" for name in _COLUMNS[1:])
    + ")",
    "CREATE INDEX IF NOT EXISTS fact_time ON fact "
    "(at_ms, cost_nusd, input_tokens, cache_read_tokens)",
    "CREATE INDEX IF NOT EXISTS fact_task ON fact (task, tags, outcome, scope, at_ms, cost_nusd)",
)
_WRITE = (
    f"INSERT OR REPLACE INTO fact ({', '.join(_COLUMNS)}) VALUES ({','.join('?' * len(_COLUMNS))})"  # noqa: S608  # constants
)
_NUMBER = "(SELECT id FROM label WHERE kind = '{}' AND text = ?)"
_NUMBERS = f"SELECT {', '.join(map(_NUMBER.format, _KINDS))}"
_BACKFILLED_AT_ONCE = 1000
_ASKED_AT_ONCE = 500
_EXPRESSIONS: dict[str, str] = {"at": "at_ms", "hour": "at_ms / 3600000", "day": "at_ms / 86400000"}


def write_fact(db: sqlite3.Connection, rowid: int, call: CallRecord) -> None:
    """Write, or correct, the row of the call whose record is at `rowid`."""
    found = db.execute("SELECT outcome FROM task WHERE task_id = ?", (call.task_id,)).fetchone()
    db.execute(_WRITE, _row(db, rowid, call, found[0] if found else None))


def write_outcome(db: sqlite3.Connection, task_id: str, outcome: Outcome | None) -> None:
    """Give the calls of a task its outcome."""
    known = db.execute(
        "SELECT id FROM label WHERE kind = 'task' AND text = ?", (task_id,)
    ).fetchone()
    if known is not None:
        db.execute(
            "UPDATE fact SET outcome = ? WHERE task = ?",
            (_label(db, _OUTCOME, outcome or ""), known[0]),
        )


def backfill(db: sqlite3.Connection) -> None:
    """Write the rows of all calls that were recorded before there were any."""
    last = 0
    while True:
        rows = db.execute(
            "SELECT c.rowid, c.record, t.outcome FROM call c LEFT JOIN task t USING (task_id) "
            "WHERE c.rowid > ? ORDER BY c.rowid LIMIT ?",
            (last, _BACKFILLED_AT_ONCE),
        ).fetchall()
        if not rows:
            return
        for rowid, record, outcome in rows:
            db.execute(_WRITE, _row(db, rowid, CallRecord.from_dict(json.loads(record)), outcome))
        last = rows[-1][0]


def sum_facts(
    db: sqlite3.Connection,
    by: Sequence[Key],
    where: JournalFilter,
    measures: Measures,
    dearest: int | None,
) -> list[GroupSums]:
    """The sums of the calls that are meant, in the order of their keys or of their cost."""
    keys = [_EXPRESSIONS.get(name, name) for name in by]
    wanted = BASIC if measures == "basic" else CallSums._fields
    sums = [
        "COUNT(*)" if name == "calls" else f"SUM({name})" if name in wanted else "0"
        for name in CallSums._fields
    ]
    condition, values = condition_of(where)
    rows = db.execute(
        f"SELECT {', '.join([*keys, *sums])} FROM fact WHERE {condition} "  # noqa: S608  # names of ours, values are bound
        + (f"GROUP BY {', '.join(str(n + 1) for n in range(len(keys)))}" if keys else "")
        + ("" if dearest is None else f" ORDER BY SUM(cost_nusd) DESC LIMIT {int(dearest)}"),
        values,
    ).fetchall()
    if not keys:
        return [GroupSums((), CallSums._make(row)) for row in rows if row[0]]
    texts = {
        at: _texts(db, name, {row[at] for row in rows})
        for at, name in enumerate(by)
        if name in _KINDS
    }
    cut = len(keys)
    groups = [
        GroupSums(
            tuple(texts[at][part] if at in texts else part for at, part in enumerate(row[:cut])),
            CallSums._make(row[cut:]),
        )
        for row in rows
    ]
    return sorted(groups) if dearest is None else groups


def sum_tasks(
    db: sqlite3.Connection, by: Sequence[TaskKey], where: JournalFilter
) -> list[TaskGroup]:
    """The tasks of the calls that are meant, in the order of their keys."""
    condition, values = condition_of(where)
    each = f"SELECT {', '.join([*by, 'SUM(cost_nusd) AS cost'])} FROM fact "  # noqa: S608  # names of ours, values are bound
    rows = db.execute(
        f"SELECT {', '.join([*by, 'COUNT(*)', 'SUM(cost)', 'SUM(1.0 * cost * cost)'])} "  # noqa: S608  # as above
        f"FROM ({each} WHERE {condition} GROUP BY task)"
        + (f" GROUP BY {', '.join(by)}" if by else ""),
        values,
    ).fetchall()
    texts = [_texts(db, name, {row[at] for row in rows}) for at, name in enumerate(by)]
    cut = len(by)
    return sorted(
        TaskGroup(tuple(texts[at][row[at]] for at in range(cut)), *row[cut:])
        for row in rows
        if row[cut]
    )


def condition_of(where: JournalFilter) -> tuple[str, list[Any]]:
    """The WHERE of a filter over `fact`, and the values that it binds."""
    parts: list[str] = ["1"]
    values: list[Any] = []

    def labelled(column: str, condition: str, *bound: Any) -> None:
        parts.append(f"{column} IN (SELECT id FROM label WHERE kind = '{column}' AND {condition})")  # noqa: S608  # constants
        values.extend(bound)

    if where.since is not None:
        parts.append("at_ms >= ?")
        values.append(where.since * 1000)
    if where.until is not None:
        parts.append("at_ms < ?")
        values.append(where.until * 1000)
    if where.scope is not None:
        below = f"{where.scope}/"
        labelled(_SCOPE, "(text = ? OR substr(text, 1, ?) = ?)", where.scope, len(below), below)
    if where.task_id is not None:
        labelled(_TASK, "text = ?", where.task_id)
    if where.model is not None:
        rest = "substr(text, instr(text, ':') + 1) = ?"
        labelled(_MODEL, f"(text = ? OR {rest})", where.model, where.model)
    if where.outcome is not None:
        labelled(_OUTCOME, "text = ?", where.outcome)
    for name, value in where.tags.items():
        labelled(
            _TAGS, "EXISTS (SELECT 1 FROM json_each(text) WHERE key = ? AND value = ?)", name, value
        )
    return " AND ".join(parts), values


def _row(
    db: sqlite3.Connection, rowid: int, call: CallRecord, outcome: Outcome | None
) -> tuple[int, ...]:
    texts = (
        call.task_id,
        call.scope,
        f"{call.provider}:{call.model}",
        tags_key(call.tags),
        outcome or "",
        call.prefix,
        call.purpose,
        call.status,
        call.cost_source,
    )
    known = db.execute(_NUMBERS, texts).fetchone()
    named = zip(known, _KINDS, texts, strict=True)
    labels = [number or _label(db, kind, text) for number, kind, text in named]
    plain = (call.tier, call.step, int(call.confirmed), is_escalated(call))
    return (rowid, at_ms(call), *labels, *plain, *measured(call)[1:])


def _label(db: sqlite3.Connection, kind: str, text: str) -> int:
    """The number of a text; looked up each time, for what a failed transaction numbered is gone."""
    row = db.execute("SELECT id FROM label WHERE kind = ? AND text = ?", (kind, text)).fetchone()
    if row is None:
        row = db.execute(
            "INSERT INTO label (kind, text) VALUES (?,?) RETURNING id", (kind, text)
        ).fetchone()
    number: int = row[0]
    return number


def _texts(db: sqlite3.Connection, kind: str, wanted: set[int]) -> dict[int, str]:
    if len(wanted) <= _ASKED_AT_ONCE:
        rows = db.execute(
            f"SELECT id, text FROM label WHERE id IN ({','.join('?' * len(wanted))})",  # noqa: S608  # marks
            list(wanted),
        )
    else:
        rows = db.execute("SELECT id, text FROM label WHERE kind = ?", (kind,))
    return dict(rows.fetchall())
