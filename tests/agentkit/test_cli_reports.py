"""The commands over the journal: their figures are the ledger's, in every format."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agentkit.budgets import Ledger, Limits, read_price_file
from agentkit.budgets.stores.sqlite import SqliteStore
from agentkit.cli import main
from agentkit.reports.focus import COLUMNS, OWN_COLUMNS
from agentkit.reports.unit_cost import fieller_range
from benchmarks._traffic import WASTEFUL, traffic, write

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    write(folder / "l.db", traffic(WASTEFUL, calls=1_200, days=10, users=12))
    return folder


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on the ledger: its exit status and what it printed."""
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> tuple[int, str]:
        status = main([*arguments, "--ledger", "sqlite:///l.db"])
        return status, capsys.readouterr().out

    return run


@pytest.fixture
def total(folder: Path) -> int:
    ledger = Ledger(f"sqlite:///{folder / 'l.db'}")
    settled = ledger.account("acme").settled.nusd
    ledger.close()
    return settled


@pytest.mark.parametrize(
    "by", ["model", "feature,user", "day", "hour,tier", "outcome,status,route"]
)
def test_report_adds_up_to_the_ledger(run: Run, total: int, by: str) -> None:
    status, text = run("report", "--by", by, "--json")
    rows = json.loads(text)
    assert status == 0
    assert sum(row["cost_nusd"] for row in rows) == total
    assert sum(Decimal(row["cost"]) for row in rows) == Decimal(total).scaleb(-9)


def test_report_as_csv_and_table(run: Run) -> None:
    _, text = run("report", "--by", "feature", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["feature"] for row in rows} >= {"support", "research"}
    _, table = run("report", "--by", "feature")
    assert "total" in table and "support" in table


def test_unknown_prices_are_never_shown_as_nothing(run: Run) -> None:
    _, table = run("report", "--by", "model")
    line = next(line for line in table.splitlines() if "mystery" in line)
    assert "$?" in line and "$0" not in line


def test_focus_has_the_columns_of_version_1_2_and_the_ledgers_money(run: Run, total: int) -> None:
    _, text = run("report", "--format", "focus")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == [*COLUMNS, *OWN_COLUMNS]
    assert len(COLUMNS) == 57
    for row in rows:
        assert all(row[name] for name, allows in COLUMNS.items() if allows == "value")
        assert not row["InvoiceId"]
        assert row["ServiceCategory"] == "AI and Machine Learning"
        assert row["ChargeCategory"] == "Usage"
        assert row["ChargePeriodStart"] < row["ChargePeriodEnd"]
        assert json.loads(row["Tags"])["feature"]
    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal(total).scaleb(-9)
    unknown = [row for row in rows if row["x_PriceUnknown"] == "true"]
    assert unknown and all(row["ListUnitPrice"] == "" for row in unknown)
    assert any(row["x_WorstCase"] == "true" for row in rows)
    meters = {row["SkuMeter"] for row in rows}
    assert {"Input Tokens", "Cache Read Tokens", "Output Tokens"} <= meters


def test_unit_costs_count_every_cent_against_what_was_resolved(run: Run, total: int) -> None:
    _, text = run("unit-costs", "--json")
    rows = json.loads(text)
    assert sum(Decimal(row["cost"]) for row in rows) == Decimal(total).scaleb(-9)
    for row in rows:
        low, high = (Decimal(end) for end in row["range"])
        assert low < Decimal(row["per_resolved"]) < high
        assert Decimal(row["per_resolved"]) >= Decimal(row["per_task"])


def test_top_is_in_order_and_why_adds_up(run: Run) -> None:
    _, text = run("top", "--limit", "3", "--json")
    rows = json.loads(text)
    costs = [row["cost_nusd"] for row in rows]
    assert costs == sorted(costs, reverse=True)
    _, text = run("why", rows[0]["task"], "--json")
    found = json.loads(text)
    parts = [Decimal(c["usd"]) for c in found["causes"] if not c["overlaps"]]
    assert sum(parts) == Decimal(found["cost_usd"]) == Decimal(rows[0]["cost"])
    assert found["next_lever"]["name"] == "prompt_cache"
    assert 0 < Decimal(found["next_lever"]["saves_usd"]) < Decimal(found["cost_usd"])
    _, text = run("diff", rows[0]["task"], rows[1]["task"], "--json")
    lines = json.loads(text)["differences"]
    more = Decimal(rows[1]["cost"]) - Decimal(rows[0]["cost"])
    named = {c["name"] for c in found["causes"] if c["overlaps"]}
    assert sum(Decimal(line["more_usd"]) for line in lines if line["name"] not in named) == more


