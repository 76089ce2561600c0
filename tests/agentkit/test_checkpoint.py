"""Checkpoints are strict about what they read back."""

from __future__ import annotations

from pathlib import Path

import ormsgpack
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import EXT_CONSTRUCTOR_POS_ARGS

from agentkit.checkpoint import open_checkpointer, strict_serializer
from agentkit.errors import ConfigError


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
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    touched = tmp_path / "touched"
    lenient = JsonPlusSerializer(allowed_msgpack_modules=True)
    lenient.loads_typed(("msgpack", crafted("os", "mkdir", str(touched))))
    assert touched.exists()


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
