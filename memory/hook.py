"""The engine for any graph: messages in, the messages to send out.

In a LangGraph agent it is the `pre_model_hook`; a node of your own calls it before the model.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(slots=True)
class _Thread:
    engine: ContextEngine
    condensed: Condensed
    calls: int = 0
    savings: Savings = NO_SAVINGS
    pending: tuple[ContextPlan, int, float] | None = None


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
        self._provider, _, self._model = model.partition(":")
        self._policy = policy or Context()
        self._write = write
        self._threads: OrderedDict[str, _Thread] = OrderedDict()

    def __call__(
        self, state: Mapping[str, Any], config: RunnableConfig | None = None
    ) -> dict[str, list[BaseMessage]]:
        """As LangGraph's `pre_model_hook`: `llm_input_messages`, the transcript left as it is."""
        thread = (config or {}).get("configurable", {}).get("thread_id", "")
        return {"llm_input_messages": self.messages(state["messages"], thread=str(thread))}

    def messages(self, messages: Sequence[BaseMessage], *, thread: str = "") -> list[BaseMessage]:
        """What to send of `messages`, the whole transcript of `thread`."""
        kept = self._thread(thread)
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
        plan = kept.engine.plan(messages, kept.condensed, frame, now=now)
        kept.calls += 1
        kept.pending = (plan, len(messages), now)
        return kept.engine.marked(plan)

    def _thread(self, name: str) -> _Thread:
        kept = self._threads.pop(name, None)
        if kept is None:
            engine = engine_for(self._model, self._provider, self._policy)
            kept = _Thread(engine=engine, condensed=Condensed())
        self._threads[name] = kept
        if len(self._threads) > _MOST_THREADS:
            self._threads.popitem(last=False)
        return kept


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
