"""`agentkit batch` lists what waits, sends it, cancels and tries again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkit.batch import BatchJob
from agentkit.budgets import Budget, Ledger
from agentkit.cli import main
from tests.agentkit.batch_world import QUICK
from tests.wire import BatchRules, ScriptedProvider, echo
from tests.wire.client import openai_client


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedProvider]:
    with ScriptedProvider(echo) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.openai_url)
        monkeypatch.setenv("OPENAI_API_KEY", "test")
        yield running


@pytest.fixture
def waiting(provider: ScriptedProvider, tmp_path: Path) -> str:
    """A ledger in which three requests of a job wait."""
    address = f"sqlite:///{tmp_path}/ledger.db?synchronous=NORMAL"
    ledger = Ledger(address)
    job = BatchJob(
        "n", model=openai_client(provider), ledger=ledger, budget=Budget(usd="1"), policy=QUICK
    )
    for number in range(3):
        job.add(f"key{number}", f"say {number}")
    ledger.close()
    job.lane.store.close()
    return address


def _json(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:  # JSON
    capsys.readouterr()
    assert main(["batch", *arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_what_waits_is_listed_and_flushed_without_its_contents(
    waiting: str, provider: ScriptedProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = _json(capsys, "list", "--ledger", waiting)
    assert [queue["requests"] for queue in listed["queues"]] == [3]
    told = _json(capsys, "flush", "--wait", "--ledger", waiting)
    assert told["requests"]["answered"] == 3
    assert len(provider.bill.records) == 3
    shown = _json(capsys, "show", told["batches"][0]["batch_id"], "--ledger", waiting)
    assert {item["key"]: item["state"] for item in shown["items"]} == {
        f"key{n}": "answered" for n in range(3)
    }
    assert "say" not in json.dumps(shown)
    assert main(["batch", "list", "--ledger", waiting]) == 0
    assert "3 answered" in capsys.readouterr().out


def test_a_batch_is_cancelled_by_its_id(
    waiting: str, provider: ScriptedProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.desk.rules = provider.desk.dice._rules = BatchRules(least_seconds=60, most_seconds=60)
    sent = _json(capsys, "flush", "--ledger", waiting)
    batch_id = sent["batches"][0]["batch_id"]
    assert _json(capsys, "cancel", batch_id, "--ledger", waiting)["state"] == "cancelling"
    assert all(batch.cancelled for batch in provider.desk.batches.values())
    assert _json(capsys, "retry", batch_id, "--ledger", waiting)["queued"] == 0


def test_another_account_than_the_environments_is_refused(
    waiting: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    told = _json(capsys, "flush", "--ledger", waiting, status=2)
    assert "environment leads to" in told["error"]["message"]


def test_an_unknown_batch_says_where_to_look(
    waiting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = _json(capsys, "show", "nothing", "--ledger", waiting, status=2)
    assert "agentkit batch list" in told["error"]["message"]
