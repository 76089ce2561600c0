"""`agentkit map`: many requests from a file, each result as a line."""

from __future__ import annotations

import json as jsonlib
import shlex
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from agentkit.budgets.money import format_usd
from agentkit.cli import options
from agentkit.cli.assembly import open_agent, open_ledger
from agentkit.cli.screen import error_console, note, one_line, say
from agentkit.cli.session import INTERRUPTED, STATUS, ended_by_signal, repeated_flags, tracing
from agentkit.cli.settings import DEFAULT_USD, Flags, Settings, read_settings
from agentkit.cli.trust import require_trust
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.budgets.budget import Budget
    from agentkit.fanout import Job, Mapped, MapProgress, OnMapProgress

_SHOWN_CHARS = 200


def map_file(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE.jsonl",
            help='Lines of "text" or {"request": "text", "tags": {…}}; - reads stdin.',
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Take up the run of this name. Default: a new one."),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, metavar="N", help="Tasks at a time.")] = 8,
    total_usd: Annotated[
        str | None,
        typer.Option(metavar="USD", help="Limit of all tasks together. Default: 1 where it costs."),
    ] = None,
    total_tokens: Annotated[int | None, typer.Option(metavar="N", help="As above.")] = None,
    total_calls: Annotated[int | None, typer.Option(metavar="N", help="As above.")] = None,
    model: options.Models = None,
    tools: options.Tools = None,
    grant: options.Grant = None,
    budget_usd: options.Usd = None,
    budget_tokens: options.Tokens = None,
    budget_calls: options.Calls = None,
    budget_seconds: options.Seconds = None,
    system: options.System = None,
    scope: Annotated[str | None, typer.Option(metavar="PATH", help="Like acme/support.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="For reports. Repeatable.")
    ] = None,
    ledger: options.LedgerAddress = None,
    checkpoint: options.Checkpoint = None,
    prices: options.Prices = None,
    trace: options.Trace = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line on stdout, as each task ends.")
    ] = False,
    quiet: options.Quiet = False,
) -> int:
    """Carry out many requests, several at a time, under a budget for each and one for all.

    Interrupted, it says how to go on: what has ended is not paid for again. Exit status: 0 all
    answered, 1 one failed, 3 a budget was used up, 2 wrong use, 130 interrupted.
    """
    flags = Flags(
        config=config,
        trust_config=trust_config,
        models=model or (),
        tools=tools or (),
        grant=grant or (),
        system=system,
        scope=scope,
        tags=tag or (),
        usd=budget_usd,
        tokens=budget_tokens,
        calls=budget_calls,
        seconds=budget_seconds,
        ledger=ledger,
        checkpoint=checkpoint,
        prices=prices,
        trace=trace,
    )
    settings = read_settings(flags)
    total = _total(settings, total_usd, total_tokens, total_calls)
    again = ["agentkit", "map", file, "--concurrency", str(concurrency)]
    again += _given(flags, {"usd": total_usd, "tokens": total_tokens, "calls": total_calls})
    run = _Run(settings, flags, name=name, as_json=json, quiet=quiet, again=again)
    return run.map(file, total, concurrency)


def _given(flags: Flags, total: Mapping[str, object]) -> list[str]:
    """The flags of limits, scope and tags as they were given: a run is taken up under the same."""
    each = {
        "usd": flags.usd,
        "tokens": flags.tokens,
        "calls": flags.calls,
        "seconds": flags.seconds,
    }
    values = {
        **{f"--total-{unit}": value for unit, value in total.items()},
        **{f"--budget-{unit}": value for unit, value in each.items()},
        "--scope": flags.scope,
    }
    found = [f"{name}={value}" for name, value in values.items() if value is not None]
    return found + [f"--tag={tag}" for tag in flags.tags]


