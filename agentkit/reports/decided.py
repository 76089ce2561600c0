"""The decisions of a task's cascade as its story has them: what, by which signal, at what price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agentkit.budgets.journal import EventRecord
from agentkit.budgets.money import format_usd

_ACTIONS = {
    "accept": "kept",
    "retry": "asked again with its error shown",
    "sample": "asked a second time",
    "hint": "given a hint by the next tier",
    "escalate": "turned down for the next tier",
    "give_up": "turned down, with nobody left to ask",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """One decision. `signal` is what spoke most against the answer, with its value and what it took
    from the score; `expected_nusd` what each open way was expected to cost."""

    step: int
    model: str
    action: str
    probability: float | None
    threshold: float | None
    reason: str
    signal: str
    value: float | None
    part: float
    cost_nusd: int
    expected_nusd: Mapping[str, int]

    @property
    def told(self) -> str:
        """The decision as a sentence."""
        text = f"step {self.step}, {self.model}: {_ACTIONS.get(self.action, self.action)}"
        if self.probability is not None and self.threshold is not None:
            text += f"; right with {self.probability:.3f}, asked {self.threshold:.3f}"
        if self.reason and not self.reason.startswith("unsure"):
            text += f"; {self.reason}"
        if self.signal and self.value is not None and self.part < 0:
            text += f"; most against it: {self.signal} {self.value:.3g} ({self.part:+.2f})"
        if self.cost_nusd and self.action != "accept":
            text += f"; {format_usd(self.cost_nusd)} spent on it"
        ways = ", ".join(f"{way} {format_usd(nusd)}" for way, nusd in self.expected_nusd.items())
        if ways:
            kept = self.action == "accept"
            text += f"; {'would have cost' if kept else 'expected to cost'}: {ways}"
        return text


def decided(events: Sequence[EventRecord]) -> tuple[Decided, ...]:
    """The decisions among the events of a task, in their order."""
    return tuple(_decided(event) for event in events if event.kind == "decision")


def _decided(event: EventRecord) -> Decided:
    data = event.data
    parts = _numbers(data.get("parts"))
    signals = _numbers(data.get("signals"))
    worst = min(parts, key=lambda name: parts[name], default="")
    return Decided(
        step=event.step,
        model=str(data.get("model", "?")),
        action=str(data.get("action", "?")),
        probability=_number(data.get("probability")),
        threshold=_number(data.get("threshold")),
        reason=str(data.get("reason") or ""),
        signal=worst,
        value=signals.get(worst),
        part=parts.get(worst, 0.0),
        cost_nusd=round(_number(data.get("cost_nusd")) or 0),
        expected_nusd={
            way: round(nusd) for way, nusd in _numbers(data.get("expected_nusd")).items()
        },
    )


def _numbers(told: object) -> dict[str, float]:
    if not isinstance(told, dict):
        return {}
    found = {name: _number(value) for name, value in cast("dict[str, Any]", told).items()}
    return {name: value for name, value in found.items() if value is not None}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
