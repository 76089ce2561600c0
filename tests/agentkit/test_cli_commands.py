"""The other commands: help, version, prices, models, doctor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from agentkit.cli import main
from tests.agentkit.command_line import COMMAND, agentkit, environment

_HELP_SECONDS = 0.4


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AGENTKIT_MODELS", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(sys.platform == "win32", reason="children's CPU time is not counted there")
def test_help_is_quick(tmp_path: Path) -> None:
    """Best of several in CPU time, less the start of Python itself: this machine may be busy."""
    env = environment(tmp_path)

    def seconds(*command: str) -> float:
        before = os.times()
        subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, check=True)
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])

    bare = min(seconds(sys.executable, "-c", "pass") for _ in range(3))
    best = min(seconds(COMMAND, "--help") for _ in range(5))
    assert best - bare < _HELP_SECONDS


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from agentkit.cli import main; main(['--help']);"
        "print([m for m in ('langgraph', 'langchain_core', 'openai', 'tiktoken', 'numpy',"
        "'genai_prices', 'opentelemetry', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_version(tmp_path: Path) -> None:
    done = agentkit("--version", folder=tmp_path)

    assert done.returncode == 0
    assert done.stdout.startswith("agentkit 0.")


def test_every_command_has_json() -> None:
    from typer.main import get_command

    from agentkit.cli.app import app

    def leaves(command: object) -> list[object]:
        below = getattr(command, "commands", {})
        found = [leaf for name in below for leaf in leaves(below[name])]
        return found or [command]

    commands = leaves(get_command(app))
    assert len(commands) >= 8
    for command in commands:
        options = [name for param in getattr(command, "params", []) for name in param.opts]
        assert "--json" in options, command


def test_price_has_its_bands_source_and_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "show", "anthropic:claude-sonnet-4-5", "--json"]) == 0

    price = json.loads(capsys.readouterr().out)
    assert price["state"] == "priced"
    assert price["source"].startswith("table of genai-prices ")
    assert price["priced_on"]
    first, second = price["usd_per_mtok"]
    assert (first["input"], first["cache_write_5m"], first["output"]) == ("3", "3.75", "15")
    assert (second["above_tokens"], second["input"], second["output"]) == (200000, "6", "22.5")


def test_price_is_printed_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "show", "gpt-5-mini", "--provider", "openai"]) == 0

    out = capsys.readouterr().out
    assert "gpt-5-mini of openai: priced" in out
    assert "input from 0" in out


def test_unknown_price_tells_what_to_write_and_the_file_is_then_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prices", "show", "openai:brand-new"]) == 1
    out, err = capsys.readouterr()
    assert "unknown is never 0" in err

    filled = out.replace("<USD per million tokens>", "2.5", 1)
    filled = filled.replace("<USD per million tokens>", "10", 1)
    (tmp_path / "prices.toml").write_text(filled, "utf-8")
    assert main(["prices", "show", "openai:brand-new", "--prices", "prices.toml", "--json"]) == 0
    price = json.loads(capsys.readouterr().out)
    assert price["source"] == "your prices file"
    assert price["usd_per_mtok"][0]["output"] == "10"


def test_entry_of_an_unknown_price_cannot_be_used_unfilled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["prices", "show", "openai:brand-new"])
    (tmp_path / "prices.toml").write_text(capsys.readouterr().out, "utf-8")

    assert main(["prices", "show", "openai:brand-new", "--prices", "prices.toml"]) == 2


def test_local_models_are_free(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "show", "local:pocket"]) == 0
    assert "free (it runs on this machine)" in capsys.readouterr().out


def test_models_lists_what_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-never-shown")
    monkeypatch.setenv("AGENTKIT_MODELS", str(tmp_path / "models"))
    (tmp_path / "models" / "acme").mkdir(parents=True)
    (tmp_path / "models" / "acme" / "m.gguf").write_bytes(b"x" * 2_000_000)

    assert main(["models", "--json"]) == 0
    text = capsys.readouterr().out
    found = {entry["model"]: entry for entry in json.loads(text)}

    assert found["local:pocket"]["ready"]
    assert found["openai:MODEL"]["ready"]
    assert not found["anthropic:MODEL"]["ready"]
    assert found[f"local:{tmp_path}/models/acme/m.gguf"]["detail"] == "pulled, 2 MB"
    assert "sk-never-shown" not in text


def test_pull_fetches_from_a_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = _pocket_file().read_bytes()

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.send_header("x-linked-etag", f'"{sha256(data).hexdigest()}"')
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AGENTKIT_MODELS", str(tmp_path / "models"))
    try:
        assert main(["models", "pull", "hf:acme/pocket/pocket.gguf", "--json"]) == 0
    finally:
        server.shutdown()
        server.server_close()

    told = json.loads(capsys.readouterr().out)
    assert Path(told["path"]).read_bytes() == data
    assert told["model"] == f"local:{told['path']}"


def test_pull_without_a_hub_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    assert main(["models", "pull", "hf:acme/pocket/pocket.gguf"]) == 1
    assert "use local:" in capsys.readouterr().err


def test_doctor_finds_this_machine_well(tmp_path: Path) -> None:
    done = agentkit("doctor", "--json", folder=tmp_path, env={"OPENAI_API_KEY": "sk-never-shown"})

    report = json.loads(done.stdout)
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert done.returncode == 0
    assert report["ok"]
    assert states["pocket model"] == "ok"
    assert states["token tables"] == "ok"
    assert states["SQLite"] == "ok"
    assert states["openai key"] == "ok"
    assert states["anthropic key"] == "absent"
    assert "sk-never-shown" not in done.stdout


def test_doctor_prints_how_to_get_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0

    out = capsys.readouterr().out
    assert "export ANTHROPIC_API_KEY=..." in out


def test_doctor_reports_what_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "agentkit.toml").write_text("[agnt]\n", "utf-8")

    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    (broken,) = [check for check in report["checks"] if check["state"] == "broken"]
    assert broken["name"] == "project file"
    assert "did you mean 'agent'?" in broken["detail"]


def test_doctor_reports_a_ledger_that_cannot_be_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "l.db").write_text("no database at all, but long enough to look like one" * 9)

    assert main(["doctor", "--ledger", "sqlite:///l.db", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in report["checks"] if check["state"] == "broken"] == ["ledger"]


def _pocket_file() -> Path:
    import agentkit

    return next((Path(agentkit.__file__).parent / "pocket").glob("*.gguf"))
