"""The batch store in the SQLite file of the ledger; or in memory, for a ledger that is there."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from agentkit.batch.item import Batch, BatchItem, BatchState, ItemAnswer, ItemState, QueueSums
from agentkit.budgets.errors import StoreError
from agentkit.budgets.stores.sqlite_file import SqliteFile, Synchronous

_PAGE = 500
_MOST_FORGOTTEN = 10_000
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS batch_item (
        id TEXT PRIMARY KEY, state TEXT NOT NULL, queue TEXT NOT NULL, batch_id TEXT,
        task_id TEXT NOT NULL, attempts INTEGER NOT NULL, queued_at REAL NOT NULL,
        deadline REAL NOT NULL, size INTEGER NOT NULL, error TEXT,
        closed INTEGER NOT NULL, taken INTEGER NOT NULL, facts TEXT NOT NULL,
        body BLOB, answer BLOB)""",
    """CREATE INDEX IF NOT EXISTS batch_item_queue ON batch_item (queue, deadline, id)
        WHERE state = 'queued'""",
    "CREATE INDEX IF NOT EXISTS batch_item_batch ON batch_item (batch_id, state)",
    "CREATE INDEX IF NOT EXISTS batch_item_task ON batch_item (task_id)",
    """CREATE INDEX IF NOT EXISTS batch_item_unfinished ON batch_item (id)
        WHERE closed = 0 AND state NOT IN ('queued', 'sent')""",
    """CREATE TABLE IF NOT EXISTS batch (
        id TEXT PRIMARY KEY, state TEXT NOT NULL, created_at REAL NOT NULL,
        owner TEXT NOT NULL, owned_until REAL NOT NULL,
        withdrawn INTEGER NOT NULL DEFAULT 0, facts TEXT NOT NULL) WITHOUT ROWID""",
)
_COLUMNS = "state, batch_id, attempts, error, closed, taken, facts"


