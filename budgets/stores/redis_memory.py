"""What a process remembers of an org: how far it has seen it, and what it would bring back.

Every answer of a script shows the records of the scopes that it moved, with the org's epoch and
seq. The newest of each, and the reservations of this process, are enough to make an org again that
the server has lost: `lua/replay.lua` says how.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import Any, NamedTuple, Protocol

from agentkit.budgets.stores.redis_record import rows_of
from agentkit.budgets.stores.redis_script import Argument

_SEQ = Struct("<q")
_made: Any = getattr(tuple, "__new__")  # noqa: B009  as in redis_record
_HEAD_BYTES = 24
_EPOCH_BYTES = 16
_MOST_SCOPES = 50_000
_MOST_ENDED = 5_000
_KEPT_SECONDS = 6 * 86_400
"""Less than the seven days for which the server keeps what has ended."""


class Seen(NamedTuple):
    """An answer that shows records: those of `paths`, or, where it is None, those it names."""

    epoch: bytes
    seq: int
    answer: bytes
    paths: Sequence[str] | None


class Hold(NamedTuple):
    """A reservation of this process as the server keeps it, and when its lease ends (Unix time)."""

    packed: bytes
    until: float

    @property
    def is_open(self) -> bool:
        return self.packed[:1] == b"h"


class Journal(Protocol):
    """Keeps what is remembered over the end of the process."""

    def load(self, org: str, clock: Callable[[], float]) -> OrgMemory:
        """What was remembered of an org when it was last written."""
        ...

    def orgs(self) -> list[str]:
        """Those of which something was written."""
        ...

    def write(self, org: str, memory: OrgMemory, paths: Iterable[str], held: str | None) -> None:
        """Write how far the org was seen, the records of `paths`, and one reservation."""
        ...


class OrgMemory:
    """One org as this process has seen it. Safe from many threads."""

    def __init__(
        self, org: str, journal: Journal | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.org = org
        self.clock = clock
        self.seen = b""
        """Epoch and seq, as scripts take them; empty where nothing was seen."""
        self.seq = 0
        self.lineage = b""
        """The epoch and those before it, the first one last."""
        self.generation = -1
        """The run of the server for which this was last compared with it."""
        self.longest_lease_ms = 0
        self.recovering = False
        """True in an epoch of recovery: what it shows is not whole, and is not remembered."""
        self.scopes: dict[str, Seen] = {}
        self.pending: dict[str, bytes] = {}
        """Reservations that ended in an epoch of recovery: brought back as they were before, they
        are ended once more."""
        self.holds: dict[str, Hold] = {}
        self._journal = journal
        self._ended: list[str] = []
        self._lock = threading.Lock()

    def adopt(
        self, head: bytes, lineage: bytes, generation: int, *, recovering: bool = False
    ) -> None:
        """Take over the epoch that the server has, once nothing is left to bring back."""
        with self._lock:
            self.seen, self.lineage, self.generation = head, lineage, generation
            (self.seq,) = _SEQ.unpack_from(head, _EPOCH_BYTES)
            self.recovering = recovering
            if not recovering:
                for name, packed in self.pending.items():
                    self._hold(name, packed, self.clock())
                self.pending = {}
        self._write((), None)

    def learn(
        self,
        answer: bytes,
        paths: Sequence[str] | None = None,
        moved: Iterable[str] = (),
        hold: tuple[str, bytes, float] | None = None,
    ) -> None:
        """Take in a script's answer: the records of `paths` (or `moved`), and a reservation."""
        head = answer[1 : 1 + _HEAD_BYTES]
        epoch = head[:_EPOCH_BYTES]
        (seq,) = _SEQ.unpack_from(answer, 1 + _EPOCH_BYTES)
        seen = _made(Seen, (epoch, seq, answer, paths))
        with self._lock:
            if not self.seen.startswith(epoch):
                # Another thread has moved on meanwhile: this must be compared, and brought back.
                self.seen, self.seq, self.generation = head, seq, -1
                self.recovering = False
            elif seq > self.seq:
                self.seen, self.seq = head, seq
            if not self.recovering:
                scopes = self.scopes
                for path in paths or moved:
                    known = scopes.get(path)
                    if known is None or known[1] <= seq:
                        scopes[path] = seen
            if hold is not None and self.recovering and hold[1][:1] != b"h":
                self.pending[hold[0]] = hold[1]
            elif hold is not None:
                self._hold(*hold)
            if len(self.scopes) > _MOST_SCOPES:
                self._prune_scopes()
        if self._journal is not None:
            self._write(paths or moved, hold[0] if hold else None)

    def ended(self, reservation_id: str, after: bytes, charged: bytes) -> bytes | None:
        """A reservation of this process in its new state; None where it is not ours."""
        hold = self.holds.get(reservation_id)
        return None if hold is None else after + hold.packed[1:34] + charged + hold.packed[66:]

    def renewed(self, answer: bytes, reservation_id: str, lease_ms: int, *, sent: bool) -> None:
        """A lease was extended from now."""
        hold = self.holds.get(reservation_id)
        if sent:
            self.longest_lease_ms = max(self.longest_lease_ms, lease_ms)
        if hold is None or not hold.is_open:
            self.learn(answer)
            return
        packed = b"h1" + hold.packed[2:] if sent else hold.packed
        self.learn(answer, hold=(reservation_id, packed, self.clock() + lease_ms / 1000))

    def made_lately(self, reservation_id: str) -> bool:
        """True where the server must still know a reservation of this process."""
        hold = self.holds.get(reservation_id)
        return hold is not None and hold.until > self.clock() - _KEPT_SECONDS

    def forget(self, path: str) -> None:
        """A scope that was dropped is not brought back."""
        with self._lock:
            self.scopes.pop(path, None)
        self._write((path,), None)

    def refresh(self, rows: Sequence[tuple[str, bytes | None]], meta: bytes) -> None:
        """Take in records as they are now, of scopes that were brought back; None: it is gone."""
        head = meta[:_HEAD_BYTES]
        epoch = head[:_EPOCH_BYTES]
        (seq,) = _SEQ.unpack_from(head, _EPOCH_BYTES)
        with self._lock:
            if self.recovering or epoch != self.seen[:_EPOCH_BYTES]:
                return
            for path, record in rows:
                known = self.scopes.get(path)
                if record is None:
                    self.scopes.pop(path, None)
                elif known is None or known.epoch != epoch or known.seq <= seq:
                    self.scopes[path] = Seen(epoch, seq, b"F" + head + record + b"\n", (path,))
        self._write([path for path, _ in rows], None)

    def parts(self, size: int) -> list[tuple[int, list[Argument]]]:
        """What to bring back, in parts: how many scopes, then scopes and reservations."""
        with self._lock:
            scopes, holds = list(self.scopes.items()), list(self.holds.items())
            pending = set(self.pending)
        now = self.clock()
        parts: list[tuple[int, list[Argument]]] = []
        for start in range(0, len(scopes), size):
            rows: list[Argument] = []
            count = 0
            for path, seen in scopes[start : start + size]:
                record = record_of(path, seen)
                if record is not None:
                    rows += (path, seen.epoch, _SEQ.pack(seen.seq), record)
                    count += 1
            parts.append((count, rows))
        for start in range(0, len(holds), size):
            rows = []
            for name, hold in holds[start : start + size]:
                packed = b"p" + hold.packed[1:] if name in pending else hold.packed
                rows += (name, max(0, int((hold.until - now) * 1000)), packed)
            parts.append((0, rows))
        return parts or [(0, [])]

    def _hold(self, reservation_id: str, packed: bytes, until: float) -> None:
        known = self.holds.get(reservation_id)
        self.holds[reservation_id] = Hold(packed, until)
        if packed[:1] != b"h" and (known is None or known.is_open):
            self._ended.append(reservation_id)
            if len(self._ended) > 2 * _MOST_ENDED:
                for name in self._ended[:_MOST_ENDED]:
                    self.holds.pop(name, None)
                del self._ended[:_MOST_ENDED]

    def _prune_scopes(self) -> None:
        newest = sorted(self.scopes.items(), key=lambda row: row[1].seq)
        self.scopes = dict(newest[len(newest) // 2 :])

    def _write(self, paths: Iterable[str], held: str | None) -> None:
        if self._journal is not None:
            self._journal.write(self.org, self, paths, held)


def record_of(path: str, seen: Seen) -> bytes | None:
    """The record of `path` in an answer that showed it."""
    return next((record for name, record in rows_of(seen.answer, seen.paths) if name == path), None)


class Memories:
    """The orgs that this process has met."""

    def __init__(
        self, journal: Journal | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        self._journal = journal
        self._clock = clock or time.time
        self._orgs: dict[str, OrgMemory] = {}
        self._lock = threading.Lock()

    def of(self, org: str) -> OrgMemory:
        """What is remembered of `org`."""
        memory = self._orgs.get(org)
        if memory is None:
            journal, clock = self._journal, self._clock
            made = journal.load(org, clock) if journal else OrgMemory(org, None, clock)
            with self._lock:
                memory = self._orgs.setdefault(org, made)
        return memory

    def orgs(self) -> set[str]:
        """Those of which something is remembered."""
        seen = {org for org, memory in list(self._orgs.items()) if memory.seen}
        return seen if self._journal is None else seen | set(self._journal.orgs())
