"""A tier: one model with its place between cheap and dear, and what a call to it needs to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage

from agentkit.budgets.price import CacheWrite
from agentkit.budgets.tokens import text_counter
from agentkit.errors import ConfigError
from agentkit.memory.repair import has_calls, thoughts_of
from agentkit.memory.tokens import MessageCounter
from agentkit.models.beside import (
    OUTPUT_LIMITS,
    marks_within,
    output_limit,
    text_beside,
    thinking_tokens,
)
from agentkit.models.billing import check_billing, input_is_kept
from agentkit.models.factory import DEFAULT_TIMEOUT_SECONDS, chat_model
from agentkit.models.later import way_of
from agentkit.models.loop_clients import with_loop_clients
from agentkit.models.media import image_tokens
from agentkit.models.provider import ProviderRules, pricing_name, rules_for
from agentkit.models.rebound import require_chat_model
from agentkit.models.single_attempt import single_attempt, with_stream_usage
from agentkit.tools.provision.native import Way

DEFAULT_OUTPUT_TOKENS = 4096
_REMEMBERED_OFFERS = 64
_SETTINGS = (
    "n", "service_tier", "speed", "inference_geo", "mcp_servers", "context_management", "thinking",
    "output_config", "use_previous_response_id", "cached_content", "model_kwargs", "extra_body",
)  # fmt: skip
"""What a model of LangChain's may hold that every request of it says."""

ToolSchemas = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tier:
    """One entry of `models=[...]`. `output_tokens` is the most asked for in one call, of which
    `thinking_tokens` are set apart; `way` is how the model is told of tools that come later,
    `cache_write` what marks in the model's own settings ask for. `keeps_input` says that they let
    the provider hold input."""

    index: int
    model: BaseChatModel
    name: str
    provider: str
    rules: ProviderRules
    output_tokens: int
    timeout_seconds: float
    exact_count: Callable[[Sequence[BaseMessage], ToolSchemas], int] | None
    counter: MessageCounter
    context_tokens: int | None = None
    way: Way = "described"
    thinking_tokens: int = 0
    cache_write: CacheWrite = "none"
    keeps_input: bool = False
    bound: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """`provider:model`, for people."""
        return f"{self.provider}:{self.name}"

    @property
    def is_local(self) -> bool:
        """True for a model that runs in this process."""
        return self.provider == "local"

    @property
    def writes_answers(self) -> bool:
        """False for a model that only turns requests into tool calls."""
        return bool(getattr(self.model, "writes_answers", True))

    def model_for(self, messages: Sequence[BaseMessage]) -> BaseChatModel:
        """The model, or one that is the same but does not think: Anthropic refuses to think after
        results of calls before which nobody did, as where another tier made them."""
        if not self.thinking_tokens:
            return self.model
        last = next((each for each in reversed(messages) if isinstance(each, AIMessage)), None)
        if last is None or not has_calls(last) or thoughts_of(last):
            return self.model
        return self.model.model_copy(update={"thinking": None})

    def tool_arguments(self, tools: ToolSchemas) -> dict[str, Any]:
        """The arguments that offer `tools` to this model, in its provider's shape."""
        if not tools:
            return {}
        key = str(id(tools))
        known = self.bound.get(key)
        if known is None:  # the tools are kept too, for an id outlives nothing
            known = (tools, _bound_arguments(self.model, tools))
            if len(self.bound) >= _REMEMBERED_OFFERS:
                self.bound.clear()
            self.bound[key] = known
        arguments: dict[str, Any] = known[1]
        return arguments

    def forced_tool(self, tools: ToolSchemas, name: str) -> dict[str, Any]:
        """The arguments that offer `tools` and ask for a call to `name`."""
        return _bound_arguments(self.model, tools, tool_choice=name)

    def call_arguments(
        self, output_tokens: int, seconds: float | None, conversation: str
    ) -> dict[str, Any]:
        """The arguments of one call: its output limit, its time, its place in a conversation."""
        arguments: dict[str, Any] = {self.rules.output_limit: output_tokens}
        if self.rules.timeout_argument and seconds is not None:
            arguments[self.rules.timeout_argument] = min(seconds, self.timeout_seconds)
        if self.is_local:
            arguments["conversation"] = conversation
        return arguments

    def count(self, messages: Sequence[BaseMessage], tools: ToolSchemas) -> int:
        """Input tokens of a request: exact for a local model, our own count elsewhere."""
        if self.exact_count is not None:
            return self.exact_count(messages, tools)
        return self.counter.request(messages, tools)

    def count_beside(self, arguments: Mapping[str, Any]) -> int:
        """Input tokens that the arguments of a call hold beside its messages and tools."""
        text = "" if self.is_local else text_beside(arguments, self.provider)
        return self.counter.text(text) if text else 0

    def answer_tokens(self, wanted: int | None, arguments: Mapping[str, Any]) -> tuple[int, int]:
        """The limit of an answer where `wanted` are asked for, and what of it is for thinking.

        Thinking comes on top of a limit that leaves no room for it, which the provider refuses.
        """
        wanted = wanted or self.output_tokens
        thinking = thinking_tokens(arguments) or self.thinking_tokens
        return (wanted + thinking if wanted <= thinking else wanted), thinking


