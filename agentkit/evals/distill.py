"""Recorded tasks as fine-tuning files: chat JSON lines with tools, redacted, without duplicates.

The ledger keeps no texts, only checkpoints do: what a task said is read from the last checkpoint
that it left.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage, convert_to_openai_messages

from agentkit.budgets.journal import TaskRecord
from agentkit.budgets.journal_query import EVERYTHING, JournalFilter
from agentkit.budgets.store import Store
from agentkit.checkpoint import Checkpointer
from agentkit.errors import ConfigError
from agentkit.evals.redaction import Redactor
from agentkit.private_file import write_private

_MOST_TASKS = 1_000_000
_MOST_CHECKPOINTS = 2_000
_PARTS = 10_000

Part = Literal["train", "validation"]
LeftOut = Literal["no contents", "no answer", "not text", "unknown tools", "duplicate"]
"""Why a task became no example."""
ToolsOf = Callable[[TaskRecord], Sequence[Mapping[str, Any]]]
"""The definitions, in OpenAI's shape, of the tools that a task was offered or could call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Distilled:
    """What was written: examples by part, tasks left out by reason, marks by kind."""

    tasks: int
    examples: Mapping[Part, int]
    left_out: Mapping[LeftOut, int]
    redacted: Mapping[str, int]
    files: Mapping[Part, str]


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """What becomes an example. `system` is put before each; `validation` is the share held back."""

    where: JournalFilter = EVERYTHING
    tools_of: ToolsOf = lambda task: ()
    system: str = ""
    validation: float = 0.1
    redactor: Redactor = field(default_factory=Redactor)

    def __post_init__(self) -> None:
        """Raises ConfigError for a share that is none."""
        if not 0 <= self.validation < 1:
            raise ConfigError(f"a validation share of {self.validation:g}; use 0 to below 1")


def distill(
    plan: Distillation, *, store: Store, saver: Checkpointer, folder: Path, force: bool = False
) -> Distilled:
    """Write `train.jsonl` and `validation.jsonl` into `folder`, readable by their owner alone.

    A request always falls into the same part, in every run. Raises ConfigError where a file is
    there already (without `force`), and where no task that is meant has its contents kept.
    """
    paths: dict[Part, Path] = {
        "train": folder / "train.jsonl",
        "validation": folder / "validation.jsonl",
    }
    taken = [path for path in paths.values() if path.exists()]
    if taken and not force:
        raise ConfigError(f"{taken[0]} is there already; name another folder, or say --force")
    tasks = store.tasks(limit=_MOST_TASKS, where=plan.where)
    if not tasks:
        raise ConfigError(
            "no recorded task is meant: those that a check resolved, unless --outcome names others "
            "(evaluated ones are `answered`); `agentkit tasks` lists those that there are"
        )
    left_out: Counter[LeftOut] = Counter()
    lines: dict[Part, list[str]] = {"train": [], "validation": []}
    seen: set[str] = set()
    for task in reversed(tasks):  # the first of several alike is kept
        example = _example(task, plan, saver)
        if isinstance(example, str):
            left_out[example] += 1
            continue
        digest = _digest(example)
        if digest in seen:
            left_out["duplicate"] += 1
            continue
        seen.add(digest)
        lines[_part(example, plan.validation)].append(json.dumps(example, ensure_ascii=False))
    if left_out["no contents"] == len(tasks):
        raise ConfigError(
            f"{len(tasks)} tasks are meant, and of none of them the contents were kept: the ledger "
            "holds no texts. Run the agent with checkpoint='sqlite:///...', and name that with "
            "--checkpoint"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for part, path in paths.items():
        _write(path, lines[part])
    return Distilled(
        tasks=len(tasks),
        examples={part: len(each) for part, each in lines.items()},
        left_out=dict(left_out.most_common()),
        redacted=dict(plan.redactor.counts),
        files={part: str(path) for part, path in paths.items()},
    )


def _example(task: TaskRecord, plan: Distillation, saver: Checkpointer) -> dict[str, Any] | LeftOut:
    found = _messages(task, saver)
    if found is None:
        return "no contents"
    start, messages = found
    while messages and isinstance(messages[-1], ToolMessage):
        messages = messages[:-1]  # an example ends with what the model is to learn
    if not messages or not isinstance(messages[-1], AIMessage):
        return "no answer"
    if any(not isinstance(message.content, str) and not message.text for message in messages):
        return "not text"
    tools = list(plan.tools_of(task))
    known = {str(_inner(tool).get("name")) for tool in tools}
    called = {call["name"] for m in messages if isinstance(m, AIMessage) for call in m.tool_calls}
    if not called <= known:
        return "unknown tools"
    plan.redactor.begin()
    told = [{"role": "system", "content": plan.system}] if plan.system else []
    told += [
        _message(message, plan.redactor, learned=place >= start)
        for place, message in enumerate(messages)
    ]
    example: dict[str, Any] = {"messages": told}
    if tools:
        example["tools"] = [{"type": "function", "function": _inner(tool)} for tool in tools]
    return example


def _messages(task: TaskRecord, saver: Checkpointer) -> tuple[int, list[BaseMessage]] | None:
    """Where the task's own messages begin, and all of its thread up to its end."""
    config: Any = {"configurable": {"thread_id": task.thread_id or task.task_id}}
    for found in saver.list(config, limit=_MOST_CHECKPOINTS):
        values = found.checkpoint["channel_values"]
        if values.get("task_id") == task.task_id and values.get("messages"):
            return int(values.get("request_at", 0)), list(values["messages"])
    return None


def _message(message: BaseMessage, redactor: Redactor, *, learned: bool) -> dict[str, Any]:
    """In OpenAI's shape; what came before the task is shown and not learned (`weight` 0)."""
    told: dict[str, Any] = convert_to_openai_messages(message, text_format="string")
    if isinstance(told.get("content"), str):
        told["content"] = redactor.text(told["content"])
    for call in told.get("tool_calls", ()):
        arguments = json.loads(call["function"]["arguments"])
        call["function"]["arguments"] = json.dumps(redactor.value(arguments), ensure_ascii=False)
    if isinstance(message, AIMessage) and not learned:
        told["weight"] = 0
    return told


def _digest(example: Mapping[str, Any]) -> str:
    """The same for the same conversation, whatever its ids and white space."""
    plain = [list(_plain(message)) for message in example["messages"]]
    text = json.dumps([plain, example.get("tools")], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _plain(message: Mapping[str, Any]) -> Iterator[Any]:
    yield message["role"]
    yield " ".join(str(message.get("content") or "").split())
    for call in message.get("tool_calls", ()):
        yield call["function"]


def _part(example: Mapping[str, Any], share: float) -> Part:
    """By a hash of what was asked, so that one request is never in both files."""
    asked = [m for m in example["messages"] if m["role"] == "user"]
    text = " ".join(str(asked[-1]["content"] if asked else "").split()).casefold()
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    place = int.from_bytes(digest[:8], "big") % _PARTS
    return "validation" if place < share * _PARTS else "train"


def _inner(tool: Mapping[str, Any]) -> dict[str, Any]:
    inner: Any = tool.get("function", tool)
    return dict(inner)


def _write(path: Path, lines: Sequence[str]) -> None:
    write_private(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
