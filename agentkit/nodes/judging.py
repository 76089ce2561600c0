"""The judge of a tier's answer: gathers the evidence, prices the ways on, and lets `decide` choose.

It is called where the answer is settled, so that the record of the call says what became of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from agentkit.budgets.amount import Amount, Limits, amount_of
from agentkit.budgets.call_plan import CallPlan, HeldCall
from agentkit.budgets.price import Price
from agentkit.budgets.usage import Usage
from agentkit.cascade.decision import Action, Situation, Verdict, decide
from agentkit.cascade.evidence import Evidence
from agentkit.cascade.review import fault_of, review
from agentkit.cascade.settings import Cascade, checked_quality
from agentkit.cascade.signals import signals_of
from agentkit.model_call import LEAST_OUTPUT_TOKENS, Review
from agentkit.models.tier import Tier
from agentkit.models.usage import usage_of
from agentkit.nodes.attempt import Attempt
from agentkit.nodes.provide import schemas_of
from agentkit.result import Check, checked, result_of
from agentkit.run import Run
from agentkit.state import AgentState, transcript
from agentkit.tools.provision.toolbox import Toolbox

_LEAST_EXPECTED_OUTPUT = 32
_MOST_OBSERVED_CHARS = 200_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Judging:
    """An agent's settings of how answers are judged; without a cascade by the models' floors."""

    cascade: Cascade | None = None
    quality: float = 0.0
    check: Check | None = None

    @property
    def sticky_after(self) -> int:
        """After how many escalations a task stays on the dearer tier."""
        return 1 if self.cascade is None else self.cascade.sticky_after

    @property
    def cuts_babble(self) -> bool:
        """Whether answers of hosted models are cut where they go in circles."""
        return self.cascade is not None and self.cascade.cut_babble


BY_FLOOR = Judging()


def judging_of(quality: float | None, cascade: Cascade | None, check: Check | None) -> Judging:
    """The settings from an agent's arguments; raises ConfigError for a quality out of range."""
    if quality is None and cascade is None:
        return BY_FLOOR
    return Judging(cascade=cascade or Cascade(), quality=checked_quality(quality), check=check)


