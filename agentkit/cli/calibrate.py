"""`agentkit calibrate`: from graded answers to the chance that an answer is right."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agentkit.cli import journal, options
from agentkit.cli.screen import cell, console, emit, note, say
from agentkit.cli.settings import STATE_FOLDER, Flags, read_settings
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.evals.fit import Fit, Scores
    from agentkit.evals.fit_rows import FitRow

_QUALITIES = (0.9, 0.95, 0.98)
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


def calibrate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Like local:pocket.")],
    run: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="An evaluation's name, or its .db file."),
    ] = None,
    from_ledger: Annotated[
        bool, typer.Option("--from-ledger", help="From recorded tasks that a check has judged.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Default: MODEL.json here.")
    ] = None,
    method: Annotated[
        Literal["sum", "isotonic", "signals"] | None,
        typer.Option(help="Default: whichever is best in cross-validation."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over what is there.")] = False,
    since: journal.Since = None,
    until: journal.Until = None,
    scope: journal.ScopeOption = None,
    tag: journal.Tags = None,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Fit how likely MODEL's answers are right, from `agentkit eval --name NAME` or the ledger.

    Writes the JSON that `Agent(cascade=...)` takes. The figures shown are of rows held out.
    """
    from agentkit.evals.fit import fit

    if (run is None) != from_ledger:
        raise typer.BadParameter("name one source: --run NAME, or --from-ledger")
    path = out or Path(f"{_NOT_IN_NAME.sub('-', model)}.json")
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already; name another with --out, or say --force")
    if run is not None:
        rows, source = _rows_of_run(run, model, config)
    else:
        where = journal.where_of(since=since, until=until, scope=scope, tags=tag)
        rows, source = _rows_of_ledger(model, where, ledger, config, trust_config, not json)
    found = fit(rows, model=model, method=method, made_of=source)
    try:
        found.calibration.write(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror or error})") from error
    if json:
        emit({"file": str(path), "model": model, "source": source, **_facts(found)})
    else:
        _show(found)
        note(f"{path}: {len(rows)} rows, {source}")
    return 0


def _rows_of_run(run: str, model: str, config: Path | None) -> tuple[list[FitRow], str]:
    from agentkit.evals.fit_rows import rows_of_run
    from agentkit.evals.results import ResultStore

    settings = read_settings(Flags(config=config))
    path = Path(run)
    if path.suffix != ".db":
        path = settings.project.folder / STATE_FOLDER / "evals" / f"{run}.db"
    if not path.is_file():
        raise ConfigError(f"there is no evaluation at {path}; run `agentkit eval` first")
    store = ResultStore(path)
    try:
        runs = store.runs()
        for each in runs:
            if rows := rows_of_run(store.results(each), model):
                return rows, f"run {each.number} of {path.stem}"
        tried = sorted({name for each in runs for name in each.facts.get("settings", ())})
    finally:
        store.close()
    raise ConfigError(
        f"no run in {path} has answers of {model!r} alone; tried there: {', '.join(tried) or '-'}"
    )


def _rows_of_ledger(
    model: str,
    where: Any,
    ledger: str | None,
    config: Path | None,
    trust_config: bool,
    ask: bool,
) -> tuple[list[FitRow], str]:
    from agentkit.evals.fit_rows import rows_of_tasks

    with journal.opened(ledger, config, trust_config, ask=ask) as (_, book):
        rows = rows_of_tasks(book.store, model, where)
    if not rows:
        raise ConfigError(
            f"no recorded task has an answer of {model!r} that was kept and then judged by a "
            "check: give the agent check=... and quality=..., and run it for a while"
        )
    return rows, "recorded tasks, kept answers only"


def _facts(found: Fit) -> dict[str, object]:
    calibration = found.calibration
    return {
        "method": found.method,
        "why": found.why,
        "held_out": asdict(found.held_out),
        "base": asdict(found.base),
        "cross_validated": {name: asdict(each) for name, each in found.cross_validated.items()},
        "thresholds": {str(quality): calibration.threshold(quality) for quality in _QUALITIES},
        "calibration": calibration.as_json(),
    }


def _show(found: Fit) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(("", "rows", "right", "Brier", "ECE", "log loss", "AUROC")):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for name, scores in (
        (f"held out: {found.method}", found.held_out),
        ("held out: the mean for all", found.base),
        *((f"cross-validated: {each}", told) for each, told in found.cross_validated.items()),
    ):
        table.add_row(*map(cell, (name, *_row(scores))))
    console().print(table)
    say(f"{found.method}: {found.why}")
    for quality in _QUALITIES:
        at = found.calibration.threshold(quality)
        kept = [each for each in found.calibration.kept if each.threshold <= at]
        share = f"{kept[-1].share:.0%} of the answers" if kept else "all answers"
        say(f"for {quality:.0%} right in the end: keep {share}, those of {at:.2f} and more")


def _row(scores: Scores) -> tuple[str, ...]:
    return (
        f"{scores.rows:,}",
        f"{scores.right:.1%}",
        f"{scores.brier:.4f}",
        f"{scores.ece:.4f}",
        f"{scores.log_loss:.4f}",
        "-" if scores.auroc is None else f"{scores.auroc:.3f}",
    )
