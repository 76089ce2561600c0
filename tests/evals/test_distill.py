"""Recorded tasks as fine-tuning files: what is in them, what is left out, what is taken out."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import Agent
from agentkit.budgets.journal_query import JournalFilter
from agentkit.budgets.ledger import Ledger
from agentkit.checkpoint import ThreadedSqliteSaver, open_checkpointer
from agentkit.errors import ConfigError
from agentkit.evals.distill import Distillation, Distilled, distill
from agentkit.evals.redaction import Redactor
from agentkit.result import TaskResult
from tests.agentkit.command_line import agentkit
from tests.scripted import ScriptedModel, call, in_turn

RESOLVED = JournalFilter(outcome="resolved")


def lookup(order: str) -> str:
    """Look an order up."""
    return f"order {order} of ann@example.org, +49 30 1234567"


class Recorded:
    """An agent whose tasks leave checkpoints in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger(f"sqlite:///{folder}/ledger.db")
        self.saver = open_checkpointer(f"sqlite:///{folder}/ledger.checkpoints.db")
        self.schemas: tuple[Any, ...] = ()

    def run(
        self, request: str, *, resolved: bool = True, keep: bool = True, **more: Any
    ) -> TaskResult:
        model = ScriptedModel(script=in_turn(call("lookup", order="W1"), f"done: {request}"))
        agent = Agent(
            [model], [lookup], ledger=self.ledger, checkpoint=self.saver if keep else None,
            check=lambda result: resolved,
        )  # fmt: skip
        self.schemas = agent.catalogue.openai_schemas()
        return agent.run(request, **more)

    def distill(self, **more: Any) -> tuple[Distilled, list[dict[str, Any]], list[dict[str, Any]]]:
        plan = Distillation(**{"where": RESOLVED, "tools_of": lambda task: self.schemas, **more})
        out = self.folder / "out"
        found = distill(plan, store=self.ledger.store, saver=self.saver, folder=out, force=True)
        return found, _lines(out / "train.jsonl"), _lines(out / "validation.jsonl")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    made = Recorded(tmp_path)
    yield made
    made.ledger.close()
    assert isinstance(made.saver, ThreadedSqliteSaver)
    made.saver.conn.close()


