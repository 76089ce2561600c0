"""Asking a person whether tools may run: one LangGraph interrupt a step, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langgraph.types import Interrupt, interrupt

from agentkit.errors import ConfigError
from agentkit.tools.call import Call
from agentkit.tools.catalogue import ToolCatalogue
from agentkit.tools.consent import AskedCall, Consent, calls_to_ask
from agentkit.tools.permissions import Permissions

_MOST_REASON_CHARS = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Approve:
    """The tools asked about may run: all of them, or the calls with the ids in `only`."""

    only: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Refuse:
    """None of the tools asked about may run; the model is told `reason`."""

    reason: str = ""


def consent_to(
    calls: Sequence[Call],
    catalogue: ToolCatalogue,
    permissions: Permissions,
    *,
    task_id: str,
    can_ask: bool,
) -> Consent:
    """What may run of a step's calls; raises LangGraph's interrupt until a person has answered.

    It is asked before any call of the step runs, for LangGraph runs the node again with the answer.
    """
    asked = calls_to_ask(calls, catalogue, permissions) if can_ask else []
    if not asked:
        return Consent(permissions=permissions)
    answer = consent_answer_of(interrupt(_question(asked, task_id)))
    approved = frozenset(item.index for item in asked if _is_approved(item, answer))
    reason = answer.reason if isinstance(answer, Refuse) else ""
    told = "a person refused it" + (f": {reason[:_MOST_REASON_CHARS]}" if reason else "")
    refused = {item.index: told for item in asked if item.index not in approved}
    return Consent(permissions=permissions, approved=approved, refused=refused)


def as_consent_json(answer: Approve | Refuse) -> dict[str, Any]:
    """An answer as JSON types, for the checkpoint."""
    if isinstance(answer, Refuse):
        return {"decision": "refuse", "reason": answer.reason}
    only = {} if answer.only is None else {"only": list(answer.only)}
    return {"decision": "approve", **only}


def consent_answer_of(answer: object) -> Approve | Refuse:
    """The answer that `as_consent_json` wrote; raises ConfigError for anything else."""
    if isinstance(answer, Mapping):
        facts = cast("Mapping[str, object]", answer)
        only = facts.get("only")
        if facts.get("decision") == "refuse":
            return Refuse(reason=str(facts.get("reason", "")))
        if facts.get("decision") == "approve" and (only is None or isinstance(only, list | tuple)):
            ids = None if only is None else tuple(str(i) for i in cast("Sequence[object]", only))
            return Approve(only=ids)
    raise ConfigError(
        "a task that asks whether tools may run is answered with {'decision': 'approve'}, with "
        "{'decision': 'approve', 'only': [ids of calls]} or {'decision': 'refuse', 'reason': '…'}"
    )


def waiting_for(state: Mapping[str, Any]) -> str:
    """Why a task that a graph left with an interrupt has stopped, without any arguments."""
    for item in cast("Sequence[Interrupt]", state.get("__interrupt__", ())):
        if isinstance(item.value, Mapping):
            question = cast("Mapping[str, object]", item.value)
            if question.get("agentkit") == "tools":
                return (
                    f"it asks: {question['question']} Resume it with Approve() or Refuse() "
                    "(`agentkit resume ID --approve`)"
                )
    return "an interrupt waits for input; resume the thread to go on"


def _is_approved(asked: AskedCall, answer: Approve | Refuse) -> bool:
    if isinstance(answer, Refuse):
        return False
    return answer.only is None or asked.call_id in answer.only


def _question(asked: Sequence[AskedCall], task_id: str) -> dict[str, Any]:
    names = ", ".join(dict.fromkeys(item.spec.name for item in asked))
    return {
        "agentkit": "tools",
        "task_id": task_id,
        "question": f"may {names} run?",
        "calls": [
            {
                "id": item.call_id,
                "name": item.spec.name,
                "side_effect": item.spec.side_effect,
                "arguments": item.arguments,
            }
            for item in asked
        ],
    }
