"""What a person sees on a terminal: a line that moves, and nothing that a model could steer."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agentkit.command_line import COMMAND, environment, write_project, write_tools
from tests.wire import Reply, ScriptedProvider, answer, steps

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals here", allow_module_level=True)

KEY = {"OPENAI_API_KEY": "sk-test"}


def _on_terminal(*arguments: str, folder: Path, typed: bytes = b"", **env: str) -> tuple[int, str]:
    """The exit status, and all that the command wrote to its terminal."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [COMMAND, *arguments],
        cwd=folder,
        env=environment(folder, TERM="xterm-256color", COLUMNS="120", LINES="40", **env),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        os.write(ours, typed)
        seen = b""
        with contextlib.suppress(OSError):  # the terminal ends with its last process
            while chunk := os.read(ours, 65536):
                seen += chunk
        status = process.wait(timeout=60)
    os.close(ours)
    return status, seen.decode()


def test_line_moves_while_it_works(tmp_path: Path) -> None:
    write_tools(tmp_path)
    script = steps(
        [
            Reply(tool_calls=[("stock", {"item": "pens"})], delay_seconds=0.3),
            Reply(text="12 pens.", delay_seconds=0.3),
        ]
    )
    with ScriptedProvider(script) as provider:
        write_project(tmp_path, provider.openai_url)
        status, seen = _on_terminal(
            "run", "pens?", "-t", "shop:stock", "--budget-usd", "0.05", folder=tmp_path, **KEY
        )

    assert status == 0, seen
    assert "step 1 · gpt-5-mini" in seen
    assert "step 2 · gpt-5-mini" in seen
    assert "of $0.05" in seen
    assert "12 pens." in seen


def test_quiet_moves_nothing(tmp_path: Path) -> None:
    with ScriptedProvider(answer("Twelve.")) as provider:
        write_project(tmp_path, provider.openai_url)
        status, seen = _on_terminal("run", "How many?", "-q", folder=tmp_path, **KEY)

    assert status == 0
    assert seen == "Twelve.\r\n"


def test_answer_cannot_steer_the_terminal(tmp_path: Path) -> None:
    with ScriptedProvider(answer("\x1b[2J\x1b]0;owned\x07 [bold]done[/bold]")) as provider:
        write_project(tmp_path, provider.openai_url)
        status, seen = _on_terminal("run", "Hi", "-q", folder=tmp_path, **KEY)

    assert status == 0
    assert seen == "\\x1b[2J\\x1b]0;owned\\x07 [bold]done[/bold]\r\n"


@pytest.mark.parametrize(("typed", "status"), [(b"y\n", 0), (b"n\n", 2)])
def test_project_file_is_asked_about(tmp_path: Path, typed: bytes, status: int) -> None:
    (tmp_path / "agentkit.toml").write_text(
        '[agent]\nmodels = ["local:pocket"]\ntools = ["agentkit.demo:tools"]\n', "utf-8"
    )

    first, seen = _on_terminal("run", "play some jazz", folder=tmp_path, typed=typed)
    again, _ = _on_terminal("run", "play some jazz", folder=tmp_path, typed=b"n\n")

    assert "import and run code: tools agentkit.demo:tools" in seen
    assert first == status
    assert again == status  # a yes is remembered, a no is asked again


def test_demo_shows_a_growing_table(tmp_path: Path) -> None:
    status, seen = _on_terminal("demo", folder=tmp_path)

    assert status == 0
    assert "Feeling Good" in seen
    assert "21 requests in" in seen
