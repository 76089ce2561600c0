"""Wrong input: status 2, a sentence that says what to do, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentkit.cli import main
from tests.agentkit.command_line import COMMAND, environment

POCKET = ("run", "hello", "-m", "local:pocket")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "listed", raising=False)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AGENTKIT_DEBUG", "AGENTKIT_TRUST_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "broken.py").write_text("raise OSError('disk')", "utf-8")
    (tmp_path / "leaves.py").write_text("raise SystemExit(0)", "utf-8")
    (tmp_path / "needy.py").write_text("import no_such_package_anywhere", "utf-8")
    (tmp_path / "listed.py").write_text("number = 7\ndef undescribed(): ...\n", "utf-8")
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\x03\0\0\0")
    (tmp_path / "bad.toml").write_text("[[price]]\nmodel = 'm'\n", "utf-8")


WRONG = [
    (("bogus",), "No such command"),
    (("run",), "Missing argument"),
    (("run", "hello"), "no model is named"),
    (("run", " ", "-m", "local:pocket"), "the request is empty"),
    (("run", "hello", "--modl", "x"), "No such option"),
    (("run", "hello", "-m", "pocket"), "write provider:model"),
    (("run", "hello", "-m", "acme:large"), "provider 'acme'"),
    (("run", "hello", "-m", "openai:gpt-5-mini"), "set OPENAI_API_KEY"),
    (("run", "hello", "-m", "anthropic:claude-haiku-4-5"), "set ANTHROPIC_API_KEY"),
    (("run", "hello", "-m", "local:/no/such.gguf"), "no model file at"),
    (("run", "hello", "-m", "local:cut.gguf"), "cut.gguf: "),
    ((*POCKET, "--budget-usd", "-1"), "it must be 0 or more"),
    ((*POCKET, "--budget-usd", "cheap"), "is not an amount of USD"),
    ((*POCKET, "--budget-usd", "1e30"), "largest limit"),
    ((*POCKET, "--budget-usd", "nan"), "is not an amount of USD"),
    ((*POCKET, "--budget-tokens", "-5"), "negative"),
    ((*POCKET, "--budget-tokens", "many"), "--budget-tokens"),
    ((*POCKET, "--budget-tokens", "99999999999999999999"), "above 2**53"),
    ((*POCKET, "--budget-calls", "0"), "use 1 or more"),
    ((*POCKET, "--budget-calls", "1.5"), "--budget-calls"),
    ((*POCKET, "--budget-seconds", "0"), "use more than 0"),
    ((*POCKET, "--budget-seconds", "inf"), "use more than 0"),
    ((*POCKET, "--tools", "shop"), "write module:name"),
    ((*POCKET, "--tools", "../shop:tools"), "write module:name"),
    ((*POCKET, "--tools", "nowhere:tools"), "there is no module 'nowhere'"),
    ((*POCKET, "--tools", "broken:tools"), "importing 'broken' raised OSError: disk"),
    ((*POCKET, "--tools", "leaves:tools"), "importing 'leaves' raised SystemExit"),
    ((*POCKET, "--tools", "needy:tools"), "need the module 'no_such_package_anywhere'"),
    ((*POCKET, "--tools", "listed:numbr"), "did you mean 'number'?"),
    ((*POCKET, "--tools", "listed:number"), "7 is not a tool"),
    ((*POCKET, "--tools", "listed:undescribed"), "has no description"),
    ((*POCKET, "--scope", "a//b"), "scope"),
    ((*POCKET, "--tag", "feature"), "has no '='"),
    ((*POCKET, "--ledger", "postgres://x"), "no ledger store answers"),
    ((*POCKET, "--ledger", "sqlite:////dev/null/l.db"), "cannot be opened"),
    ((*POCKET, "--checkpoint", "file.db"), "write 'sqlite:///checkpoints.db'"),
    ((*POCKET, "--prices", "none.toml"), "cannot be read"),
    ((*POCKET, "--prices", "bad.toml"), "give both input and output"),
    ((*POCKET, "--trace", "https://example.test"), "give the path of a file, or 'otlp'"),
    ((*POCKET, "--trace", "/dev/null/spans"), "spans"),
    ((*POCKET, "--config", "none.toml"), "cannot be read"),
    (("resume", "nothing"), "there is no ledger"),
    (("resume", "nothing", "--checkpoint", "none"), "checkpoints are off"),
    (("show", "nothing"), "there is no ledger"),
    (("show", "x", "--ledger", "memory://"), "ends with its process"),
    (("tasks", "--limit", "0"), "--limit"),
    (("prices", "show"), "Missing argument"),
    (("demo", "--ledger", "nowhere"), "no ledger store answers"),
]


@pytest.mark.parametrize(
    ("arguments", "told"),
    WRONG,
    ids=str,
)
def test_wrong_input_is_told_and_status_2(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(arguments)

    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert status == 2, err
    assert out == ""
    assert told in last
    assert last.startswith("agentkit: ")
    assert "Traceback" not in err


def test_wrong_input_with_json_is_an_object_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    status = main((*POCKET, "--budget-calls", "none", "--json"))

    out, err = capsys.readouterr()
    assert status == 2
    assert err == ""
    assert json.loads(out)["error"]["type"] == "UsageError"
    assert "--budget-calls" in json.loads(out)["error"]["message"]


def test_budget_below_the_landing_reserve_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")

    status = main(["run", "hello", "-m", "openai:gpt-5-mini", "--budget-usd", "0.000001"])

    assert status == 2
    assert "below the landing reserve" in capsys.readouterr().err


def test_unknown_price_under_a_usd_budget_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")

    status = main(["run", "hello", "-m", "openai:brand-new-model", "--budget-usd", "1"])

    assert status == 2
    assert "agentkit prices show" in capsys.readouterr().err


def test_fault_of_ours_is_a_line_and_debug_shows_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(flags: object) -> None:
        raise ZeroDivisionError("a fault\nof many lines")

    monkeypatch.setattr("agentkit.cli.tasks.read_settings", fail)

    assert main(["tasks"]) == 1
    assert capsys.readouterr().err == (
        "agentkit: ZeroDivisionError: a fault; AGENTKIT_DEBUG=1 shows where it came from\n"
    )

    monkeypatch.setenv("AGENTKIT_DEBUG", "1")
    assert main(["tasks"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_closed_pipe_is_quiet(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [COMMAND, "prices", "show", "gpt-5-mini"],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)

    assert done.returncode == 1
    assert done.stderr == ""
