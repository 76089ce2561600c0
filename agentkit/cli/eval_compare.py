"""`agentkit eval --compare`: the earlier run that a run stands beside."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentkit.cli.screen import note, one_line
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.evals.comparison import CaseMark, Comparison
    from agentkit.evals.results import ResultStore, RunRecord

_LARGEST_REPORT_BYTES = 200_000_000

Comparer = Callable[["RunRecord"], "Comparison | None"]


def comparer(store: ResultStore, wanted: str) -> Comparer:
    """Sets a run beside the `last` one that ended, the one of a number, or a report's file.

    Raises ConfigError at once for a number or a file that is none, before anything is paid.
    """
    if wanted == "last":
        return lambda run: _beside_last(store, run)
    if not wanted.isdigit():
        before = _marks_in(Path(wanted))
        return lambda run: _compared(before, store, run, wanted)
    found = next((each for each in store.runs() if str(each.number) == wanted), None)
    if found is None:
        numbers = ", ".join(str(each.number) for each in store.runs()[:10]) or "none"
        raise ConfigError(f"--compare {one_line(wanted)}: there is no such run here, but {numbers}")
    return lambda run: _compared(_marks(store, found), store, run, f"run {found.number}")


def _beside_last(store: ResultStore, run: RunRecord) -> Comparison | None:
    ended = [each for each in store.runs() if each.number < run.number and each.ended_at]
    if not ended:
        note("there is no run to compare with (last)")
        return None
    return _compared(_marks(store, ended[0]), store, run, f"run {ended[0].number}")


def _compared(
    before: Sequence[CaseMark], store: ResultStore, run: RunRecord, name: str
) -> Comparison:
    from agentkit.evals.comparison import compare

    return compare(before, _marks(store, run), with_run=name)


def _marks(store: ResultStore, run: RunRecord) -> list[CaseMark]:
    from agentkit.evals.comparison import CaseMark

    return [
        CaseMark(setting=r.setting, case_id=r.case_id, passed=r.passed, cost_nusd=r.cost_nusd)
        for r in store.results(run)
        if not r.stopped
    ]


def _marks_in(path: Path) -> Sequence[CaseMark]:
    """What a report of `agentkit eval --json` says of each case."""
    from agentkit.evals.comparison import marks_of

    try:
        if path.stat().st_size > _LARGEST_REPORT_BYTES:
            raise ConfigError(f"{path} is over 200 MB; is it the right file?")
        return marks_of(json.loads(path.read_text("utf-8"))["results"])
    except OSError as error:
        raise ConfigError(
            f"--compare {path}: {error.strerror}; write last, a run's number, or a report's file"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path} is no report of `agentkit eval --json`") from error
