"""Ctrl-C in the middle: settled, status 130, and `agentkit resume` goes on."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.agentkit.command_line import (
    COMMAND,
    agentkit,
    environment,
    write_project,
    write_tools,
)
from tests.wire import Reply, ScriptedProvider, WireRequest, answer, steps

KEY = {"OPENAI_API_KEY": "sk-test"}
_WAIT_SECONDS = 40


class _StuckOnce:
    """Calls a tool, then says nothing for long; the second time it answers."""

    def __init__(self) -> None:
        self.stuck = False

    def __call__(self, request: WireRequest) -> Reply:
        if request.tool_turns == 0:
            return Reply(tool_calls=[("stock", {"item": "pens"})])
        if not self.stuck:
            self.stuck = True
            return Reply(text="too late", delay_seconds=120)
        return Reply(text="12 pens.")


def _interrupt(
    provider: ScriptedProvider,
    folder: Path,
    *arguments: str,
    requests: int,
    number: int = signal.SIGINT,
    env: Mapping[str, str] = KEY,
) -> subprocess.CompletedProcess[str]:
    """Start the command, and signal it once the provider has seen so many requests."""
    with subprocess.Popen(
        [COMMAND, *arguments],
        cwd=folder,
        env=environment(folder, **env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        _wait_until(lambda: len(provider.requests) >= requests or process.poll() is not None)
        time.sleep(0.2)  # the client waits for the answer by now
        process.send_signal(number)
        out, err = process.communicate(timeout=_WAIT_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _wait_until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + _WAIT_SECONDS
    while not done():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tools(tmp_path)
    return tmp_path


def test_interrupted_run_is_settled_and_goes_on(folder: Path) -> None:
    with ScriptedProvider(_StuckOnce()) as provider:
        write_project(folder, provider.openai_url)
        cut = _interrupt(provider, folder, "run", "pens?", "-t", "shop:stock", requests=2)

        assert cut.returncode == 130, cut.stderr
        assert "Traceback" not in cut.stderr
        (command,) = [line for line in cut.stderr.splitlines() if line.startswith("go on with: ")]
        (before,) = json.loads(agentkit("tasks", "--json", folder=folder).stdout)
        assert before["outcome"] == "cancelled"
        assert before["unconfirmed_nusd"] > 0  # the cut call is charged at its worst case

        _, *again = shlex.split(command.removeprefix("go on with: "))
        done = agentkit(*again, folder=folder, env=KEY)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "12 pens.\n"
    (after,) = json.loads(agentkit("tasks", "--json", folder=folder).stdout)
    assert after["task_id"] == before["task_id"]
    assert after["outcome"] == "answered"
    assert after["cost_nusd"] > before["cost_nusd"]


def test_interrupted_json_run_is_one_object(folder: Path) -> None:
    with ScriptedProvider(_StuckOnce()) as provider:
        write_project(folder, provider.openai_url)
        cut = _interrupt(provider, folder, "run", "pens?", "-t", "shop:stock", "--json", requests=2)

    told = json.loads(cut.stdout)
    assert cut.returncode == 130
    assert told["error"]["type"] == "Interrupted"
    assert told["resume"].startswith("agentkit resume ")


def test_without_checkpoints_it_says_that_it_cannot_go_on(folder: Path) -> None:
    with ScriptedProvider(_StuckOnce()) as provider:
        write_project(folder, provider.openai_url)
        cut = _interrupt(
            provider, folder, "run", "pens?", "-t", "shop:stock", "--checkpoint", "none", requests=2
        )

    assert cut.returncode == 130
    assert "it cannot be resumed" in cut.stderr
    assert "go on with" not in cut.stderr


def test_polite_kill_settles_too(folder: Path) -> None:
    with ScriptedProvider(_StuckOnce()) as provider:
        write_project(folder, provider.openai_url)
        cut = _interrupt(
            provider, folder, "run", "pens?", "-t", "shop:stock", requests=2, number=signal.SIGTERM
        )

    assert cut.returncode == 130
    (task,) = json.loads(agentkit("tasks", "--json", folder=folder).stdout)
    assert task["outcome"] == "cancelled"


def test_finished_task_is_not_resumed(folder: Path) -> None:
    with ScriptedProvider(answer("Twelve.")) as provider:
        write_project(folder, provider.openai_url)
        run = agentkit("run", "How many?", "--json", folder=folder, env=KEY)
        task_id = json.loads(run.stdout)["task_id"]
        done = agentkit("resume", task_id, folder=folder, env=KEY)

    assert done.returncode == 2
    assert "has ended (answered)" in done.stderr


def test_resumed_task_keeps_its_limits(folder: Path) -> None:
    script = steps([Reply(tool_calls=[("stock", {"item": "pens"})]), Reply(delay_seconds=120)])
    with ScriptedProvider(script) as provider:
        write_project(folder, provider.openai_url)
        _interrupt(
            provider, folder, "run", "pens?", "-t", "shop:stock", "--budget-usd", "0.002",
            "--thread", "mine", requests=2,
        )  # fmt: skip
        (task,) = json.loads(agentkit("tasks", "--json", folder=folder).stdout)
    with ScriptedProvider(answer("Done.")) as provider:
        write_project(folder, provider.openai_url)
        done = agentkit("resume", "mine", "-t", "shop:stock", folder=folder, env=KEY)

    assert task["budget"] == {"usd": "0.002"}
    assert "of $0.002 (" in done.stderr


def test_resumed_task_is_extended_for_good(folder: Path) -> None:
    """The limit allows no second call; with five cents more it is made, and stays allowed."""
    script = steps([Reply(tool_calls=[("stock", {"item": "pens"})]), Reply(delay_seconds=120)])
    with ScriptedProvider(script) as provider:
        write_project(folder, provider.openai_url)
        _interrupt(
            provider, folder, "run", "pens?", "-t", "shop:stock", "--budget-calls", "3",
            "--budget-usd", "0.02", "--thread", "mine", requests=2,
        )  # fmt: skip
    resume = ("resume", "mine", "-t", "shop:stock", "--json")
    with ScriptedProvider(answer("Done.")) as provider:
        write_project(folder, provider.openai_url)
        wrong = agentkit(*resume, "--extend-usd", "-1", folder=folder, env=KEY)
        both = agentkit(*resume, "--extend-usd", "1", "--land", folder=folder, env=KEY)
        done = agentkit(
            *resume, "--extend-usd", "0.05", "--extend-calls", "1", folder=folder, env=KEY
        )
    assert (wrong.returncode, both.returncode) == (2, 2)
    assert json.loads(done.stdout)["outcome"] == "answered"
    (task,) = json.loads(agentkit("tasks", "--json", folder=folder).stdout)
    (extension,) = task["extensions"].values()
    assert (extension["nusd"], extension["calls"]) == (50_000_000, 1)


def test_interrupted_map_goes_on_with_the_command_that_it_prints(tmp_path: Path) -> None:
    """The call under way ends and is settled; the second request has not begun."""
    (tmp_path / "in.jsonl").write_text('"one"\n"two"\n', "utf-8")
    with ScriptedProvider(lambda _: Reply(text="12 pens.", delay_seconds=1.5)) as provider:
        write_project(tmp_path, provider.openai_url)
        cut = _interrupt(
            provider, tmp_path, "map", "in.jsonl", "--total-calls", "9", "--budget-calls", "5",
            "--scope", "acme/ops", "--tag", "feature=stock", "--concurrency", "1", requests=1,
        )  # fmt: skip
        assert cut.returncode == 130, cut.stderr
        assert len(provider.requests) == 1
        command = shlex.split(cut.stderr.partition("go on with:")[2])
        assert {"--total-calls=9", "--budget-calls=5", "--scope=acme/ops"} <= set(command)
        assert "--tag=feature=stock" in command
        again = agentkit(*command[1:], "--json", folder=tmp_path, env=KEY)
        assert len(provider.requests) == 2
    assert again.returncode == 0, again.stderr
    rows = [json.loads(line) for line in again.stdout.splitlines()]
    assert [row["origin"] for row in rows] == ["known", "run"]
    assert {row["answer"] for row in rows} == {"12 pens."}