class _Run:
    """One fan-out from the command line."""

    def __init__(
        self,
        settings: Settings,
        flags: Flags,
        *,
        name: str | None,
        as_json: bool,
        quiet: bool,
        again: list[str],
    ) -> None:
        from agentkit.budgets.task import new_id

        self._settings = settings
        self._flags = flags
        self._name = name or f"map-{new_id()}"
        self._as_json = as_json
        self._quiet = quiet
        self._again = again
        self._worst = 0

    def map(self, file: str, total: Budget | None, concurrency: int) -> int:
        settings = self._settings
        require_trust(settings, self._flags, ask=not self._as_json)
        with (
            open_ledger(settings) as ledger,
            open_agent(settings, ledger, settings.make_budget()) as agent,
            tracing(settings),
            ended_by_signal(),
            _bar(wanted=not (self._quiet or self._as_json), total=_count(file)) as on_progress,
        ):
            try:
                results = agent.map(
                    read_jobs(file),
                    concurrency=concurrency,
                    name=self._name if agent.saves else None,
                    scope=settings.scope,
                    tags=settings.tags,
                    budget=total,
                    on_progress=on_progress,
                )
                for each in results:
                    self._tell(each)
            except KeyboardInterrupt:
                return self._interrupted()
        return self._worst

    def _tell(self, each: Mapped) -> None:
        if self._as_json:
            say(jsonlib.dumps(each.to_dict(), default=str, ensure_ascii=False))
        elif each.result is not None and each.result.answer:
            say(f"{each.index}\t{one_line(each.result.answer, most_chars=_SHOWN_CHARS)}")
        else:
            why = each.error or (each.result and (each.result.reason or each.result.outcome))
            note(f"{each.index}\tno answer: {one_line(str(why), most_chars=_SHOWN_CHARS)}")
        self._worst = _worse(self._worst, _status(each))

    def _interrupted(self) -> int:
        note("interrupted; every call made is settled")
        if self._settings.checkpoint is None:
            note("it cannot be taken up, for checkpoints are off (--checkpoint)")
        else:
            command = [*self._again, "--name", self._name, *repeated_flags(self._flags)]
            note(f"go on with: {shlex.join(command)}")
        return INTERRUPTED


def read_jobs(file: str) -> Iterator[Job]:
    """The requests of a file, read as they are needed; raises ConfigError that names the line."""
    from agentkit.fanout import Job

    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        try:
            data: Any = jsonlib.loads(line)
        except ValueError as error:
            raise ConfigError(f"{file}, line {number}: no JSON: {error}") from error
        row = cast("dict[str, Any]", data if isinstance(data, dict) else {"request": data})
        request: object = row.get("request")
        tags: object = row.get("tags") or {}
        if not isinstance(request, str) or not isinstance(tags, dict):
            raise ConfigError(
                f'{file}, line {number}: write "text" or {{"request": "text", "tags": {{…}}}}'
            )
        named = cast("dict[str, object]", tags)
        yield Job(request=request, tags={str(key): str(value) for key, value in named.items()})


def _lines(file: str) -> Iterator[str]:
    if file == "-":
        yield from sys.stdin
        return
    try:
        with Path(file).open(encoding="utf-8") as lines:
            yield from lines
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error


def _count(file: str) -> int | None:
    return None if file == "-" else sum(bool(line.strip()) for line in _lines(file))


def _total(
    settings: Settings, usd: str | None, tokens: int | None, calls: int | None
) -> Budget | None:
    """What all tasks may spend together: a dollar where they may cost and nothing was said."""
    from agentkit.budgets.budget import Budget

    if (usd, tokens, calls) == (None, None, None):
        return Budget(usd=DEFAULT_USD) if settings.spends_money else None
    return Budget(usd=usd, tokens=tokens, calls=calls)


def _status(each: Mapped) -> int:
    from agentkit.budgets.errors import BudgetExceeded

    if each.result is not None:
        return STATUS[each.result.outcome]
    return 3 if isinstance(each.error, BudgetExceeded) else 1


def _worse(one: int, other: int) -> int:
    """A failure is worse than a budget that was used up."""
    return 1 if 1 in (one, other) else max(one, other)


@contextmanager
def _bar(*, wanted: bool, total: int | None) -> Generator[OnMapProgress | None]:
    """A bar on stderr, where that is a terminal and it is wanted."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[told]}"),
    )
    with Progress(*columns, console=error_console()) as bar:
        row = bar.add_task("", total=total, told="")

        def heard(told: MapProgress) -> None:
            parts = [format_usd(told.cost_nusd), f"{told.running} running"]
            parts += [f"{told.failed} failed"] if told.failed else []
            parts += [f"{told.known} known before"] if told.known else []
            bar.update(row, completed=told.done, told=" · ".join(parts))

        yield heard
