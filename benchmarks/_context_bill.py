"""What requests cost on the input side, and whether a provider would take them.

Each request goes through LangChain's own classes for Anthropic and OpenAI into the body that they
would send; the scripted provider of the tests reads it, refuses what the provider refuses, counts
it and looks it up in the provider's prompt cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import BaseMessage
from langchain_openai import ChatOpenAI

from agentkit.budgets.tokens import count_text
from tests.wire.bill import WireUsage
from tests.wire.cache import AutomaticCache, BreakpointCache
from tests.wire.chat_completions import ChatCompletions
from tests.wire.endpoint import Endpoint, Office
from tests.wire.messages import Messages
from tests.wire.model import DEFAULT_MODELS, WireModel, find_model
from tests.wire.refusal import Refusal
from tests.wire.tokens import Meter

Provider = Literal["anthropic", "openai"]

SECONDS_A_CALL = 10.0
"""Between two requests of a task: well within every cache's lifetime."""
CLAUDE_FACTOR = "6/5"
"""o200k undercounts Claude by 15 to 20 % up to 4.6."""

Tool = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One model call: messages, tools in OpenAI's shape, and what its answer is billed for.

    The recorded output of a step is fixed and left out (0). Anthropic's breakpoints are placed by
    `controls`, which are arguments of the call, or by the messages of `marked`.
    """

    messages: Sequence[BaseMessage]
    tools: Sequence[Tool] = ()
    output_tokens: int = 0
    controls: Mapping[str, Any] = field(default_factory=dict[str, Any])
    marked: Sequence[BaseMessage] | None = None


@dataclass(kw_only=True)
class Account:
    """The bills of one task at both providers, its tokens by o200k, and what was refused."""

    cost_nusd: dict[Provider, int] = field(default_factory=lambda: {"anthropic": 0, "openai": 0})
    tokens: int = 0
    refusals: list[str] = field(default_factory=list[str])
    last: dict[Provider, WireUsage] = field(default_factory=dict["Provider", WireUsage])
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._caches = {
            "anthropic": BreakpointCache(lambda: self.seconds),
            "openai": AutomaticCache(lambda: self.seconds),
        }

    def charge(self, request: Request) -> None:
        """Adds a request to both bills."""
        self.seconds += SECONDS_A_CALL
        for provider, counter in _COUNTERS.items():
            try:
                usage = counter.usage(request, self._caches)
            except Refusal as refusal:
                self.refusals.append(f"{provider}: {refusal}")
                continue
            self.cost_nusd[provider] += counter.model.cost_nusd(usage)
            self.last[provider] = usage
            if provider == "openai":
                self.tokens += usage.input_tokens + request.output_tokens


class _Counter:
    """One provider: its client's body of a request, its endpoint, its prices."""

    def __init__(
        self, client: ChatAnthropic | ChatOpenAI, endpoint: Endpoint, model: WireModel, meter: Meter
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self.model = model
        self._meter = meter

    def usage(self, request: Request, caches: Mapping[str, Any]) -> WireUsage:
        """The billed tokens of a request; refuses what the provider refuses."""
        body = self.body(request)
        read = self._endpoint.read(body, self.model)
        office = Office(
            meter=self._meter, automatic=caches["openai"], breakpoints=caches["anthropic"]
        )
        prompt = self._endpoint.measure(read, self.model, office)
        prompt.begin()
        return replace(prompt.usage, output_tokens=request.output_tokens)

    def body(self, request: Request) -> dict[str, Any]:
        """What the client would send."""
        # The client's own translation is private; it is what makes the check real.
        messages = request.messages
        if self._endpoint.protocol == "anthropic" and request.marked is not None:
            messages = request.marked
        payload = self._client._get_request_payload(list(messages), **self._kwargs(request))
        return cast("dict[str, Any]", payload)

    def _kwargs(self, request: Request) -> dict[str, Any]:
        if self._endpoint.protocol == "openai":
            return {"tools": list(request.tools)} if request.tools else {}
        kwargs = dict(request.controls)
        if request.tools:
            kwargs["tools"] = [_anthropic_tool(tool["function"]) for tool in request.tools]
        return kwargs


def tool(name: str, description: str = "", parameters: Tool | None = None) -> Tool:
    """A definition in OpenAI's shape."""
    schema = parameters or {"type": "object", "properties": {}}
    function = {"name": name, "description": description, "parameters": schema}
    return {"type": "function", "function": function}


def _anthropic_tool(function: Tool) -> dict[str, Any]:
    return {
        "name": function["name"],
        "description": function["description"],
        "input_schema": function["parameters"],
    }


def _model(provider: Provider, name: str) -> WireModel:
    found = find_model(DEFAULT_MODELS, provider, name)
    if found is None:
        raise LookupError(name)
    return found


_COUNTERS: dict[Provider, _Counter] = {
    "anthropic": _Counter(
        ChatAnthropic(model_name="claude-sonnet-4-5", api_key="none", max_tokens=4096),  # type: ignore[call-arg,arg-type]
        Messages(),
        _model("anthropic", "claude-sonnet-4-5"),
        Meter(count_text, CLAUDE_FACTOR),
    ),
    "openai": _Counter(
        ChatOpenAI(model="gpt-5.1", api_key="none"),  # type: ignore[arg-type]
        ChatCompletions(),
        _model("openai", "gpt-5.1"),
        Meter(count_text),
    ),
}