def test_export_holds_every_call(run: Run, folder: Path, total: int) -> None:
    _, text = run("export", "jsonl")
    calls = [json.loads(line) for line in text.splitlines()]
    assert sum(call["cost_nusd"] for call in calls) == total
    assert all("outcome" in call and "components" in call for call in calls)
    parquet = pytest.importorskip("pyarrow.parquet")
    assert run("export", "parquet", "--out", "calls.parquet")[0] == 0
    table = parquet.read_table(folder / "calls.parquet")
    assert sum(table.column("cost_nusd").to_pylist()) == total
    assert table.num_rows == len(calls)


@pytest.mark.parametrize(
    "arguments",
    [
        ("report", "--since", "yesterday"),
        ("report", "--tag", "feature"),
        ("report", "--by", ","),
        ("report", "--outcome", "great"),
        ("top", "--limit", "0"),
        ("why", "nothing-begins-so"),
        ("export", "parquet"),
    ],
)
def test_wrong_use_says_so(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments)[0] == 2


def test_alerts_exit_with_4_and_take_the_projects_thresholds(run: Run, folder: Path) -> None:
    when = "2025-11-08"
    project = folder / "agentkit.toml"
    try:
        project.write_text("[alerts]\nday_usd = 1\n", "utf-8")
        status, text = run("alerts", "check", "--at", when, "--json")
        found = json.loads(text)
        assert status == 4
        assert any(alert["rule"] == "feature_concentration" for alert in found)
        assert all(alert["tasks"] for alert in found if alert["labels"].get("feature"))
        project.write_text("[alerts.feature_concentration]\nthreshhold = 3\n", "utf-8")
        assert run("alerts", "check")[0] == 2
    finally:
        project.unlink()
    assert main(["alerts", "export", "prometheus"]) == 0


def test_metrics_count_what_the_ledger_counts(run: Run, total: int) -> None:
    _, text = run("metrics")
    lines = [line for line in text.splitlines() if line.startswith("agentkit_cost_usd_total")]
    assert sum(float(line.split()[-1]) for line in lines) == pytest.approx(total / 1e9)


def test_a_formula_in_a_tag_stays_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "l.db", traffic(WASTEFUL, calls=60, days=1, users=2))
    db = sqlite3.connect(tmp_path / "l.db")
    odd = json.dumps({"feature": "=HYPERLINK(1)\x1b[2J"})
    db.execute("UPDATE label SET text = ? WHERE id = (SELECT tags FROM fact LIMIT 1)", (odd,))
    db.commit()
    db.close()
    address = f"sqlite:///{tmp_path / 'l.db'}"
    main(["report", "--by", "feature", "--format", "csv", "--ledger", address])
    assert "'=HYPERLINK" in capsys.readouterr().out
    main(["report", "--by", "feature", "--ledger", address])
    assert "\x1b" not in capsys.readouterr().out


def test_fieller_covers_a_known_ratio() -> None:
    """Of 400 samples with a known cost per success, 95 % of the intervals hold it, give or take."""
    import random

    rng = random.Random(3)
    held = 0
    for _ in range(400):
        tasks = [(1.0 + rng.random(), rng.random() < 0.6) for _ in range(80)]
        range_ = fieller_range(
            tasks=80,
            cost=sum(cost for cost, _ in tasks),
            cost_squares=sum(cost * cost for cost, _ in tasks),
            resolved=sum(done for _, done in tasks),
            cost_of_resolved=sum(cost for cost, done in tasks if done),
        )
        assert range_ is not None
        low, high = range_
        held += low <= 2.5 <= (high or float("inf"))
    assert 368 <= held <= 392


