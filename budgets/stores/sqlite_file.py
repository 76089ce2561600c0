"""One SQLite file behind a store: opened once, shared by threads, never carried over a fork."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

IN_MEMORY = ":memory:"
_BUSY_SECONDS = 30.0

_WHOLE = ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
_PART = ("SAVEPOINT part", "RELEASE part", "ROLLBACK TO part")

Synchronous = Literal["FULL", "NORMAL"]


class SqliteFile:
    """A connection in WAL mode, one thread at a time; closed once nobody has it any more.

    `what` names the file's purpose in messages, like "the ledger"; `error` makes the exception that
    the store raises, and `advice` says what to do about a file that cannot be opened.
    `synchronous="NORMAL"` may lose the last transactions on a power cut, never on a crash of the
    process (https://www.sqlite.org/pragma.html#pragma_synchronous).
    """

    def __init__(
        self,
        path: str | Path,
        *,
        what: str,
        error: Callable[[str], Exception],
        synchronous: Synchronous = "FULL",
        advice: str = "check the folder's permissions, or name another file",
    ) -> None:
        """Open the file, or make it and its folder; raises `error`."""
        self.path = Path(path)
        self.is_in_memory = str(path) == IN_MEMORY
        self._what = f"{what} {str(path)!r}"
        self._error = error
        self._lock = threading.RLock()
        self._pid = os.getpid()
        try:
            if not self.is_in_memory:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._close = weakref.finalize(self, _close, self._db, self._pid)
            self._close.atexit = False  # calls may be settled when the program ends
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={synchronous}")
        except (sqlite3.Error, OSError) as raised:
            raise error(f"{self._what} cannot be opened: {raised}; {advice}") from raised

    @contextmanager
    def read(self) -> Generator[sqlite3.Connection]:
        """The connection, for statements that are transactions of their own; raises `error`."""
        if self._pid != os.getpid():  # https://www.sqlite.org/howtocorrupt.html, section 2.6
            raise self._error(
                f"{self._what} was opened before this process was forked; "
                "open it anew in each process"
            )
        with self._lock:
            if not self._close.alive:
                raise self._error(f"{self._what} is closed")
            try:
                yield self._db
            except sqlite3.Error as raised:
                raise self._error(f"{self._what} failed: {raised}") from raised

    @contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        """One transaction: all of it, or nothing when anything raises; raises `error`.

        Inside another of the same thread it is a part of that one, undone alone.
        """
        with self.read() as db:
            begin, end, undo = _PART if db.in_transaction else _WHOLE
            db.execute(begin)
            try:
                yield db
                db.execute(end)
            except BaseException:
                if db.in_transaction:
                    db.execute(undo)
                raise

    @contextmanager
    def snapshot(self) -> Generator[sqlite3.Connection]:
        """Several reads of one state of the file; raises `error`."""
        with self.read() as db:
            if db.in_transaction:
                yield db
                return
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.execute("COMMIT")

    def close(self) -> None:
        """Let go of the file, once no other thread is at it; may be called again."""
        with self._lock:
            self._close()


def _close(db: sqlite3.Connection, pid: int) -> None:
    if pid == os.getpid():
        db.close()
