"""A request to one tier, and what the ledger needs to know of it before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from langchain_core.messages import AIMessage, BaseMessage, InvalidToolCall, ToolCall
from langchain_core.outputs import ChatResult

from agentkit.budgets.call_plan import CallPlan, HeldCall
from agentkit.budgets.errors import PriceUnknown
from agentkit.budgets.journal import CallRecord, Lever, Purpose
from agentkit.budgets.price import CacheWrite, Price
from agentkit.budgets.task import Task
from agentkit.effects import Reply
from agentkit.errors import ConfigError, PromptTooLong
from agentkit.memory.components import RequestParts, request_parts
from agentkit.memory.tokens import media_of
from agentkit.models.billing import check_billing, input_is_kept
from agentkit.models.tier import Tier, ToolSchemas, cache_write_asked

_ATTEMPTS = 4
LEAST_OUTPUT_TOKENS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Review:
    """What was found out about an answer before its record is written."""

    confidence: float | None = None
    accepted: bool | None = None
    reason: str | None = None


class CallObserver(Protocol):
    """Told of each attempt: when it is about to be sent, and when it has been settled."""

    def begin_call(self, held: HeldCall) -> None: ...

    def end_call(self, record: CallRecord) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A request to one tier.

    `send` and `asend` carry it out with the output limit and the seconds that are left.
    `input_tokens` and `parts` are our own counts where the caller keeps them; `resolved` gives the
    call that is meant by one through a dispatcher. `escalation` says what a cheaper tier gave way
    on; `dearest` is the tier that could have been asked instead, and `spared` the
    input tokens that each lever left out.
    `cache_write` is what marks that only `send` sets ask for.
    """

    tier: Tier
    messages: Sequence[BaseMessage]
    tools: ToolSchemas
    send: Callable[[HeldCall, float | None], Reply]
    asend: Callable[[HeldCall, float | None], Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    input_tokens: int | None = None
    purpose: Purpose = "step"
    step: int = 0
    review: Callable[[AIMessage], Review] | None = None
    resolved: Callable[[ToolCall | InvalidToolCall], ToolCall | InvalidToolCall] | None = None
    observer: CallObserver | None = None
    wanted_output_tokens: int | None = None
    parts: RequestParts | None = None
    escalation: str | None = None
    dearest: Tier | None = None
    spared: Mapping[Lever, int] = field(default_factory=dict[Lever, int])
    cache_write: CacheWrite = "none"
    attempts: int = _ATTEMPTS

    def names_called(self, message: AIMessage) -> tuple[str, ...]:
        """The tools that an answer calls, those behind a dispatcher by their own names."""
        calls = message.tool_calls
        meant = calls if self.resolved is None else map(self.resolved, calls)
        return tuple(each["name"] or "?" for each in meant)


def message_of(reply: Reply) -> AIMessage:
    """The answer itself."""
    if isinstance(reply, ChatResult):
        message = reply.generations[0].message
        if not isinstance(message, AIMessage):
            raise TypeError(f"a chat model answered with a {type(message).__name__}")
        return message
    return reply


def plan_of(task: Task, call: Call) -> CallPlan:
    """The call as the ledger needs to know it. Raises PriceUnknown and PromptTooLong, and
    ConfigError for a file where the model's window is not known."""
    tier = call.tier
    check_billing({**call.kwargs, "tools": call.tools}, model=tier.name)
    price = _priced(task, tier)
    if price.state == "unknown" and task.budget.limits_money:
        raise PriceUnknown(model=tier.name, provider=tier.provider)
    media = media_of(call.messages)
    keeps = tier.keeps_input or input_is_kept(call.kwargs)
    is_blind = not tier.is_local and (media.files or keeps)
    counted = call.input_tokens
    if is_blind:
        counted = _window(tier)
    elif counted is None:
        counted = tier.count(call.messages, call.tools)
    beside = 0 if is_blind else tier.count_beside(call.kwargs)
    counted += beside
    if tier.context_tokens is not None and counted > tier.context_tokens and not tier.is_local:
        raise PromptTooLong(
            model=tier.label, prompt_tokens=counted, window_tokens=tier.context_tokens
        )
    bound = counted
    if not is_blind:
        bound = task.ledger.margins.bound(counted, model=tier.name, provider=tier.provider)
    wanted, thinking = tier.answer_tokens(call.wanted_output_tokens, call.kwargs)
    if tier.context_tokens is not None and tier.is_local:
        wanted = max(1, min(wanted, tier.context_tokens - counted))
    parts = call.parts or request_parts(call.messages, call.tools, tier.counter)
    dearest = call.dearest
    return CallPlan(
        price=price,
        counted_input_tokens=counted,
        input_tokens=bound,
        wanted_output_tokens=wanted,
        least_output_tokens=min(wanted, thinking + LEAST_OUTPUT_TOKENS),
        cache_write=_longest_write(call),
        purpose=call.purpose,
        step=call.step,
        tier=tier.index,
        tools_offered=tuple(_tool_name(tool) for tool in call.tools),
        components=parts.tokens,
        prefix=parts.prefix,
        escalation=call.escalation,
        dearest=None if dearest is None else _priced(task, dearest),
        spared=call.spared,
        lease_seconds=task.ledger.lease_seconds,
        holds_media=is_blind or any(media) or beside > 0,
    )


def _window(tier: Tier) -> int:
    """All that a request can hold, for one whose tokens nothing tells before."""
    if tier.context_tokens is None:
        raise ConfigError(
            "nothing tells how many tokens a file (a PDF, sound, …) or an earlier response has, "
            f"nor the window of {tier.label}: send the text itself, or give the model a profile "
            "with max_input_tokens"
        )
    return tier.context_tokens


def _priced(task: Task, tier: Tier) -> Price:
    return task.ledger.prices.price(tier.name, tier.provider)


def _longest_write(call: Call) -> CacheWrite:
    asked = (call.cache_write, call.tier.cache_write, cache_write_asked(call.messages, call.kwargs))
    if "1h" in asked:
        return "1h"
    return "5m" if "5m" in asked else "none"


def _tool_name(tool: Mapping[str, Any]) -> str:
    function: Any = tool.get("function")
    named = cast("Mapping[str, Any]", function) if isinstance(function, dict) else tool
    return str(named.get("name") or named.get("type") or "?")
