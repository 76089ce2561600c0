"""What `agentkit eval` is to try: its flags and settings as a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.budgets.budget import Budget
from agentkit.cli.assembly import cascade_of, model_of
from agentkit.cli.settings import Flags, Settings
from agentkit.cli.tool_reference import load_tools, resolved
from agentkit.cli.trust import require_trust
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.evals.evaluation import EvalPlan
    from agentkit.evals.grader import GraderParts

_MOST_STEPS = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanFlags:
    """The options that say what is tried on which cases, and how it is graded."""

    cases: Path
    name: str | None
    first: int | None
    grader: str | None
    judge: str | None
    criteria: str | None
    embedding: str | None
    trust_cases: bool
    cascade: bool
    quality: float
    calibration: Path | None
    case_limits: Mapping[str, Any]
    """Over those of the project file; None where one was not given."""


def plan_of(asked: PlanFlags, settings: Settings, flags: Flags, *, may_ask: bool) -> EvalPlan:
    """Reads the cases and makes the models. Raises ConfigError for what cannot be tried.

    With `may_ask` a person is asked whether the project file is to be trusted.
    """
    from agentkit.cascade.settings import read_cascade
    from agentkit.evals.case import read_cases
    from agentkit.evals.evaluation import EvalPlan
    from agentkit.evals.judge import DEFAULT_CRITERIA
    from agentkit.tools.permissions import Permissions

    if not settings.models:
        raise ConfigError("no model is named; add --model local:pocket --model openai:…")
    cases = read_cases(asked.cases)
    require_trust(settings, flags, ask=may_ask)
    own = asked.calibration
    return EvalPlan(
        name=asked.name or asked.cases.stem,
        cases=cases[: asked.first],
        models=[(each, model_of(settings, each)) for each in settings.models],
        cascade=asked.cascade,
        tools=load_tools(settings.tools, settings.tool_folder) if settings.tools else None,
        permissions=Permissions(grant=settings.grant),
        system=settings.system,
        grader=asked.grader,
        parts=_parts(asked),
        judge=None if asked.judge is None else (asked.judge, model_of(settings, asked.judge)),
        criteria=asked.criteria or DEFAULT_CRITERIA,
        limits=_run_limits(settings, asked.judge),
        case_budget=_case_budget(asked, settings),
        max_steps=min(settings.max_steps, _MOST_STEPS),
        quality=asked.quality,
        judged_for=settings.project.cascade.quality if own is None else asked.quality,
        judged_by=cascade_of(settings) if own is None else read_cascade(own),
    )


def _parts(asked: PlanFlags) -> GraderParts:
    from agentkit.evals.grader import GraderParts

    return GraderParts(
        embedding=None if asked.embedding is None else _embedding(asked.embedding),
        resolve=lambda reference: resolved(reference, Path.cwd()),
        trusts_cases=asked.trust_cases,
    )


def _embedding(name: str) -> Any:
    from agentkit.models.local.embedding import GgufEmbedding

    return GgufEmbedding(name)


def _case_budget(asked: PlanFlags, settings: Settings) -> Budget:
    given = {key: value for key, value in asked.case_limits.items() if value is not None}
    return Budget(**{**settings.file_limits, **given})


def _run_limits(settings: Settings, judge: str | None) -> Any:
    """The limits of the whole run: what flags say, or the default where it may cost money."""
    models = (*settings.models, *([judge] if judge else []))
    return replace(settings, file_limits={}, models=models).make_budget().limits
