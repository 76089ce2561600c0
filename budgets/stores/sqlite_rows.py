"""How the SQLite ledger reads and moves its rows, inside a transaction that the store began."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from agentkit.budgets.amount import DIMENSIONS, NOTHING, Amount, Limits
from agentkit.budgets.errors import ReservationUnknown, ScopeMissing
from agentkit.budgets.journal import CallRecord, EventRecord, TaskRecord
from agentkit.budgets.scope import Scope
from agentkit.budgets.store import (
    Account,
    Change,
    Denial,
    ReservationState,
    Settlement,
    charge,
    overrun_of,
)
from agentkit.budgets.stores.sqlite_facts import write_fact, write_outcome

_SCOPE = "SELECT * FROM scope WHERE path = ?"
_ALL_SUMS = """
    settled_nusd, settled_tokens, settled_fresh_tokens, settled_calls,
    held_nusd, held_tokens, held_fresh_tokens, held_calls, unconfirmed_nusd
"""
_SUMS = f"SELECT {_ALL_SUMS} FROM account WHERE path = ? AND window_key = ?"  # noqa: S608  # constants
_NO_SUMS = (0,) * 9
_HOLD = """
    INSERT INTO account VALUES (NULL,?,?,0,0,0,0,?,?,?,?,0)
    ON CONFLICT (path, window_key) DO UPDATE SET
        held_nusd = held_nusd + excluded.held_nusd,
        held_tokens = held_tokens + excluded.held_tokens,
        held_fresh_tokens = held_fresh_tokens + excluded.held_fresh_tokens,
        held_calls = held_calls + excluded.held_calls
    RETURNING id
"""
_MOVE = f"""
    UPDATE account SET
        settled_nusd = settled_nusd + ?, settled_tokens = settled_tokens + ?,
        settled_fresh_tokens = settled_fresh_tokens + ?, settled_calls = settled_calls + ?,
        held_nusd = held_nusd - ?, held_tokens = held_tokens - ?,
        held_fresh_tokens = held_fresh_tokens - ?, held_calls = held_calls - ?,
        unconfirmed_nusd = unconfirmed_nusd + ?
    WHERE id = ? RETURNING {_ALL_SUMS}
