"""`agentkit tasks` and `agentkit show` tell what the ledger holds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from agentkit.budgets.budget import Budget
from agentkit.budgets.call_plan import CallPlan
from agentkit.budgets.journal import EventRecord, TaskRecord
from agentkit.budgets.ledger import Ledger
from agentkit.budgets.price import Price, Rates
from agentkit.budgets.task import Task
from agentkit.budgets.usage import Usage
from agentkit.cli import main

_RATES = Rates(
    input=1_000_000_000,
    cache_read=100_000_000,
    cache_write_5m=1_250_000_000,
    cache_write_1h=2_000_000_000,
    output=5_000_000_000,
)
PRICE = Price(
    model="large", provider="acme", state="priced", source="override", bands=((0, _RATES),)
)
ADDRESS = "sqlite:///ledger.db"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger with two tasks: one answered, of two calls and an event; one that still runs."""
    monkeypatch.chdir(tmp_path)
    book = Ledger(ADDRESS)
    done = book.open_task(
        scope="acme/shop", task_id="aaa1", budget=Budget(usd="0.05"), tags={"feature": "x"},
        models=["local:pocket", "acme:large"], thread_id="thread-1",
    )  # fmt: skip
    _call(done, Usage(input_tokens=2000, cache_read_tokens=1500, output_tokens=100), "find")
    _cut_call(done)
    done.note("escalation", "acme:small gave way: \x1b[31munsure", step=1)
    done.close("answered", steps=2, escalations=1, trace_id="0" * 32)
    book.open_task(scope="acme/other", task_id="aab2")
    book.close()
    return tmp_path


def _call(task: Task, usage: Usage, tool: str) -> None:
    held = task.hold_call(_plan())
    task.settle_call(
        held, usage, tools_called=(tool,), confidence=-0.25, accepted=False, reason="unsure"
    )


def _cut_call(task: Task) -> None:
    task.forfeit_call(task.hold_call(_plan()), status="cut", error="no usage")


def _plan() -> CallPlan:
    return CallPlan(
        price=PRICE,
        counted_input_tokens=2000,
        input_tokens=2000,
        wanted_output_tokens=200,
        step=1,
        tier=1,
    )


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> object:
    assert main([*arguments, "--ledger", ADDRESS, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("ledger")
def test_tasks_are_listed_latest_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "--ledger", ADDRESS]) == 0

    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if "aa" in line]
    assert [row[0] for row in rows] == ["aab2", "aaa1"]
    assert "running" in rows[0]
    assert "answered" in rows[1]


@pytest.mark.usefixtures("ledger")
def test_tasks_of_a_scope_and_a_limit(capsys: pytest.CaptureFixture[str]) -> None:
    shop = _json(capsys, "tasks", "--scope", "acme/shop")
    latest = _json(capsys, "tasks", "--limit", "1")

    assert isinstance(shop, list) and isinstance(latest, list)
    assert [task["task_id"] for task in shop] == ["aaa1"]
    assert [task["task_id"] for task in latest] == ["aab2"]


@pytest.mark.usefixtures("ledger")
def test_show_tells_each_call_and_event(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "aaa1", "--ledger", ADDRESS]) == 0

    out = capsys.readouterr().out
    assert "task aaa1 in acme/shop: answered" in out
    assert "budget: usd 0.05" in out
    assert "tags: feature=x" in out
    assert "worst case" in out
    (first, second) = [line.split() for line in out.splitlines() if "acme:large  " in line]
    # 500 fresh at $1, 1500 cached at $0.10, 100 out at $5 a million: 1.15 thousandths
    assert first[:8] == ["1", "acme:large", "2.0k", "1.5k", "-", "100", "$0.0012", "-0.25"]
    assert "not accepted: unsure" in out
    assert "≤" in second
    assert "cut: no usage" in out
    assert "\\x1b[31munsure" in out
    assert "\x1b" not in out


@pytest.mark.usefixtures("ledger")
def test_show_as_json_has_calls_and_events(capsys: pytest.CaptureFixture[str]) -> None:
    story = _json(capsys, "show", "aaa1")

    assert isinstance(story, dict)
    assert [call["status"] for call in story["calls"]] == ["ok", "cut"]
    assert story["cost_usd"] == "0.00465"  # 0.00115, and 0.0035: 2000 written at 1.25, 200 x 5
    assert "escalation" in [event["kind"] for event in story["events"]]


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("wanted", ["aaa", "thread-1", "thr"])
def test_beginning_of_an_id_or_thread_is_enough(
    wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    story = _json(capsys, "show", wanted)

    assert isinstance(story, dict)
    assert story["task_id"] == "aaa1"


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(("wanted", "told"), [("aa", "could be aab2, aaa1"), ("zz", "no task")])
def test_unclear_id_is_told(wanted: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", wanted, "--ledger", ADDRESS]) == 2
    assert told in capsys.readouterr().err


def test_looking_makes_no_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["tasks", "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == []
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_no_ledger_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ledger.db").write_text("no database at all, but long enough to look like one" * 9)

    assert main(["tasks", "--ledger", ADDRESS]) == 2
    assert "cannot be opened" in capsys.readouterr().err


def test_records_of_a_hostile_ledger_do_not_steer_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    book = Ledger(ADDRESS)
    evil = "\x1b]0;owned\x07[bold]"
    book.store.put_task(
        TaskRecord(
            task_id="evil",
            scope=evil,
            started_at=0.0,
            outcome="failed",
            reason=evil,
            models=(evil,),
            tags={evil: evil},
            budget={evil: evil},
            trace_id=evil,
        )
    )
    book.store.add_event(EventRecord(task_id="evil", at=0.0, kind=evil, text=evil))
    book.close()

    for arguments in (["tasks"], ["show", "evil"]):
        assert main([*arguments, "--ledger", ADDRESS]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "\x07" not in out
        assert "[bold]" in out


@pytest.mark.usefixtures("ledger")
def test_show_steps_tells_which_tools_were_offered_and_used(
    capsys: pytest.CaptureFixture[str],
) -> None:
    book = Ledger(ADDRESS)
    task = book.open_task(scope="acme/shop", task_id="ccc3")
    for offered, used in (("find", "find"), ("find", ""), ("", "")):
        plan = dataclasses.replace(_plan(), step=1, tools_offered=tuple(filter(None, [offered])))
        task.settle_call(
            task.hold_call(plan), Usage(input_tokens=1), tools_called=tuple(filter(None, [used]))
        )
    book.close()
    assert main(["show", "ccc3", "--steps", "--ledger", ADDRESS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "step 1: offered 1 tools: find; used find" in lines
    assert "step 1: offered the same 1 tools; used none" in lines
    assert "step 1: offered no tools; used none" in lines
    assert main(["show", "ccc3", "--ledger", ADDRESS]) == 0
    assert "offered" not in capsys.readouterr().out


def test_show_context_says_where_a_model_has_its_own_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    book = Ledger(ADDRESS)
    task = book.open_task(task_id="own1")
    parts = {"tools": 70, "user": 10}
    for usage in (Usage(input_tokens=20), Usage(input_tokens=78)):
        held = task.hold_call(dataclasses.replace(_plan(), components=parts))
        task.settle_call(held, usage)
    task.close("answered")
    book.close()
    assert main(["show", "own1", "--ledger", ADDRESS, "--context", "1"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("has its own form for them, of 20") == 1
    assert "of 78" not in told
