"""What the graph carries from node to node, and what a checkpoint keeps."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage, convert_to_messages
from typing_extensions import TypedDict  # pydantic makes no schema of typing's before Python 3.12

from agentkit.tools.provision.toolbox import Batch

_OURS = "agentkit_note"

Ending = Literal["answer", "budget", "stopped", "failed"]


def append(left: list[AnyMessage], right: Any) -> list[AnyMessage]:
    """`left` with `right` after it: a transcript only grows, so nothing is merged by id."""
    if not isinstance(right, list):
        right = [right]
    added = convert_to_messages(cast("list[Any]", right))
    return [*left, *cast("list[AnyMessage]", added)]


class AgentState(TypedDict, total=False):
    """The state of one task.

    `tier` is the cheapest tier still tried, `route` which tiers are, and why, `confirmed` how many
    of the escalations ended with the tools that the cheaper tier had named, `context` what became
    of earlier messages, `offered` the tools on offer in the order in which they came, which
    outlasts a task of a thread, `recalls` that `recall` is among them, `asking` that
    a person is asked about the budget, `ending` why the task goes to land.
    """

    messages: Annotated[list[AnyMessage], append]
    task_id: str
    request_at: int
    step: int
    tier: int
    route: dict[str, Any]
    escalations: int
    confirmed: int
    context: dict[str, Any]
    offered: list[Batch]
    recalls: bool
    asking: bool
    ending: Ending | None
    answer: str
    reason: str | None
    outcome: str | None


def fresh(task_id: str = "") -> AgentState:
    """What a task starts from, whatever an earlier task of the thread left behind."""
    return {
        "task_id": task_id,
        "step": 0,
        "tier": 0,
        "route": {},
        "escalations": 0,
        "confirmed": 0,
        "context": {},
        "recalls": False,
        "asking": False,
        "ending": None,
        "answer": "",
        "reason": None,
        "outcome": None,
    }


def note_of(text: str) -> HumanMessage:
    """A message of ours to the model, in the place of a person's, as every provider takes it."""
    return HumanMessage(text, additional_kwargs={_OURS: True})


def is_note(message: BaseMessage) -> bool:
    """Whether it is a message of ours."""
    return isinstance(message, HumanMessage) and _OURS in message.additional_kwargs


def is_request(message: BaseMessage) -> bool:
    """Whether a person said it."""
    return isinstance(message, HumanMessage) and _OURS not in message.additional_kwargs


def transcript(state: AgentState) -> list[AnyMessage]:
    """The messages so far."""
    return state.get("messages", [])
