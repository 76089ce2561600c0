"""What a process remembers of a Redis ledger, in a file that outlives it (`?journal=file.db`)."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from agentkit.budgets.errors import StoreError
from agentkit.budgets.stores.redis_memory import Hold, OrgMemory, Seen, record_of

_KEPT_SECONDS = 7 * 86_400
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS orgs (
    org TEXT PRIMARY KEY, seq INTEGER, seen BLOB, lineage BLOB, recovering INTEGER,
    lease_ms INTEGER);
CREATE TABLE IF NOT EXISTS scopes (
    org TEXT, path TEXT, epoch BLOB, seq INTEGER, record BLOB,
    PRIMARY KEY (org, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS holds (
    org TEXT, id TEXT, packed BLOB, pending BLOB, until REAL, PRIMARY KEY (org, id)) WITHOUT ROWID;
"""
_PUT_ORG = """
INSERT INTO orgs VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (org) DO UPDATE SET
    seq = excluded.seq, seen = excluded.seen, lineage = excluded.lineage,
    recovering = excluded.recovering, lease_ms = max(lease_ms, excluded.lease_ms)
WHERE excluded.seq >= seq
"""
_PUT_SCOPE = """
INSERT INTO scopes VALUES (?, ?, ?, ?, ?) ON CONFLICT (org, path) DO UPDATE SET
    epoch = excluded.epoch, seq = excluded.seq, record = excluded.record
WHERE excluded.seq >= seq
"""


class JournalFile:
    """Implements Journal; processes of one machine may share a file. Safe from many threads."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; raises StoreError."""
        self._path = path
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(
                path, timeout=10, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._refuse_former()
            self._db.executescript(_SCHEMA)
            self._db.execute("DELETE FROM holds WHERE until < ?", (time.time() - _KEPT_SECONDS,))
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def load(self, org: str, clock: Callable[[], float]) -> OrgMemory:
        """What was remembered of `org` when it was last written."""
        memory = OrgMemory(org, self, clock)
        try:
            with self._lock:
                row = self._db.execute("SELECT * FROM orgs WHERE org = ?", (org,)).fetchone()
                scopes = self._db.execute("SELECT * FROM scopes WHERE org = ?", (org,)).fetchall()
                holds = self._db.execute("SELECT * FROM holds WHERE org = ?", (org,)).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        if row is None:
            return memory
        _, memory.seq, memory.seen, memory.lineage, recovering, memory.longest_lease_ms = row
        memory.recovering = bool(recovering)
        for _, path, epoch, seq, record in scopes:
            head = epoch + memory.seen[len(epoch) :]
            memory.scopes[path] = Seen(epoch, seq, b"F" + head + record + b"\n", (path,))
        for _, name, packed, pending, until in holds:
            if pending is not None and memory.recovering:
                memory.pending[name] = pending
            memory.holds[name] = Hold(
                packed if pending is None or memory.recovering else pending, until
            )
        return memory

    def orgs(self) -> list[str]:
        """Those of which something was written."""
        try:
            with self._lock:
                return [org for (org,) in self._db.execute("SELECT org FROM orgs")]
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def write(self, org: str, memory: OrgMemory, paths: Iterable[str], held: str | None) -> None:
        """Write how far the org was seen, the records of `paths`, and one reservation."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._put(org, memory, paths, held)
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise self._failed(error) from error

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def _refuse_former(self) -> None:
        """Raise StoreError for a file whose records this version cannot read; mark a new one."""
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and version != _VERSION:
            raise StoreError(
                f"the ledger's journal {str(self._path)!r} has format {version}, and this version "
                f"reads {_VERSION}: it cannot be used; name another file in ?journal="
            )
        self._db.execute(f"PRAGMA user_version={_VERSION}")

    def _put(self, org: str, memory: OrgMemory, paths: Iterable[str], held: str | None) -> None:
        told = (memory.seq, memory.seen, memory.lineage, memory.recovering)
        self._db.execute(_PUT_ORG, (org, *told, memory.longest_lease_ms))
        for path in paths:
            seen = memory.scopes.get(path)
            if seen is None:
                self._db.execute("DELETE FROM scopes WHERE org = ? AND path = ?", (org, path))
            else:
                row = (org, path, seen.epoch, seen.seq, record_of(path, seen))
                self._db.execute(_PUT_SCOPE, row)
        hold = memory.holds.get(held) if held is not None else None
        if hold is not None:
            row_ = (org, held, hold.packed, memory.pending.get(held or ""), hold.until)
            self._db.execute("INSERT OR REPLACE INTO holds VALUES (?, ?, ?, ?, ?)", row_)

    def _failed(self, error: sqlite3.Error) -> StoreError:
        return StoreError(
            f"the ledger's journal {str(self._path)!r} failed: {error}; nothing is granted without "
            "it: check that its folder exists and has room, or take ?journal= out of the address"
        )