def test_a_resolved_task_is_a_conversation_with_its_tools(recorded: Recorded) -> None:
    recorded.run("where is W1?")
    _, lines, held = recorded.distill(system="Be brief.", validation=0)
    (example,) = lines
    roles = [message["role"] for message in example["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant"]
    (made,) = example["messages"][2]["tool_calls"]
    assert json.loads(made["function"]["arguments"]) == {"order": "W1"}
    assert example["messages"][3]["tool_call_id"] == made["id"]
    assert example["tools"][0]["function"]["name"] == "lookup"
    assert held == []


def test_only_what_is_meant_becomes_an_example(recorded: Recorded) -> None:
    recorded.run("one")
    recorded.run("two", resolved=False)
    recorded.run("three", tags={"feature": "refunds"})
    assert recorded.distill()[0].tasks == 2
    tagged = JournalFilter(outcome="resolved", tags={"feature": "refunds"})
    assert recorded.distill(where=tagged)[0].tasks == 1


def test_the_same_conversation_is_kept_once(recorded: Recorded) -> None:
    for _ in range(3):
        recorded.run("where is W1?")
    found, lines, _ = recorded.distill(validation=0)
    assert (len(lines), found.left_out) == (1, {"duplicate": 2})


def test_a_task_whose_tools_nobody_knows_is_left_out_and_told(recorded: Recorded) -> None:
    recorded.run("where is W1?")
    found, lines, _ = recorded.distill(tools_of=lambda task: ())
    assert (lines, found.left_out) == ([], {"unknown tools": 1})


def test_without_contents_there_is_a_clear_answer(recorded: Recorded) -> None:
    recorded.run("one", keep=False)
    with pytest.raises(ConfigError, match="holds no texts"):
        recorded.distill()
    recorded.run("two")
    assert recorded.distill()[0].left_out == {"no contents": 1}


def test_earlier_turns_are_shown_and_not_learned(recorded: Recorded) -> None:
    recorded.run("one", thread_id="chat")
    recorded.run("two", thread_id="chat")
    _, lines, _ = recorded.distill(validation=0)
    first, second = sorted(lines, key=lambda example: len(example["messages"]))
    assert [m["role"] for m in first["messages"]].count("user") == 1
    answers = [m for m in second["messages"] if m["role"] == "assistant"]
    assert [m.get("weight") for m in answers] == [0, 0, None, None]
    assert second["messages"][-1]["content"] == "done: two"


def test_a_request_is_always_in_the_same_part(recorded: Recorded) -> None:
    for number in range(16):
        recorded.run(f"where is order {number}?")
    _, train, held = recorded.distill(validation=0.3)
    again = recorded.distill(validation=0.3)
    assert (train, held) == again[1:]
    assert 0 < len(held) < len(train)
    asked = [{example["messages"][0]["content"] for example in part} for part in (train, held)]
    assert not asked[0] & asked[1]


def test_what_names_somebody_is_marked_alike(recorded: Recorded) -> None:
    recorded.run("write to ann@example.org and bob@example.org")
    found, lines, _ = recorded.distill(validation=0)
    text = json.dumps(lines)
    assert "example.org" not in text
    assert "1234567" not in text
    said = [message["content"] for message in lines[0]["messages"]]
    assert said[0] == "write to [EMAIL_1] and [EMAIL_2]"
    assert "[EMAIL_1]" in said[2]  # the tool's observation named the first one again
    assert found.redacted["email"] == 5


def test_files_are_their_owners_and_not_written_over(recorded: Recorded, tmp_path: Path) -> None:
    recorded.run("one")
    recorded.distill()
    out = tmp_path / "out"
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o600}
    plan = Distillation(where=RESOLVED)
    with pytest.raises(ConfigError, match="--force"):
        distill(plan, store=recorded.ledger.store, saver=recorded.saver, folder=out)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mail a.b+c@mail.example.co.uk now", "mail [EMAIL_1] now"),
        ("call +1 (555) 010-9999 or 0049 30 1234567", "call [PHONE_1] or [PHONE_2]"),
        ("card 4111 1111 1111 1111", "card [CARD_1]"),
        ("key sk-abcdefghijklmnop1234", "key [KEY_1]"),
        ("Bearer abcdefghijklmnopqrst", "[KEY_1]"),
        ("AKIAABCDEFGHIJKLMNOP", "[KEY_1]"),
        ("on 2026-11-25 12:30 order 100200300", "on 2026-11-25 12:30 order 100200300"),
        ("version 1.2.3.4, 3.14159265358979", "version 1.2.3.4, 3.14159265358979"),
        ("a@b and @handle", "a@b and @handle"),
    ],
)
def test_a_text_is_redacted(text: str, told: str) -> None:
    assert Redactor().text(text) == told


def test_own_patterns_come_first_and_may_not_hang() -> None:
    redactor = Redactor([r"W\d+", r"(?i)acme"])
    assert (
        redactor.text("order W123 of Acme, W123") == "order [PRIVATE_1] of [PRIVATE_2], [PRIVATE_1]"
    )
    assert redactor.value({"id": ["W9"], "n": 3, "ok": True}) == {
        "id": ["[PRIVATE_3]"],
        "n": 3,
        "ok": True,
    }
    with pytest.raises(ConfigError, match="pattern"):
        Redactor(["("])
    with pytest.raises(ConfigError, match="takes too long"):
        Redactor([r"^(a|a|b?a)*$|(a+)+$"]).text("a" * 60 + "!")


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=200))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    redactor = Redactor()
    once = redactor.text(text)
    assert redactor.text(once) == once


def test_the_command_writes_the_files(recorded: Recorded, tmp_path: Path) -> None:
    recorded.run("where is W1?")
    recorded.run("where is W2?")
    tools = tmp_path / "shop.py"
    tools.write_text(
        'def lookup(order: str) -> str:\n    """Look an order up."""\n    return order\n'
    )
    done = agentkit(
        "export", "distill", "--out", "distilled", "--ledger", "sqlite:///ledger.db",
        "--tools", "shop:lookup", "--validation", "0", "--json", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["examples"] == {"train": 2, "validation": 0}
    assert len(_lines(tmp_path / "distilled" / "train.jsonl")) == 2


def test_the_command_says_where_contents_would_be(recorded: Recorded, tmp_path: Path) -> None:
    recorded.run("one")
    done = agentkit(
        "export", "distill", "--out", "d", "--ledger", "sqlite:///ledger.db",
        "--checkpoint", "sqlite:///nothing.db", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "only they hold what was said" in done.stderr
