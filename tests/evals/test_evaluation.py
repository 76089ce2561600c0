"""An evaluation in process: settings, the shared budget, the judge, and going on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from agentkit.budgets.amount import Limits
from agentkit.budgets.ledger import Ledger
from agentkit.budgets.price import PriceBook
from agentkit.budgets.price_file import PriceOverride
from agentkit.cascade import Calibration, Cascade
from agentkit.checkpoint import ThreadedSqliteSaver, open_checkpointer
from agentkit.evals import Case, CasesInvalid, GraderParts, Report
from agentkit.evals.evaluation import EvalPlan, evaluate, scope_of
from agentkit.evals.results import ResultStore
from tests.scripted import Script, ScriptedModel, call

PRICES = [
    PriceOverride(model=name, input=Decimal(usd), output=Decimal(usd))
    for name, usd in (("cheap", 1), ("dear", 10), ("judge", 1))
]
TOOL = {"name": "play", "description": "plays", "parameters": {"type": "object", "properties": {
    "artist": {"type": "string"}}, "required": ["artist"]}}  # fmt: skip


class Bench:
    """Everything that a run needs, on disk, so that a second `run` goes on."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(f"sqlite:///{folder}/ledger.db", prices=PriceBook(PRICES))
        self.results = ResultStore(folder / "results.db")
        self.saver = open_checkpointer(f"sqlite:///{folder}/checkpoints.db")

    def run(self, plan: EvalPlan, **more: Any) -> Report:
        return evaluate(
            plan,
            ledger=self.ledger,
            results=self.results,
            checkpointer=self.saver,
            **{"parallel": 1, **more},
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.results.close()
    made.ledger.close()
    assert isinstance(made.saver, ThreadedSqliteSaver)
    made.saver.conn.close()


def repeats(right: Callable[[int], bool], asked: Counter[str] | None = None) -> Script:
    """Says the number it is asked for where `right` holds of it, else something else."""

    def script(messages: Sequence[BaseMessage]) -> AIMessage:
        last = messages[-1].text
        if asked is not None:
            asked[last] += 1
        return AIMessage(last.split()[-1] if right(int(last.split()[-1])) else "else")

    return script


def model(name: str, script: Script) -> tuple[str, ScriptedModel]:
    return name, ScriptedModel(script=script, name_of_model=name)


def numbers(count: int) -> list[Case]:
    return [Case(id=f"c{n}", request=f"say {n}", expected=str(n), line=n + 1) for n in range(count)]


def plan_of(*models: tuple[str, ScriptedModel], cases: Sequence[Case], **more: Any) -> EvalPlan:
    return EvalPlan(name="numbers", cases=cases, models=models, **more)


def test_every_case_goes_through_each_model_and_the_cascade(bench: Bench) -> None:
    plan = plan_of(
        model("cheap", repeats(lambda n: n % 2 == 0)),
        model("dear", repeats(lambda n: True)),
        cases=numbers(6),
    )
    report = bench.run(plan, parallel=4)
    assert [(each.name, each.cases, each.passed) for each in report.settings] == [
        ("cheap", 6, 3),
        ("dear", 6, 6),
        ("cascade", 6, 3),
    ]
    assert report.missing == 0
    cheap, dear, _ = report.settings
    assert dear.cost_nusd == 10 * cheap.cost_nusd > 0
    spent = bench.ledger.account(scope_of("numbers", report.run)).settled.nusd
    assert spent == sum(each.cost_nusd for each in report.settings)


@pytest.mark.parametrize(("chance", "passed"), [(5.0, 0), (-5.0, 4)])
def test_the_cascade_judges_by_what_the_plan_says(bench: Bench, chance: float, passed: int) -> None:
    """The cheap model is always wrong: kept with a chance near 1, passed on with one near 0."""
    plan = plan_of(
        model("cheap", repeats(lambda n: False)),
        model("dear", repeats(lambda n: True)),
        cases=numbers(4),
        judged_for=0.9,
        judged_by=Cascade(calibration=Calibration(intercept=chance, weights={})),
    )
    report = bench.run(plan)
    assert {each.name: each.passed for each in report.settings} == {
        "cheap": 0, "dear": 4, "cascade": passed,
    }  # fmt: skip


def test_a_finished_run_is_followed_by_a_new_one(bench: Bench) -> None:
    plan = plan_of(model("cheap", repeats(lambda n: True)), cases=numbers(2))
    assert [bench.run(plan).run.number, bench.run(plan).run.number] == [1, 2]


def test_a_run_that_broke_off_asks_only_for_the_rest(bench: Bench) -> None:
    asked: Counter[str] = Counter()
    plan = plan_of(model("cheap", repeats(lambda n: True, asked)), cases=numbers(8))

    def stop(_: object) -> None:
        if asked.total() == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(plan, on_result=stop)
    stored: list[int] = []
    report = bench.run(plan, on_begin=lambda run, whole, ended: stored.append(ended))
    assert stored == [5]
    assert set(asked.values()) == {1}
    assert report.settings[0].passed == 8


def test_an_answer_whose_grade_was_lost_is_read_back(bench: Bench) -> None:
    """The process died between the end of the task and the row of its result."""
    asked: Counter[str] = Counter()
    dies = iter((True, False))

    def grader(_: object) -> bool:
        if next(dies):
            raise KeyboardInterrupt
        return True

    plan = plan_of(
        model("cheap", repeats(lambda n: True, asked)), cases=numbers(1),
        grader="mine:grader", parts=GraderParts(resolve=lambda _: grader),
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        bench.run(plan)
    report = bench.run(plan)
    assert asked == {"say 0": 1}
    assert report.settings[0].passed == 1
    assert report.settings[0].cost_nusd > 0


def test_money_for_the_whole_run_stops_it_and_more_goes_on(bench: Bench) -> None:
    asked: Counter[str] = Counter()
    plan = plan_of(
        model("cheap", repeats(lambda n: True, asked)),
        cases=numbers(40),
        limits=Limits(calls=10),
    )
    report = bench.run(plan)
    assert report.missing > 0
    assert report.settings[0].quality == 1.0  # what was cut short counts for nothing
    before = asked.total()
    assert before <= 10
    whole = bench.run(replace(plan, limits=Limits(calls=200)))
    assert (whole.run.number, whole.missing, whole.settings[0].passed) == (1, 0, 40)
    assert sum(count > 1 for count in asked.values()) <= 1  # the one that was cut short


def test_messages_before_the_request_are_sent(bench: Bench) -> None:
    seen: list[str] = []

    def script(messages: Sequence[BaseMessage]) -> AIMessage:
        seen.extend(message.text for message in messages)
        return AIMessage("4")

    case = Case(
        id="1", request="and now", expected="4", system="be brief",
        history=(HumanMessage("two and two"), AIMessage("five")),
    )  # fmt: skip
    report = bench.run(plan_of(model("cheap", script), cases=[case]))
    assert report.settings[0].passed == 1
    assert seen == ["be brief", "two and two", "five", "and now"]


def test_offered_tools_are_called_and_never_run(bench: Bench) -> None:
    case = Case(
        id="1", request="play Nina", tools=(TOOL,),
        expected={"name": "play", "arguments": {"artist": "Nina"}},
    )  # fmt: skip
    plays = model("cheap", lambda messages: call("play", artist="Nina"))
    report = bench.run(plan_of(plays, cases=[case]))
    (result,) = report.results
    assert (result.passed, result.model_calls, result.outcome) == (True, 1, "answered")
    assert [(made.name, made.arguments) for made in result.calls] == [("play", {"artist": "Nina"})]


def test_a_failing_provider_is_a_failure_of_its_own_kind(bench: Bench) -> None:
    broken = model("cheap", lambda messages: ValueError("no such model"))
    report = bench.run(plan_of(broken, cases=numbers(2)))
    assert report.settings[0].failures == {"error": 2}


def test_the_judge_is_paid_from_the_same_budget_and_once(bench: Bench) -> None:
    verdicts: list[str] = []

    def judge(messages: Sequence[BaseMessage]) -> AIMessage:
        verdicts.append(messages[-1].text)
        return AIMessage("fine.\nPASS" if '"answer": "1"' in messages[-1].text else "no.\nFAIL")

    says_one = model("cheap", lambda messages: AIMessage("1"))
    same = model("dear", lambda messages: AIMessage("1"))
    plan = plan_of(
        says_one, same, cases=numbers(2), grader="judge", cascade=False,
        judge=model("judge", judge), limits=Limits(nusd=10**9),
    )  # fmt: skip
    report = bench.run(plan)
    assert [each.passed for each in report.settings] == [2, 2]
    assert len(verdicts) == 2  # one a case: the same answer is not judged twice
    spent = bench.ledger.account(scope_of("numbers", report.run)).settled.nusd
    assert spent == report.judge_nusd + sum(each.cost_nusd for each in report.settings)
    assert report.judge_nusd > 0


def test_a_judge_without_a_verdict_is_no_verdict(bench: Bench) -> None:
    plan = plan_of(
        model("cheap", repeats(lambda n: True)), cases=numbers(1), grader="judge",
        judge=model("judge", lambda messages: AIMessage("who knows")),
    )  # fmt: skip
    (result,) = bench.run(plan).results
    assert (result.kind, result.passed) == ("grader failed", False)


def test_code_that_a_case_names_needs_trust(bench: Bench) -> None:
    case = Case(id="1", request="say 1", expected="1", grader="os:abort", line=3)
    plan = plan_of(
        model("cheap", repeats(lambda n: True)), cases=[case],
        parts=GraderParts(resolve=lambda reference: lambda sample: True),
    )  # fmt: skip
    with pytest.raises(CasesInvalid, match=r"line 3.*--trust-cases"):
        bench.run(plan)
    trusted = replace(plan, parts=replace(plan.parts, trusts_cases=True))
    assert bench.run(trusted).settings[0].passed == 1


def test_tools_that_cannot_be_offered_are_told_by_line(bench: Bench) -> None:
    bad = {**TOOL, "name": "no spaces, please"}
    case = Case(id="1", request="say 1", expected=[], tools=(bad,), line=5)
    with pytest.raises(CasesInvalid, match="line 5"):
        bench.run(plan_of(model("cheap", repeats(lambda n: True)), cases=[case]))
