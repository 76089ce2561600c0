"""Cache entries in SQLite: a file that processes share, or the memory of this one."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from agentkit.budgets.stores.sqlite_file import SqliteFile
from agentkit.memory.cache.entry import CacheEntry
from agentkit.memory.cache.store import CacheError, Changes, Served, Totals
from agentkit.memory.cache.stored import Warned, outcomes
from agentkit.memory.cache.threshold import Outcome

_VERSION = 1
_GONE_KEPT = 10_000
_SERVED_KEPT = 20_000
_COLUMNS = (
    "entry_id, key, tenant, partition, question, answer, kept_at, expires_at, vector, cost_nusd, "
    "saved_nusd, hits, tags, sources, seq"
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    entry_id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL,
    partition TEXT NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL, kept_at REAL NOT NULL,
    expires_at REAL NOT NULL, vector BLOB NOT NULL, cost_nusd INTEGER NOT NULL,
    saved_nusd INTEGER NOT NULL, hits INTEGER NOT NULL, tags TEXT NOT NULL, sources TEXT NOT NULL,
    seq INTEGER NOT NULL, bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_changed ON entries (partition, seq);
CREATE TABLE IF NOT EXISTS labels (
    kind TEXT NOT NULL, name TEXT NOT NULL, entry_id TEXT NOT NULL,
    PRIMARY KEY (kind, name, entry_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gone (seq INTEGER PRIMARY KEY, partition TEXT, entry_id TEXT);
CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL, ends REAL NOT NULL);
CREATE TABLE IF NOT EXISTS served (
    hit_id TEXT PRIMARY KEY, entry_id TEXT, tenant TEXT, score REAL, right INTEGER, at REAL
);
CREATE INDEX IF NOT EXISTS served_latest ON served (tenant, at);
"""


_OPEN = ""
"""Owns a claim that nobody waits for."""