"""  # noqa: S608  # constants


def read_scope(row: tuple[Any, ...]) -> Scope:
    """The scope in a row of its table."""
    path, window, timezone, thresholds, *limits = row
    return Scope(
        path=path,
        window=window,
        timezone=timezone,
        thresholds=tuple(json.loads(thresholds)),
        limits=Limits(*limits),
    )


def read_account(db: sqlite3.Connection, path: str, now: float) -> Account:
    """The sums of `path` in its window at `now`; raises ScopeMissing."""
    row = db.execute(_SCOPE, (path,)).fetchone()
    if row is None:
        raise ScopeMissing(path)
    limits = Limits(*row[4:])
    key = "" if row[1] == "total" else read_scope(row).window_key(now)
    sums = db.execute(_SUMS, (path, key)).fetchone() or _NO_SUMS
    return Account(path, key, limits, Amount(*sums[:4]), Amount(*sums[4:8]), sums[8])


def hold(db: sqlite3.Connection, account: Account, worst: Amount) -> int:
    """Add `worst` to what is held; the id of the account, which a dropped scope takes with it."""
    row = db.execute(_HOLD, (account.path, account.window_key, *worst)).fetchone()
    account_id: int = row[0]
    return account_id


def denial_of(account: Account, worst: Amount) -> Denial | None:
    """The first limit that holding `worst` would pass; what asks for nothing is never denied."""
    for i, available in enumerate(account.available):
        limit = account.limits[i]
        if available is None or limit is None or not worst[i] or worst[i] <= available:
            continue
        settled, held = account.settled[i], account.held[i]
        return Denial(account.path, DIMENSIONS[i], worst[i], available, limit, settled, held)
    return None


def settle(
    db: sqlite3.Connection, reservation_id: str, actual: Amount, confirmed: bool
) -> Settlement:
    """Charge `actual`, or leave what `charge` leaves; raises ReservationUnknown."""
    before, worst, charged, accounts = _reservation(db, reservation_id)
    decided = charge(before, actual, confirmed)
    if decided is None:
        return Settlement(reservation_id, before, before, charged, NOTHING, ())
    after, new_charge = decided
    changes = _move(db, accounts, before, after, worst, charged, new_charge)
    _end(db, reservation_id, after, new_charge)
    overrun = overrun_of(worst, actual)
    return Settlement(reservation_id, before, after, new_charge, overrun, changes)


def release(db: sqlite3.Connection, reservation_id: str) -> Settlement:
    """Give back what is held; raises ReservationUnknown."""
    before, worst, charged, accounts = _reservation(db, reservation_id)
    if before != "held":
        return Settlement(reservation_id, before, before, charged, NOTHING, ())
    changes = _move(db, accounts, before, "released", worst, NOTHING, NOTHING)
    _end(db, reservation_id, "released", NOTHING)
    return Settlement(reservation_id, before, "released", NOTHING, NOTHING, changes)


def _reservation(
    db: sqlite3.Connection, reservation_id: str
) -> tuple[ReservationState, Amount, Amount, list[tuple[str, int]]]:
    row = db.execute(
        "SELECT state, accounts, worst_nusd, worst_tokens, worst_fresh_tokens, worst_calls, "
        "charged_nusd, charged_tokens, charged_fresh_tokens, charged_calls "
        "FROM reservation WHERE id = ?",
        (reservation_id,),
    ).fetchone()
    if row is None:
        raise ReservationUnknown(reservation_id)
    accounts = [(path, account_id) for path, account_id in json.loads(row[1])]
    return row[0], Amount(*row[2:6]), Amount(*row[6:10]), accounts


def _move(
    db: sqlite3.Connection,
    accounts: list[tuple[str, int]],
    before: ReservationState,
    after: ReservationState,
    worst: Amount,
    charged: Amount,
    new_charge: Amount,
) -> tuple[Change, ...]:
    """Take the hold off and the charge on, in every account of the reservation."""
    drop = worst if before == "held" else NOTHING
    add = new_charge.minus(charged)
    unconfirmed = new_charge.nusd if after == "forfeited" else 0
    unconfirmed -= charged.nusd if before == "forfeited" else 0
    changes: list[Change] = []
    for path, account_id in accounts:
        sums = db.execute(_MOVE, (*add, *drop, unconfirmed, account_id)).fetchone()
        row = db.execute(_SCOPE, (path,)).fetchone()
        if sums is None or row is None or all(limit is None for limit in row[4:]):
            continue
        settled = Amount(*sums[:4])
        changes.append(
            Change(
                path,
                Limits(*row[4:]),
                tuple(json.loads(row[3])),
                settled.minus(add),
                settled,
                Amount(*sums[4:8]),
            )
        )
    return tuple(changes)


def _end(
    db: sqlite3.Connection, reservation_id: str, state: ReservationState, charged: Amount
) -> None:
    db.execute(
        "UPDATE reservation SET state = ?, charged_nusd = ?, charged_tokens = ?, "
        "charged_fresh_tokens = ?, charged_calls = ? WHERE id = ?",
        (state, *charged, reservation_id),
    )


def write_call(db: sqlite3.Connection, call: CallRecord) -> None:
    """Write a call, or correct it in its place."""
    row = db.execute(
        "INSERT INTO call (id, task_id, at, record) VALUES (?,?,?,?) "
        "ON CONFLICT (id) DO UPDATE SET record = excluded.record RETURNING rowid",
        (call.call_id, call.task_id, call.started_at, json.dumps(call.to_dict())),
    ).fetchone()
    write_fact(db, row[0], call)


def write_task(db: sqlite3.Connection, task: TaskRecord) -> None:
    """Write or replace a task's record, and give its calls its outcome."""
    db.execute(
        "INSERT OR REPLACE INTO task VALUES (?,?,?,?,?)",
        (task.task_id, task.scope, task.started_at, task.outcome, json.dumps(task.to_dict())),
    )
    write_outcome(db, task.task_id, task.outcome)


def write_event(db: sqlite3.Connection, event: EventRecord) -> None:
    """Append to a task's story."""
    db.execute(
        "INSERT INTO event (task_id, at, record) VALUES (?,?,?)",
        (event.task_id, event.at, json.dumps(event.to_dict())),
    )
