"""`agentkit map` and `agentkit run --cache` as a person runs them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.agentkit.command_line import agentkit, write_project
from tests.wire import ScriptedProvider, answer

KEY = {"OPENAI_API_KEY": "sk-test"}


def write_requests(folder: Path, *rows: object) -> str:
    (folder / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    return "in.jsonl"


def test_each_line_gets_a_line_and_a_second_run_costs_nothing(tmp_path: Path) -> None:
    file = write_requests(tmp_path, "one", {"request": "two", "tags": {"feature": "x"}})
    with ScriptedProvider(answer("Twelve.")) as provider:
        write_project(tmp_path, provider.openai_url)
        first = agentkit("map", file, "--name", "n", "--json", folder=tmp_path, env=KEY)
        asked = provider.bill.to_dict()
        again = agentkit("map", file, "--name", "n", "--json", folder=tmp_path, env=KEY)
        assert provider.bill.to_dict() == asked
    assert first.returncode == again.returncode == 0, first.stderr
    rows = [json.loads(line) for line in first.stdout.splitlines()]
    assert sorted(row["index"] for row in rows) == [0, 1]
    assert {row["answer"] for row in rows} == {"Twelve."}
    assert {json.loads(line)["origin"] for line in again.stdout.splitlines()} == {"known"}


def test_a_line_that_is_no_request_is_named(tmp_path: Path) -> None:
    file = write_requests(tmp_path, "one", {"question": "two"})
    with ScriptedProvider(answer("Twelve.")) as provider:
        write_project(tmp_path, provider.openai_url)
        done = agentkit("map", file, folder=tmp_path, env=KEY)
    assert done.returncode == 2
    assert "in.jsonl, line 2" in done.stderr


def test_all_together_keep_to_one_budget(tmp_path: Path) -> None:
    file = write_requests(tmp_path, "one", "two", "three")
    with ScriptedProvider(answer("Twelve.")) as provider:
        write_project(tmp_path, provider.openai_url)
        done = agentkit(
            "map", file, "--total-calls", "2", "--concurrency", "1", folder=tmp_path, env=KEY
        )
    assert done.returncode == 3, done.stderr
    assert "no answer" in done.stderr


def test_a_repeated_request_comes_from_the_cache_of_the_project(tmp_path: Path) -> None:
    with ScriptedProvider(answer("Thirty days.")) as provider:
        rest = '[cache]\naddress = "sqlite:///.agentkit/answers.db"\n'
        write_project(tmp_path, provider.openai_url, rest=rest)
        request = ("run", "How long is the refund period?")
        first = agentkit(*request, folder=tmp_path, env=KEY)
        asked = provider.bill.to_dict()
        second = agentkit(*request, folder=tmp_path, env=KEY)
        assert provider.bill.to_dict() == asked
        agentkit(*request, "--cache", "none", folder=tmp_path, env=KEY)
        assert provider.bill.to_dict() != asked
    assert first.stdout == second.stdout == "Thirty days.\n", first.stderr
    assert "answered from the cache (exact)" in second.stderr
