"""A fan-out on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

from agentkit.errors import ListChanged
from agentkit.fanout.fan import Fan, Item
from agentkit.fanout.job import Mapped, Origin, Request
from agentkit.fanout.threads import Told
from agentkit.result import TaskResult
from agentkit.run import Progress


async def amapped(fan: Fan, source: AsyncIterable[Request] | None) -> AsyncIterator[Mapped]:
    results: asyncio.Queue[Told] = asyncio.Queue(maxsize=fan.concurrency)
    feed = _Feed(fan, source)
    tasks = [
        asyncio.create_task(_awork(fan, feed, number, results)) for number in range(fan.concurrency)
    ]
    left = len(tasks)
    try:
        while left:
            told = await results.get()
            if told is None:
                left -= 1
            elif isinstance(told, BaseException):
                raise told
            else:
                yield told
    finally:
        fan.stopped = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Feed:
    """Requests one by one, from a plain or an asynchronous source."""

    def __init__(self, fan: Fan, source: AsyncIterable[Request] | None) -> None:
        self._fan = fan
        self._source = None if source is None else aiter(source)
        self._index = 0
        self._lock = asyncio.Lock()
        self.warm = asyncio.Event()

    async def following(self) -> tuple[int, Request] | None:
        if self._source is None:
            return self._fan.next_item()
        async with self._lock:
            try:
                request = await anext(self._source)
            except StopAsyncIteration:
                return None
            self._index += 1
            return self._index - 1, request


async def _awork(fan: Fan, feed: _Feed, number: int, results: asyncio.Queue[Told]) -> None:
    try:
        if number and fan.staggers:
            await feed.warm.wait()
        while (following := await feed.following()) is not None:
            item = fan.begin(*following)
            try:
                outcome = await _acarried_out(fan, feed, item)
            except ListChanged:
                raise
            except Exception as error:  # noqa: BLE001  one task's failure must not end the others
                outcome = item.failed(error)
            feed.warm.set()
            await results.put(fan.end(outcome))
        await results.put(None)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001  handed over: it ends the fan-out where it is read
        await results.put(error)


async def _acarried_out(fan: Fan, feed: _Feed, item: Item) -> Mapped:
    standing: TaskResult | Origin = "run"
    if item.thread_id is not None:
        standing = await asyncio.to_thread(fan.standing, item)
    if isinstance(standing, TaskResult):
        return item.ended(standing, "known")

    def heard(progress: Progress) -> None:
        if progress.phase in ("answering", "thought"):
            fan.warm.set()
            loop.call_soon_threadsafe(feed.warm.set)

    loop = asyncio.get_running_loop()
    if standing == "resumed" and item.thread_id is not None:
        result = await fan.agent.aresume(item.thread_id, on_progress=heard)
        return item.ended(result, standing)
    return item.ended(await fan.agent.acarry_out(item.asked, item.thread_id, heard), "run")