def test_fieller_says_nothing_of_nothing_and_leaves_open_what_it_cannot_bound() -> None:
    assert fieller_range(tasks=5, cost=5, cost_squares=5, resolved=0, cost_of_resolved=0) is None
    range_ = fieller_range(tasks=5, cost=5, cost_squares=6, resolved=1, cost_of_resolved=1)
    assert range_ is not None and range_[1] is None


def test_statusline_is_the_same_quickly_and_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    midnight = time.time() // 86_400 * 86_400
    monkeypatch.chdir(tmp_path)
    address = "sqlite:///.agentkit/ledger.db"
    Path(".agentkit").mkdir()
    write(Path(".agentkit/ledger.db"), traffic(WASTEFUL, calls=60, days=1, users=2, start=midnight))
    ledger = Ledger(address, clock=lambda: midnight + 86_399)
    ledger.set_limits("acme", Limits(nusd=50 * 10**9), window="day")
    ledger.open_task(scope="acme")
    ledger.close()
    assert main(["statusline"]) == 0
    quick = capsys.readouterr().out
    assert main(["statusline", "--ledger", address]) == 0
    assert capsys.readouterr().out == quick
    assert main(["statusline", "--scope", "acme"]) == 0
    assert capsys.readouterr().out == quick
    assert " today (" in quick and "of acme's $50.00)" in quick and "1 running" in quick
    assert main(["statusline", "--json", "--scope", "acme"]) == 0
    assert json.loads(capsys.readouterr().out)["running"] == 1


def test_statusline_loads_nothing_heavy(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "l.db").close()
    code = (
        "import sys; from agentkit.cli import main; main(['statusline', '--ledger', "
        f"'sqlite:///{tmp_path / 'l.db'}']); "
        "print(sorted({'typer', 'pydantic', 'rich', 'agentkit.budgets'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stdout.splitlines() == ["$0.00 today", "[]"]


def test_tasks_are_filtered_and_steps_tell_components(run: Run) -> None:
    _, text = run("tasks", "--tag", "feature=orders", "--outcome", "resolved", "--json")
    found = json.loads(text)
    assert found
    assert all(t["tags"]["feature"] == "orders" and t["outcome"] == "resolved" for t in found)
    escalated = next(task for task in found if task["escalations"])
    _, text = run("show", escalated["task_id"], "--steps")
    assert "observations" in text and "log-probability" in text


@pytest.fixture
def price_table() -> Iterator[str]:
    """A table on loopback, in genai-prices' format, in which a model costs twice as much."""
    prices = {"input_mtok": 6, "output_mtok": 30, "cache_read_mtok": 0.6, "cache_write_mtok": 7.5}
    model = {"id": "claude-sonnet-4-5", "match": {"equals": "claude-sonnet-4-5"}, "prices": prices}
    provider = {
        "id": "anthropic", "name": "Anthropic", "api_pattern": "anthropic", "models": [model],
        "model_match": {"contains": "claude"},
    }  # fmt: skip
    body = json.dumps([provider]).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/data.json"
        server.shutdown()
        thread.join()


def test_newer_prices_are_shown_and_written_for_a_person_to_read(
    run: Run, folder: Path, price_table: str
) -> None:
    status, text = run("prices", "diff", "--from", price_table, "--json")
    assert status == 0
    rows = {row["model"]: row for row in json.loads(text)}
    sonnet = rows["anthropic:claude-sonnet-4-5"]
    assert sonnet["changed"] == "yes"
    assert Decimal(sonnet["other_usd"]) == pytest.approx(
        2 * Decimal(sonnet["now_usd"]), rel=Decimal("1e-6")
    )
    assert rows["acme-lab:mystery"]["now_usd"] == "$?"
    out = folder / "new.toml"
    assert run("prices", "update", "--from", price_table, "--out", str(out))[0] == 0
    assert run("prices", "update", "--from", price_table, "--out", str(out))[0] == 2
    (override,) = read_price_file(out)
    assert (override.model, override.input) == ("claude-sonnet-4-5", Decimal(6))
    out.unlink()
    assert run("prices", "diff", "--from", price_table.replace("http", "gopher"))[0] == 2


def test_prices_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "list", "--provider", "anthropic", "--json"]) == 0
    rows = {row["model"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["claude-sonnet-4-5"]["input"] == "3"
