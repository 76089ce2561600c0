"""What a task tells while it runs: pieces of its answer, nodes that end, and its result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentkit.result import TaskResult


@dataclass(frozen=True, kw_only=True, slots=True)
class TextDelta:
    """A piece of an answer while it is written."""

    text: str
    step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StepDone:
    """A node of the graph that has ended."""

    node: str
    step: int


StreamEvent = TextDelta | StepDone | TaskResult


def stream_events(mode: str, part: Any, step: int) -> Iterator[StreamEvent]:
    if mode == "messages":
        chunk, _ = part
        text = chunk.text if chunk.type == "AIMessageChunk" else ""
        if text:
            yield TextDelta(text=text, step=step)
    elif mode == "updates":
        for node in part:
            yield StepDone(node=node, step=step)
