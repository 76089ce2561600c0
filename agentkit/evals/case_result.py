"""What came of one case under one setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self, cast

from agentkit.budgets.journal import CallRecord, Outcome, all_priced
from agentkit.evals.grade import FailureKind, Grade, MadeCall, Sample

_LONGEST_ANSWER = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseResult:
    """A graded case with what it cost.

    `tier` is the place of the model whose answer stood, -1 where none did. `signals` speak for the
    answer, and `confidence` is the chance, made of them, that it is right.
    `stopped` where the money of the whole run ran out in its middle: it is tried again when the
    run goes on with more. `judge_nusd` is no part of `cost_nusd`. `seconds` is the time in models.
    """

    setting: str
    case_id: str
    passed: bool
    score: float
    kind: FailureKind | None
    detail: str
    outcome: Outcome
    answer: str
    calls: tuple[MadeCall, ...] = ()
    cost_nusd: int = 0
    unconfirmed_nusd: int = 0
    judge_nusd: int = 0
    unpriced: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    model_calls: int = 0
    escalations: int = 0
    tier: int = -1
    seconds: float = 0.0
    confidence: float | None = None
    signals: Mapping[str, float] = field(default_factory=dict[str, float])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    task_id: str = ""
    attempt: int = 1
    stopped: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """A result read back; names of a later version are left aside."""
        known = {name: data[name] for name in _FIELDS if name in data}
        known["calls"] = tuple(MadeCall(**call) for call in data.get("calls", ()))
        return cls(**known)


_FIELDS = tuple(entry.name for entry in fields(CaseResult))


def result_with(
    sample: Sample,
    grade: Grade,
    *,
    setting: str,
    records: tuple[CallRecord, ...],
    cost_nusd: int,
    task_id: str,
    signals: Mapping[str, float],
    confidence: float | None,
    attempt: int = 1,
) -> CaseResult:
    """The result of a graded sample, its figures from the journal's records of its calls."""
    stood = next((r for r in reversed(records) if _is_answer(r)), None)
    return CaseResult(
        setting=setting,
        case_id=sample.case.id,
        passed=grade.passed,
        score=grade.score,
        kind=grade.kind,
        detail=grade.detail,
        outcome=sample.outcome,
        answer=sample.answer[:_LONGEST_ANSWER],
        calls=sample.calls,
        cost_nusd=cost_nusd,
        unconfirmed_nusd=sum(r.cost_nusd for r in records if not r.confirmed),
        judge_nusd=grade.cost_nusd,
        unpriced=not all_priced(records),
        input_tokens=sum(r.usage.input_tokens for r in records),
        output_tokens=sum(r.usage.output_tokens for r in records),
        model_calls=sum(r.is_billed for r in records),
        escalations=sum(r.escalation is not None for r in records),
        tier=-1 if stood is None else stood.tier,
        seconds=sum(r.latency_seconds for r in records),
        confidence=confidence,
        signals=signals,
        tags=sample.case.tags,
        task_id=task_id,
        attempt=attempt,
    )


def _is_answer(record: CallRecord) -> bool:
    return record.status == "ok" and record.accepted is not False


def failure_of(sample: Sample, grade: Grade, reason: str | None) -> Grade:
    """The grade, its kind the way in which the task ended where that explains a failure better."""
    if grade.passed:
        return grade
    kind: FailureKind | None = grade.kind
    if sample.outcome in ("landed", "exhausted", "cancelled"):
        kind = cast("FailureKind", sample.outcome)
    elif sample.declined:
        kind = "declined"
    elif sample.outcome == "failed":
        kind = "error"
    elif reason is not None and "cut at its output limit" in reason:
        kind = "cut"
    if kind == grade.kind:
        return grade
    detail = (reason or grade.detail)[:300]
    return Grade(
        passed=False, score=grade.score, kind=kind, detail=detail, cost_nusd=grade.cost_nusd
    )
