"""Checkpoints are strict about what they read back."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.serde.jsonplus import EXT_CONSTRUCTOR_POS_ARGS, JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from agentkit import Agent
from agentkit.checkpoint import (
    Checkpointer,
    ThreadedSqliteSaver,
    open_checkpointer,
    strict_serializer,
)
from agentkit.errors import ConfigError
from tests.scripted import ScriptedModel, in_turn


def crafted(module: str, name: str, *arguments: object) -> bytes:
    """A checkpoint blob that asks its reader to call a function."""
    payload = ormsgpack.packb((module, name, arguments))
    return ormsgpack.packb(ormsgpack.Ext(EXT_CONSTRUCTOR_POS_ARGS, payload))


def test_a_crafted_blob_calls_nothing(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    blob = crafted("os", "mkdir", str(touched))
    strict_serializer().loads_typed(("msgpack", blob))
    assert not touched.exists()


def test_the_same_blob_works_on_a_lenient_reader(tmp_path: Path) -> None:
    """So the test above tests something."""
    touched = tmp_path / "touched"
    lenient = JsonPlusSerializer(allowed_msgpack_modules=True)
    lenient.loads_typed(("msgpack", crafted("os", "mkdir", str(touched))))
    assert touched.exists()


@pytest.fixture
def poisoned(tmp_path: Path) -> tuple[str, Path]:
    """A checkpoint file of an interrupted task whose blobs were all replaced; and what they make.

    The published exploit: an ext value that names a function and its arguments.
    """
    address = f"sqlite:///{tmp_path / 'checkpoints.db'}"
    stuck = ScriptedModel(script=in_turn(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        Agent([stuck], checkpoint=address, ledger=f"sqlite:///{tmp_path / 'l.db'}").run(
            "go", thread_id="t"
        )
    touched = tmp_path / "touched"
    blob = crafted("os", "mkdir", str(touched))
    with closing(sqlite3.connect(tmp_path / "checkpoints.db")) as db, db:
        changed = db.execute("UPDATE checkpoints SET type = 'msgpack', checkpoint = ?", (blob,))
        assert changed.rowcount > 0
        assert db.execute("UPDATE writes SET type = 'msgpack', value = ?", (blob,)).rowcount > 0
    return address, touched


def _read_everything(saver: Any) -> None:
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    for read in (lambda: saver.get_tuple(config), lambda: list(saver.list(config))):
        with suppress(Exception):  # what is no checkpoint may be refused in any way
            read()
    saver.conn.close()


def test_opened_checkpointer_calls_nothing_that_a_file_asks_for(
    poisoned: tuple[str, Path], tmp_path: Path
) -> None:
    address, touched = poisoned
    _read_everything(open_checkpointer(address))
    agent = Agent(
        [ScriptedModel(script=in_turn("x"))],
        checkpoint=address,
        ledger=f"sqlite:///{tmp_path / 'l.db'}",
    )
    with suppress(Exception):
        agent.resume("t")
    assert not touched.exists()


def test_a_lenient_checkpointer_calls_what_the_same_file_asks_for(
    poisoned: tuple[str, Path],
) -> None:
    """So the test above tests something."""
    address, touched = poisoned
    connection = sqlite3.connect(address.removeprefix("sqlite:///"), check_same_thread=False)
    lenient = JsonPlusSerializer(allowed_msgpack_modules=True)
    _read_everything(SqliteSaver(connection, serde=lenient))
    assert touched.exists()


async def test_langgraphs_own_conformance_suite_passes(tmp_path: Path) -> None:
    made = itertools.count()

    @checkpointer_test(name="agentkit")
    async def saver() -> AsyncGenerator[Checkpointer, None]:
        opened: Any = open_checkpointer(f"sqlite:///{tmp_path / f'{next(made)}.db'}")
        yield opened
        opened.conn.close()

    report = await validate(saver)  # type: ignore[arg-type]  # the decorator's result
    failures = [each for result in report.results.values() for each in result.failures]
    assert failures == []
    assert report.passed_all_base()
    assert sum(result.tests_passed for result in report.results.values()) >= 58


def test_messages_survive_the_round_trip() -> None:
    serializer = strict_serializer()
    messages = [
        HumanMessage("hi"),
        AIMessage("", tool_calls=[{"name": "t", "args": {"a": 1}, "id": "c"}]),
        ToolMessage("said", tool_call_id="c", status="error"),
    ]
    assert serializer.loads_typed(serializer.dumps_typed(messages)) == messages


@pytest.mark.parametrize("address", ["sqlite://", "sqlite:///", "file.db", "redis://x"])
def test_addresses_that_mean_nothing_are_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="sqlite:///"):
        open_checkpointer(address)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "notes.txt"
    place.write_text("not a database, but long enough to look at " * 50)
    with pytest.raises(ConfigError, match="cannot be opened"):
        open_checkpointer(f"sqlite:///{place}")


def test_speed_may_be_chosen_over_a_power_cut(tmp_path: Path) -> None:
    saver = open_checkpointer(f"sqlite:///{tmp_path / 'c.db'}?synchronous=NORMAL")
    assert isinstance(saver, ThreadedSqliteSaver)
    assert saver.conn.execute("PRAGMA synchronous").fetchone() == (1,)
    saver.conn.close()
    assert (tmp_path / "c.db").exists()


@pytest.mark.parametrize("address", ["sqlite:///c.db?synchronous=OFF", "sqlite:///c.db?fast=1"])
def test_an_option_that_is_not_known_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="synchronous=NORMAL"):
        open_checkpointer(address)
