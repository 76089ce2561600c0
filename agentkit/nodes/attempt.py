"""One try at a step: the plain request, or one that shows an error, asks again, or uses a hint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from langchain_core.messages import AIMessage, BaseMessage

from agentkit.budgets.journal import Purpose
from agentkit.cascade.decision import Verdict
from agentkit.cascade.review import invalid_call
from agentkit.memory.context import ContextPlan
from agentkit.memory.repair import in_words
from agentkit.models.tier import Tier, ToolSchemas
from agentkit.state import note_of
from agentkit.tools.provision.toolbox import Toolbox

Kind = Literal["answer", "retry", "sample", "hint", "continued"]

_SAMPLE_TEMPERATURE = 0.7
"""A local model answers greedily, and would say the same again."""
_MOST_PROBLEM_CHARS = 600
_GO_ON = (
    "The answer to the request above has been begun for you. Write what comes after this beginning "
    "and finish it; do not say the beginning again.\n\n"
)
_PURPOSES: Mapping[Kind, Purpose] = {"hint": "hint", "sample": "sample"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """A try at a step by the tier at `index`, and what was tried before it at this tier.

    `prefix` is the beginning of the answer that a dearer tier wrote, `tool` the one that it named;
    `previous` an answer of this tier to the same request.
    """

    index: int
    kind: Kind = "answer"
    note: str = ""
    prefix: str = ""
    tool: str = ""
    previous: AIMessage | None = None
    retries: int = 0
    is_sampled: bool = False
    is_hinted: bool = False

    @property
    def purpose(self) -> Purpose:
        """What the call is recorded as."""
        return _PURPOSES.get(self.kind, "step")

    def after(self, verdict: Verdict, message: AIMessage, toolbox: Toolbox, reason: str) -> Attempt:
        """The try that follows an answer which did not stand."""
        if verdict.action == "retry":
            note = _correction(message, toolbox, reason)
            return replace(self, kind="retry", note=note, previous=None, retries=self.retries + 1)
        if verdict.action == "sample":
            return replace(self, kind="sample", previous=message, is_sampled=True)
        if verdict.action == "hint":
            return replace(
                self, index=self.index + 1, kind="hint", note="", previous=None, is_hinted=True
            )
        return self.dearer()

    def dearer(self) -> Attempt:
        """The next tier is asked plainly."""
        return Attempt(index=self.index + 1)

    def continued(self, hint: AIMessage, *, was_cut: bool) -> Attempt | None:
        """The cheaper tier goes on from the hint; None where that is a whole answer already."""
        if not was_cut:
            return None
        going_on = replace(self, index=self.index - 1, kind="continued")
        for call in (*hint.tool_calls, *hint.invalid_tool_calls):
            return replace(going_on, tool=call["name"] or "")
        return replace(going_on, prefix=hint.text)

    def messages(self, tier: Tier) -> list[BaseMessage]:
        """What is sent after the messages of the step."""
        if self.note:
            return [note_of(self.note)]
        if self.prefix and not tier.is_local:
            return [note_of(f"{_GO_ON}{self.prefix}")]
        return []

    def arguments(self, tier: Tier, tools: ToolSchemas) -> dict[str, Any]:
        """The arguments of the call that this try sets."""
        if self.kind == "sample" and tier.is_local:
            return {"temperature": _SAMPLE_TEMPERATURE}
        if self.kind == "continued" and self.tool:
            return tier.forced_tool(tools, self.tool)
        if self.prefix and tier.is_local:
            return {"prefix": self.prefix}
        return {}

    def input_tokens(self, tier: Tier, plan: ContextPlan, tools: ToolSchemas) -> int | None:
        """Input tokens by our own count; None where the model counts the messages exactly."""
        more = self.messages(tier)
        if tier.exact_count is None:
            return plan.input_tokens + tier.counter.messages(more)
        if not (self.prefix and tier.is_local):
            return None
        return tier.count([*plan.messages, *more], tools) + tier.model.get_num_tokens(self.prefix)

    def whole(self, message: AIMessage) -> AIMessage:
        """The answer with the beginning that it goes on from."""
        if not self.prefix or message.tool_calls:
            return message
        return in_words(message, self.prefix + message.text)


def _correction(message: AIMessage, toolbox: Toolbox, reason: str) -> str:
    """What was wrong, for the model that wrote it; neither logs nor traces hold it."""
    problems: list[str] = []
    for call in map(toolbox.resolved, message.tool_calls):
        spec = toolbox.catalogue.get(call["name"] or "")
        arguments: Any = call["args"]
        if spec is not None and isinstance(arguments, dict):
            problems += spec.arguments.check(cast("dict[str, object]", arguments)).problems
    told = "; ".join(problems)[:_MOST_PROBLEM_CHARS]
    fault = invalid_call(message, toolbox) or reason
    return (
        f"Your last answer to this was turned down and is not shown: {fault}"
        f"{f' ({told})' if told else ''}. Answer again, without that error."
    )
