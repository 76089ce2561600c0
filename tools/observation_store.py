"""Whole observations by handle, per task, so that what pruning left out can be brought back.

A handle is made from the text, so that a replayed step names the same one: prompts stay the same,
byte for byte, and a provider's prompt cache stays warm.
"""

from __future__ import annotations

import base64
import hashlib
import math
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol, Self

from agentkit.budgets.stores.sqlite_file import SqliteFile
from agentkit.tools.errors import InvalidLimits, ToolError
from agentkit.tools.observation import cut

_HANDLE_CHARS = (8, 16, 32)
"""Short for the sake of tokens; longer only where two texts of a task would share the short one."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS observations (
    task_id TEXT NOT NULL,
    handle TEXT NOT NULL,
    packed BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    kept_at REAL NOT NULL,
    PRIMARY KEY (task_id, handle)
) WITHOUT ROWID
"""


class ObservationStoreError(ToolError):
    """A store that cannot be opened, read or written."""


@dataclass(frozen=True, kw_only=True)
class KeepLimits:
    """What a store keeps: UTF-8 bytes of one observation, of a task's together, and for how long.

    A longer observation loses its middle; a full task loses its oldest ones first. Raises
    InvalidLimits where one is not above 0.
    """

    max_observation_bytes: int = 16 * 1024 * 1024
    max_task_bytes: int = 64 * 1024 * 1024
    expiry_seconds: float = 7 * 86_400.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not 0 < value < math.inf:
                raise InvalidLimits(f"{item.name} is {value!r}; give a finite number above 0")

    @property
    def longest_bytes(self) -> int:
        return min(self.max_observation_bytes, self.max_task_bytes)


_DEFAULT_LIMITS = KeepLimits()


class ObservationStore(Protocol):
    """Keeps observations per task. Every method is safe to call from many threads."""

    def put(self, task_id: str, text: str) -> str:
        """Keeps a text and returns its handle; the same text again has the same one."""
        ...

    def get(self, task_id: str, handle: str) -> str | None:
        """The text of a handle; None where it is unknown, expired, or was pushed out."""
        ...

    def forget(self, task_id: str) -> None:
        """Drops all that a task has kept."""
        ...

    def expire(self) -> int:
        """Drops what is older than the limit; returns how many there were."""
        ...


class MemoryObservationStore:
    """Implements ObservationStore in this process."""

    def __init__(
        self,
        limits: KeepLimits = _DEFAULT_LIMITS,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._tasks: dict[str, dict[str, tuple[bytes, float]]] = {}

    def put(self, task_id: str, text: str) -> str:
        data = bounded(text, self._limits)
        with self._lock:
            kept = self._tasks.setdefault(task_id, {})
            handle = next(
                handle for handle in handles(data) if kept.get(handle, (data, 0.0))[0] == data
            )
            kept.pop(handle, None)
            kept[handle] = (data, self._clock())
            size = sum(len(item) for item, _ in kept.values())
            while size > self._limits.max_task_bytes:
                oldest = next(iter(kept))
                size -= len(kept.pop(oldest)[0])
        return handle

    def get(self, task_id: str, handle: str) -> str | None:
        with self._lock:
            found = self._tasks.get(task_id, {}).get(handle)
        if found is None or found[1] + self._limits.expiry_seconds <= self._clock():
            return None
        return found[0].decode()

    def forget(self, task_id: str) -> None:
        with self._lock:
            self._tasks.pop(task_id, None)

    def expire(self) -> int:
        bound = self._clock() - self._limits.expiry_seconds
        dropped = 0
        with self._lock:
            for task_id, kept in list(self._tasks.items()):
                for handle in [name for name, (_, at) in kept.items() if at <= bound]:
                    del kept[handle]
                    dropped += 1
                if not kept:
                    del self._tasks[task_id]
        return dropped


class SqliteObservationStore:
    """Implements ObservationStore in one SQLite file, shared by threads, processes and resumes."""

    def __init__(
        self,
        path: str | Path,
        limits: KeepLimits = _DEFAULT_LIMITS,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open or create the file at `path`. Raises ObservationStoreError where it cannot be."""
        self._limits = limits
        self._clock = clock
        self._file = SqliteFile(
            path, what="the observation store", error=ObservationStoreError, synchronous="NORMAL"
        )
        with self._file.write() as db:
            db.execute(_SCHEMA)

    def put(self, task_id: str, text: str) -> str:
        data = bounded(text, self._limits)
        packed = zlib.compress(data, 1)
        with self._file.write() as db:
            handle = next(name for name in handles(data) if self._is_free(db, task_id, name, data))
            db.execute(
                "INSERT OR REPLACE INTO observations VALUES (?, ?, ?, ?, ?)",
                (task_id, handle, packed, len(data), self._clock()),
            )
            self._push_out(db, task_id, keep=handle)
        return handle

    def get(self, task_id: str, handle: str) -> str | None:
        with self._file.read() as db:
            row = db.execute(
                "SELECT packed FROM observations WHERE task_id = ? AND handle = ? AND kept_at > ?",
                (task_id, handle, self._clock() - self._limits.expiry_seconds),
            ).fetchone()
        data = None if row is None else self._unpacked(row[0])
        return None if data is None else data.decode(errors="replace")

    def forget(self, task_id: str) -> None:
        with self._file.write() as db:
            db.execute("DELETE FROM observations WHERE task_id = ?", (task_id,))

    def expire(self) -> int:
        bound = self._clock() - self._limits.expiry_seconds
        with self._file.write() as db:
            return db.execute("DELETE FROM observations WHERE kept_at <= ?", (bound,)).rowcount

    def close(self) -> None:
        """Closes the file; the store is of no use afterwards."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_free(self, db: sqlite3.Connection, task_id: str, handle: str, data: bytes) -> bool:
        """Whether a handle is unused, or names this very text."""
        row = db.execute(
            "SELECT packed FROM observations WHERE task_id = ? AND handle = ?", (task_id, handle)
        ).fetchone()
        return row is None or self._unpacked(row[0]) == data

    def _push_out(self, db: sqlite3.Connection, task_id: str, *, keep: str) -> None:
        rows: list[tuple[str, int]] = db.execute(
            "SELECT handle, bytes FROM observations WHERE task_id = ? ORDER BY kept_at", (task_id,)
        ).fetchall()
        size = sum(count for _, count in rows)
        for handle, count in rows:
            if size <= self._limits.max_task_bytes:
                return
            if handle != keep:
                db.execute(
                    "DELETE FROM observations WHERE task_id = ? AND handle = ?", (task_id, handle)
                )
                size -= count

    def _unpacked(self, packed: object) -> bytes | None:
        """The bytes of a row, never more than the limit; None for a row that is not ours."""
        if not isinstance(packed, bytes):
            return None
        try:
            return zlib.decompressobj().decompress(packed, self._limits.longest_bytes)
        except zlib.error:
            return None


def bounded(text: str, limits: KeepLimits) -> bytes:
    """The text as UTF-8 within its bound, without what cannot be sent."""
    return cut(text, max_bytes=limits.longest_bytes).text.encode()


def handles(data: bytes) -> Iterator[str]:
    """The handles that a text may have, the shortest first."""
    digest = hashlib.blake2b(data, digest_size=20).digest()
    name = base64.b32encode(digest).decode().lower()
    for chars in _HANDLE_CHARS:
        yield f"o-{name[:chars]}"
