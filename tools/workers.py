"""Where tools run: daemon threads, and one event loop for async tools called from plain code.

A thread cannot be ended. What runs past its timeout is abandoned: left to itself, counted, and
never waited for, neither by the next step nor at the end of the process.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from agentkit.tools.isolation import Children

_IDLE_SECONDS = 30.0
_LOOP_ACK_SECONDS = 0.2

Done = Callable[[object], None]


@dataclass(eq=False, slots=True)
class Job:
    """Work handed to a thread; `done` gets what it returned, in that thread."""

    work: Callable[[], object]
    done: Done
    state: str = field(default="running")


class Workers:
    """Threads that grow with demand and leave when idle. `work` and `done` must not raise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Job]] = []
        self._abandoned = 0

    @property
    def abandoned(self) -> int:
        """Jobs that were given up and still hold a thread."""
        return self._abandoned

    def start(self, work: Callable[[], object], done: Done) -> Job:
        """Begins at once, in a thread of its own or an idle one."""
        job = Job(work, done)
        with self._lock:
            inbox = self._idle.pop() if self._idle else None
        if inbox is None:
            inbox = SimpleQueue[Job]()
            threading.Thread(
                target=self._serve, args=(inbox,), name="agentkit-tool", daemon=True
            ).start()
        inbox.put(job)
        return job

    def abandon(self, job: Job) -> None:
        """Gives a job up; its thread ends with it."""
        with self._lock:
            if job.state == "running":
                job.state = "abandoned"
                self._abandoned += 1

    def _serve(self, inbox: SimpleQueue[Job]) -> None:
        while (job := self._next(inbox)) is not None:
            result = job.work()
            with self._lock:
                if job.state == "abandoned":
                    self._abandoned -= 1
                    return
                job.state = "done"
                self._idle.append(inbox)  # before `done`, so that the next job finds this thread
            job.done(result)
            del job, result  # an idle thread keeps no result alive

    def _next(self, inbox: SimpleQueue[Job]) -> Job | None:
        try:
            return inbox.get(timeout=_IDLE_SECONDS)
        except Empty:
            with self._lock:
                if inbox in self._idle:
                    self._idle.remove(inbox)
                    return None
            return inbox.get()  # taken from the idle ones just now: its job is on the way


class LoopThread:
    """An event loop in a daemon thread; one that a tool has stopped is replaced.

    A tool stops it by blocking, or by waiting in it for another async tool, as where it runs an
    agent with `run` and not `arun`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._blocked = 0

    @property
    def blocked(self) -> int:
        """Loops that were replaced because a tool blocks them still."""
        return self._blocked

    def start(
        self, work: Callable[[], Coroutine[object, object, object]], done: Done, context: Context
    ) -> Callable[[], None]:
        """Begins the coroutine; returns what cancels it."""
        loop = self._running_loop()
        tasks: list[asyncio.Task[object]] = []

        def begin() -> None:
            task = loop.create_task(work(), context=context)
            tasks.append(task)
            task.add_done_callback(lambda t: None if t.cancelled() else done(t.result()))

        loop.call_soon_threadsafe(begin)
        return lambda: self._cancel(loop, tasks)

    def _cancel(self, loop: asyncio.AbstractEventLoop, tasks: list[asyncio.Task[object]]) -> None:
        heard = threading.Event()

        def cancel() -> None:
            for task in tasks:
                task.cancel()
            heard.set()

        try:
            loop.call_soon_threadsafe(cancel)
        except RuntimeError:
            return  # the loop was retired, after its last task
        if heard.wait(_LOOP_ACK_SECONDS):
            return
        with self._lock:
            if self._loop is not loop:
                return  # another call has seen it already
            self._loop = None
            self._blocked += 1
        asyncio.run_coroutine_threadsafe(self._come_back(loop), loop)

    async def _come_back(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._blocked -= 1
        await self._retire(loop)

    async def _retire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Runs once the loop moves again: lets its other tasks finish, then ends its thread."""
        this = asyncio.current_task()
        while others := asyncio.all_tasks() - {this}:
            await asyncio.wait(others)
        loop.stop()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is not None and self._loop is _loop_here():
                asyncio.run_coroutine_threadsafe(self._retire(self._loop), self._loop)
                self._loop = None
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_run_loop, args=(self._loop,), name="agentkit-tool-loop", daemon=True
                ).start()
            return self._loop


def _loop_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.run_until_complete(loop.shutdown_asyncgens())  # connections opened on it close
    loop.close()


class _Places:
    """The process's threads and loop; a forked child starts with none of its parent's."""

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.workers = Workers()
        self.loop_thread = LoopThread()
        self.children = Children()

    @property
    def abandoned(self) -> int:
        """Timed-out calls that still hold a thread of this process."""
        return self.workers.abandoned + self.loop_thread.blocked


PLACES = _Places()
atexit.register(lambda: PLACES.children.close())