class SqliteBatchStore:
    """Implements BatchStore over one database file, in tables of its own."""

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: Synchronous = "FULL",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises StoreError where the file cannot be opened."""
        self._clock = clock
        self._file = SqliteFile(
            path, what="the batches in", error=StoreError, synchronous=synchronous
        )
        with self._file.write() as db:
            for statement in _SCHEMA:
                db.execute(statement)

    def add(self, item: BatchItem, body: bytes) -> BatchItem:
        with self._file.write() as db:
            known = _one(db, item.item_id)
            if known is not None:
                return known
            db.execute(
                "INSERT INTO batch_item VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,NULL)",
                (*_row(item), body),
            )
        return item

    def item(self, item_id: str) -> BatchItem | None:
        with self._file.read() as db:
            return _one(db, item_id)

    def items(
        self,
        *,
        batch_id: str | None = None,
        task_id: str | None = None,
        states: Sequence[ItemState] = (),
        limit: int = 100_000,
    ) -> list[BatchItem]:
        where = ["1"]
        values: list[object] = []
        for column, value in (("batch_id", batch_id), ("task_id", task_id)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        if states:
            where.append(f"state IN ({_marks(states)})")
            values += states
        with self._file.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM batch_item WHERE {' AND '.join(where)} "  # noqa: S608  # values are bound
                "ORDER BY id LIMIT ?",
                (*values, limit),
            ).fetchall()
        return [_item_of(row) for row in rows]

    def states(self, item_ids: Sequence[str]) -> dict[str, ItemState]:
        found: dict[str, ItemState] = {}
        for page in _pages(item_ids):
            with self._file.read() as db:
                found |= dict(
                    db.execute(
                        f"SELECT id, state FROM batch_item WHERE id IN ({_marks(page)})",  # noqa: S608  # values are bound
                        page,
                    ).fetchall()
                )
        return found

    def queues(self) -> list[QueueSums]:
        with self._file.read() as db:
            rows = db.execute(
                "SELECT queue, min(facts), count(*), sum(size), min(queued_at), min(deadline) "
                "FROM batch_item WHERE state = 'queued' GROUP BY queue ORDER BY queue"
            ).fetchall()
        return [QueueSums(row[0], json.loads(row[1])["endpoint"], *row[2:]) for row in rows]

    def seal(self, batch: Batch, *, most_requests: int, most_bytes: int) -> Batch | None:
        with self._file.write() as db:
            rows = db.execute(
                "SELECT id, size, deadline FROM batch_item WHERE state = 'queued' AND queue = ? "
                "ORDER BY deadline, id LIMIT ?",
                (batch.queue, most_requests),
            ).fetchall()
            taken: list[str] = []
            size = 0
            for item_id, size_bytes, _ in rows:
                if taken and size + size_bytes > most_bytes:
                    break
                taken.append(item_id)
                size += size_bytes
            if not taken:
                return None
            sealed = replace(batch, requests=len(taken), size_bytes=size, least_deadline=rows[0][2])
            db.execute(
                "INSERT INTO batch VALUES (?,?,?,'',0,0,?)",
                (sealed.batch_id, sealed.state, sealed.created_at, json.dumps(sealed.to_dict())),
            )
            db.executemany(
                "UPDATE batch_item SET state = 'sent', batch_id = ? WHERE id = ?",
                [(sealed.batch_id, item_id) for item_id in taken],
            )
        return sealed

    def bodies(self, batch_id: str) -> Iterator[tuple[str, bytes]]:
        last = ""
        while True:
            with self._file.read() as db:
                rows = db.execute(
                    "SELECT id, attempts, body FROM batch_item "
                    "WHERE batch_id = ? AND state = 'sent' AND id > ? ORDER BY id LIMIT ?",
                    (batch_id, last, _PAGE),
                ).fetchall()
            for item_id, attempts, body in rows:
                yield f"{item_id}-{attempts}", body
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    def body(self, item_id: str) -> bytes | None:
        return self._blob("body", item_id)

    def batch(self, batch_id: str) -> Batch | None:
        with self._file.read() as db:
            row = db.execute(
                "SELECT withdrawn, facts FROM batch WHERE id = ?", (batch_id,)
            ).fetchone()
        return None if row is None else _batch_of(row)

    def batches(self, states: Sequence[BatchState] = (), *, limit: int = 1000) -> list[Batch]:
        where = f"state IN ({_marks(states)})" if states else "1"
        with self._file.read() as db:
            rows = db.execute(
                f"SELECT withdrawn, facts FROM batch WHERE {where} "  # noqa: S608  # values are bound
                "ORDER BY created_at DESC, id LIMIT ?",
                (*states, limit),
            ).fetchall()
        return [_batch_of(row) for row in rows]

    def claim(self, batch_id: str, owner: str, *, seconds: float) -> bool:
        now = self._clock()
        with self._file.write() as db:
            changed = db.execute(
                "UPDATE batch SET owner = :owner, owned_until = :until "
                "WHERE id = :id AND (owner IN ('', :owner) OR owned_until < :now)",
                {"owner": owner, "until": now + seconds, "id": batch_id, "now": now},
            )
            return changed.rowcount == 1

    def put_batch(self, batch: Batch, owner: str) -> bool:
        with self._file.write() as db:
            changed = db.execute(
                "UPDATE batch SET state = ?, facts = ? WHERE id = ? AND owner = ?",
                (batch.state, json.dumps(batch.to_dict()), batch.batch_id, owner),
            )
            return changed.rowcount == 1

    def withdraw(self, batch_id: str) -> None:
        with self._file.write() as db:
            db.execute("UPDATE batch SET withdrawn = 1 WHERE id = ?", (batch_id,))

    def answer(self, batch_id: str, answers: Sequence[ItemAnswer]) -> list[str]:
        written: list[str] = []
        now = self._clock()
        with self._file.write() as db:
            for answer in answers:
                again = answer.state == "queued"
                changed = db.execute(
                    "UPDATE batch_item SET state = :state, answer = :answer, error = :error, "
                    "attempts = attempts + :again, "
                    "batch_id = CASE WHEN :again THEN NULL ELSE batch_id END, "
                    "queued_at = CASE WHEN :again THEN :now ELSE queued_at END "
                    "WHERE id = :id AND batch_id = :batch AND state = 'sent'",
                    {
                        "state": answer.state,
                        "answer": answer.payload or None,
                        "error": answer.error,
                        "again": again,
                        "now": now,
                        "id": answer.item_id,
                        "batch": batch_id,
                    },
                )
                if changed.rowcount:
                    written.append(answer.item_id)
        return written

    def answer_of(self, item_id: str) -> bytes | None:
        return self._blob("answer", item_id)

    def put_item(self, item: BatchItem, answer: bytes | None = None) -> None:
        with self._file.write() as db:
            db.execute(
                "UPDATE batch_item SET id = ?, state = ?, queue = ?, batch_id = ?, task_id = ?, "
                "attempts = ?, queued_at = ?, deadline = ?, size = ?, error = ?, closed = ?, "
                "taken = ?, facts = ?, answer = coalesce(?, answer) WHERE id = ?",
                (*_row(item), answer, item.item_id),
            )

    def move(self, item_ids: Sequence[str], state: ItemState) -> list[str]:
        moved: list[str] = []
        with self._file.write() as db:
            for item_id in item_ids:
                changed = db.execute(
                    "UPDATE batch_item SET state = ? WHERE id = ? AND state = 'queued'",
                    (state, item_id),
                )
                if changed.rowcount:
                    moved.append(item_id)
        return moved

    def overdue(self, until: float, *, limit: int = 1000) -> list[str]:
        with self._file.read() as db:
            rows = db.execute(
                "SELECT id FROM batch_item WHERE state = 'queued' AND deadline < ? LIMIT ?",
                (until, limit),
            ).fetchall()
        return [row[0] for row in rows]

    def finish(self, item_ids: Sequence[str], *, taken: bool = False) -> None:
        with self._file.write() as db:
            db.executemany(
                "UPDATE batch_item SET closed = 1, taken = max(taken, :taken), "
                "body = CASE WHEN state = 'answered' THEN NULL ELSE body END, "
                "answer = CASE WHEN :taken THEN NULL ELSE answer END WHERE id = :id",
                [{"taken": taken, "id": item_id} for item_id in item_ids],
            )

    def unfinished(self, *, limit: int = 1000) -> list[BatchItem]:
        with self._file.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM batch_item WHERE closed = 0 "  # noqa: S608  # names of ours
                "AND state NOT IN ('queued', 'sent') ORDER BY id LIMIT ?",
                (limit,),
            ).fetchall()
        return [_item_of(row) for row in rows]

    def counts(self, task_id: str | None = None) -> dict[ItemState, int]:
        with self._file.read() as db:
            return dict(
                db.execute(
                    "SELECT state, count(*) FROM batch_item "
                    "WHERE :task IS NULL OR task_id = :task GROUP BY state",
                    {"task": task_id},
                ).fetchall()
            )

    def forget(self, before: float) -> int:
        ended = [
            batch.batch_id
            for batch in self.batches(("processed", "failed"), limit=_MOST_FORGOTTEN)
            if (batch.ended_at or batch.created_at) < before
        ]
        with self._file.write() as db:
            for batch_id in ended:
                db.execute("DELETE FROM batch_item WHERE batch_id = ? AND closed = 1", (batch_id,))
                db.execute("DELETE FROM batch WHERE id = ?", (batch_id,))
        return len(ended)

    def close(self) -> None:
        self._file.close()

    def _blob(self, column: str, item_id: str) -> bytes | None:
        with self._file.read() as db:
            row = db.execute(
                f"SELECT {column} FROM batch_item WHERE id = ?",  # noqa: S608  # one of two names
                (item_id,),
            ).fetchone()
        return None if row is None or row[0] is None else bytes(row[0])


def _one(db: sqlite3.Connection, item_id: str) -> BatchItem | None:
    row = db.execute(
        f"SELECT {_COLUMNS} FROM batch_item WHERE id = ?",  # noqa: S608  # names of ours
        (item_id,),
    ).fetchone()
    return None if row is None else _item_of(row)


def _row(item: BatchItem) -> tuple[object, ...]:
    return (
        item.item_id,
        item.state,
        item.queue,
        item.batch_id,
        item.task_id,
        item.attempts,
        item.queued_at,
        item.deadline,
        item.size_bytes,
        item.error,
        item.closed,
        item.taken,
        json.dumps(item.to_dict()),
    )


def _item_of(row: tuple[ItemState, str | None, int, str | None, int, int, str]) -> BatchItem:
    state, batch_id, attempts, error, closed, taken, facts = row
    return replace(
        BatchItem.from_dict(json.loads(facts)),
        state=state,
        batch_id=batch_id,
        attempts=attempts,
        error=error,
        closed=bool(closed),
        taken=bool(taken),
    )


def _batch_of(row: tuple[int, str]) -> Batch:
    return replace(Batch.from_dict(json.loads(row[1])), withdrawn=bool(row[0]))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _pages(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _PAGE):
        yield values[start : start + _PAGE]
