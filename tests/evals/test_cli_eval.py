"""`agentkit eval` on the command line: what is wrong is told once, and before anything is run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.agentkit.command_line import COMMAND, environment, write_project
from tests.wire import Reply, ScriptedProvider

CASES = 3


@pytest.fixture(autouse=True)
def cases(tmp_path: Path) -> Path:
    path = tmp_path / "cases.jsonl"
    rows = [{"id": f"c{n}", "request": f"say {n}", "expected": str(n)} for n in range(CASES)]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


def evaluate(folder: Path, *more: str) -> tuple[subprocess.CompletedProcess[str], int]:
    """The command, and how many requests the provider had."""
    env = environment(folder, OPENAI_API_KEY="test", AGENTKIT_TRUST_CONFIG="1")
    with ScriptedProvider(lambda request: Reply(text=request.last_text.split()[-1])) as provider:
        write_project(folder, provider.openai_url)
        done = subprocess.run(
            [COMMAND, "eval", "cases.jsonl", *more],
            cwd=folder, env=env, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done, len(provider.requests)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--html", "nowhere/page.html"), "--html nowhere/page.html cannot be written"),
        (("--html", "."), "--html . cannot be written"),
        (("--compare", "nofile.json"), "--compare nofile.json: No such file"),
        (("--compare", "cases.jsonl"), "is no report of"),
        (("--compare", "7"), "--compare 7: there is no such run here"),
        (("--setting", "cascade"), "this run tries"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_asked(
    tmp_path: Path, flags: tuple[str, ...], told: str
) -> None:
    done, requests = evaluate(tmp_path, *flags)
    assert (done.returncode, requests) == (2, 0)
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_grader_that_is_none_is_told_once(tmp_path: Path) -> None:
    done, requests = evaluate(tmp_path, "--grader", "nope")
    assert (done.returncode, requests) == (2, 0)
    assert done.stderr.count("there is no grader 'nope'") == 1


def test_a_run_is_set_beside_the_last_one_by_word_number_and_file(tmp_path: Path) -> None:
    first, asked = evaluate(tmp_path, "--json", "--compare", "last")
    assert (first.returncode, asked) == (0, CASES)
    assert "no run to compare with" in first.stderr
    (tmp_path / "before.json").write_text(first.stdout, "utf-8")
    for wanted, name in (("last", "run 1"), ("1", "run 1"), ("before.json", "before.json")):
        done, _ = evaluate(tmp_path, "--json", "--compare", wanted)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["comparison"]["with_run"] == name


def test_the_table_is_shown_and_the_page_written(tmp_path: Path) -> None:
    done, _ = evaluate(tmp_path, "--html", "page.html")
    assert done.returncode == 0, done.stderr
    assert "100.0%" in done.stdout
    assert "open it in a browser" in done.stderr
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!doctype html>")


def test_why_nothing_was_answered_is_told(tmp_path: Path, cases: Path) -> None:
    tool = {"name": "frobnicate", "parameters": {"type": "object", "properties": {}}}
    case = {"request": "frobnicate", "tools": [tool], "expected": {"name": "frobnicate"}}
    cases.write_text(json.dumps(case), "utf-8")
    done, _ = evaluate(tmp_path, "--model", "local:pocket")
    assert "local:pocket: 1 declined\n" in done.stdout
    assert "1 of them: the pocket model knows none of the offered tools" in done.stdout
