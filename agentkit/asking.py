"""Asking a person, about a budget or about tools: an interrupt that survives a restart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, cast

from langgraph.types import interrupt

from agentkit.budgets.event import Ask, Decision, Extend, Land, Stop
from agentkit.budgets.money import format_usd
from agentkit.budgets.task import Task
from agentkit.consent import Approve, Refuse
from agentkit.errors import ConfigError

Answer = Decision | Approve | Refuse

_PLAIN: dict[str, Land | Stop] = {"land": Land(), "stop": Stop()}


def ask_person(task: Task) -> Decision:
    """What a person answers; raises LangGraph's interrupt until there is an answer."""
    record = task.record
    question = {
        "agentkit": "budget",
        "task_id": record.task_id,
        "question": (
            f"{format_usd(record.cost_nusd)}, {record.usage.total_tokens:,} tokens and "
            f"{record.calls} calls are spent; extend the budget, land or stop?"
        ),
        "limits": task.room()._asdict(),
    }
    return decision_of(interrupt(question))


def answer_of(decision: Decision) -> dict[str, Any]:
    """A decision as JSON types, for the checkpoint."""
    if isinstance(decision, Ask):
        raise ConfigError("Ask() is no answer to a question; give Extend(...), Land() or Stop()")
    if isinstance(decision, Extend):
        return {"decision": "extend", **{key: str(v) for key, v in asdict(decision).items()}}
    return {"decision": "land" if isinstance(decision, Land) else "stop"}


def decision_of(answer: object) -> Decision:
    """The decision that `answer_of` wrote; raises ConfigError for anything else."""
    if isinstance(answer, Mapping):
        facts = cast("Mapping[str, Any]", answer)
        name = str(facts.get("decision"))
        if name in _PLAIN:
            return _PLAIN[name]
        if name == "extend":
            return Extend(
                usd=str(facts.get("usd", 0)),
                tokens=int(facts.get("tokens", 0)),
                calls=int(facts.get("calls", 0)),
                seconds=float(facts.get("seconds", 0)),
            )
    raise ConfigError(
        "a paused task is answered with {'decision': 'extend', 'usd': '0.05'}, "
        "{'decision': 'land'} or {'decision': 'stop'}"
    )


def require_question(questions: Iterable[object]) -> None:
    """Raises ConfigError where no question about tools waits for `Approve` or `Refuse`."""
    if not any(_is_about_tools(question) for question in questions):
        raise ConfigError(
            "this task does not ask whether tools may run, so Approve() and Refuse() answer "
            "nothing; resume it without them, or with Extend(...), Land() or Stop()"
        )


def _is_about_tools(question: object) -> bool:
    if not isinstance(question, Mapping):
        return False
    return cast("Mapping[str, object]", question).get("agentkit") == "tools"
