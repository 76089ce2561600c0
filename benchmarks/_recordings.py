"""Recorded agent runs, their steps, and what each step's calls copied from what stood before."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

LEAST_VALUE_CHARS = 4


@dataclass(frozen=True, kw_only=True)
class Copied:
    """A value that the calls of `step` copy verbatim; `source` is the message where it first stood.

    `key` is the argument's name.
    """

    step: int
    value: str
    key: str
    source: int
    observed: bool


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One recorded run; a step is the index of a message that the model wrote."""

    task_id: str
    messages: Sequence[BaseMessage]

    @property
    def steps(self) -> list[int]:
        return [at for at, message in enumerate(self.messages) if isinstance(message, AIMessage)]

    @cached_property
    def copied(self) -> Mapping[int, list[Copied]]:
        """What the calls of each step copy, by step."""
        texts = [text_of(message) for message in self.messages]
        return {step: list(_copied(self.messages, texts, step)) for step in self.steps}

    @property
    def tool_names(self) -> list[str]:
        calls = (call for message in self.messages for call in getattr(message, "tool_calls", []))
        return sorted({call["name"] for call in calls})


def load(folder: Path, name: str) -> list[Recording]:
    """The recordings of one set, in the order of the file."""
    with gzip.open(folder / "trajectories" / f"{name}.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    return [
        Recording(task_id=f"{name}-{at}", messages=[_message(raw) for raw in row["messages"]])
        for at, row in enumerate(rows)
    ]


def text_of(message: BaseMessage) -> str:
    """What a message says, with the calls it makes."""
    if isinstance(message, AIMessage) and message.tool_calls:
        calls = (f"{call['name']} {_compact(call['args'])}" for call in message.tool_calls)
        return "\n".join([message.text, *calls])
    return message.text


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _message(raw: Mapping[str, Any]) -> BaseMessage:
    content = raw.get("content") or ""
    match raw["role"]:
        case "system":
            return SystemMessage(content)
        case "user":
            return HumanMessage(content)
        case "tool":
            return ToolMessage(content, tool_call_id=raw["tool_call_id"], name=raw.get("name"))
        case _:
            return AIMessage(content, tool_calls=[_call(c) for c in raw.get("tool_calls") or ()])


def _call(raw: Mapping[str, Any]) -> dict[str, Any]:
    function = raw["function"]
    args = json.loads(function["arguments"] or "{}")
    return {"name": function["name"], "args": args, "id": raw["id"], "type": "tool_call"}


def _copied(messages: Sequence[BaseMessage], texts: Sequence[str], step: int) -> Iterator[Copied]:
    for call in getattr(messages[step], "tool_calls", []):
        for key, value in _leaves("", call["args"]):
            if len(value) < LEAST_VALUE_CHARS:
                continue
            source = next((at for at in range(step) if value in texts[at]), None)
            if source is not None:
                observed = isinstance(messages[source], ToolMessage)
                yield Copied(step=step, value=value, key=key, source=source, observed=observed)


def _leaves(key: str, value: object) -> Iterator[tuple[str, str]]:
    """The strings and numbers of arguments, with the name each stands under."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(str(name), item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(key, item)
    elif isinstance(value, str):
        yield key, value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield key, json.dumps(value)
