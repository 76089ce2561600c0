"""An event loop in a thread of its own, for connections that outlive the calls made on them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

_STOP_SECONDS = 5.0


class BackgroundLoop:
    """Runs coroutines for callers in any thread and on any loop; `stop` ends its thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="agentkit-mcp", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """False after `stop`, and in a forked child."""
        return self._thread.is_alive()

    def wait_for(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result, from another thread; Ctrl-C cancels the work."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def result_of(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result, on the caller's loop; a cancellation there cancels the work here."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def stop(self) -> None:
        """Ends the loop once its callbacks have run."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left, timeout=_STOP_SECONDS))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
