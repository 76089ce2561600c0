"""For all tests: what a process that was started in the background must be given back, and that no
connection outlives its event loop."""

from __future__ import annotations

import signal
import weakref
from asyncio import selector_events
from collections.abc import Iterator
from typing import Any

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has its background jobs ignore Ctrl-C, and so would every command that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_made: weakref.WeakSet[Any] = weakref.WeakSet()
_transports: Any = vars(selector_events)["_SelectorSocketTransport"]
_make = _transports.__init__


def _make_noted(transport: Any, *args: Any, **kwargs: Any) -> None:
    _make(transport, *args, **kwargs)
    _made.add(transport)


_transports.__init__ = _make_noted


@pytest.fixture(autouse=True)
def no_connection_outlives_its_loop() -> Iterator[None]:
    """Else it warns when it is collected, which fails another test, long after this one."""
    yield
    left = [each for each in list(_made) if each._sock is not None and each._loop.is_closed()]
    for transport in left:
        _made.discard(transport)
        transport._sock.close()
        transport._sock = None
    assert not left, f"{len(left)} connections were open when their event loop was closed"
