"""The plain rule: an answer is kept unless it is at fault or less sure than its model's floor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from langchain_core.messages import AIMessage

from agentkit.cascade.evidence import whole_figures
from agentkit.model_call import Review
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
    fault = fault_of(message, toolbox)
    reason = fault or _doubt(message, least_logprob)
    figures = whole_figures(message)
    return Review(
        confidence=None if figures is None else figures.sum,
        accepted=reason is None or (last and fault is None),
        reason=reason,
    )


def fault_of(message: AIMessage, toolbox: Toolbox) -> str | None:
    """Why an answer cannot stand, however sure its model was."""
    return (
        _abstention(message)
        or _emptiness(message)
        or invalid_call(message, toolbox)
        or _babbling(message)
    )


def invalid_call(message: AIMessage, toolbox: Toolbox) -> str | None:
    """Which call is none that could be carried out."""
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


def _abstention(message: AIMessage) -> str | None:
    if not message.response_metadata.get("abstained"):
        return None
    return str(message.response_metadata.get("abstain_reason") or "the model abstained")


def _emptiness(message: AIMessage) -> str | None:
    if message.tool_calls or message.invalid_tool_calls or message.text.strip():
        return None
    return "the answer is empty"


def _babbling(message: AIMessage) -> str | None:
    babbled = message.response_metadata.get("babbled")
    return "the answer went in circles and was cut" if babbled else None


def _doubt(message: AIMessage, least_logprob: float | None) -> str | None:
    """An unsure answer: its summed log-probability is under the floor."""
    figures = whole_figures(message)
    if figures is None:
        return None
    floor = least_logprob if least_logprob is not None else _floor_of(message)
    if floor is None:
        floor = DEFAULT_LEAST_MEAN_LOGPROB * figures.count
    if figures.sum >= floor:
        return None
    return f"unsure: log-probability {figures.sum:.2f} is under {floor:.2f}"


def _floor_of(message: AIMessage) -> float | None:
    told: Any = message.response_metadata.get("logprobs")
    floor = cast("Mapping[str, Any]", told).get("sum_floor") if isinstance(told, dict) else None
    return float(floor) if isinstance(floor, int | float) else None
