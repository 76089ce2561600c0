"""The engine for any graph: messages in, the messages to send out.

In a LangGraph agent it is the `pre_model_hook`; a node of your own calls it before the model.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from agentkit.budgets.usage import Usage
from agentkit.memory.context import Condensed, Context, ContextPlan
from agentkit.memory.engine import ContextEngine, Moment, engine_for
from agentkit.memory.request import Frame
from agentkit.memory.rewriting import NO_SAVINGS, Savings
from agentkit.memory.summary import Summary, instruction

_MOST_THREADS = 256

WriteSummary = Callable[[list[BaseMessage], int], str]
"""Answers messages that end with a request for a summary, in at most so many tokens."""


@dataclass(slots=True, eq=False)
class _Thread:
    name: str
    engine: ContextEngine
    condensed: Condensed = field(default_factory=Condensed)
    dropped: Sequence[BaseMessage] = ()
    calls: int = 0
    savings: Savings = NO_SAVINGS
    pending: tuple[ContextPlan, int, float] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def began(self, messages: Sequence[BaseMessage]) -> bool:
        """Whether what was condensed is the beginning of `messages`.

        It is not where branches of a graph, or people, share a thread, nor where one goes back in
        time: another transcript must not begin with what this one came to.
        """
        told = len(self.dropped)
        return told <= len(messages) and all(map(_is_same, self.dropped, messages))


class ContextHook:
    """Bounds what a graph sends to `model` (as `provider:model`), a thread at a time.

    >>> from langchain_core.messages import HumanMessage
    >>> hook = ContextHook("openai:gpt-5.1", Context(limit_tokens=2_000))
    >>> [m.content for m in hook.messages([HumanMessage("hi")])]
    ['hi']
    """

    def __init__(
        self, model: str, policy: Context | None = None, *, write: WriteSummary | None = None
    ) -> None:
        """Without `write` what earlier turns came to is extracted."""
        self._provider, _, self._model = str(model).partition(":")
        if not self._model:
            raise ValueError(f"{model!r} is no model; name it with its provider: 'openai:gpt-5.1'")
        self._policy = policy or Context()
        self._write = write
        self._threads: list[_Thread] = []
        self._lock = threading.Lock()

    def __call__(
        self, state: Mapping[str, Any], config: RunnableConfig | None = None
    ) -> dict[str, list[BaseMessage]]:
        """As LangGraph's `pre_model_hook`: `llm_input_messages`, the transcript left as it is."""
        thread = (config or {}).get("configurable", {}).get("thread_id", "")
        return {"llm_input_messages": self.messages(state["messages"], thread=str(thread))}

    def messages(self, messages: Sequence[BaseMessage], *, thread: str = "") -> list[BaseMessage]:
        """What to send of `messages`, the whole transcript of `thread`.

        Several transcripts may bear one name: each has its own summary.
        """
        while True:
            kept = self._thread(thread, messages)
            with kept.lock:
                if kept.began(messages):  # still: another branch may just have condensed its own
                    return self._sent(kept, messages)

    def _sent(self, kept: _Thread, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        frame = Frame(limit_tokens=self._policy.limit_tokens, request_at=_last_request(messages))
        now = time.time()
        _settle(kept, messages)
        moment = Moment(calls=kept.calls, now=now, savings=kept.savings)
        rewrite = kept.engine.rewriting(messages, kept.condensed, frame, moment)
        if rewrite is not None:
            written = None
            if self._write is not None:
                before = kept.engine.plan(messages, kept.condensed, frame).messages
                asked = HumanMessage(instruction(rewrite.summary_tokens))
                written = Summary.read(self._write([*before, asked], rewrite.summary_tokens))
            kept.condensed = kept.engine.condensed(rewrite, kept.condensed, written)
            kept.dropped = messages[: kept.condensed.start]
        plan = kept.engine.plan(messages, kept.condensed, frame, now=now)
        kept.calls += 1
        kept.pending = (plan, len(messages), now)
        return kept.engine.marked(plan)

    def _thread(self, name: str, messages: Sequence[BaseMessage]) -> _Thread:
        """What is kept of this transcript, the longest of all such; made anew where nothing is."""
        with self._lock:
            known = [each for each in self._threads if each.name == name and each.began(messages)]
            if known:
                kept = max(known, key=lambda each: len(each.dropped))
                self._threads.remove(kept)
            else:
                engine = engine_for(self._model, self._provider, self._policy)
                kept = _Thread(name=name, engine=engine)
            self._threads.append(kept)
            del self._threads[:-_MOST_THREADS]
            return kept


def _is_same(one: BaseMessage, other: BaseMessage) -> bool:
    """Whether a message is one that was seen before; system texts may change with each call."""
    if one is other or one.type == other.type == "system":
        return True
    if one.type != other.type or one.content != other.content:
        return False
    names = ("tool_calls", "tool_call_id")
    return all(getattr(one, name, None) == getattr(other, name, None) for name in names)


def _settle(kept: _Thread, messages: Sequence[BaseMessage]) -> None:
    """Learn from the usage that the model's answer to the last request brought with it."""
    if kept.pending is None:
        return
    plan, known, at = kept.pending
    answer = next((m for m in messages[known:] if isinstance(m, AIMessage)), None)
    kept.pending = None
    if answer is None or answer.usage_metadata is None:
        return
    details: Mapping[str, Any] = answer.usage_metadata.get("input_token_details") or {}
    told = answer.usage_metadata["input_tokens"]
    read = int(details.get("cache_read") or 0)
    hour = int(details.get("ephemeral_1h_input_tokens") or 0)
    write = max(0, int(details.get("cache_creation") or 0))
    write += int(details.get("ephemeral_5m_input_tokens") or 0)
    usage = Usage(
        input_tokens=max(told, read + write + hour),
        cache_read_tokens=read,
        cache_write_5m_tokens=write,
        cache_write_1h_tokens=hour,
    )
    saved, _ = kept.engine.settled(plan, usage, at=at)
    kept.savings = kept.savings.after(replay_nusd=saved.replay_nusd, paid_nusd=saved.paid_nusd)


def _last_request(messages: Sequence[BaseMessage]) -> int:
    for at in range(len(messages) - 1, -1, -1):
        if messages[at].type == "human":
            return at
    return 0
