"""`agentkit budget reopen`: an org that its Redis has lost is opened by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.budgets import BudgetStateLost, Ledger, Limits
from agentkit.cli import main
from tests.budgets.redis_server import RedisServer, running_redis


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


def _reopen(server: RedisServer, *options: str) -> int:
    return main(["budget", "reopen", "acme", "--ledger", server.address, *options])


def test_org_is_opened_by_hand(server: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger(server.address)
    ledger.set_limits("acme", Limits(calls=5))
    server.ask("DEL", "agentkit:ledger:{acme}:scopes")
    with pytest.raises(BudgetStateLost, match="agentkit budget reopen acme"):
        ledger.open_task(scope="acme")
    assert _reopen(server) == 2
    assert "what no process has brought back by now is given up" in capsys.readouterr().err
    assert _reopen(server, "--yes", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"org": "acme", "before": "closed", "charged_usd": "0"}
    ledger.open_task(scope="acme")
    assert ledger.account("acme").limits == Limits(calls=5)
    assert _reopen(server, "--yes") == 0
    assert "acme: is open" in capsys.readouterr().out
    ledger.close()


def test_org_that_is_missing_is_begun(
    server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _reopen(server, "--yes") == 0
    assert "begun without limits" in capsys.readouterr().out


def test_ledger_that_keeps_what_it_is_told_has_nothing_to_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    address = "sqlite:///ledger.db"
    assert main(["budget", "set", "acme", "--usd", "1", "--ledger", address]) == 0
    assert main(["budget", "reopen", "acme", "--yes", "--ledger", address]) == 2
    assert "never closes an org" in capsys.readouterr().err
