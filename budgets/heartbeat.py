"""Renews the leases of calls that are still under way, so that a slow one is not given up."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from agentkit.budgets.errors import StoreError

_log = logging.getLogger("agentkit.budgets")

_BEATS_A_LEASE = 3
LONGEST_BEATING_SECONDS = 3600.0


@dataclass(slots=True)
class _Beat:
    owner: weakref.ref[object]
    lease_seconds: float
    next_at: float
    until: float


class Heartbeat:
    """One thread that renews the leases of this process, three times a lease.

    A lease is renewed as long as its owner exists, the `HeldCall` of a call, and for an hour at
    most: a call whose thread or coroutine is gone ends with its lease, like one whose process is.
    """

    def __init__(self, renew: Callable[[str, float], bool]) -> None:
        self._renew = renew
        self._beats: dict[str, _Beat] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wakes_at = 0.0
        self._pid = os.getpid()

    def begin(
        self,
        reservation_id: str,
        owner: object,
        *,
        lease_seconds: float,
        longest_seconds: float = LONGEST_BEATING_SECONDS,
    ) -> None:
        """Renew the lease of `reservation_id` until `end`, while `owner` exists."""
        now = time.monotonic()
        next_at = now + lease_seconds / _BEATS_A_LEASE
        beat = _Beat(weakref.ref(owner), lease_seconds, next_at, now + longest_seconds)
        with self._wake:
            if self._pid != os.getpid():  # a fork has neither the thread nor the calls
                self._pid, self._thread, self._beats = os.getpid(), None, {}
            self._beats[reservation_id] = beat
            if self._thread is None:
                self._wakes_at = beat.next_at
                self._thread = threading.Thread(
                    target=self._run, name="agentkit-heartbeat", daemon=True
                )
                self._thread.start()
            elif beat.next_at < self._wakes_at:
                self._wake.notify()

    def end(self, reservation_id: str) -> None:
        """It has been settled."""
        with self._wake:
            self._beats.pop(reservation_id, None)

    def stop(self) -> None:
        """Renew nothing any more; what is held ends with its lease."""
        with self._wake:
            self._beats.clear()
            self._wake.notify()

    def _run(self) -> None:
        while (due := self._next_due()) is not None:
            for reservation_id, beat in due:
                self._beat(reservation_id, beat)

    def _next_due(self) -> list[tuple[str, _Beat]] | None:
        """The leases whose time has come; None once there is nothing to renew."""
        with self._wake:
            while self._beats:
                now = time.monotonic()
                due = [item for item in self._beats.items() if item[1].next_at <= now]
                if due:
                    return due
                self._wakes_at = min(beat.next_at for beat in self._beats.values())
                self._wake.wait(self._wakes_at - now)
            self._thread = None
            return None

    def _beat(self, reservation_id: str, beat: _Beat) -> None:
        now = time.monotonic()
        lasts = False
        if beat.owner() is not None and now < beat.until:
            try:
                lasts = self._renew(reservation_id, beat.lease_seconds)
            except StoreError as error:  # the next beat tries again; at worst the lease ends
                lasts = True
                _log.warning("the lease of %s was not renewed: %s", reservation_id, error)
            except Exception:  # noqa: BLE001  # whatever a store raises: other leases go on
                _log.exception("the lease of %s was not renewed", reservation_id)
        with self._wake:
            beat.next_at = now + beat.lease_seconds / _BEATS_A_LEASE
            if not lasts and self._beats.get(reservation_id) is beat:
                del self._beats[reservation_id]