class SqliteCacheStore:
    """Implements CacheStore. `":memory:"` keeps everything in this process."""

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        """Raises CacheError where the file cannot be opened or was written by a later version."""
        self._clock = clock
        self._warned = Warned()
        self._file = SqliteFile(
            path, what="the cache at", error=CacheError,
            synchronous="NORMAL",  # a lost entry costs one call
        )  # fmt: skip
        with self._file.read() as db:
            db.text_factory = _text
        self._prepare()

    @property
    def blocking(self) -> bool:
        return not self._file.is_in_memory

    def put(self, entry: CacheEntry) -> None:
        with self._file.write() as db:
            old = db.execute("SELECT entry_id FROM entries WHERE key = ?", (entry.key,)).fetchall()
            self._remove(db, [row[0] for row in old])
            marks = ", ".join("?" * 16)
            db.execute(
                f"INSERT INTO entries ({_COLUMNS}, bytes) VALUES ({marks})",  # noqa: S608  column names of ours
                _row(entry, self._next(db)),
            )
            db.executemany(
                "INSERT OR IGNORE INTO labels VALUES (?, ?, ?)",
                [("tag", tag, entry.entry_id) for tag in entry.tags]
                + [("source", source, entry.entry_id) for source in entry.sources],
            )

    def exact(self, key: str) -> CacheEntry | None:
        return self._one("key", key)

    def entry(self, entry_id: str) -> CacheEntry | None:
        return self._one("entry_id", entry_id)

    def changes(self, partition: str, after: int) -> Changes:
        with self._file.read() as db:
            seq, floor = self._number(db, "seq"), self._number(db, "floor")
            whole = after == 0 or after < floor
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM entries WHERE partition = ? AND seq > ? ORDER BY seq",  # noqa: S608  column names of ours
                (partition, 0 if whole else after),
            ).fetchall()
            removed = db.execute(
                "SELECT entry_id FROM gone WHERE seq > ? AND partition = ?", (after, partition)
            ).fetchall()
        return Changes(seq, self._sound(rows), [row[0] for row in removed], whole)

    def used(self, entry_id: str, saved_nusd: int, served: Served | None = None) -> None:
        with self._file.write() as db:
            db.execute(
                "UPDATE entries SET hits = hits + 1, saved_nusd = saved_nusd + ? "
                "WHERE entry_id = ?",
                (saved_nusd, entry_id),
            )
            if served is not None:
                score, right = served.outcome
                db.execute(
                    "INSERT OR REPLACE INTO served VALUES (?, ?, ?, ?, ?, ?)",
                    (served.hit_id, served.entry_id, served.tenant, score, int(right), served.at),
                )

    def remove(self, entry_ids: Sequence[str]) -> int:
        with self._file.write() as db:
            return self._remove(db, entry_ids)

    def ids(
        self,
        *,
        tenant: str | None = None,
        tag: str | None = None,
        source: str | None = None,
        expired_at: float | None = None,
        limit: int = 1_000,
    ) -> list[str]:
        rows = self._fitting("entry_id", _conditions(tenant, tag, source, expired_at), limit)
        return [row[0] for row in rows]

    def find(
        self,
        *,
        tenant: str | None = None,
        tag: str | None = None,
        source: str | None = None,
        expired_at: float | None = None,
        limit: int = 1_000,
    ) -> list[CacheEntry]:
        conditions = _conditions(tenant, tag, source, expired_at)
        return self._sound(self._fitting(_COLUMNS, conditions, limit))

    def _fitting(
        self, columns: str, conditions: Sequence[tuple[str, tuple[object, ...]]], limit: int
    ) -> list[tuple[Any, ...]]:
        where = " AND ".join(text for text, _ in conditions) or "1"
        values = [value for _, some in conditions for value in some]
        with self._file.read() as db:
            return db.execute(
                f"SELECT {columns} FROM entries WHERE {where} ORDER BY kept_at DESC LIMIT ?",  # noqa: S608  columns and conditions of ours
                (*values, limit),
            ).fetchall()

    def least_worth(self, count: int) -> list[str]:
        with self._file.read() as db:
            rows = db.execute(
                "SELECT entry_id FROM entries "
                "ORDER BY CAST(cost_nusd + saved_nusd AS REAL) / bytes, kept_at LIMIT ?",
                (count,),
            ).fetchall()
        return [row[0] for row in rows]

    def totals(self) -> Totals:
        with self._file.read() as db:
            row = db.execute(
                "SELECT count(*), coalesce(sum(bytes), 0), coalesce(sum(hits), 0), "
                "coalesce(sum(saved_nusd), 0) FROM entries"
            ).fetchone()
        return Totals(*row)

    def claim(self, key: str, owner: str, *, seconds: float) -> bool | None:
        now = self._clock()
        with self._file.write() as db:
            db.execute("DELETE FROM claims WHERE ends <= ?", (now,))
            db.execute("INSERT OR IGNORE INTO claims VALUES (?, ?, ?)", (key, owner, now + seconds))
            row = db.execute("SELECT owner FROM claims WHERE key = ?", (key,)).fetchone()
        return None if row[0] == _OPEN else bool(row[0] == owner)

    def give_up(self, key: str, owner: str, *, open_seconds: float = 0.0) -> None:
        with self._file.write() as db:
            if open_seconds > 0:
                db.execute(
                    "UPDATE claims SET owner = ?, ends = ? WHERE key = ? AND owner = ?",
                    (_OPEN, self._clock() + open_seconds, key, owner),
                )
            else:
                db.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (key, owner))

    def report_wrong(self, hit_id: str) -> Served | None:
        with self._file.write() as db:
            db.execute("UPDATE served SET right = 0 WHERE hit_id = ?", (hit_id,))
            row = db.execute(
                "SELECT hit_id, entry_id, tenant, score, at FROM served WHERE hit_id = ?", (hit_id,)
            ).fetchone()
        if row is None:
            return None
        return Served(row[0], row[1], row[2], Outcome(row[3], False), row[4])

    def served(self, tenant: str, limit: int = 1_000) -> list[Outcome]:
        with self._file.read() as db:
            rows = db.execute(
                "SELECT score, right FROM served WHERE tenant = ? ORDER BY at DESC LIMIT ?",
                (tenant, limit),
            ).fetchall()
        return outcomes(rows)

    def close(self) -> None:
        self._file.close()

    def _prepare(self) -> None:
        with self._file.read() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise CacheError(
                    f"the cache at {str(self._file.path)!r} was written by a later agentkit "
                    f"(format {version}, this one reads {_VERSION}): update agentkit, or name "
                    "another file"
                )
            db.executescript(_SCHEMA)
            db.execute(f"PRAGMA user_version = {_VERSION}")

    def _one(self, column: str, value: str) -> CacheEntry | None:
        with self._file.read() as db:
            row = db.execute(
                f"SELECT {_COLUMNS} FROM entries WHERE {column} = ?",  # noqa: S608  column names of ours
                (value,),
            ).fetchone()
        return next(iter(self._sound([] if row is None else [row])), None)

    def _sound(self, rows: Sequence[Sequence[Any]]) -> list[CacheEntry]:
        read = [self._warned.sound(row[0], partial(_entry, row)) for row in rows]
        return [entry for entry in read if entry is not None]

    def _remove(self, db: sqlite3.Connection, entry_ids: Sequence[str]) -> int:
        removed = 0
        for entry_id in entry_ids:
            row = db.execute(
                "SELECT partition FROM entries WHERE entry_id = ?", (entry_id,)
            ).fetchone()
            if row is None:
                continue
            db.execute("DELETE FROM entries WHERE entry_id = ?", (entry_id,))
            db.execute("DELETE FROM labels WHERE entry_id = ?", (entry_id,))
            db.execute("INSERT INTO gone VALUES (?, ?, ?)", (self._next(db), row[0], entry_id))
            removed += 1
        if removed:
            self._trim(db)
        return removed

    def _trim(self, db: sqlite3.Connection) -> None:
        """Old removals go; a reader who has not seen them by then reads its partition anew."""
        row = db.execute(
            "SELECT seq FROM gone ORDER BY seq DESC LIMIT 1 OFFSET ?", (_GONE_KEPT,)
        ).fetchone()
        if row is not None:
            db.execute("DELETE FROM gone WHERE seq <= ?", (row[0],))
            db.execute("INSERT OR REPLACE INTO numbers VALUES ('floor', ?)", (row[0],))
        db.execute(
            "DELETE FROM served WHERE at <= "
            "(SELECT at FROM served ORDER BY at DESC LIMIT 1 OFFSET ?)",
            (_SERVED_KEPT,),
        )

    def _next(self, db: sqlite3.Connection) -> int:
        db.execute(
            "INSERT INTO numbers VALUES ('seq', 1) "
            "ON CONFLICT (name) DO UPDATE SET value = value + 1"
        )
        return self._number(db, "seq")

    def _number(self, db: sqlite3.Connection, name: str) -> int:
        row = db.execute("SELECT value FROM numbers WHERE name = ?", (name,)).fetchone()
        return 0 if row is None else int(row[0])


