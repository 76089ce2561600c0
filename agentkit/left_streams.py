"""Ends the streams that their readers let go of, elsewhere than where that happens.

Who drops a generator last closes it: often the garbage collector, in any thread and at any moment,
also inside a lock that is needed to close it, as httpx's pool and the ledger have one; or an event
loop, which would stand still until the model has said its last word.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from agentkit.effects import on_event_loop

_log = logging.getLogger("agentkit")
_LOOK_SECONDS = 0.01

Part = TypeVar("Part")


class _Collecting(threading.local):
    now = False


_collecting = _Collecting()
_read: set[Generator[Any]] = set()
"""Those being read: held here, so that the collector leaves them to the one who reads."""
_ending: set[Generator[Any]] = set()
_inherited: set[Generator[Any]] = set()
"""Those that the parent of a forked process reads on: this one must not end them."""
_left: SimpleQueue[Generator[Any]] = SimpleQueue()  # its `put` may interrupt any other code


def read_on(parts: Generator[Part]) -> Generator[Part]:
    """What `parts` gives; it is closed with this one, and has then been waited for.

    Where the garbage collector closes this one, or an event loop does, it ends in another thread.
    """
    _ender.be_there()
    _read.add(parts)
    pid, aside = os.getpid(), False
    try:
        for part in parts:  # noqa: UP028  `yield from` would close them before it is known how
            yield part
    except GeneratorExit:
        aside = _collecting.now or on_event_loop()
        raise
    finally:
        _let_go(parts, pid, aside=aside)


def _let_go(parts: Generator[Any], pid: int, *, aside: bool) -> None:
    if pid != os.getpid():
        _inherited.add(parts)
        return
    if aside:
        _ending.add(parts)
        _left.put(parts)
    _read.discard(parts)
    if not aside:
        parts.close()


class _Ender:
    """Waits for what was left. It is there before it is needed: the collector can start nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def be_there(self) -> None:
        """A forked child starts one of its own."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=_wait, name="agentkit-left", daemon=True)
                self._thread.start()


_ender = _Ender()


def _wait() -> None:
    while True:
        parts = _left.get()
        try:  # one that takes its time keeps no other waiting
            threading.Thread(
                target=_end, args=(parts,), name="agentkit-left-stream", daemon=True
            ).start()
        except RuntimeError:  # the interpreter takes no more threads
            _end(parts)
        del parts


def _end(parts: Generator[Any]) -> None:
    try:
        parts.close()
    except Exception as error:  # noqa: BLE001  there is nobody left to raise it to
        _log.warning("a stream that was left ended with %s", type(error).__name__)
    finally:
        _ending.discard(parts)


def _leave_to_parent() -> None:
    """In a forked child: what was being read there is not this process's to end."""
    global _left, _ender
    fresh: SimpleQueue[Generator[Any]] = SimpleQueue()
    _inherited.update(_read, _ending)
    _read.clear()
    _ending.clear()
    _left, _ender = fresh, _Ender()


def _note_collection(phase: str, _: dict[str, int]) -> None:
    _collecting.now = phase == "start"


@atexit.register
def _end_all() -> None:
    with suppress(Empty):
        while True:
            _end(_left.get_nowait())
    while _ending:
        time.sleep(_LOOK_SECONDS)
    for parts in list(_read):
        _end(parts)


gc.callbacks.append(_note_collection)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
