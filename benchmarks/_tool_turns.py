"""Whole conversations through an agent: what each turn is offered, and what stays as it was."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from _tool_sets import Conversation, conversations
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import PrivateAttr

from agentkit import Agent
from agentkit.state import is_request
from agentkit.tools import ToolSpec
from agentkit.tools.provision import ToolCard

_ARRIVED = "I have updated some more functions you can choose from. What about now?"  # BFCL's own


@dataclass
class Seen:
    """What one request sent: the definitions, and what notes in its messages describe."""

    definitions: str
    names: frozenset[str]
    messages: Sequence[BaseMessage] = field(repr=False)


class Listener(BaseChatModel):
    """A model that answers every turn at once and keeps what it was sent."""

    _seen: list[Seen] = PrivateAttr(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "listener"

    @property
    def seen(self) -> list[Seen]:
        """The requests so far."""
        return self._seen

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "anthropic", "ls_model_name": "claude-sonnet-4-5"}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(tools=list(tools), **kwargs)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        tools = kwargs.get("tools") or []
        noted = (
            json.loads(line)["name"]
            for message in messages
            if isinstance(message, HumanMessage) and not is_request(message)
            for line in message.text.splitlines()
            if line.startswith("{")
        )
        names = frozenset([*(tool["function"]["name"] for tool in tools), *noted])
        self._seen.append(Seen(json.dumps(tools), names, list(messages)))
        usage: Any = {"input_tokens": 10, "output_tokens": 1, "total_tokens": 11}
        return ChatResult(
            generations=[ChatGeneration(message=AIMessage("Done.", usage_metadata=usage))]
        )


def measured_turns(name: str, rows: int) -> dict[str, Any]:
    """The figures of one multi-turn set, offered the functions of all its classes."""
    found = needed = late_found = late_needed = 0
    changes: list[int] = []
    kept = conversations(name)
    for conversation in kept[:rows] if rows else kept:
        seen = replayed(conversation)
        for turn, sent in zip(conversation.turns, seen, strict=True):
            found += len(turn.needed & sent.names)
            needed += len(turn.needed)
        for at, names in conversation.arrivals.items():
            late = conversation.turns[at].needed & names
            late_found += len(late & seen[at].names)
            late_needed += len(late)
        pairs = list(itertools.pairwise(seen))
        changes.append(sum(before.definitions != after.definitions for before, after in pairs))
        for before, after in pairs:
            kept_texts = [message.text for message in after.messages[: len(before.messages)]]
            assert kept_texts == [message.text for message in before.messages]
    report: dict[str, Any] = {
        "conversations": len(changes),
        "on_offer_when_needed": round(found / needed, 4),
        "prefix_changes_most": max(changes),
        "prefix_changes_mean": round(statistics.fmean(changes), 4),
    }
    if late_needed:
        report["arrived_on_offer"] = round(late_found / late_needed, 4)
    return report


def replayed(conversation: Conversation) -> list[Seen]:
    """What the agent sends at each turn; a function that arrives is not there before."""
    model, saver = Listener(), InMemorySaver()
    missing = {name for names in conversation.arrivals.values() for name in names}
    agent: Agent | None = None
    for at, turn in enumerate(conversation.turns):
        arrived = conversation.arrivals.get(at, frozenset())
        if agent is None or arrived:
            missing -= arrived
            cards = [card for card in conversation.cards if card.name not in missing]
            agent = Agent([model], [tool_of(card) for card in cards], checkpoint=saver)
        agent.run(turn.text or _ARRIVED, thread_id="conversation")
    return model.seen


def tool_of(card: ToolCard) -> ToolSpec:
    """A tool of an agent that is like a card; nothing calls it here."""

    def run(**arguments: Any) -> str:
        return json.dumps(arguments)

    return ToolSpec.of(
        StructuredTool(
            name=card.name,
            description=card.description or card.name,
            args_schema=dict(card.schema),
            func=run,
        ),
        group=card.group,
    )
