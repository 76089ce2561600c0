"""A fake frontier model that is always right, billed like Claude Sonnet 4.5 by our own count."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import StructuredTool
from pydantic import Field

from agentkit import Agent, Cascade
from agentkit.budgets import Ledger, PriceBook
from agentkit.budgets.price_file import PriceOverride
from agentkit.cascade import Calibration
from agentkit.memory.tokens import MessageCounter
from agentkit.models.tier import tier_of
from benchmarks._cascade_rows import Row, clean, tools

PRICED_LIKE = "anthropic:claude-sonnet-4-5"
_NAME = "scripted-frontier"
_NO_TOOL = "None of my tools does that."
_NEVER_KEPT = Calibration(intercept=-30.0, weights={})


class Frontier(BaseChatModel):
    """A fake: it looks up what is right, `answers` texts and `rows` calls, by the request."""

    rows: dict[str, Row] = Field(default_factory=dict)
    answers: dict[str, str] = Field(default_factory=dict)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "scripted", "ls_model_name": _NAME}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        """Tools as they are."""
        return self.bind(tools=list(tools), **kwargs)

    @cached_property
    def _counter(self) -> MessageCounter:
        return tier_of(self, 0).counter

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = self._answer(messages)
        written = _spelled(message)
        most = int(kwargs.get("max_tokens") or 4096)
        output = self._counter.text(written)
        if output > most:
            message, output = _cut(message, written, most / output), most
        read = self._counter.request(messages, kwargs.get("tools") or ())
        message.usage_metadata = {
            "input_tokens": read, "output_tokens": output, "total_tokens": read + output,
        }  # fmt: skip
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _answer(self, messages: Sequence[BaseMessage]) -> AIMessage:
        request = next(
            message.text
            for message in reversed(messages)
            if isinstance(message, HumanMessage)
            and (message.text in self.rows or message.text in self.answers)
        )
        if request in self.answers:
            return AIMessage(self.answers[request])
        row = self.rows[request]
        if row.name is None:
            return AIMessage(_NO_TOOL)
        if isinstance(messages[-1], ToolMessage):
            return AIMessage(messages[-1].text)
        return AIMessage("", tool_calls=[{"name": row.name, "args": row.arguments, "id": "1"}])


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a task ended. `dear_*` was bought of the frontier, `first_nusd` is its first call."""

    right: bool
    asked_frontier: bool
    cost_nusd: int
    first_nusd: int
    dear_input_tokens: int
    dear_output_tokens: int
    hints: int


def ledger() -> Ledger:
    """A ledger in memory that knows the fake's price; the local model is free."""
    provider, model = PRICED_LIKE.split(":")
    rates = PriceBook().price(model, provider).bands[0][1]
    price = PriceOverride(
        model=_NAME, input=Decimal(rates.input) / 10**9, output=Decimal(rates.output) / 10**9
    )
    return Ledger(prices=PriceBook([price]))


def carry_out(
    rows: Sequence[Row], *, quality: float | None = None, cascade: Cascade | None = None
) -> dict[str, Ended]:
    """Every row as a task of a real agent, by its text; without a quality of the frontier alone."""
    frontier = Frontier(rows={row.text: row for row in rows})
    models = [frontier] if quality is None else ["local:pocket", frontier]
    called: list[tuple[str, Mapping[str, Any]]] = []
    agent = Agent(models, _recorded(called), ledger=ledger(), quality=quality, cascade=cascade)
    ended: dict[str, Ended] = {}
    for row in rows:
        called.clear()
        result = agent.run(row.text)
        if not result.ok:
            raise SystemExit(f"a task ended as {result.outcome}: {result.reason}")
        ended[row.text] = ended_of(result.records, right=_is_right(row, called))
    return ended


def always_up(rows: Sequence[Row]) -> dict[str, Ended]:
    """Every row through both tiers, the local answer never kept: a wasted try and its cost."""
    return carry_out(rows, quality=0.99, cascade=Cascade(calibration=_NEVER_KEPT))


def ended_of(records: Sequence[Any], *, right: bool) -> Ended:
    """The end of a task from the records of its calls."""
    dear = [record for record in records if record.model == _NAME]
    return Ended(
        right=right,
        asked_frontier=any(record.purpose != "hint" for record in dear),
        cost_nusd=sum(record.cost_nusd for record in records),
        first_nusd=dear[0].cost_nusd if dear else 0,
        dear_input_tokens=sum(record.usage.input_tokens for record in dear),
        dear_output_tokens=sum(record.usage.output_tokens for record in dear),
        hints=sum(record.purpose == "hint" for record in dear),
    )


def _is_right(row: Row, called: Sequence[tuple[str, Mapping[str, Any]]]) -> bool:
    if row.name is None or not called:
        return row.name is None and not called
    name, values = called[0]
    found = {key: clean(str(value)) for key, value in values.items() if value is not None}
    return (name, found, len(called)) == (row.name, row.arguments, 1)


def _recorded(called: list[tuple[str, Mapping[str, Any]]]) -> list[StructuredTool]:
    """The tools, telling what they were called with."""
    return [_telling(tool, called) for tool in tools()]


def _telling(tool: StructuredTool, called: list[tuple[str, Mapping[str, Any]]]) -> StructuredTool:
    def act(**values: Any) -> str:
        called.append((tool.name, values))
        return "done"

    return StructuredTool.from_function(
        func=act, name=tool.name, description=tool.description, args_schema=tool.args_schema
    )


def _spelled(message: AIMessage) -> str:
    calls = [{"name": call["name"], "arguments": call["args"]} for call in message.tool_calls]
    return json.dumps(calls[0]) if calls else message.text


def _cut(message: AIMessage, written: str, share: float) -> AIMessage:
    """An answer as far as its output limit let it be written."""
    begun = written[: max(1, int(len(written) * share))]
    told = {"finish_reason": "length"}
    if not message.tool_calls:
        return AIMessage(begun, response_metadata=told)
    name = message.tool_calls[0]["name"]
    broken: Any = {"name": name, "args": begun, "id": "1", "error": None}
    return AIMessage("", invalid_tool_calls=[broken], response_metadata=told)
