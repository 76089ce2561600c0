"""`agentkit budget` sets, shows and lists limits, and ends reservations by hand."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agentkit.budgets import Budget
from agentkit.budgets.amount import Amount
from agentkit.budgets.ledger import Ledger
from agentkit.cli import main
from tests.agentkit.command_line import agentkit, write_project
from tests.wire import ScriptedProvider, answer

ADDRESS = "sqlite:///ledger.db"
WORST = Amount(nusd=200_000_000, tokens=900, fresh_tokens=900, calls=1)


@pytest.fixture
def open_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger whose scope acme holds one reservation, of a task aaa1."""
    monkeypatch.chdir(tmp_path)
    assert main(["budget", "set", "acme", "--usd", "1", "--ledger", ADDRESS, "--json"]) == 0
    book = Ledger(ADDRESS)
    book.open_task(scope="acme", task_id="aaa1")
    book.reserve("aaa1.1", WORST, ["acme"], lease_seconds=60)
    book.close()
    return tmp_path


def _json(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:  # JSON
    capsys.readouterr()
    assert main([*arguments, "--ledger", ADDRESS, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def _settled_usd(capsys: pytest.CaptureFixture[str]) -> object:
    shown = _json(capsys, "budget", "show", "acme")
    assert shown["held"]["nusd"] == 0
    return shown["settled_usd"]


def test_what_set_does_not_name_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    zone = ("--per", "day", "--timezone", "Europe/Berlin")
    _json(capsys, "budget", "set", "acme", "--usd", "100", *zone)
    shown = _json(capsys, "budget", "set", "acme", "--calls", "7")
    assert shown["limits"]["nusd"] == 100_000_000_000
    assert shown["limits"]["calls"] == 7
    assert (shown["per"], shown["timezone"]) == ("day", "Europe/Berlin")
    shown = _json(capsys, "budget", "set", "acme", "--usd", "none")
    assert shown["limits"]["nusd"] is None


@pytest.mark.usefixtures("open_lease")
def test_show_tells_what_is_held_and_left_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["budget", "show", "acme", "--ledger", ADDRESS]) == 0
    out = capsys.readouterr().out
    assert "$0.2" in out and "$0.8" in out and "20%" in out
    assert "acme/~aaa1" in out


@pytest.mark.usefixtures("open_lease")
def test_list_leaves_tasks_out(capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, "budget", "list")
    assert [scope["scope"] for scope in found] == ["acme"]


@pytest.mark.usefixtures("open_lease")
def test_leases_tell_task_worst_case_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, "budget", "leases")
    (lease,) = found
    assert (lease["id"], lease["task"], lease["worst_usd"]) == ("aaa1.1", "aaa1", "0.2")
    assert 0 < lease["seconds_left"] <= 60 and not lease["expired"]


@pytest.mark.usefixtures("open_lease")
@pytest.mark.parametrize(
    ("way", "charged_usd"),
    [
        (("--settle-usd", "0.05"), "0.05"),
        (("--forfeit",), "0.2"),
        (("--release", "--yes"), "0"),
    ],
)
def test_a_lease_is_resolved_by_hand(
    way: tuple[str, ...], charged_usd: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _json(capsys, "budget", "leases", "resolve", "aaa1.1", *way)
    assert _settled_usd(capsys) == charged_usd


@pytest.mark.usefixtures("open_lease")
@pytest.mark.parametrize(
    "arguments",
    [
        ("leases", "resolve", "aaa1.1", "--release"),
        ("leases", "resolve", "aaa1.1"),
        ("leases", "resolve", "aaa1.2", "--forfeit"),
        ("leases", "--ledger", "sqlite:///other.db", "resolve", "aaa1.1", "--forfeit"),
        ("show", "other"),
        ("set", "acme"),
        ("set", "acme", "--tokens", "many"),
        ("set", "acme", "--usd", "1", "--timezone", "Mars/Base"),
    ],
)
def test_wrong_use_changes_nothing(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before = _json(capsys, "budget", "show", "acme")
    _json(capsys, "budget", *arguments, status=2)
    assert _json(capsys, "budget", "show", "acme") == before


def test_a_used_up_day_refuses_the_next_task(tmp_path: Path) -> None:
    run = (
        "run", "play something by Nina Simone", "-m", "local:pocket",
        "-t", "agentkit.demo:tools", "--scope", "acme", "--json",
    )  # fmt: skip
    day = ("budget", "set", "acme", "--per", "day", "--calls", "1000")
    assert agentkit(*day, folder=tmp_path).returncode == 0
    assert agentkit(*run, folder=tmp_path).returncode == 0
    shown = json.loads(agentkit("budget", "show", "acme", "--json", folder=tmp_path).stdout)
    used = shown["settled"]["tokens"]
    assert used > 0
    limit = ("--tokens", str(used + 1))
    assert agentkit("budget", "set", "acme", *limit, folder=tmp_path).returncode == 0

    refused = agentkit(*run, folder=tmp_path)

    assert shown["per"] == "day" and shown["window"]
    assert refused.returncode == 3, refused.stdout + refused.stderr
    shown = json.loads(agentkit("budget", "show", "acme", "--json", folder=tmp_path).stdout)
    assert shown["settled"]["tokens"] == used


@pytest.mark.usefixtures("open_lease")
def test_a_hostile_lease_id_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    book = Ledger(ADDRESS)
    book.reserve("aaa1.\x1b[31m[red]", WORST, ["acme"], lease_seconds=60)
    book.close()
    capsys.readouterr()
    assert main(["budget", "leases", "--ledger", ADDRESS]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "[red]" in out


def test_what_a_subtask_took_is_resolved_and_is_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    book = Ledger(ADDRESS)
    task = book.open_task(scope="acme", task_id="t", budget=Budget(usd="1"))
    task.subtask(budget=Budget(usd="0.25"), task_id="part")
    options = ("--ledger", ADDRESS, "--json")
    assert main(["budget", "leases", *options]) == 0
    (lease,) = json.loads(capsys.readouterr().out)
    assert (lease["id"], lease["task"], lease["worst_usd"]) == ("part.purse.1", "part", "0.25")
    assert main(["budget", "leases", "resolve", lease["id"], "--forfeit", *options]) == 0
    assert book.account("acme").settled.nusd == 250_000_000
    assert book.store.calls("part") == []
    book.close()


def test_webhook_of_the_environment_is_told(tmp_path: Path) -> None:
    """A threshold of a run reaches the receiver before the command ends."""
    told: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    run = ("run", "hi", "--budget-calls", "2")
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server,
        ScriptedProvider(answer("hello")) as provider,
    ):
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        write_project(tmp_path, provider.openai_url)
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        env = {"OPENAI_API_KEY": "sk-test", "AGENTKIT_WEBHOOK_URL": url}
        unsigned = agentkit(*run, folder=tmp_path, env=env)
        done = agentkit(*run, folder=tmp_path, env={**env, "AGENTKIT_WEBHOOK_SECRET": "s"})
        server.shutdown()
    assert unsigned.returncode == 2
    assert "AGENTKIT_WEBHOOK_SECRET is not" in unsigned.stderr
    assert done.returncode == 0, done.stderr
    assert [event["type"] for event in told] == ["budget.threshold"]
    assert told[0]["data"]["dimension"] == "calls"
    assert "hello" not in json.dumps(told)
