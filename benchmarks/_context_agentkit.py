"""agentkit's own policy in the replay: observations pruned at production, fetches paid for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import ceil

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agentkit.budgets.margin import likely_factor
from agentkit.budgets.tokens import count_text
from agentkit.budgets.usage import Usage
from agentkit.memory import (
    Allocation,
    Condensed,
    Context,
    ContextPlan,
    Frame,
    Moment,
    engine_for,
)
from agentkit.memory.cache_rules import cache_rules
from agentkit.memory.rewriting import NO_SAVINGS
from agentkit.tools.observation_store import MemoryObservationStore
from agentkit.tools.pruner import Pruning, TaskPruner
from agentkit.tools.recall import recall, recall_tool
from agentkit.tools.sent_prefix import SentPrefix
from benchmarks._context_bill import SECONDS_A_CALL, Provider, Request, Tool
from benchmarks._context_policies import Sent, tools_of
from benchmarks._recordings import Copied, Recording, text_of
from tests.wire.bill import WireUsage

MOST_FETCHES_A_VALUE = 4
_MESSAGE_TOKENS = 8
_CALL_TOKENS = 10
_PRUNING = Pruning()
_MODELS: dict[Provider, str] = {"anthropic": "claude-sonnet-4-5", "openai": "gpt-5.1"}


class Pruned:
    """Sends every observation pruned when it is made; the transcript only grows.

    `fetch` brings a missing value back as a model would: a call of `recall` with the argument's
    name and the words of the model's own turn, then page by page.
    """

    context = Context()

    def __init__(self, recording: Recording, provider: Provider = "anthropic") -> None:
        self._rules = cache_rules(_MODELS[provider], provider)
        self._factor = likely_factor(provider)
        self._billed: list[int] = []
        self._billed_at = 0
        self._recording = recording
        self._store = MemoryObservationStore()
        self._pruner = TaskPruner(_PRUNING, partial(self._store.put, "task"))
        self._sent: list[BaseMessage] = []
        self._seen = 0
        self._handles: dict[int, str] = {}
        self._fetches = 0
        self._engine = engine_for(_MODELS[provider], provider, self.context)
        self._condensed = Condensed()
        self._savings = NO_SAVINGS
        self._pending: list[ContextPlan] = []
        self._at = 0.0
        self.rewrites = 0

    @property
    def _tools(self) -> list[Tool]:
        tools = tools_of(self._recording)
        return [*tools, _RECALL] if self._pruner.recalls else tools

    def build(self, transcript: Sequence[BaseMessage]) -> Sent:
        for at in range(self._seen, len(transcript)):
            message = transcript[at]
            if isinstance(message, ToolMessage):
                message = self._pruned(transcript, at, message)
            self._sent.append(message)
        if self._seen < len(transcript):
            self._rewrite()
        self._seen = len(transcript)
        self._pending.clear()
        return self._planned()

    def _rewrite(self) -> None:
        """Earlier turns make way for an extract where the agent's rule says that it pays."""
        calls = sum(isinstance(message, AIMessage) for message in self._sent)
        moment = Moment(calls=calls, now=self._at + SECONDS_A_CALL, savings=self._savings)
        rewrite = self._engine.rewriting(self._sent, self._condensed, self._frame, moment)
        if rewrite is not None:
            self.rewrites += 1
            goal = self._sent[self._frame.request_at].text
            self._condensed = self._engine.condensed(rewrite, self._condensed, goal=goal)

    @property
    def _frame(self) -> Frame:
        request_at = next(at for at, m in enumerate(self._sent) if isinstance(m, HumanMessage))
        limit = self.context.limit_tokens
        return Frame(request_at=request_at, tools_key=len(self._tools), limit_tokens=limit)

    def _plan(self) -> ContextPlan:
        return self._engine.plan(self._sent, self._condensed, self._frame)

    def _planned(self) -> Sent:
        plan = self._plan()
        self._pending.append(plan)
        return Sent(messages=plan.messages, marked=self._engine.marked(plan), tools=self._tools)

    def _pruned(
        self, transcript: Sequence[BaseMessage], at: int, message: ToolMessage
    ) -> ToolMessage:
        found = self._pruner.prune(
            message.text,
            query=_query(transcript[:at]),
            sent=self._before(),
        )
        if found is None:
            return message
        if found.handle:
            self._handles[at] = found.handle
        return message.model_copy(update={"content": found.text})

    def billed(self, usage: WireUsage, *, at: float) -> None:
        """What the provider reported for the next of the requests that were built."""
        self._billed.append(usage.input_tokens)
        self._billed_at, self._at = len(self._sent), at
        reported = Usage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_5m_tokens=usage.cache_write_5m_tokens,
            cache_write_1h_tokens=usage.cache_write_1h_tokens,
        )
        saved, _ = self._engine.settled(self._pending.pop(0), reported, at=at)
        self._savings = self._savings.after(
            replay_nusd=saved.replay_nusd, paid_nusd=saved.paid_nusd
        )

    def _before(self) -> SentPrefix:
        tokens = self._billed[-1] if self._billed else 0
        unbilled = self._sent[self._billed_at :]
        since = sum(count_text(text_of(m)) + _MESSAGE_TOKENS for m in unbilled)
        return SentPrefix(
            tokens=int(tokens / self._factor) + since,
            calls=sum(isinstance(m, AIMessage) for m in self._sent),
            least_cached_tokens=ceil(self._rules.least_tokens / self._factor),
            step_tokens=self._rules.step_tokens,
            billed=self._billed,
        )

    def holds(self, value: str) -> bool:
        """Whether what is sent now has a value."""
        return any(value in text_of(message) for message in self._plan().messages)

    def fetch(self, missing: Copied) -> list[Request]:
        """The calls that bring a value back, each an answer that calls `recall`; [] if none can."""
        handle = self._handles.get(missing.source)
        if handle is None or not self.holds(handle):
            return []
        self._pending.clear()
        turn = self._recording.messages[missing.step]
        asks: list[dict[str, str]] = [{"query": f"{missing.key} {turn.text}".strip()[:300]}]
        start, requests = 1, []
        while asks and len(requests) < MOST_FETCHES_A_VALUE:
            arguments = {"handle": handle, **asks.pop()}
            most = _PRUNING.range_tokens if "range" in arguments else _PRUNING.recall_tokens
            brought = recall(self._store, "task", **arguments, max_tokens=most)
            requests.append(self._asked(arguments, brought))
            if missing.value in brought:
                return requests
            if brought.rpartition("; next: ")[1]:
                start = int(brought.rpartition("; next: ")[2].split("-")[0])
                asks.append({"range": f"{start}-"})
            elif start == 1 and "query" in arguments:
                asks.append({"range": "1-"})
        return requests

    def _asked(self, arguments: dict[str, str], brought: str) -> Request:
        self._fetches += 1
        before = self._planned()
        call_id = f"fetch_{self._fetches}"
        call = {"name": "recall", "args": arguments, "id": call_id, "type": "tool_call"}
        asking = AIMessage("", tool_calls=[call])
        self._sent += [asking, ToolMessage(brought, tool_call_id=call_id, name="recall")]
        return before.answered(count_text(text_of(asking)) + _CALL_TOKENS)


class SmallWindow(Pruned):
    """The same within 3,000 tokens a step: history has to be rewritten, with extracts."""

    context = Context(limit_tokens=3_000, allocation=Allocation(recent=1_000, summary=400))


def _query(before: Sequence[BaseMessage]) -> str:
    """What the call, its message, the last user turn and the task ask for."""
    said = [text_of(m) for m in before if isinstance(m, HumanMessage)]
    turn = next((text_of(m) for m in reversed(before) if isinstance(m, AIMessage)), "")
    return "\n".join([turn, *said[-1:], *said[:1]])


_RECALL: Tool = recall_tool(MemoryObservationStore(), lambda: "task").openai_schema
