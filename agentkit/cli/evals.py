"""`agentkit eval`: cases through every model and the cascade, to a table, JSON or a page."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agentkit.cli import eval_options, options
from agentkit.cli.eval_compare import comparer
from agentkit.cli.eval_plan import PlanFlags, plan_of
from agentkit.cli.eval_progress import progress
from agentkit.cli.screen import emit, note
from agentkit.cli.settings import STATE_FOLDER, Flags, Settings, read_settings
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.checkpoint import Checkpointer
    from agentkit.evals.evaluation import EvalPlan
    from agentkit.evals.report import Report
    from agentkit.evals.results import ResultStore

_OUT_OF_MONEY, _FAILED = 3, 1


def eval_(
    cases: eval_options.Cases,
    model: options.Models = None,
    tools: options.Tools = None,
    grant: options.Grant = None,
    system: options.System = None,
    grader: eval_options.Grader = None,
    judge: eval_options.Judge = None,
    criteria: eval_options.Criteria = None,
    embedding: eval_options.Embedding = None,
    trust_cases: eval_options.TrustCases = False,
    name: eval_options.Name = None,
    first: eval_options.First = None,
    cascade: eval_options.CascadeToo = True,
    parallel: eval_options.Parallel = 4,
    budget_usd: eval_options.RunUsd = None,
    case_usd: eval_options.CaseUsd = None,
    case_calls: eval_options.CaseCalls = None,
    case_seconds: eval_options.CaseSeconds = None,
    quality: eval_options.Quality = 0.95,
    calibration: eval_options.CalibrationFile = None,
    fail_under: eval_options.FailUnder = None,
    setting: eval_options.SettingName = None,
    compare: eval_options.Compare = None,
    html: eval_options.Page = None,
    fresh: eval_options.Fresh = False,
    results: eval_options.ResultsFile = None,
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
        config=config, trust_config=trust_config, models=model or (), tools=tools or (),
        grant=grant or (), system=system, usd=budget_usd, ledger=ledger, prices=prices,
    )  # fmt: skip
    asked = PlanFlags(
        cases=cases, name=name, first=first, grader=grader, judge=judge, criteria=criteria,
        embedding=embedding, trust_cases=trust_cases, cascade=cascade, quality=quality,
        calibration=calibration,
        case_limits={"usd": case_usd, "calls": case_calls, "seconds": case_seconds},
    )  # fmt: skip
    settings = read_settings(flags)
    if html is not None:
        _require_page(html)
    plan = plan_of(asked, settings, flags, may_ask=not json)
    _require_setting(plan, setting, fail_under)
    with _store(plan, settings, results) as store:
        report = _run(
            plan, settings, store, parallel=parallel, anew=fresh, compare=compare, as_json=json
        )
    _show(report, as_json=json)
    if html is not None:
        _write_page(report, html, as_json=json)
    return _status(report, fail_under, setting)


@contextmanager
def _store(plan: EvalPlan, settings: Settings, file: Path | None) -> Generator[ResultStore]:
    """Where results are kept: a file of the plan's name, unless one is given."""
    from agentkit.cli.assembly import make_state_folder
    from agentkit.evals.results import ResultStore

    if file is None:
        state = settings.project.folder / STATE_FOLDER
        make_state_folder(state)
        file = state / "evals" / f"{plan.name}.db"
    store = ResultStore(file)
    try:
        yield store
    finally:
        store.close()


def _run(
    plan: EvalPlan,
    settings: Settings,
    store: ResultStore,
    *,
    parallel: int,
    anew: bool,
    compare: str | None,
    as_json: bool,
) -> Report:
    """The report; progress and how to go on after Ctrl-C are told but where `as_json`."""
    from agentkit.cli.assembly import open_ledger
    from agentkit.cli.session import ended_by_signal
    from agentkit.evals.evaluation import evaluate

    beside = None if compare is None else comparer(store, compare)
    try:
        with (
            _checkpoints(store.path) as checkpointer,
            open_ledger(settings) as ledger,
            ended_by_signal(),
            progress(wanted=not as_json) as (on_begin, on_result),
        ):
            return evaluate(
                plan, ledger=ledger, results=store, checkpointer=checkpointer, parallel=parallel,
                anew=anew, on_begin=on_begin, on_result=on_result, compare=beside,
            )  # fmt: skip
    except KeyboardInterrupt:
        if not as_json:
            again = " ".join(shlex.quote(each) for each in sys.argv[1:] if each != "--fresh")
            note(f"interrupted; what has ended is stored. Go on with: agentkit {again}")
        raise


@contextmanager
def _checkpoints(results: Path) -> Generator[Checkpointer]:
    """Half-done tasks, beside the results."""
    from agentkit.checkpoint import ThreadedSqliteSaver, open_checkpointer

    kept = results.with_suffix(".checkpoints.db").absolute()
    kept.touch(mode=0o600)  # it holds what models said
    saver = open_checkpointer(f"sqlite:///{kept}")
    try:
        yield saver
    finally:
        if isinstance(saver, ThreadedSqliteSaver):
            saver.conn.close()


def _require_page(path: Path) -> None:
    """So that no run is paid for whose page has nowhere to go."""
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(f"--html {path} cannot be written; name a file in a folder that is there")


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
