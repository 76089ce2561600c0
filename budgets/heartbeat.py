"""Renews the leases of calls that are still under way, so that a slow one is not given up."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from agentkit.budgets.call_plan import HeldCall
from agentkit.budgets.errors import StoreError

_log = logging.getLogger("agentkit.budgets")

_BEATS_A_LEASE = 3
LONGEST_BEATING_SECONDS = 3600.0


@dataclass(slots=True)
class _Beat:
    held: weakref.ref[HeldCall]
    every_seconds: float
    next_at: float
    until: float


class Heartbeat:
    """One thread that renews the leases of this process's calls, three times a lease.

    A call is renewed as long as somebody holds its `HeldCall`, and for an hour at most: one whose
    thread or coroutine is gone ends with its lease, like one whose process is gone.
    """

    def __init__(
        self,
        renew: Callable[[str, float], bool],
        *,
        longest_seconds: float = LONGEST_BEATING_SECONDS,
    ) -> None:
        self._renew = renew
        self._longest_seconds = longest_seconds
        self._beats: dict[str, _Beat] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wakes_at = 0.0
        self._pid = os.getpid()

    def begin(self, held: HeldCall) -> None:
        """Renew the lease of `held` until `end`."""
        now = time.monotonic()
        every = held.plan.lease_seconds / _BEATS_A_LEASE
        beat = _Beat(weakref.ref(held), every, now + every, now + self._longest_seconds)
        with self._wake:
            if self._pid != os.getpid():  # a fork has neither the thread nor the calls
                self._pid, self._thread, self._beats = os.getpid(), None, {}
            self._beats[held.call_id] = beat
            if self._thread is None:
                self._wakes_at = beat.next_at
                self._thread = threading.Thread(
                    target=self._run, name="agentkit-heartbeat", daemon=True
                )
                self._thread.start()
            elif beat.next_at < self._wakes_at:
                self._wake.notify()

    def end(self, call_id: str) -> None:
        """The call has been settled."""
        with self._wake:
            self._beats.pop(call_id, None)

    def stop(self) -> None:
        """Renew nothing any more; what is held ends with its lease."""
        with self._wake:
            self._beats.clear()
            self._wake.notify()

    def _run(self) -> None:
        while (due := self._next_due()) is not None:
            for call_id, beat in due:
                self._beat(call_id, beat)

    def _next_due(self) -> list[tuple[str, _Beat]] | None:
        """The calls whose time has come; None once there is nothing to renew."""
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

    def _beat(self, call_id: str, beat: _Beat) -> None:
        now = time.monotonic()
        held = beat.held()
        lasts = False
        if held is not None and now < beat.until:
            try:
                lasts = self._renew(call_id, held.plan.lease_seconds)
            except StoreError as error:  # the next beat tries again; at worst the lease ends
                lasts = True
                _log.warning("the lease of call %s was not renewed: %s", call_id, error)
            except Exception:  # noqa: BLE001  # whatever a store raises: other calls' leases go on
                _log.exception("the lease of call %s was not renewed", call_id)
        with self._wake:
            beat.next_at = now + beat.every_seconds
            if not lasts and self._beats.get(call_id) is beat:
                del self._beats[call_id]
