"""How long the reports take over 300,000 recorded calls, and what recording adds to a call.

    python benchmarks/reports.py --json

`page_ms` and `filter_ms` are those of `agentkit view` in a real Chromium: `page` below measures
them where the browser is installed, and they are null where it is not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from agentkit.budgets import Amount, CallRecord, PriceBook, Usage
from agentkit.budgets.journal_query import JournalFilter
from agentkit.budgets.stores.sqlite import SqliteStore
from agentkit.reports.advice import advise
from agentkit.reports.alert_check import check_alerts
from agentkit.reports.cause import why
from agentkit.reports.focus import focus_csv, focus_rows
from agentkit.reports.prometheus import samples
from agentkit.reports.rollup import report
from agentkit.reports.saving import savings
from agentkit.reports.unit_cost import unit_costs

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks._traffic import DAY, START, WASTEFUL, traffic, write

_RUNS = 3
_RECORDED = 400
_DAYS = 30


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.keep or Path(folder) / "ledger.db"
        if not path.exists():
            write(path, traffic(WASTEFUL, calls=arguments.calls, days=_DAYS))
        found = _measured(path, Path(folder))
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            print(f"{name:20} {value}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300_000)
    parser.add_argument("--keep", type=Path, help="make the ledger here, or use the one here")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _measured(path: Path, folder: Path) -> dict[str, object]:
    store = SqliteStore(path)
    prices = PriceBook()
    prices.price("gpt-5-mini", "openai")
    reports = {name: _best(run) for name, run in _reports(store, prices).items()}
    alerts = _best(lambda: check_alerts(store, now=START + _DAYS * DAY, day_usd=100.0))
    advice = _best(lambda: advise(store, prices), runs=1)
    calls = store.sum_calls()[0].sums.calls
    store.close()
    page_ms, filter_ms = _page(path)
    return {
        "calls": calls,
        "reports_s_max": round(max(reports.values()), 3),
        "alerts_s": round(alerts, 3),
        "statusline_ms": round(_statusline(path)),
        "page_ms": page_ms,
        "filter_ms": filter_ms,
        "record_ms_p50": round(_recording(folder), 3),
        "advise_s": round(advice, 3),
        "reports_s": {name: round(seconds, 3) for name, seconds in reports.items()},
    }


def _reports(store: SqliteStore, prices: PriceBook) -> dict[str, Callable[[], object]]:
    task = store.tasks(limit=1)[0]
    day = JournalFilter(since=START + 20 * DAY, until=START + 27 * DAY)
    return {
        "report by model": lambda: report(store, ("model",)),
        "report by feature": lambda: report(store, ("feature",)),
        "report by user": lambda: report(store, ("user",)),
        "report by day": lambda: report(store, ("day",)),
        "report by feature, model, day": lambda: report(store, ("feature", "model", "day")),
        "report by feature, a week": lambda: report(store, ("feature",), day),
        "report by outcome": lambda: report(store, ("outcome",)),
        "report as FOCUS": lambda: focus_csv(focus_rows(store, prices)),
        "unit-costs": lambda: unit_costs(store),
        "top": lambda: store.sum_calls(("task",), measures="basic", dearest=10),
        "savings": lambda: savings(store),
        "tasks": lambda: store.tasks(limit=50, where=JournalFilter(tags={"feature": "research"})),
        "why": lambda: why(task, store.calls(task.task_id), prices),
        "metrics": lambda: samples(store),
    }


def _best(run: Callable[[], object], *, runs: int = _RUNS) -> float:
    """Seconds of the fastest of some runs: others on the machine only ever add."""
    times: list[float] = []
    for _ in range(runs):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def _statusline(path: Path) -> float:
    """Milliseconds of the whole process, from start to end."""
    command = [str(Path(sys.executable).with_name("agentkit")), "statusline", "--ledger"]
    address = f"sqlite:///{path.resolve()}"
    run = [*command, address]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return 1000 * _best(
        lambda: subprocess.run(run, check=True, capture_output=True, env=environment), runs=10
    )


def _recording(folder: Path) -> float:
    """What a call's record adds to its settlement at the median, in milliseconds."""
    stores = [SqliteStore(folder / f"record-{name}.db") for name in ("without", "with")]
    times: tuple[list[float], list[float]] = ([], [])
    for store in stores:
        store.ensure_scopes(["acme"])
    for number in range(_RECORDED):  # in turns, so that other work on the machine meets both
        call = _call(number)
        for store, kept, taken in zip(stores, (None, call), times, strict=True):
            store.reserve(call.call_id, Amount(nusd=9), ["acme"], lease_seconds=60)
            began = time.perf_counter()
            store.settle(call.call_id, Amount(nusd=7), call=kept)
            taken.append(time.perf_counter() - began)
    for store in stores:
        store.close()
    return 1000 * (statistics.median(times[1]) - statistics.median(times[0]))


def _call(number: int) -> CallRecord:
    return CallRecord(
        call_id=f"t{number // 20}.{number}", task_id=f"t{number // 20}", scope="acme/web/u1",
        step=number % 20, index=number, model="claude-sonnet-4-5", provider="anthropic",
        started_at=START + number, latency_seconds=1.5, cost_nusd=7, cost_source="table",
        usage=Usage(input_tokens=5000, cache_read_tokens=4000, output_tokens=200),
        estimated_input_tokens=4900, tools_offered=tuple(f"tool_{n}" for n in range(20)),
        tools_called=("tool_1",), prefix="0123456789ab",
        components={"system": 900, "tools": 2000, "history": 900, "observations": 1000, "user": 99},
        saved_nusd={"prompt_cache": 3}, tags={"feature": "support", "user": "u1", "team": "web"},
    )  # fmt: skip


def _page(path: Path) -> tuple[float | None, float | None]:
    """First paint and filter of `agentkit view`, in milliseconds; None without a browser."""
    try:
        from benchmarks._page import measure
    except ImportError:
        return None, None
    measured: tuple[float | None, float | None] = measure(path)
    return measured


if __name__ == "__main__":
    main()
