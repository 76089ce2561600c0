"""`evaluate`: cases through every model and the cascade, under one budget, to a report."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.language_models import BaseChatModel

from agentkit.agent import Agent
from agentkit.budgets.amount import UNLIMITED, Limits
from agentkit.budgets.budget import Budget
from agentkit.budgets.ledger import Ledger
from agentkit.budgets.money import usd_from_nusd
from agentkit.budgets.task import Task
from agentkit.cascade import Cascade
from agentkit.checkpoint import Checkpointer
from agentkit.errors import ConfigError
from agentkit.evals.case import Case, CasesInvalid
from agentkit.evals.comparison import Comparison
from agentkit.evals.grade import Grader
from agentkit.evals.grader import GraderParts, GraderSpec, grader_for, grader_of
from agentkit.evals.judge import DEFAULT_CRITERIA, Judge
from agentkit.evals.report import Report, report_of
from agentkit.evals.results import ResultStore, RunRecord
from agentkit.evals.runner import OnResult, Runner
from agentkit.evals.subject import Setting, Subject, Subjects, offered_tools, settings_of
from agentkit.tools.catalogue import ToolCatalogue
from agentkit.tools.errors import ToolError
from agentkit.tools.permissions import Permissions

_NOT_IN_SCOPE = re.compile(r"[^A-Za-z0-9_.-]+")
_MOST_TASKS = 1_000_000
DEFAULT_QUALITY = 0.95


@dataclass(frozen=True, kw_only=True)
class EvalPlan:
    """What is asked of whom.

    `models` are (name, model) from cheap to dear. `limits` bound the whole run, `case_budget` each
    task, and `quality` is what the cheapest setting must reach. `judged_for` and `judged_by` are
    the agent's `quality=` and `cascade=` where the models are tried together; without either its
    plain rule holds.
    """

    name: str
    cases: Sequence[Case]
    models: Sequence[tuple[str, BaseChatModel]]
    cascade: bool = True
    tools: ToolCatalogue | None = None
    permissions: Permissions = field(default_factory=Permissions)
    system: str = ""
    grader: GraderSpec | None = None
    parts: GraderParts = field(default_factory=GraderParts)
    judge: tuple[str, BaseChatModel] | None = None
    criteria: str = DEFAULT_CRITERIA
    limits: Limits = UNLIMITED
    case_budget: Budget = field(default_factory=Budget)
    max_steps: int = 50
    quality: float = DEFAULT_QUALITY
    judged_for: float | None = None
    judged_by: Cascade | None = None

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Each model alone, and the cascade where there are several."""
        return settings_of([name for name, _ in self.models], cascade=self.cascade)

    @property
    def facts(self) -> dict[str, Any]:
        """What a person wants to know of a run."""
        return {
            "name": self.name,
            "models": [name for name, _ in self.models],
            "settings": [setting.name for setting in self.settings],
            "cases": len(self.cases),
            "grader": self.grader,
            "judge": None if self.judge is None else self.judge[0],
            "tools": [] if self.tools is None else list(self.tools.names),
        }

    @property
    def digest(self) -> str:
        """Names the plan: a run of the same digest can be gone on with."""
        cases = [[case.id, case.digest, case.expected, case.grader] for case in self.cases]
        budget = self.case_budget.model_dump(mode="json")
        judged = [self.judged_for, repr(self.judged_by)]
        whole = [self.facts, cases, self.system, self.criteria, self.max_steps, budget, judged]
        text = json.dumps(whole, sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


OnBegin = Callable[[RunRecord, int, int], None]
"""Told the run, how many trials it has in all, and how many of them are stored."""


def evaluate(
    plan: EvalPlan,
    *,
    ledger: Ledger,
    results: ResultStore,
    checkpointer: Checkpointer,
    parallel: int = 4,
    anew: bool = False,
    on_begin: OnBegin | None = None,
    on_result: OnResult | None = None,
    compare: Callable[[RunRecord], Comparison | None] | None = None,
) -> Report:
    """Run what the plan's last run has left, or a new run, and report on it.

    Raises CasesInvalid before anything is paid, and what no case is to blame for.
    """
    if not plan.models:
        raise ConfigError("no model is named; name at least one, from cheap to dear")
    if not 0 < plan.quality <= 1:
        raise ConfigError(f"a quality of {plan.quality:g}; use a share above 0, up to 1")
    run = results.begin(plan.digest, plan.facts, anew=anew)
    scope = scope_of(plan.name, run)
    graders = graders_of(plan, judge=_judge(plan, ledger, scope, run))
    _limit(plan, ledger, scope)
    runner = Runner(
        run=run,
        results=results,
        ledger=ledger,
        scope=scope,
        subjects=_subjects(plan, ledger, checkpointer),
        graders=graders,
        cascade=plan.judged_by or Cascade(),
        on_result=on_result,
    )
    trials = runner.pending(plan.cases, plan.settings)
    if on_begin is not None:
        whole = len(plan.cases) * len(plan.settings)
        on_begin(run, whole, whole - len(trials))
    if trials:
        runner.run(trials, parallel=parallel)
    if not runner.pending(plan.cases, plan.settings):
        results.end(run)
        _forget_verdicts(ledger, scope)
    return report_of(
        run,
        results.results(run),
        settings=[setting.name for setting in plan.settings],
        cases=len(plan.cases),
        quality=plan.quality,
        comparison=None if compare is None else compare(run),
    )


def graders_of(plan: EvalPlan, *, judge: Grader | None = None) -> dict[str, Grader]:
    """The grader of each case by its id.

    Raises CasesInvalid with all that cannot be graded, or ConfigError where the plan's own grader
    is none.
    """
    parts = plan.parts if judge is None else replace(plan.parts, judge=judge)
    if plan.grader is not None:
        grader_of(plan.grader, parts)
    named = replace(parts, resolve=None)  # the code that a case names is not run unasked
    found: dict[str, Grader] = {}
    problems: list[tuple[int, str]] = []
    for case in plan.cases:
        own = parts if case.grader is None or plan.parts.trusts_cases else named
        try:
            found[case.id] = grader_for(case, plan.grader, own)
            offered_tools(case.tools)
        except (ConfigError, ToolError) as error:
            problems.append((case.line, str(error)))
    if problems:
        raise CasesInvalid(plan.name, problems)
    return found


def scope_of(name: str, run: RunRecord) -> str:
    """Where a run spends: `evals/NAME/NUMBER-TOKEN`."""
    slug = _NOT_IN_SCOPE.sub("-", name).strip("-")[:60] or "cases"
    return f"evals/{slug}/{run.number}-{run.token[:6]}"


def _limit(plan: EvalPlan, ledger: Ledger, scope: str) -> None:
    if any(limit is not None for limit in plan.limits):
        ledger.set_limits(scope, plan.limits)


def _judge(plan: EvalPlan, ledger: Ledger, scope: str, run: RunRecord) -> Judge | None:
    if plan.judge is None:
        return None
    name, model = plan.judge
    usd = None if plan.limits.nusd is None else usd_from_nusd(plan.limits.nusd)

    def open_task(task_id: str) -> Task:
        return ledger.open_task(
            scope=scope,
            budget=Budget(usd=usd),
            task_id=f"{run.token[:8]}{task_id}",
            tags={"eval": scope, "role": "judge"},
            models=[name],
            keep_responses=True,
        )

    return Judge(model, open_task, criteria=plan.criteria)


def _forget_verdicts(ledger: Ledger, scope: str) -> None:
    """What was kept so that a run could be gone on with is needed no more."""
    for record in ledger.store.tasks(limit=_MOST_TASKS, scope=scope):
        if record.tags.get("role") == "judge":
            ledger.store.forget_responses(record.task_id)
            ledger.store.drop_scope(f"{record.scope}/~{record.task_id}")


def _subjects(plan: EvalPlan, ledger: Ledger, checkpointer: Checkpointer) -> Subjects:
    budget = plan.case_budget
    if budget.usd is None and plan.limits.nusd is not None:  # so that unknown prices are refused
        facts = budget.model_dump(exclude={"usd"})
        budget = Budget(usd=usd_from_nusd(plan.limits.nusd), **facts)

    def make(subject: Subject) -> Agent:
        together = len(subject.models) > 1
        return Agent(
            models=list(subject.models),
            tools=subject.tools,
            permissions=plan.permissions,
            budget=budget,
            ledger=ledger,
            system=subject.system,
            name="eval",
            max_steps=plan.max_steps,
            checkpoint=checkpointer,
            quality=plan.judged_for if together else None,
            cascade=plan.judged_by if together else None,
        )

    models = [model for _, model in plan.models]
    return Subjects(models, make, tools=plan.tools, system=plan.system)
