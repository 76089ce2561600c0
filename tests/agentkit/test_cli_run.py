"""`agentkit run` as a person runs it: a process, files, a provider on loopback."""

from __future__ import annotations

import json
from pathlib import Path

from tests.agentkit.command_line import agentkit, write_project, write_tools
from tests.wire import Reply, ScriptedProvider, always_tool, answer, steps

KEY = {"OPENAI_API_KEY": "sk-test"}
TRUST = {**KEY, "AGENTKIT_TRUST_CONFIG": "1"}


def test_answer_goes_to_stdout_and_the_closing_line_to_stderr(tmp_path: Path) -> None:
    with ScriptedProvider(answer("Twelve.")) as provider:
        write_project(tmp_path, provider.openai_url)
        done = agentkit("run", "How many?", "--budget-usd", "0.05", folder=tmp_path, env=KEY)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "Twelve.\n"
    assert " of $0.05 (" in done.stderr
    assert "frontier 1" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_json_is_one_object_with_the_bill_by_tier(tmp_path: Path) -> None:
    with ScriptedProvider(answer("Twelve.")) as provider:
        write_project(tmp_path, provider.openai_url)
        done = agentkit("run", "How many?", "--json", folder=tmp_path, env=KEY)
        billed = provider.bill.to_dict()

    result = json.loads(done.stdout)
    assert done.stderr == ""
    assert result["outcome"] == "answered"
    assert result["answer"] == "Twelve."
    (tier,) = result["tiers"]
    assert tier["model"] == "openai:gpt-5-mini"
    assert tier["calls"] == 1
    assert tier["cost_usd"] == result["cost_usd"]
    assert tier["usage"]["output_tokens"] > 0
    assert billed


def test_flags_override_the_project_file(tmp_path: Path) -> None:
    with ScriptedProvider(answer("Twelve.")) as provider:
        write_project(tmp_path, provider.openai_url, rest="[budget]\nusd = '5'\ncalls = 9\n")
        done = agentkit("run", "How many?", "--budget-usd", "0.25", folder=tmp_path, env=KEY)

    assert "of $0.25" in done.stderr
    assert "1 of 9 calls" in done.stderr


def test_a_paid_run_without_limits_has_one_dollar(tmp_path: Path) -> None:
    with ScriptedProvider(answer("Twelve.")) as provider:
        write_project(tmp_path, provider.openai_url)
        done = agentkit("run", "How many?", folder=tmp_path, env=KEY)

    assert "of $1 (" in done.stderr


def test_project_file_of_a_folder_above_is_found(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    with ScriptedProvider(answer("Twelve.")) as provider:
        write_project(tmp_path, provider.openai_url)
        done = agentkit("run", "How many?", folder=deep, env=KEY)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".agentkit" / "ledger.db").exists()
    assert (tmp_path / ".agentkit" / ".gitignore").read_text() == "*\n"


def test_tools_of_the_folder_are_called(tmp_path: Path) -> None:
    write_tools(tmp_path)
    script = steps([Reply(tool_calls=[("stock", {"item": "pens"})]), Reply(text="12 pens.")])
    with ScriptedProvider(script) as provider:
        write_project(tmp_path, provider.openai_url)
        done = agentkit("run", "pens?", "-t", "shop:everything", folder=tmp_path, env=KEY)

    assert done.stdout == "12 pens.\n"
    assert "tools from shop:everything" in done.stderr
    assert "frontier 2" in done.stderr


def test_quiet_prints_the_answer_alone(tmp_path: Path) -> None:
    with ScriptedProvider(answer("Twelve.")) as provider:
        write_project(tmp_path, provider.openai_url)
        done = agentkit("run", "How many?", "-q", folder=tmp_path, env=KEY)

    assert (done.stdout, done.stderr) == ("Twelve.\n", "")


def test_request_can_come_from_stdin(tmp_path: Path) -> None:
    with ScriptedProvider() as provider:  # repeats the request
        write_project(tmp_path, provider.openai_url)
        done = agentkit("run", "-", folder=tmp_path, env=KEY, stdin="piped words")

    assert done.stdout == "piped words\n"


def test_used_up_budget_lands_with_status_3(tmp_path: Path) -> None:
    write_tools(tmp_path)
    with ScriptedProvider(always_tool("stock", {"item": "x"}, otherwise="12 so far.")) as provider:
        write_project(tmp_path, provider.openai_url)
        done = agentkit(
            "run", "count", "-t", "shop:stock", "--budget-calls", "4", folder=tmp_path, env=KEY
        )

    assert done.returncode == 3
    assert done.stdout == "12 so far.\n"
    assert "landed: " in done.stderr


def test_failing_provider_is_status_1(tmp_path: Path) -> None:
    with ScriptedProvider(answer("never"), api_key="another") as provider:
        write_project(tmp_path, provider.openai_url)
        done = agentkit("run", "How many?", folder=tmp_path, env=KEY)

    assert done.returncode == 1
    assert done.stdout == ""
    assert "failed: " in done.stderr
    assert "Traceback" not in done.stderr


def test_trace_file_gets_the_spans(tmp_path: Path) -> None:
    with ScriptedProvider(answer("Twelve.")) as provider:
        write_project(tmp_path, provider.openai_url)
        agentkit("run", "How many?", "--trace", "spans.jsonl", folder=tmp_path, env=KEY)

    names = [
        json.loads(line)["name"] for line in (tmp_path / "spans.jsonl").read_text().splitlines()
    ]
    assert "chat gpt-5-mini" in names
    assert "invoke_workflow agent" in names


def test_pocket_model_works_with_the_tools_of_the_demo(tmp_path: Path) -> None:
    done = agentkit(
        "run", "play something by Nina Simone", "-m", "local:pocket", "-t", "agentkit.demo:tools",
        folder=tmp_path,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "Feeling Good" in done.stdout
    assert "$0 · local 1" in done.stderr


def test_escalates_to_the_dearer_tier(tmp_path: Path) -> None:
    with ScriptedProvider(answer("A cat sat down.")) as provider:
        write_project(tmp_path, provider.openai_url)
        done = agentkit(
            "run", "write a short poem about my cat", "-m", "local:pocket",
            "-m", "openai:gpt-5-mini", "-t", "agentkit.demo:tools",
            folder=tmp_path, env=KEY,
        )  # fmt: skip

    assert done.stdout == "A cat sat down.\n"
    assert "local 1 / frontier 1" in done.stderr


def test_tags_and_scope_are_kept(tmp_path: Path) -> None:
    with ScriptedProvider(answer("Twelve.")) as provider:
        write_project(
            tmp_path, provider.openai_url, rest='[task]\nscope = "acme"\ntags = { team = "a" }\n'
        )
        agentkit("run", "How many?", "--tag", "feature=count", folder=tmp_path, env=KEY)
        listed = agentkit("tasks", "--json", folder=tmp_path)

    (task,) = json.loads(listed.stdout)
    assert task["scope"] == "acme"
    assert task["tags"] == {"team": "a", "feature": "count"}
