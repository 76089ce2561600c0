"""A fan-out in threads, which run whole tasks one after another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import copy_context
from queue import Empty, Full, Queue

from agentkit.errors import ListChanged
from agentkit.fanout.fan import Fan, Interrupted, Item
from agentkit.fanout.job import Mapped
from agentkit.result import TaskResult

_POLL_SECONDS = 0.2

Told = Mapped | BaseException | None
"""An outcome, what ends the whole fan-out, or None from a thread that has nothing left to do."""


def mapped(fan: Fan) -> Iterator[Mapped]:
    results: Queue[Told] = Queue(maxsize=fan.concurrency)
    threads = [
        threading.Thread(target=copy_context().run, args=(_work, fan, number, results), daemon=True)
        for number in range(fan.concurrency)
    ]
    for thread in threads:
        thread.start()
    left = len(threads)
    try:
        while left:
            told = results.get()
            if told is None:
                left -= 1
            elif isinstance(told, BaseException):
                raise told
            else:
                yield told
    finally:
        fan.stopped = True
        fan.warm.set()
        _wait(threads, results)


def _work(fan: Fan, number: int, results: Queue[Told]) -> None:
    """Carry out one item after another, until there is none or the fan-out is stopped."""
    try:
        if number and fan.staggers:
            fan.warm.wait()
        while (following := fan.next_item()) is not None:
            item = fan.begin(*following)
            try:
                outcome = _carried_out(fan, item)
            except ListChanged:
                raise
            except Exception as error:  # noqa: BLE001  one task's failure must not end the others
                outcome = item.failed(error)
            _tell(fan, results, fan.end(outcome))
        _tell(fan, results, None)
    except Interrupted:
        return
    except BaseException as error:  # noqa: BLE001  handed over: it ends the fan-out where it is read
        _tell(fan, results, error)


def _carried_out(fan: Fan, item: Item) -> Mapped:
    standing = fan.standing(item)
    if isinstance(standing, TaskResult):
        return item.ended(standing, "known")
    heard = fan.watch(item)
    if standing == "resumed" and item.thread_id is not None:
        return item.ended(fan.agent.resume(item.thread_id, on_progress=heard), standing)
    return item.ended(fan.agent.carry_out(item.asked, item.thread_id, heard), "run")


def _tell(fan: Fan, results: Queue[Told], told: Told) -> None:
    """Hand over to whoever reads; once nobody does, let it go."""
    while not fan.stopped:
        try:
            results.put(told, timeout=_POLL_SECONDS)
            return
        except Full:
            continue


def _wait(threads: list[threading.Thread], results: Queue[Told]) -> None:
    """Let the calls under way end and settle; another Ctrl-C leaves them to their leases."""
    for thread in threads:
        while thread.is_alive():
            try:
                results.get_nowait()
            except Empty:
                thread.join(timeout=_POLL_SECONDS)