@dataclass(kw_only=True, slots=True)
class Judge:
    """Judges one try of one tier; `verdict` and `signals` are there once it was called."""

    judging: Judging
    run: Run
    state: AgentState
    tiers: Sequence[Tier]
    toolbox: Toolbox
    attempt: Attempt
    sent: Sequence[BaseMessage]
    held: HeldCall | None = None
    verdict: Verdict | None = None
    signals: Mapping[str, float] = field(default_factory=dict[str, float])
    parts: Mapping[str, float] = field(default_factory=dict[str, float])

    def __call__(self, message: AIMessage) -> Review:
        """The review that the call's record keeps."""
        cascade = self.judging.cascade
        return self._by_floor(message) if cascade is None else self._by_chance(message, cascade)

    def _by_floor(self, message: AIMessage) -> Review:
        last = self._next is None
        found = review(message, self.toolbox, last=last)
        action: Action = "accept" if found.accepted else "give_up" if last else "escalate"
        self.verdict = Verdict(action=action, reason=found.reason)
        return found

    def _by_chance(self, message: AIMessage, cascade: Cascade) -> Review:
        whole = self.attempt.whole(message)
        evidence = self._evidence(whole)
        calibration = cascade.calibration_of(self._tier.label)
        self.signals = signals_of(evidence, cascade.all_signals)
        fault = self._fault(evidence)
        if fault is None and whole.response_metadata.get("relayed"):
            self.verdict = Verdict(action="accept")  # a tool's own words: nothing was generated
            return Review(accepted=True)
        self.parts = calibration.parts(self.signals)
        chance = 0.0 if fault is not None else calibration.probability(self.signals)
        situation = Situation(
            probability=chance,
            floor=calibration.threshold(self.judging.quality),
            fault=fault,
            error_nusd=cascade.error_nusd,
        )
        situation = self._with_ways(situation, whole, cascade)
        if cascade.second_sample and not self.attempt.is_sampled and whole.tool_calls:
            agreed = calibration.probability({**self.signals, "agreement": 1.0})
            situation = replace(situation, agreed_probability=agreed)
        self.verdict = decide(situation)
        return Review(confidence=chance, accepted=self.verdict.accepted, reason=self.verdict.reason)

    @property
    def _tier(self) -> Tier:
        return self.tiers[self.attempt.index]

    @property
    def _next(self) -> Tier | None:
        above = self.attempt.index + 1
        return self.tiers[above] if above < len(self.tiers) else None

    def _fault(self, evidence: Evidence) -> str | None:
        fault = fault_of(evidence.message, self.toolbox)
        return "the check did not pass" if fault is None and evidence.check is False else fault

    def _evidence(self, message: AIMessage) -> Evidence:
        messages = transcript(self.state)
        request_at = self.state.get("request_at", 0)
        observed: list[str] = []
        left = _MOST_OBSERVED_CHARS
        for each in reversed(messages[request_at + 1 :]):
            if isinstance(each, ToolMessage) and left > 0:
                observed.append(each.text[:left])
                left -= len(observed[-1])
        return Evidence(
            message=message,
            toolbox=self.toolbox,
            request=messages[request_at].text if messages else "",
            observations=tuple(observed),
            step=self.state.get("step", 0),
            previous=self.attempt.previous,
            check=self._checked(message),
        )

    def _checked(self, message: AIMessage) -> bool | None:
        """What the user's check says of a final answer; None where it cannot be asked."""
        check = self.judging.check
        if check is None or message.tool_calls or not message.text.strip():
            return None
        task = self.run.task
        record = replace(task.record, outcome="answered")
        outcome, reason = checked(check, result_of(record, answer=message.text, calls=task.calls))
        if outcome == "resolved":
            return True
        return None if reason is not None and reason.startswith("check raised") else False

    def _with_ways(self, situation: Situation, message: AIMessage, cascade: Cascade) -> Situation:
        """The situation with what each way on asks for; none is open without a dearer tier."""
        dearer = self._next
        if dearer is None:
            return situation
        task = self.run.task
        price = task.ledger.prices.price(dearer.name, dearer.provider)
        usage = usage_of(message) or Usage()
        own = task.ledger.prices.price(self._tier.name, self._tier.provider).cost_nusd(usage)
        asked = self._asked_tokens(dearer)
        written = min(max(usage.output_tokens, _LEAST_EXPECTED_OUTPUT), dearer.output_tokens)
        situation = replace(
            situation,
            next_nusd=price.cost_nusd(Usage(input_tokens=asked, output_tokens=written)),
            worst=self._least_held(dearer, price, asked),
            room=self._room(usage, own),
            again_nusd=own,
            retry_chance=cascade.retry_chance if self._can_retry(message, cascade) else None,
        )
        hint_tokens = cascade.hint_tokens
        if hint_tokens is None or not self._can_take_hint(message):
            return situation
        hint = Usage(input_tokens=asked, output_tokens=min(hint_tokens, dearer.output_tokens))
        return replace(situation, hint_nusd=price.cost_nusd(hint), hint_chance=cascade.hint_chance)

    def _asked_tokens(self, dearer: Tier) -> int:
        tools = schemas_of(self.state, dearer, self.toolbox)
        messages = dearer.counter.messages(self.sent)
        return messages + self.run.context.tools_tokens(dearer, tools)

    def _least_held(self, dearer: Tier, price: Price, asked: int) -> Amount:
        """The least worst case that a call to the dearer tier can be held with."""
        margins = self.run.task.ledger.margins
        plan = CallPlan(
            price=price,
            counted_input_tokens=asked,
            input_tokens=margins.bound(asked, model=dearer.name, provider=dearer.provider),
            wanted_output_tokens=dearer.output_tokens,
        )
        return plan.worst(min(dearer.output_tokens, LEAST_OUTPUT_TOKENS))

    def _room(self, usage: Usage, own_nusd: int) -> Limits:
        """What is left once this call is settled; the landing reserve is held, so not in it."""
        room = self.run.task.room()
        if self.held is None:
            return room
        spared = self.held.worst.minus(amount_of(usage, cost_nusd=own_nusd))
        return Limits(
            *(
                None if left is None else max(0, left + more)
                for left, more in zip(room, spared, strict=True)
            )
        )

    def _can_retry(self, message: AIMessage, cascade: Cascade) -> bool:
        """An error can be shown to a tier that reads more than the request."""
        if not self._tier.writes_answers or self.attempt.retries >= cascade.retries:
            return False
        invalid = bool(message.invalid_tool_calls) or self.signals.get("fits_schema") == 0
        return invalid or self.signals.get("check") == 0

    def _can_take_hint(self, message: AIMessage) -> bool:
        """A text is gone on with by a tier that writes, a tool that is named by any that calls."""
        if self.attempt.is_hinted:
            return False
        if message.response_metadata.get("abstained"):
            return False
        return bool(message.tool_calls) or self._tier.writes_answers
