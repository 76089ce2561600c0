"""Checkpoints in one SQLite file, for `run` and `arun` alike, strict about what they read back.

A stored checkpoint is untrusted: its serializer is told to build nothing but LangGraph's own safe
types (messages, dates, collections), so that a crafted one cannot call a function.
"""

from __future__ import annotations

import asyncio
import sqlite3
import weakref
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from agentkit.budgets.budget import Budget
from agentkit.errors import ConfigError

Checkpointer = BaseCheckpointSaver[Any]
Durability = Literal["sync", "async", "exit"]


def strict_serializer() -> JsonPlusSerializer:
    """A serializer that refuses every type outside LangGraph's safe list."""
    return JsonPlusSerializer(allowed_msgpack_modules=None, allowed_json_modules=None)


def open_checkpointer(address: str) -> Checkpointer:
    """The checkpointer at `sqlite:///path/to/file.db[?synchronous=FULL|NORMAL]`.

    `FULL` (default) keeps every checkpoint through a power cut; `NORMAL` is many times as fast and
    may lose the last ones on a power cut, never on a crash of the process. Raises ConfigError.
    """
    path, synchronous = _place(address)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, check_same_thread=False, timeout=30.0)
        saver = ThreadedSqliteSaver(connection, serde=strict_serializer())
        closing = weakref.finalize(saver, connection.close)  # with the agent that is let go of
        closing.atexit = False
        saver.setup()
        connection.execute(f"PRAGMA synchronous={synchronous}")
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(f"checkpoints at {str(path)!r} cannot be opened: {error}") from error
    return saver


def checkpoint_file(address: str) -> Path:
    """The file behind the address of a checkpointer; raises ConfigError."""
    return _place(address)[0]


def _place(address: str) -> tuple[Path, str]:
    scheme, separator, place = address.partition("://")
    place, _, query = place.partition("?")
    options = parse_qs(query)
    synchronous = options.pop("synchronous", ["FULL"])[0].upper()
    known = not options and synchronous in ("FULL", "NORMAL")
    if (
        scheme != "sqlite"
        or not separator
        or not place.startswith("/")
        or place == "/"
        or not known
    ):
        raise ConfigError(
            f"checkpoint={address!r}: write 'sqlite:///checkpoints.db', with "
            "'?synchronous=NORMAL' for speed, or pass a LangGraph checkpointer as an object"
        )
    return Path(place[1:]), synchronous


def checked_durability(durability: Durability, budget: Budget) -> Durability:
    """With "exit" a dead process leaves no checkpoint, and its task would be paid anew.

    Raises ConfigError for it beside a budget.
    """
    if durability == "exit" and any(limit is not None for limit in budget.limits):
        raise ConfigError(
            'durability="exit" keeps no checkpoint of a task that dies, so a budget cannot be held '
            'over its resumption; use "sync" or "async", or force_durability=True to take that risk'
        )
    return durability


class ThreadedSqliteSaver(SqliteSaver):
    """LangGraph's SqliteSaver with asynchronous methods that run the others in a thread."""

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        def found() -> list[CheckpointTuple]:
            return list(self.list(config, filter=filter, before=before, limit=limit))

        for checkpoint in await asyncio.to_thread(found):
            yield checkpoint

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.delete_thread, thread_id)
