"""`agentkit eval`: cases through every model and the cascade, to a table, JSON or a page."""

from __future__ import annotations

import json as jsonlib
import shlex
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentkit.budgets.budget import Budget
from agentkit.cli import options
from agentkit.cli.screen import emit, error_console, note, one_line
from agentkit.cli.settings import STATE_FOLDER, Flags, Settings, read_settings
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.evals.case_result import CaseResult
    from agentkit.evals.comparison import Comparison
    from agentkit.evals.evaluation import EvalPlan, OnBegin
    from agentkit.evals.report import Report
    from agentkit.evals.results import ResultStore, RunRecord
    from agentkit.evals.runner import OnResult

_OUT_OF_MONEY, _FAILED = 3, 1
_LARGEST_REPORT_BYTES = 200_000_000


def eval_(
    cases: Annotated[Path, typer.Argument(metavar="CASES.jsonl", help="One case a line.")],
    model: options.Models = None,
    tools: options.Tools = None,
    grant: options.Grant = None,
    system: options.System = None,
    grader: Annotated[
        str | None,
        typer.Option(
            metavar="GRADER",
            help="For cases without one: exact, json, json:subset, regex, numeric:0.01, "
            "similar:0.8, call, judge, or module:function.",
        ),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model behind the grader 'judge'.")
    ] = None,
    criteria: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the judge goes by.")
    ] = None,
    embedding: Annotated[
        str | None, typer.Option(metavar="local:FILE.gguf", help="For 'similar'. Default: shipped.")
    ] = None,
    trust_cases: Annotated[
        bool, typer.Option("--trust-cases", help="Let cases name module:function as grader.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the runs. Default: the file's.")
    ] = None,
    first: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N cases.")
    ] = None,
    cascade: Annotated[
        bool, typer.Option("--cascade/--no-cascade", help="Try the models together, too.")
    ] = True,
    parallel: Annotated[
        int, typer.Option("--parallel", "-j", metavar="N", min=1, max=64, help="Cases at once.")
    ] = 4,
    budget_usd: Annotated[
        str | None,
        typer.Option(
            "--budget-usd", metavar="USD", help="For the whole run. Default: 1 where it may cost."
        ),
    ] = None,
    case_usd: Annotated[
        str | None, typer.Option(metavar="USD", help="For each case, over the project file's.")
    ] = None,
    case_calls: Annotated[
        int | None, typer.Option(metavar="N", help="Model calls for each case.")
    ] = None,
    case_seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds for each case.")
    ] = None,
    quality: Annotated[
        float, typer.Option(metavar="SHARE", help="What the cheapest setting must reach.")
    ] = 0.95,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of `agentkit calibrate`: judges the cascade's answers."),
    ] = None,
    fail_under: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Exit with 1 where --setting passes fewer."),
    ] = None,
    setting: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="For --fail-under: a model, or cascade (default)."),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(metavar="last|N|FILE", help="Beside an earlier run, or a report's JSON."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as one page, too.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew where a run was cut off.")
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Default: .agentkit/evals/NAME.db."),
    ] = None,
    ledger: options.LedgerAddress = None,
    prices: options.Prices = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Try cases on each model alone and on all of them as a cascade.

    A run that was cut off goes on where it was, and pays for no answer twice. Exit status: 0, 1
    under --fail-under, 2 wrong use, 3 the budget was used up, 130 interrupted.
    """
    flags = Flags(
        config=config,
        trust_config=trust_config,
        models=model or (),
        tools=tools or (),
        grant=grant or (),
        system=system,
        usd=budget_usd,
        ledger=ledger,
        prices=prices,
    )
    settings = read_settings(flags)
    own = {"usd": case_usd, "calls": case_calls, "seconds": case_seconds}
    limits: dict[str, Any] = {
        **settings.file_limits,
        **{key: value for key, value in own.items() if value is not None},
    }
    asked = _Asked(
        settings=settings,
        flags=flags,
        as_json=json,
        budget=Budget(**limits),
    )
    plan = asked.plan(
        cases, name=name, first=first, grader=grader, judge=judge, criteria=criteria,
        embedding=embedding, trust_cases=trust_cases, cascade=cascade, quality=quality,
        calibration=calibration,
    )  # fmt: skip
    _require_setting(plan, setting, fail_under)
    report = asked.run(plan, results, parallel=parallel, anew=fresh, compare=compare)
    if html is not None:
        _write_page(report, html, as_json=json)
    _show(report, as_json=json)
    return _status(report, fail_under, setting)


class _Asked:
    """A command line, with what its steps share."""

    def __init__(self, *, settings: Settings, flags: Flags, as_json: bool, budget: Budget) -> None:
        self._settings = settings
        self._flags = flags
        self._as_json = as_json
        self._budget = budget

    def plan(
        self,
        cases: Path,
        *,
        name: str | None,
        first: int | None,
        grader: str | None,
        judge: str | None,
        criteria: str | None,
        embedding: str | None,
        trust_cases: bool,
        cascade: bool,
        quality: float,
        calibration: Path | None,
    ) -> EvalPlan:
        from agentkit.cascade.settings import read_cascade
        from agentkit.cli.assembly import cascade_of, model_of
        from agentkit.cli.tool_reference import load_tools, resolved
        from agentkit.cli.trust import require_trust
        from agentkit.evals.case import read_cases
        from agentkit.evals.evaluation import EvalPlan
        from agentkit.evals.grader import GraderParts
        from agentkit.evals.judge import DEFAULT_CRITERIA
        from agentkit.tools.permissions import Permissions

        settings = self._settings
        if not settings.models:
            raise ConfigError("no model is named; add --model local:pocket --model openai:…")
        read = read_cases(cases)
        require_trust(settings, self._flags, ask=not self._as_json)
        return EvalPlan(
            name=name or cases.stem,
            cases=read if first is None else read[:first],
            models=[(each, model_of(settings, each)) for each in settings.models],
            cascade=cascade,
            tools=load_tools(settings.tools, settings.tool_folder) if settings.tools else None,
            permissions=Permissions(grant=settings.grant),
            system=settings.system,
            grader=grader,
            parts=GraderParts(
                embedding=None if embedding is None else _embedding(embedding),
                resolve=lambda reference: resolved(reference, Path.cwd()),
                trusts_cases=trust_cases,
            ),
            judge=None if judge is None else (judge, model_of(settings, judge)),
            criteria=criteria or DEFAULT_CRITERIA,
            limits=_run_limits(settings, judge),
            case_budget=self._budget,
            max_steps=min(settings.max_steps, 50),
            quality=quality,
            judged_for=settings.project.cascade.quality if calibration is None else quality,
            judged_by=cascade_of(settings) if calibration is None else read_cascade(calibration),
        )

    def run(
        self,
        plan: EvalPlan,
        results: Path | None,
        *,
        parallel: int,
        anew: bool,
        compare: str | None,
    ) -> Report:
        from agentkit.checkpoint import ThreadedSqliteSaver, open_checkpointer
        from agentkit.cli.assembly import make_state_folder, open_ledger
        from agentkit.cli.session import ended_by_signal
        from agentkit.evals.evaluation import evaluate
        from agentkit.evals.results import ResultStore

        if results is None:
            state = self._settings.project.folder / STATE_FOLDER
            make_state_folder(state)
            results = state / "evals" / f"{plan.name}.db"
        store = ResultStore(results)
        kept = results.with_suffix(".checkpoints.db").absolute()
        kept.touch(mode=0o600)  # it holds what models said
        saver = open_checkpointer(f"sqlite:///{kept}")
        try:
            with (
                open_ledger(self._settings) as ledger,
                ended_by_signal(),
                _progress(wanted=not self._as_json) as (on_begin, on_result),
            ):
                return evaluate(
                    plan,
                    ledger=ledger,
                    results=store,
                    checkpointer=saver,
                    parallel=parallel,
                    anew=anew,
                    on_begin=on_begin,
                    on_result=on_result,
                    compare=None if compare is None else _comparer(store, compare),
                )
        except KeyboardInterrupt:
            if not self._as_json:
                again = " ".join(shlex.quote(each) for each in sys.argv[1:] if each != "--fresh")
                note(f"interrupted; what has ended is stored. Go on with: agentkit {again}")
            raise
        finally:
            store.close()
            if isinstance(saver, ThreadedSqliteSaver):
                saver.conn.close()


def _run_limits(settings: Settings, judge: str | None) -> Any:
    """The limits of the whole run: what flags say, or the default where it may cost money."""
    models = (*settings.models, *([judge] if judge else []))
    return replace(settings, file_limits={}, models=models).make_budget().limits


def _embedding(name: str) -> Any:
    from agentkit.models.local.embedding import GgufEmbedding

    return GgufEmbedding(name)


@contextmanager
def _progress(*, wanted: bool) -> Generator[tuple[OnBegin | None, OnResult | None]]:
    """A bar on a terminal, a line elsewhere, nothing where it is not wanted."""
    if not wanted:
        yield None, None
        return
    if not sys.stderr.isatty():
        yield _told_begin, None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from agentkit.budgets.money import format_usd

    shown = TextColumn("{task.fields[passed]} passed · {task.fields[spent]}", markup=False)
    columns = (BarColumn(), MofNCompleteColumn(), shown, TimeRemainingColumn())
    sums = {"passed": 0, "spent": 0}
    with Progress(*columns, console=error_console()) as bar:
        task = bar.add_task("cases", total=None, passed=0, spent="$0")

        def begin(_run: RunRecord, whole: int, stored: int) -> None:
            bar.update(task, total=whole, completed=stored)

        def result(each: CaseResult) -> None:
            sums["passed"] += each.passed
            sums["spent"] += each.cost_nusd + each.judge_nusd
            spent = format_usd(sums["spent"])
            bar.update(task, advance=not each.stopped, passed=sums["passed"], spent=spent)

        yield begin, result


def _told_begin(run: RunRecord, whole: int, stored: int) -> None:
    went_on = f", {stored} of them stored before" if stored else ""
    note(f"run {run.number}: {whole} trials{went_on}")


def _comparer(store: ResultStore, wanted: str) -> Callable[[RunRecord], Comparison | None]:
    """Finds the earlier run; raises ConfigError where it is none."""
    from agentkit.evals.comparison import CaseMark, compare, marks_of

    def marks(run: RunRecord) -> list[CaseMark]:
        return [
            CaseMark(setting=r.setting, case_id=r.case_id, passed=r.passed, cost_nusd=r.cost_nusd)
            for r in store.results(run)
            if not r.stopped
        ]

    def found(run: RunRecord) -> Comparison | None:
        if wanted == "last" or wanted.isdigit():
            earlier = [each for each in store.runs() if each.number < run.number]
            ended = [
                each
                for each in earlier
                if (each.ended_at if wanted == "last" else str(each.number) == wanted)
            ]
            if not ended:
                note(f"there is no run to compare with ({one_line(wanted)})")
                return None
            return compare(marks(ended[0]), marks(run), with_run=f"run {ended[0].number}")
        rows = _rows_of(Path(wanted))
        try:
            before = marks_of(rows)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{wanted} is no report of `agentkit eval --json`") from error
        return compare(before, marks(run), with_run=wanted)

    return found


def _rows_of(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST_REPORT_BYTES:
            raise ConfigError(f"{path} is over 200 MB; is it the right file?")
        return jsonlib.loads(path.read_text("utf-8"))["results"]
    except OSError as error:
        raise ConfigError(
            f"--compare {path}: {error.strerror}; write last, a run's number, or a report's file"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path} is no report of `agentkit eval --json`") from error


def _require_setting(plan: EvalPlan, setting: str | None, fail_under: float | None) -> None:
    names = [each.name for each in plan.settings]
    if setting is not None and setting not in names:
        raise ConfigError(f"--setting {setting[:60]!r}: this run tries {', '.join(names)}")
    if fail_under is not None and not 0 < fail_under <= 1:
        raise ConfigError(f"--fail-under {fail_under:g}: use a share above 0, up to 1")


def _write_page(report: Report, path: Path, *, as_json: bool) -> None:
    from agentkit.evals.page import write_page

    try:
        size = write_page(report, path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror or error})") from error
    if not as_json:
        note(f"{path}: {size / 1000:.0f} kB; open it in a browser")


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        emit(report.to_dict())
        return
    from agentkit.cli.eval_table import show_report

    show_report(report)


def _status(report: Report, fail_under: float | None, setting: str | None) -> int:
    if report.missing:
        note(
            f"{report.missing} trials are left, for the run's budget was used up; the same command "
            "with more --budget-usd goes on"
        )
        return _OUT_OF_MONEY
    if fail_under is None:
        return 0
    figures = report.setting(setting or report.settings[-1].name)
    if figures is None or figures.quality >= fail_under:
        return 0
    note(
        f"{figures.name} passes {figures.quality:.1%} of {figures.cases} cases, under "
        f"{fail_under:.1%}"
    )
    return _FAILED
