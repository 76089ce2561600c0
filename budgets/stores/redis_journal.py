"""What a process remembers of a Redis ledger, in a file that outlives it (`?journal=file.db`)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from agentkit.budgets.errors import StoreError
from agentkit.budgets.stores.redis_memory import Hold, OrgMemory, Seen, record_of
from agentkit.budgets.stores.sqlite_file import SqliteFile

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
        self._file = SqliteFile(
            path,
            what="the ledger's journal",
            error=_failed,
            synchronous="NORMAL",
            advice="name a folder that exists and has room, or take ?journal= out of the address",
        )
        with self._file.read() as db:
            self._refuse_former(db)
            db.executescript(_SCHEMA)
            db.execute("DELETE FROM holds WHERE until < ?", (time.time() - _KEPT_SECONDS,))

    def load(self, org: str, clock: Callable[[], float]) -> OrgMemory:
        """What was remembered of `org` when it was last written."""
        memory = OrgMemory(org, self, clock)
        with self._file.read() as db:
            row = db.execute("SELECT * FROM orgs WHERE org = ?", (org,)).fetchone()
            scopes = db.execute("SELECT * FROM scopes WHERE org = ?", (org,)).fetchall()
            holds = db.execute("SELECT * FROM holds WHERE org = ?", (org,)).fetchall()
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
        with self._file.read() as db:
            return [org for (org,) in db.execute("SELECT org FROM orgs")]

    def write(self, org: str, memory: OrgMemory, paths: Iterable[str], held: str | None) -> None:
        """Write how far the org was seen, the records of `paths`, and one reservation."""
        with self._file.write() as db:
            told = (memory.seq, memory.seen, memory.lineage, memory.recovering)
            db.execute(_PUT_ORG, (org, *told, memory.longest_lease_ms))
            for path in paths:
                seen = memory.scopes.get(path)
                if seen is None:
                    db.execute("DELETE FROM scopes WHERE org = ? AND path = ?", (org, path))
                else:
                    row = (org, path, seen.epoch, seen.seq, record_of(path, seen))
                    db.execute(_PUT_SCOPE, row)
            hold = memory.holds.get(held) if held is not None else None
            if hold is not None:
                row_ = (org, held, hold.packed, memory.pending.get(held or ""), hold.until)
                db.execute("INSERT OR REPLACE INTO holds VALUES (?, ?, ?, ?, ?)", row_)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _refuse_former(self, db: sqlite3.Connection) -> None:
        """Raise StoreError for a file whose records this version cannot read; mark a new one."""
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and version != _VERSION:
            raise StoreError(
                f"the ledger's journal {str(self._file.path)!r} has format {version}, and this "
                f"version reads {_VERSION}: it cannot be used; name another file in ?journal="
            )
        db.execute(f"PRAGMA user_version={_VERSION}")


def _failed(message: str) -> StoreError:
    return StoreError(f"{message}; nothing is granted without it")
