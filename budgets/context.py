"""The task that code spends from where nobody hands it one: the current task of a context.

asyncio tasks, `asyncio.to_thread` and LangGraph's workers carry it along by themselves. A thread or
a pool of the standard library begins with an empty context; `carry` takes it there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from agentkit.budgets.errors import TaskMissing

if TYPE_CHECKING:
    from agentkit.budgets.task import Task

_P = ParamSpec("_P")
_T = TypeVar("_T")

_current: ContextVar[Task] = ContextVar("agentkit_task")


def current_task() -> Task:
    """The task whose tool, graph or `spending` block runs here; raises TaskMissing.

    >>> from agentkit.budgets import Ledger, current_task, spending
    >>> with spending(Ledger().open_task(task_id="t")):
    ...     current_task().task_id
    't'
    """
    try:
        return _current.get()
    except LookupError:
        raise TaskMissing from None


@contextmanager
def spending(task: Task) -> Generator[Task]:
    """Make `task` the current one inside the block."""
    token = _current.set(task)
    try:
        yield task
    finally:
        _current.reset(token)


def carry(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """`function`, run in the context of this place: for threads and pools, which have their own.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from agentkit.budgets import Ledger, carry, current_task, spending
    >>> with spending(Ledger().open_task(task_id="t")), ThreadPoolExecutor() as pool:
    ...     pool.submit(carry(lambda: current_task().task_id)).result()
    't'
    """
    context = copy_context()

    def carried(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        return context.copy().run(function, *args, **kwargs)  # a context runs one thing at a time

    return carried
