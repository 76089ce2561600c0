"""What plain policies send of a transcript, and LangChain's middleware, which is run for real."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Protocol, cast

from langchain.agents.middleware import (
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    SummarizationMiddleware,
)
from langchain.agents.middleware.types import ModelRequest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from agentkit.budgets.tokens import count_text
from agentkit.tools.prune.salience import salience
from benchmarks._context_bill import Request, Tool, tool
from benchmarks._recordings import Recording

CLEARED_ABOVE_TOKENS = 2_000
SUMMARIZED_ABOVE_TOKENS = 8_000
KEPT_MESSAGES = 6
KEPT_RESULTS = 3
TRUNCATED_CHARS = 1_000
SUMMARY_TOKENS = 400

SENSIBLE_CACHING: Mapping[str, Any] = {"cache_control": {"type": "ephemeral"}}
"""A breakpoint at the end of every request, as LangChain's caching middleware sets it."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The request of a step, and the calls that had to be paid before it."""

    messages: Sequence[BaseMessage]
    tools: Sequence[Tool]
    controls: Mapping[str, Any] = field(default_factory=lambda: SENSIBLE_CACHING)
    before: Sequence[Request] = ()
    marked: Sequence[BaseMessage] | None = None

    @property
    def request(self) -> Request:
        return self.answered(0)

    def answered(self, output_tokens: int) -> Request:
        """The request, with an answer that is billed too."""
        return Request(
            messages=self.messages,
            tools=self.tools,
            controls=self.controls if self.marked is None else {},
            marked=self.marked,
            output_tokens=output_tokens,
        )


class Session(Protocol):
    """One replayed task."""

    def build(self, transcript: Sequence[BaseMessage]) -> Sent:
        """What is sent where the recorded run sent all of `transcript`."""
        ...


Policy = Callable[[Recording], Session]


def tools_of(recording: Recording) -> list[Tool]:
    """Bare definitions of the tools that a recording calls; the data has no others."""
    return [tool(name) for name in recording.tool_names]


@dataclass(frozen=True, kw_only=True)
class Edited:
    """Sends an edit of the transcript that needs no memory."""

    recording: Recording
    edit: Callable[[Sequence[BaseMessage]], Sequence[BaseMessage]]

    def build(self, transcript: Sequence[BaseMessage]) -> Sent:
        return Sent(messages=self.edit(transcript), tools=tools_of(self.recording))


def naive(recording: Recording) -> Session:
    """Everything, with a cache breakpoint at the end."""
    return Edited(recording=recording, edit=lambda transcript: transcript)


def keep_last(recording: Recording) -> Session:
    """The last three observations; earlier ones are masked."""
    return Edited(recording=recording, edit=_masked_but_last)


def truncate(recording: Recording) -> Session:
    """The first 1,000 characters of each observation."""
    return Edited(recording=recording, edit=_truncated)


def mask(recording: Recording) -> Session:
    """No observation at all."""
    return Edited(recording=recording, edit=lambda transcript: _masked(transcript, 0))


def first_and_last(recording: Recording) -> Session:
    """The first two and the last ten messages, whether a provider takes them or not."""
    return Edited(
        recording=recording,
        edit=lambda t: t if len(t) <= 12 else [*t[:2], *t[-10:]],
    )


def _masked_but_last(transcript: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    return _masked(transcript, KEPT_RESULTS)


def _masked(transcript: Sequence[BaseMessage], kept: int) -> Sequence[BaseMessage]:
    results = [at for at, message in enumerate(transcript) if isinstance(message, ToolMessage)]
    old = set(results[: max(0, len(results) - kept)])
    return [
        message.model_copy(update={"content": "[masked]"}) if at in old else message
        for at, message in enumerate(transcript)
    ]


def _truncated(transcript: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    return [
        message.model_copy(update={"content": message.text[:TRUNCATED_CHARS]})
        if isinstance(message, ToolMessage)
        else message
        for message in transcript
    ]


class ScriptedSummarizer(BaseChatModel):
    """Answers with the lines of its prompt that hold most names and numbers, 400 tokens of them."""

    calls: list[Request]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        text = "\n".join(message.text for message in messages)
        _, _, history = text.rpartition("<messages>")
        summary = _densest(history, SUMMARY_TOKENS)
        self.calls.append(Request(messages=messages, output_tokens=count_text(summary)))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(summary))])


def _densest(text: str, limit_tokens: int) -> str:
    lines = list(dict.fromkeys(line.strip() for line in text.split("\n") if line.strip()))
    left, kept = limit_tokens, set[int]()
    for at in sorted(range(len(lines)), key=lambda at: -salience(lines[at])):
        cost = count_text(lines[at]) + 1
        if cost <= left:
            left -= cost
            kept.add(at)
    return "\n".join(lines[at] for at in sorted(kept)) or "nothing yet"


class Summarized:
    """LangChain's SummarizationMiddleware, before every model call, as in `create_agent`."""

    def __init__(self, recording: Recording) -> None:
        self._tools = tools_of(recording)
        self._model = ScriptedSummarizer(calls=[])
        self._middleware: Any = SummarizationMiddleware(
            self._model,
            trigger=("tokens", SUMMARIZED_ABOVE_TOKENS),
            keep=("messages", KEPT_MESSAGES),
        )
        self._kept: list[BaseMessage] = []
        self._seen = 0

    def build(self, transcript: Sequence[BaseMessage]) -> Sent:
        first = 1 if transcript and transcript[0].type == "system" else 0
        self._kept += _with_ids(transcript[max(self._seen, first) :], self._seen)
        self._seen = len(transcript)
        self._model.calls.clear()
        update = self._middleware.before_model({"messages": list(self._kept)}, SimpleNamespace())
        if update:
            self._kept = [m for m in update["messages"] if not isinstance(m, RemoveMessage)]
        return Sent(
            messages=[*transcript[:first], *self._kept],
            tools=self._tools,
            before=tuple(self._model.calls),
        )


def _with_ids(messages: Sequence[BaseMessage], start: int) -> list[BaseMessage]:
    return [m.model_copy(update={"id": f"m{start + at}"}) for at, m in enumerate(messages)]


class Cleared:
    """LangChain's ContextEditingMiddleware with its edit that clears old tool results."""

    def __init__(self, recording: Recording) -> None:
        self._tools = tools_of(recording)
        edit = ClearToolUsesEdit(trigger=CLEARED_ABOVE_TOKENS, keep=KEPT_RESULTS)
        self._middleware: Any = ContextEditingMiddleware(edits=[edit])

    def build(self, transcript: Sequence[BaseMessage]) -> Sent:
        seen: list[BaseMessage] = []

        def handler(request: ModelRequest[Any]) -> Any:
            seen.extend(request.messages)
            return AIMessage("")

        first = 1 if transcript and transcript[0].type == "system" else 0
        request: ModelRequest[Any] = ModelRequest(
            model=cast("BaseChatModel", ScriptedSummarizer(calls=[])),
            messages=cast("list[Any]", list(transcript[first:])),
        )
        self._middleware.wrap_model_call(request, handler)
        return Sent(messages=[*transcript[:first], *seen], tools=self._tools)


PEERS: Mapping[str, Policy] = {
    "naive": naive,
    "keep-last-3": keep_last,
    "truncate-1000": truncate,
    "mask-all": mask,
    "first-2-last-10": first_and_last,
    "SummarizationMiddleware": Summarized,
    "ContextEditingMiddleware": Cleared,
}
