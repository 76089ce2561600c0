"""A hosted model's answer, read while it is written and cut where it goes in circles."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    message_chunk_to_message,
)

from agentkit.models.babble import Babble


def read_answer(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    arguments: Mapping[str, Any],
    reading: Reading,
) -> AIMessage:
    """The whole answer, or as much of it as was written before it went in circles.

    What is cut carries `response_metadata["babbled"]` and no usage, for none came. Raises
    TimeoutError where it took longer than the reading may, and what the model's client raises.
    """
    chunks = model.stream(list(messages), **arguments)
    try:
        for chunk in chunks:
            if reading.take(chunk):
                break
    finally:
        if isinstance(chunks, Generator):
            chunks.close()
    return reading.message()


async def aread_answer(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    arguments: Mapping[str, Any],
    reading: Reading,
) -> AIMessage:
    """As `read_answer`, on the event loop, whose tasks can be timed out as they are."""
    chunks = model.astream(list(messages), **arguments)
    try:
        async for chunk in chunks:
            if reading.take(chunk):
                break
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    return reading.message()


class Reading:
    """What was read of one answer; `on_begun` is told once, when its first piece has come."""

    def __init__(
        self,
        seconds: float | None = None,
        cut_babble: bool = True,
        on_begun: Callable[[], None] | None = None,
    ) -> None:
        self._ends_at = None if seconds is None else time.monotonic() + seconds
        self._babble = Babble() if cut_babble else None
        self._on_begun = on_begun
        self._whole: AIMessageChunk | None = None
        self._babbled = False

    def take(self, chunk: AIMessageChunk) -> bool:
        """Add a chunk; true where no more of it is wanted."""
        if self._ends_at is not None and time.monotonic() > self._ends_at:
            raise TimeoutError("the answer was not whole when its time was up")
        if self._whole is None and self._on_begun is not None:
            self._on_begun()
        self._whole = chunk if self._whole is None else self._whole + chunk
        self._babbled = self._babble is not None and self._babble.feed(chunk.text)
        return self._babbled

    def message(self) -> AIMessage:
        """The answer."""
        whole = message_chunk_to_message(self._whole or AIMessageChunk(content=""))
        if not isinstance(whole, AIMessage):
            raise TypeError(f"a chat model streamed a {type(whole).__name__}")
        if not self._babbled:
            return whole
        told = {**whole.response_metadata, "finish_reason": "length", "babbled": True}
        return whole.model_copy(
            update={
                "response_metadata": told,
                "usage_metadata": None,  # what a stream tells at its beginning is not what it costs
                "tool_calls": [],
                "invalid_tool_calls": [],
            }
        )
