"""Decisions as `agentkit why` tells them, and a cascade that a project file sets."""

from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage

from agentkit import Agent, Cascade
from agentkit.budgets import Ledger
from agentkit.budgets.journal import EventRecord
from agentkit.cascade import Calibration, Weight
from agentkit.cli import main
from agentkit.cli.assembly import cascade_of
from agentkit.cli.settings import Flags, read_settings
from agentkit.errors import ConfigError
from agentkit.reports.decided import decided
from tests.scripted import ScriptedModel, in_turn

CALIBRATION = Calibration(
    intercept=1.0, weights={"hedging": Weight(weight=-3.0), "length": Weight(weight=0.0)}
)


def test_why_tells_each_decision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"sqlite:///{tmp_path / 'ledger.db'}"
    with closing(Ledger(address)) as ledger:
        result = Agent(
            [
                ScriptedModel(script=in_turn("I am not sure whether so")),
                ScriptedModel(script=in_turn(AIMessage("yes")), name_of_model="dear"),
            ],
            ledger=ledger,
            quality=0.7,
            cascade=Cascade(calibration=CALIBRATION),
        ).run("is it so?")
    assert main(["why", result.task_id, "--ledger", address, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["decisions"]
    assert (told["action"], told["signal"], told["value"]) == ("escalate", "hedging", 1.0)
    assert told["probability"] == pytest.approx(0.119, abs=0.001)
    assert told["threshold"] == 0.7
    assert main(["why", result.task_id, "--ledger", address]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "turned down for the next tier; right with 0.119, asked 0.700" in shown
    assert "most against it: hedging 1 (-3.00)" in shown


def test_a_decision_that_makes_no_sense_is_told_without_failing() -> None:
    data = {"signals": [1], "parts": {"x": "y"}, "probability": True, "expected_nusd": None}
    (told,) = decided([EventRecord(task_id="t", at=0.0, kind="decision", data=data)])
    assert (told.probability, told.signal, told.expected_nusd) == (None, "", {})
    assert told.told.startswith("step 0, ?: ?")


def project(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Cascade | None:
    (folder / "agentkit.toml").write_text(text)
    monkeypatch.chdir(folder)
    return cascade_of(read_settings(Flags()))


def test_a_project_file_sets_the_cascade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CALIBRATION.write(tmp_path / "c.json")
    text = '[cascade]\nquality = 0.9\ncalibration = "c.json"\nerror_usd = "0.5"\nretries = 2\n'
    found = project(tmp_path, text, monkeypatch)
    assert found == Cascade(calibration=CALIBRATION, error_usd=Decimal("0.5"), retries=2)
    assert project(tmp_path, "[cascade]\nquality = 0.9\n", monkeypatch) is None


def test_a_calibration_outside_the_project_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="outside"):
        project(tmp_path, '[cascade]\ncalibration = "/etc/hostname"\n', monkeypatch)