def _conditions(
    tenant: str | None, tag: str | None, source: str | None, expired_at: float | None
) -> list[tuple[str, tuple[object, ...]]]:
    labelled = "entry_id IN (SELECT entry_id FROM labels WHERE kind = ? AND name = ?)"
    wanted: list[tuple[str, tuple[object, ...]]] = [
        ("tenant = ?", (tenant,)) if tenant is not None else ("", ()),
        (labelled, ("tag", tag)) if tag is not None else ("", ()),
        (labelled, ("source", source)) if source is not None else ("", ()),
        ("expires_at <= ?", (expired_at,)) if expired_at is not None else ("", ()),
    ]
    return [(text, values) for text, values in wanted if text]


def _row(entry: CacheEntry, seq: int) -> tuple[object, ...]:
    return (
        entry.entry_id,
        entry.key,
        entry.tenant,
        entry.partition,
        entry.question,
        entry.answer,
        entry.kept_at,
        entry.expires_at,
        entry.vector,
        entry.cost_nusd,
        entry.saved_nusd,
        entry.hits,
        json.dumps(entry.tags),
        json.dumps(entry.sources),
        seq,
        entry.size_bytes,
    )


def _text(raw: bytes) -> str:
    """Damaged text is told from text by its surrogates, instead of failing all that are read."""
    return raw.decode("utf-8", "surrogateescape")


def _entry(row: Sequence[Any]) -> CacheEntry:
    return CacheEntry(
        entry_id=row[0],
        key=row[1],
        tenant=row[2],
        partition=row[3],
        question=row[4],
        answer=row[5],
        kept_at=row[6],
        expires_at=row[7],
        vector=row[8],
        cost_nusd=row[9],
        saved_nusd=row[10],
        hits=row[11],
        tags=tuple(json.loads(row[12])),
        sources=tuple(json.loads(row[13])),
        seq=row[14],
    )
