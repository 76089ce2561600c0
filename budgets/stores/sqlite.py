"""A ledger store in one SQLite file: exact across threads and processes, kept across restarts.

WAL mode, one `BEGIN IMMEDIATE` transaction a verb. `synchronous=FULL` (default) keeps every settled
call through a power cut; `synchronous=NORMAL` is faster and may lose the last ones on a power cut,
never on a crash of the process (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self, cast
from urllib.parse import parse_qs

from agentkit.budgets.amount import Amount, Limits
from agentkit.budgets.errors import ReservationConflict, StoreError
from agentkit.budgets.journal import CallRecord, EventRecord, PaidResponse, TaskRecord
from agentkit.budgets.journal_query import (
    EVERYTHING,
    GroupSums,
    JournalFilter,
    Key,
    Measures,
    TaskGroup,
    TaskKey,
)
from agentkit.budgets.scope import Scope
from agentkit.budgets.store import Account, Denial, Grant, Settlement
from agentkit.budgets.stores.sqlite_facts import (
    backfill,
    condition_of,
    sum_facts,
    sum_tasks,
)
from agentkit.budgets.stores.sqlite_file import SqliteFile, Synchronous
from agentkit.budgets.stores.sqlite_rows import (
    denial_of,
    hold,
    read_account,
    read_scope,
    release,
    settle,
    write_call,
    write_event,
    write_task,
)
from agentkit.budgets.stores.sqlite_schema import (
    FIRST_WITHOUT_FACTS,
    SCHEMA,
    SCHEMA_VERSION,
    THREAD,
)

_CALLS_A_PAGE = 500
_TASKS_A_PAGE = 200


class SqliteStore:
    """Implements Store over one database file."""

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: Synchronous = "FULL",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open or create the file at `path`.

        Raises StoreError where it cannot be opened, is no database, or is of a later version.
        """
        if synchronous not in ("FULL", "NORMAL"):
            raise StoreError(f"synchronous={synchronous!r}: use FULL or NORMAL")
        self._path = Path(path)
        self.synchronous: Synchronous = synchronous
        self._clock = clock
        self._file = SqliteFile(
            self._path, what="the ledger", error=StoreError, synchronous=synchronous,
            advice="check the folder's permissions, or name another file with "
            "ledger='sqlite:///...'",
        )  # fmt: skip
        self._prepare()

    @classmethod
    def from_address(cls, address: str) -> Self:
        """The store at `sqlite:///relative.db` or `sqlite:////absolute.db`."""
        place, _, query = address.removeprefix("sqlite://").partition("?")
        options = parse_qs(query)
        unknown = sorted(set(options) - {"synchronous"})
        if unknown or not place.startswith("/") or place == "/":
            what = f"unknown option {unknown[0]!r}" if unknown else "no file is named"
            raise StoreError(f"{address!r}: {what}; write 'sqlite:///agentkit.db'")
        synchronous = options.get("synchronous", ["FULL"])[0].upper()
        return cls(place[1:], synchronous=cast("Synchronous", synchronous))  # checked there

    @property
    def blocking(self) -> bool:
        return True

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    @contextmanager
    def together(self) -> Generator[None]:
        with self._file.write():
            yield

    def put_scope(self, scope: Scope) -> None:
        with self._file.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO scope VALUES (?,?,?,?,?,?,?,?)",
                (
                    scope.path,
                    scope.window,
                    scope.timezone,
                    json.dumps(scope.thresholds),
                    *scope.limits,
                ),
            )

    def ensure_scopes(self, paths: Sequence[str]) -> None:
        plain = Scope(path="plain")
        with self._file.write() as db:
            db.executemany(
                "INSERT OR IGNORE INTO scope VALUES (?,?,?,?,?,?,?,?)",
                [(path, "total", "UTC", json.dumps(plain.thresholds), *Limits()) for path in paths],
            )

    def scopes(self, prefix: str = "") -> list[Scope]:
        with self._file.read() as db:
            rows = db.execute(
                "SELECT * FROM scope "
                "WHERE :prefix = '' OR path = :prefix "
                "OR substr(path, 1, length(:prefix) + 1) = :prefix || '/' ORDER BY path",
                {"prefix": prefix},
            ).fetchall()
        return [read_scope(row) for row in rows]

    def account(self, path: str) -> Account:
        return self.accounts((path,))[0]

    def accounts(self, paths: Sequence[str]) -> list[Account]:
        now = self._clock()
        with self._file.snapshot() as db:
            return [read_account(db, path, now) for path in paths]

    def drop_scope(self, path: str) -> None:
        with self._file.write() as db:
            held = db.execute(
                "SELECT 1 FROM account WHERE path = ? AND "
                "(held_nusd OR held_tokens OR held_fresh_tokens OR held_calls)",
                (path,),
            ).fetchone()
            if held is None:
                db.execute("DELETE FROM scope WHERE path = ?", (path,))
                db.execute("DELETE FROM account WHERE path = ?", (path,))

    def reserve(
        self,
        reservation_id: str,
        worst: Amount,
        paths: Sequence[str],
        *,
        lease_seconds: float,
        fingerprint: str = "",
        dispatched: bool = True,
    ) -> Grant | Denial:
        now = self._clock()
        with self._file.write() as db:
            known = db.execute(
                "SELECT fingerprint, state, dispatched, worst_nusd, worst_tokens, "
                "worst_fresh_tokens, worst_calls FROM reservation WHERE id = ?",
                (reservation_id,),
            ).fetchone()
            if known is not None:
                if known[0] != fingerprint:
                    raise ReservationConflict(reservation_id)
                return Grant(reservation_id, known[1], Amount(*known[3:]), True, bool(known[2]))
            accounts = [read_account(db, path, now) for path in paths]
            for account in accounts:
                if denial := denial_of(account, worst):
                    return denial
            holds = [(account.path, hold(db, account, worst)) for account in accounts]
            db.execute(
                "INSERT INTO reservation VALUES (?,'held',?,?,?,?,?,?,0,0,0,0,?,?)",
                (
                    reservation_id,
                    fingerprint,
                    json.dumps(holds),
                    *worst,
                    now + lease_seconds,
                    dispatched,
                ),
            )
        return Grant(reservation_id, "held", worst, False, dispatched)

    def renew(self, reservation_id: str, *, lease_seconds: float, dispatched: bool = True) -> bool:
        with self._file.write() as db:
            changed = db.execute(
                "UPDATE reservation SET lease_until = ?, dispatched = max(dispatched, ?) "
                "WHERE id = ? AND state = 'held'",
                (self._clock() + lease_seconds, dispatched, reservation_id),
            )
            return changed.rowcount == 1

    def renew_all(self, reservation_ids: Sequence[str], *, lease_seconds: float) -> set[str]:
        """Mark many as sent, in one transaction; gives those that are no longer held."""
        until = self._clock() + lease_seconds
        with self._file.write() as db:
            return {
                each
                for each in reservation_ids
                if not db.execute(
                    "UPDATE reservation SET lease_until = ?, dispatched = 1 "
                    "WHERE id = ? AND state = 'held'",
                    (until, each),
                ).rowcount
            }

    def settle(
        self,
        reservation_id: str,
        actual: Amount,
        *,
        confirmed: bool = True,
        call: CallRecord | None = None,
        response: PaidResponse | None = None,
    ) -> Settlement:
        with self._file.write() as db:
            if response is not None:
                db.execute(
                    "INSERT INTO response VALUES (?,?,?,?)",
                    (
                        response.task_id,
                        response.call_id,
                        response.fingerprint,
                        response.payload,
                    ),
                )
            settlement = settle(db, reservation_id, actual, confirmed)
            if call is not None and settlement.before != "settled":
                write_call(db, call)
        return settlement

    def release(self, reservation_id: str, *, call: CallRecord | None = None) -> Settlement:
        with self._file.write() as db:
            settlement = release(db, reservation_id)
            if call is not None and settlement.before == "held":
                write_call(db, call)
        return settlement

    def expire(self, limit: int = 100) -> list[Settlement]:
        with self._file.read() as db:
            due = db.execute(
                "SELECT 1 FROM reservation WHERE state = 'held' AND lease_until <= ? LIMIT 1",
                (self._clock(),),
            ).fetchone()
        if due is None:
            return []
        ended: list[Settlement] = []
        with self._file.write() as db:
            rows = db.execute(
                "SELECT id, dispatched, worst_nusd, worst_tokens, worst_fresh_tokens, worst_calls "
                "FROM reservation WHERE state = 'held' AND lease_until <= ? "
                "ORDER BY lease_until LIMIT ?",
                (self._clock(), limit),
            ).fetchall()
            for reservation_id, dispatched, *worst in rows:
                if dispatched:
                    ended.append(settle(db, reservation_id, Amount(*worst), False))
                else:
                    ended.append(release(db, reservation_id))
        return ended

    def held(self, limit: int = 1000) -> list[tuple[str, Amount, float]]:
        now = self._clock()
        with self._file.read() as db:
            rows = db.execute(
                "SELECT id, lease_until, worst_nusd, worst_tokens, worst_fresh_tokens, worst_calls "
                "FROM reservation WHERE state = 'held' ORDER BY lease_until LIMIT ?",
                (limit,),
            ).fetchall()
        return [(row[0], Amount(*row[2:]), row[1] - now) for row in rows]

    def put_task(self, task: TaskRecord) -> None:
        with self._file.write() as db:
            write_task(db, task)

    def add_event(self, event: EventRecord) -> None:
        with self._file.write() as db:
            write_event(db, event)

    def task(self, task_id: str) -> TaskRecord | None:
        with self._file.read() as db:
            row = db.execute("SELECT record FROM task WHERE task_id = ?", (task_id,)).fetchone()
        return None if row is None else TaskRecord.from_dict(json.loads(row[0]))

    def tasks(
        self, *, limit: int = 50, scope: str | None = None, where: JournalFilter = EVERYTHING
    ) -> list[TaskRecord]:
        found: list[TaskRecord] = []
        before = (float("inf"), "")
        while len(found) < limit:
            with self._file.read() as db:
                rows = db.execute(
                    "SELECT record, started_at, task_id FROM task "
                    "WHERE (started_at, task_id) < (:at, :id) "
                    "AND (:scope IS NULL OR scope = :scope "
                    "OR substr(scope, 1, length(:scope) + 1) = :scope || '/') "
                    "ORDER BY started_at DESC, task_id DESC LIMIT :most",
                    {
                        "scope": where.scope or scope,
                        "at": before[0],
                        "id": before[1],
                        "most": max(limit, _TASKS_A_PAGE),
                    },
                ).fetchall()
            if not rows:
                break
            before = rows[-1][1:]
            read = (TaskRecord.from_dict(json.loads(row[0])) for row in rows)
            found += [task for task in read if where.takes_task(task)]
        return found[:limit]

    def task_of_thread(self, thread_id: str, *, scope: str) -> TaskRecord | None:
        with self._file.read() as db:
            row = db.execute(
                f"SELECT record FROM task WHERE {THREAD} = :thread "  # noqa: S608  # a constant
                "AND (scope = :org OR substr(scope, 1, length(:org) + 1) = :org || '/') "
                "ORDER BY started_at DESC LIMIT 1",
                {"thread": thread_id, "org": scope.partition("/")[0]},
            ).fetchone()
        return None if row is None else TaskRecord.from_dict(json.loads(row[0]))

    def calls(self, task_id: str) -> list[CallRecord]:
        with self._file.read() as db:
            rows = db.execute(
                "SELECT record FROM call WHERE task_id = ? ORDER BY rowid", (task_id,)
            ).fetchall()
        return [CallRecord.from_dict(json.loads(row[0])) for row in rows]

    def scan_calls(self, where: JournalFilter = EVERYTHING) -> Iterator[CallRecord]:
        condition, values = condition_of(where)
        last = 0
        while True:
            with self._file.read() as db:
                rows = db.execute(
                    "SELECT call.rowid, record FROM fact JOIN call ON call.rowid = fact.call "  # noqa: S608  # values are bound
                    f"WHERE {condition} AND fact.call > ? ORDER BY fact.call LIMIT {_CALLS_A_PAGE}",
                    (*values, last),
                ).fetchall()
            for _, record in rows:
                yield CallRecord.from_dict(json.loads(record))
            if len(rows) < _CALLS_A_PAGE:
                return
            last = rows[-1][0]

    def sum_calls(
        self,
        by: Sequence[Key] = (),
        where: JournalFilter = EVERYTHING,
        *,
        measures: Measures = "all",
        dearest: int | None = None,
    ) -> list[GroupSums]:
        with self._file.snapshot() as db:
            return sum_facts(db, by, where, measures, dearest)

    def sum_tasks(
        self, by: Sequence[TaskKey] = (), where: JournalFilter = EVERYTHING
    ) -> list[TaskGroup]:
        with self._file.snapshot() as db:
            return sum_tasks(db, by, where)

    def events(self, task_id: str) -> list[EventRecord]:
        with self._file.read() as db:
            rows = db.execute(
                "SELECT record FROM event WHERE task_id = ? ORDER BY rowid", (task_id,)
            ).fetchall()
        return [EventRecord(**json.loads(row[0])) for row in rows]

    def responses(self, task_id: str) -> list[PaidResponse]:
        with self._file.read() as db:
            rows = db.execute(
                "SELECT call_id, fingerprint, payload FROM response "
                "WHERE task_id = ? ORDER BY rowid",
                (task_id,),
            ).fetchall()
        return [
            PaidResponse(task_id=task_id, call_id=call_id, fingerprint=print_, payload=payload)
            for call_id, print_, payload in rows
        ]

    def forget_responses(self, task_id: str) -> None:
        with self._file.write() as db:
            db.execute("DELETE FROM response WHERE task_id = ?", (task_id,))

    def close(self) -> None:
        self._file.close()

    def _prepare(self) -> None:
        with self._file.write() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"the ledger {str(self._path)!r} was written by a later agentkit "
                    f"(schema {version}, this one reads {SCHEMA_VERSION}); upgrade agentkit"
                )
            if version not in (0, FIRST_WITHOUT_FACTS, SCHEMA_VERSION):
                raise StoreError(
                    f"the ledger {str(self._path)!r} is of schema {version}, from before the first "
                    "release; move it away and start a new one"
                )
            for statement in SCHEMA:  # a ledger of this version may lack a newer index
                db.execute(statement)
            if version == FIRST_WITHOUT_FACTS:
                backfill(db)
            if version != SCHEMA_VERSION:
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