def tier_of(model: str | BaseChatModel, index: int) -> Tier:
    """The tier that a model string or object makes at place `index`."""
    if not isinstance(model, str):
        require_chat_model(model)
        _require_unmetered(model)
    made = chat_model(model) if isinstance(model, str) else single_attempt(model)
    resolved = with_loop_clients(with_stream_usage(made))
    settings = {name: getattr(resolved, name, None) for name in _SETTINGS}
    params = resolved._get_ls_params()  # pyright: ignore[reportPrivateUsage]  # LangChain's own way to name a model
    provider = pricing_name(str(params.get("ls_provider") or "unknown"))
    name = str(params.get("ls_model_name") or getattr(resolved, "model_name", "") or provider)
    check_billing(settings, model=name)
    rules = rules_for(provider)
    count, beside = text_counter(name, provider), text_beside(settings, provider)
    return Tier(
        index=index,
        model=resolved,
        name=name,
        provider=provider,
        rules=rules,
        output_tokens=_output_tokens(resolved),
        timeout_seconds=_timeout_seconds(resolved),
        exact_count=getattr(resolved, "count_tokens", None),
        counter=MessageCounter(
            count,
            message_overhead=rules.message_overhead_tokens,
            request_overhead=rules.request_overhead_tokens + (count(beside) if beside else 0),
            tools_overhead=rules.tools_overhead_tokens,
            image_tokens=image_tokens(provider, name).of,
        ),
        context_tokens=_context_tokens(resolved),
        way=way_of(resolved, name),
        thinking_tokens=thinking_tokens(settings),
        cache_write=cache_write_asked((), settings),
        keeps_input=input_is_kept(settings),
    )


def _require_unmetered(model: BaseChatModel) -> None:
    if isinstance(getattr(model, "tier", None), Tier):
        raise ConfigError(
            "this model is metered already, and each call would be reserved and charged twice; "
            "give the model that metered(...) was given"
        )


def cache_write_asked(messages: Sequence[BaseMessage], kwargs: Mapping[str, Any]) -> CacheWrite:
    """The longest-lived prompt-cache write that a request's `cache_control` marks ask for."""
    told = [dict(kwargs), *(message.content for message in messages)]
    lifetimes = [mark.get("ttl") for mark in marks_within(told)]
    if "1h" in lifetimes:
        return "1h"
    return "5m" if lifetimes else "none"


def _bound_arguments(model: BaseChatModel, tools: ToolSchemas, **choice: str) -> dict[str, Any]:
    """What `bind_tools` makes of the definitions; nothing for a model that knows no tools."""
    try:
        binding = model.bind_tools(list(tools), **choice)  # type: ignore[arg-type]  # Mapping is a dict here
    except NotImplementedError:
        return {}
    return dict(getattr(binding, "kwargs", {}))


def _output_tokens(model: BaseChatModel) -> int:
    """What the user set on the model, or 4,096 and what is for thinking: a class's own default is
    the model's very most."""
    most = _profile(model, "max_output_tokens")
    own = {name: getattr(model, name, None) for name in OUTPUT_LIMITS}
    limit = output_limit({name: value for name, value in own.items() if value != most})
    limit = limit or output_limit(getattr(model, "model_kwargs", None) or {})
    if limit is not None:
        return limit
    usual = DEFAULT_OUTPUT_TOKENS + thinking_tokens({"thinking": getattr(model, "thinking", None)})
    return usual if most is None else min(most, usual)


def _context_tokens(model: BaseChatModel) -> int | None:
    """The most input that the model takes, where it or LangChain's profile of it says so."""
    own = getattr(model, "context_tokens", None)
    return own if isinstance(own, int) else _profile(model, "max_input_tokens")


def _profile(model: BaseChatModel, key: str) -> int | None:
    profile: Mapping[str, Any] = getattr(model, "profile", None) or {}
    value = profile.get(key)
    return value if isinstance(value, int) and value > 0 else None


def _timeout_seconds(model: BaseChatModel) -> float:
    for name in ("request_timeout", "default_request_timeout", "timeout"):
        value = getattr(model, name, None)
        if isinstance(value, int | float) and value > 0:
            return float(value)
    return DEFAULT_TIMEOUT_SECONDS
