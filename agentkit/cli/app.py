"""The command line: commands, errors as a line or two, and exit statuses."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from agentkit.cli import (
    advise,
    alerts,
    batch,
    budget,
    cache,
    calibrate,
    demo,
    doctor,
    evals,
    export,
    mapping,
    models,
    prices,
    report,
    route,
    run,
    status,
    tasks,
    tools,
    view,
    why,
)
from agentkit.cli.faults import fault_of
from agentkit.cli.screen import emit, note, say

_USAGE, _INTERRUPTED = 2, 130

app = typer.Typer(
    name="agentkit",
    help="Runs LLM agents that cannot overspend, on the cheapest model that can do each step.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run.run)
app.command()(run.resume)
app.command("map")(mapping.map_file)
app.command()(demo.demo)
app.command("tasks")(tasks.tasks)
app.command()(tasks.show)
app.command()(view.view)
app.command()(why.why)
app.command()(why.diff)
app.command()(report.report)
app.command("unit-costs")(report.unit_costs)
app.command()(report.top)
app.command()(report.savings)
app.command()(advise.advise)
app.command("eval")(evals.eval_)
app.command()(calibrate.calibrate)
app.command()(status.statusline)
app.command()(alerts.metrics)
app.add_typer(alerts.app, name="alerts")
app.add_typer(batch.app, name="batch")
app.add_typer(budget.app, name="budget")
app.add_typer(cache.app, name="cache")
app.add_typer(export.app, name="export")
app.add_typer(models.app, name="models")
app.add_typer(prices.app, name="prices")
app.add_typer(route.app, name="route")
app.add_typer(tools.app, name="tools")
app.command()(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"agentkit {version('agentkit')}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    del version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    0 answered or done, 1 failed, 2 wrong use or settings, 3 the budget was used up, 130
    interrupted, 4 an alert fires.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        status = typer.main.get_command(app).main(
            args=given, prog_name="agentkit", standalone_mode=False
        )
        return int(status or 0)
    except KeyboardInterrupt:
        note("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001  whatever it is, a person gets a line, no traceback
        if os.environ.get("AGENTKIT_DEBUG") == "1":
            traceback.print_exc()
        fault = fault_of(error)
        if as_json:
            emit({"error": {"type": fault.kind, "message": fault.message}})
        else:
            note(f"agentkit: {fault.message}")
        return fault.status
