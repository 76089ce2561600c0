"""What is known when a cheap answer is judged, and what its model said of its tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import AIMessage, InvalidToolCall, ToolCall

from agentkit.tools.provision.toolbox import Toolbox


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """One answer with what it can be held against; every signal is a function of it.

    `observations` are what tools returned to this task so far, `previous` an earlier answer of the
    same tier to the same step, `check` what the user's own check says of it; None where a check
    cannot apply yet.
    """

    message: AIMessage
    toolbox: Toolbox
    request: str = ""
    observations: tuple[str, ...] = ()
    step: int = 0
    previous: AIMessage | None = None
    check: bool | None = None

    @property
    def calls(self) -> tuple[ToolCall | InvalidToolCall, ...]:
        """The calls that are meant, those through a dispatcher by their own names."""
        return tuple(map(self.toolbox.resolved, self.message.tool_calls))

    @property
    def logprobs(self) -> TokenFigures | None:
        """How sure the model was of all its tokens, where it says so."""
        return whole_figures(self.message)


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenFigures:
    """Log-probabilities of tokens, in nats; `margin` is the least distance to another token."""

    count: int
    sum: float
    min: float
    margin: float | None = None

    @property
    def mean(self) -> float:
        """The mean a token."""
        return self.sum / self.count


def whole_figures(message: AIMessage) -> TokenFigures | None:
    """Of the whole answer: as a local model tells it, or as OpenAI's protocol does."""
    facts = _facts(message.response_metadata.get("logprobs"))
    if "content" in facts:
        return _of_openai(_items(facts["content"]))
    return _figures(facts)


def part_figures(message: AIMessage, part: str) -> TokenFigures | None:
    """Of one part of a call that a local model wrote: `name` or `values`."""
    return _figures(_facts(message.response_metadata.get("logprobs")).get(part))


def leaves(value: object) -> Iterator[str | int | float]:
    """The texts and numbers inside JSON arguments; no booleans, nothing of null."""
    if isinstance(value, dict):
        for inner in cast("dict[str, object]", value).values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in cast("Sequence[object]", value):
            yield from leaves(inner)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield value


def _figures(told: object) -> TokenFigures | None:
    facts = _facts(told)
    count, total = facts.get("count"), _number(facts.get("sum"))
    if not isinstance(count, int) or count < 1 or total is None:
        return None
    told_margins = facts.get("margin")
    margins = map(_number, _items(told_margins) or [told_margins])
    margin = min((each for each in margins if each is not None), default=None)
    least = _number(facts.get("min"))
    return TokenFigures(
        count=count, sum=total, min=total / count if least is None else least, margin=margin
    )


def _of_openai(content: Sequence[object]) -> TokenFigures | None:
    chosen: list[float] = []
    margins: list[float] = []
    for token in map(_facts, content):
        logprob = _number(token.get("logprob"))
        if logprob is None:
            continue
        chosen.append(logprob)
        others = [
            _number(other.get("logprob"))
            for other in map(_facts, _items(token.get("top_logprobs")))
            if other.get("token") != token.get("token")
        ]
        known = [other for other in others if other is not None]
        if known:
            margins.append(logprob - max(known))
    if not chosen:
        return None
    return TokenFigures(
        count=len(chosen), sum=sum(chosen), min=min(chosen), margin=min(margins, default=None)
    )


def _items(told: object) -> Sequence[object]:
    return cast("Sequence[object]", told) if isinstance(told, list) else ()


def _facts(told: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", told) if isinstance(told, dict) else {}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
