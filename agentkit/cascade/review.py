"""Is a cheap answer good enough, or must a dearer tier be asked?

Signals of a single answer: did the model abstain, is each call valid against its schema, how sure
was the model (log-probabilities), is there an answer at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from langchain_core.messages import AIMessage

from agentkit.metering import Review
from agentkit.tools.provision.toolbox import Toolbox

_LONGEST_NAME = 64
DEFAULT_LEAST_MEAN_LOGPROB = -1.0
"""Floor on the mean log-probability a token of a local answer, for models without their own."""


def review(
    message: AIMessage,
    toolbox: Toolbox,
    *,
    last: bool = False,
    least_logprob: float | None = None,
) -> Review:
    """Accept a tier's answer, or say why a dearer tier should be asked.

    On the `last` tier there is nobody to ask: a valid but unsure answer is accepted, with its doubt
    as the reason. `least_logprob` overrides the floor that the model states for the log-probability
    of its whole answer (`response_metadata["logprobs"]["sum_floor"]`).
    """
    fault = _abstention(message) or _emptiness(message) or _invalid_call(message, toolbox)
    reason = fault or _doubt(message, least_logprob)
    return Review(
        confidence=_confidence(message),
        accepted=reason is None or (last and fault is None),
        reason=reason,
    )


def _abstention(message: AIMessage) -> str | None:
    if not message.response_metadata.get("abstained"):
        return None
    return str(message.response_metadata.get("abstain_reason") or "the model abstained")


def _emptiness(message: AIMessage) -> str | None:
    if message.tool_calls or message.invalid_tool_calls or message.text.strip():
        return None
    return "the answer is empty"


def _invalid_call(message: AIMessage, toolbox: Toolbox) -> str | None:
    if message.invalid_tool_calls:
        name = str(message.invalid_tool_calls[0].get("name"))[:_LONGEST_NAME]
        return f"call to {name!r} is not valid JSON"
    for call in map(toolbox.resolved, message.tool_calls):
        name, arguments = call["name"] or "", call["args"]
        spec = toolbox.catalogue.get(name)
        if spec is None:
            return f"call to unknown tool {name[:_LONGEST_NAME]!r}"
        if not isinstance(arguments, dict) or spec.arguments.check(arguments).problems:
            return f"call to {name!r} does not fit its schema"
    return None


def _doubt(message: AIMessage, least_logprob: float | None) -> str | None:
    """An unsure answer: its summed log-probability is under the floor."""
    logprobs = _logprobs(message)
    if logprobs is None:
        return None
    floor = least_logprob if least_logprob is not None else logprobs.get("sum_floor")
    if floor is None:
        floor = DEFAULT_LEAST_MEAN_LOGPROB * float(logprobs["count"])
    total = float(logprobs["sum"])
    if total >= float(floor):
        return None
    return f"unsure: log-probability {total:.2f} is under {float(floor):.2f}"


def _confidence(message: AIMessage) -> float | None:
    logprobs = _logprobs(message)
    return None if logprobs is None else float(logprobs["sum"])


def _logprobs(message: AIMessage) -> Mapping[str, Any] | None:
    """The figures of an answer that was generated with them."""
    logprobs: Any = message.response_metadata.get("logprobs")
    if not isinstance(logprobs, dict):
        return None
    figures = cast("Mapping[str, Any]", logprobs)
    return figures if figures.get("count") else None
