"""Each decision of a cascade, told in the task's story and in its trace; no message contents."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from agentkit.budgets.journal import CallRecord
from agentkit.budgets.money import usd_from_nusd
from agentkit.cascade.decision import Verdict
from agentkit.effects import Blocking, Work
from agentkit.models.tier import Tier
from agentkit.nodes.attempt import Attempt
from agentkit.nodes.judging import Judge
from agentkit.run import Run
from agentkit.telemetry import names
from agentkit.telemetry.calls import without_quotes

DECISION = "decision"
"""The kind of the events."""
_TOLD = {
    "accept": "kept",
    "retry": "shown its error and asked again",
    "sample": "asked a second time",
    "hint": "given a hint by the next tier",
    "escalate": "turned down for the next tier",
    "give_up": "turned down, with nobody left to ask",
}


def explain(
    run: Run, tier: Tier, attempt: Attempt, judge: Judge, verdict: Verdict, record: CallRecord
) -> Work[None]:
    """Write one decision down."""
    data: dict[str, Any] = {
        "call_id": record.call_id,
        "tier": tier.index,
        "model": tier.label,
        "kind": attempt.kind,
        "action": verdict.action,
        "probability": verdict.probability,
        "threshold": verdict.threshold,
        "scarcity": None if math.isinf(verdict.scarcity) else verdict.scarcity,
        "reason": verdict.reason,
        "expected_nusd": dict(verdict.expected_nusd),
        "cost_nusd": record.cost_nusd,
        "signals": dict(judge.signals),
        "parts": dict(judge.parts),
    }
    run.trace.decision(_attributes(record.step, data))
    note = partial(run.task.note, DECISION, _text(data), step=record.step, data=data)
    yield Blocking(note, run.task.ledger.store.blocking)


def _text(data: dict[str, Any]) -> str:
    told = f"{data['model']} was {_TOLD[data['action']]}"
    if data["probability"] is not None:
        told += f": right with {data['probability']:.3f}, asked {data['threshold']:.3f}"
    return f"{told}; {data['reason']}" if data["reason"] else told


def _attributes(step: int, data: dict[str, Any]) -> dict[str, str | int | float]:
    found: dict[str, str | int | float] = {
        names.STEP: step,
        names.TIER: data["tier"],
        names.DECISION_ACTION: data["action"],
    }
    for key, name in (
        ("probability", names.DECISION_PROBABILITY),
        ("threshold", names.DECISION_THRESHOLD),
        ("scarcity", names.DECISION_SCARCITY),
    ):
        if data[key] is not None:
            found[name] = data[key]
    if data["reason"]:
        found[names.DECISION_REASON] = without_quotes(data["reason"])
    for way, nusd in data["expected_nusd"].items():
        found[f"{names.DECISION_COST_PREFIX}{way}"] = float(usd_from_nusd(nusd))
    for signal, value in data["signals"].items():
        found[f"{names.SIGNAL_PREFIX}{signal}"] = value
    return found
