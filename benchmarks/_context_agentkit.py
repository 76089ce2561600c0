"""agentkit's own policy in the replay: observations pruned at production, fetches paid for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import ceil

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agentkit.budgets.margin import likely_factor
from agentkit.budgets.tokens import count_text
from agentkit.budgets.usage import Usage
from agentkit.memory import Frame, engine_for
from agentkit.memory.cache_rules import cache_rules
from agentkit.tools.observation_store import MemoryObservationStore
from agentkit.tools.pruner import Pruning, TaskPruner
from agentkit.tools.recall import recall, recall_tool
from agentkit.tools.sent_prefix import SentPrefix
from benchmarks._context_bill import Provider, Request, Tool
from benchmarks._context_policies import Sent, tools_of
from benchmarks._recordings import Copied, Recording, text_of

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
        self._engine = engine_for(_MODELS[provider], provider)

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
        self._seen = len(transcript)
        return self._planned()

    def _planned(self) -> Sent:
        request_at = next(at for at, m in enumerate(self._sent) if isinstance(m, HumanMessage))
        frame = Frame(request_at=request_at, tools_key=len(self._tools))
        plan = self._engine.plan(self._sent, frame=frame)
        self._engine.settled(plan, Usage(input_tokens=plan.input_tokens), at=0.0)
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

    def billed(self, input_tokens: int) -> None:
        """What the provider reported for the last request."""
        self._billed.append(input_tokens)
        self._billed_at = len(self._sent)

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
        return any(value in text_of(message) for message in self._sent)

    def fetch(self, missing: Copied) -> list[Request]:
        """The calls that bring a value back, each an answer that calls `recall`; [] if none can."""
        handle = self._handles.get(missing.source)
        if handle is None:
            return []
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


def _query(before: Sequence[BaseMessage]) -> str:
    """What the call, its message, the last user turn and the task ask for."""
    said = [text_of(m) for m in before if isinstance(m, HumanMessage)]
    turn = next((text_of(m) for m in reversed(before) if isinstance(m, AIMessage)), "")
    return "\n".join([turn, *said[-1:], *said[:1]])


_RECALL: Tool = recall_tool(MemoryObservationStore(), lambda: "task").openai_schema
