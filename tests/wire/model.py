"""The models that the scripted provider sells: names, list prices, limits (November 2026)."""

from __future__ import annotations

from dataclasses import dataclass

from tests.wire.bill import Rates, WireUsage, cost_nusd, rates
from tests.wire.script import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class WireModel:
    """A model; `snapshot` is the dated name in responses, as providers send it.

    `bands` are (input tokens above which the band holds for the whole request, rates) from the
    lowest up. `only_default_temperature` marks OpenAI's reasoning models, which also refuse
    `max_tokens` in chat completions. `tool_preamble_tokens` is the hidden system prompt that
    Anthropic adds to a request with tools: (for tool choice auto or none, for any or a named tool).
    `marks_cache` marks OpenAI's models from GPT-5.6 on, which cache at breakpoints and bill writes.
    `changes_tools` marks models that take more tools in the middle of a conversation.
    """

    name: str
    snapshot: str
    protocol: Protocol
    bands: tuple[tuple[int, Rates], ...]
    context_tokens: int
    most_output_tokens: int
    least_cached_tokens: int = 1024
    only_default_temperature: bool = False
    tool_preamble_tokens: tuple[int, int] = (0, 0)
    changes_tools: bool = False
    marks_cache: bool = False

    def cost_nusd(self, usage: WireUsage, *, in_batch: bool = False) -> int:
        """Nano-USD of one request at this model's prices."""
        price = next(band for above, band in reversed(self.bands) if usage.input_tokens >= above)
        return cost_nusd(usage, price.halved() if in_batch else price)


DEFAULT_MODELS = (
    WireModel(
        name="gpt-5-mini",
        snapshot="gpt-5-mini-2025-08-07",
        protocol="openai",
        bands=((0, rates("0.25", "2", "0.025")),),
        context_tokens=400_000,
        most_output_tokens=128_000,
        only_default_temperature=True,
    ),
    WireModel(
        name="gpt-5.1",
        snapshot="gpt-5.1-2025-11-13",
        protocol="openai",
        bands=((0, rates("1.25", "10", "0.125")),),
        context_tokens=400_000,
        most_output_tokens=128_000,
    ),
    WireModel(
        name="gpt-5.6",
        snapshot="gpt-5.6-2026-07-09",
        protocol="openai",
        bands=((0, rates("4", "20", "0.4", "5")), (272_001, rates("8", "30", "0.8", "10"))),
        context_tokens=400_000,
        most_output_tokens=128_000,
        only_default_temperature=True,
        marks_cache=True,
    ),
    WireModel(
        name="claude-sonnet-4-5",
        snapshot="claude-sonnet-4-5-20250929",
        protocol="anthropic",
        bands=(
            (0, rates("3", "15", "0.3", "3.75", "6")),
            (200_001, rates("6", "22.5", "0.6", "7.5", "12")),
        ),
        context_tokens=200_000,  # the dearer band needs a larger window, which is a beta
        most_output_tokens=64_000,
        least_cached_tokens=1024,
        tool_preamble_tokens=(346, 313),
    ),
    WireModel(
        name="claude-haiku-4-5",
        snapshot="claude-haiku-4-5-20251001",
        protocol="anthropic",
        bands=((0, rates("1", "5", "0.1", "1.25", "2")),),
        context_tokens=200_000,
        most_output_tokens=64_000,
        least_cached_tokens=4096,
        tool_preamble_tokens=(346, 313),
    ),
)


def find_model(models: tuple[WireModel, ...], protocol: Protocol, name: str) -> WireModel | None:
    """The model of that name, alias or dated, in that protocol."""
    for model in models:
        if model.protocol == protocol and name in (model.name, model.snapshot):
            return model
    return None
