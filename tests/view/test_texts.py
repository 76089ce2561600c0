"""What was said in a task is on the page only where a checkpoint kept it and somebody asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentkit import Agent
from agentkit.budgets import Ledger
from agentkit.checkpoint import ThreadedSqliteSaver, open_checkpointer
from agentkit.cli import main
from agentkit.view.story import TaskStories
from agentkit.view.texts import CheckpointTexts
from tests.agentkit.telemetry_cases import look, openai_model
from tests.view.ledgers import PLANTED
from tests.wire import Reply, ScriptedProvider, steps

_SCRIPT = steps(
    [
        Reply(tool_calls=[("look", {"q": "x"})]),
        Reply(text=f"it is 42 {PLANTED}"),
        Reply(text="y" * 50_000),
    ]
)


def run_two_tasks(ledger: Ledger, checkpoint: str | None) -> list[str]:
    """Two tasks of one thread: one with a tool call, one that answers at once, at length."""
    saver = None if checkpoint is None else open_checkpointer(checkpoint)
    with ScriptedProvider(_SCRIPT) as server:
        agent = Agent([openai_model(server)], [look], ledger=ledger, checkpoint=saver)
        ids = [agent.run(text, thread_id="t").task_id for text in ("what is x", "and y?")]
    if isinstance(saver, ThreadedSqliteSaver):
        saver.conn.close()
    return ids


def test_each_task_of_a_thread_has_its_own_texts_by_step(tmp_path: Path) -> None:
    ledger, address = Ledger("memory://"), f"sqlite:///{tmp_path}/checkpoints.db"
    first, second = run_two_tasks(ledger, address)
    saver = open_checkpointer(address)
    stories = TaskStories(ledger.store, CheckpointTexts(saver))
    told = stories.of(first)
    assert told is not None
    assert told["texts"] == {
        0: [{"role": "user", "text": "what is x"}],
        1: [
            {"role": "model", "text": 'look({"q": "x"})'},
            {"role": "look", "text": "about x: 42"},
        ],
        2: [{"role": "model", "text": f"it is 42 {PLANTED}"}],
    }
    later = stories.of(second)
    assert later is not None
    texts = later["texts"]
    assert isinstance(texts, dict)
    assert texts[0] == [{"role": "user", "text": "and y?"}]
    assert len(json.dumps(texts)) < 21_000
    assert isinstance(saver, ThreadedSqliteSaver)
    saver.conn.close()


def test_a_task_without_a_checkpoint_has_no_texts(tmp_path: Path) -> None:
    ledger = Ledger("memory://")
    (first, _) = run_two_tasks(ledger, None)
    saver = open_checkpointer(f"sqlite:///{tmp_path}/other.db")
    told = TaskStories(ledger.store, CheckpointTexts(saver)).of(first)
    assert told is not None
    assert told["texts"] == {}
    assert isinstance(saver, ThreadedSqliteSaver)
    saver.conn.close()


@pytest.mark.parametrize("asked", [True, False])
def test_a_file_holds_texts_only_where_they_were_asked_for(
    asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import base64
    import gzip
    import re

    monkeypatch.chdir(tmp_path)
    ledger = Ledger("sqlite:///ledger.db")
    run_two_tasks(ledger, "sqlite:///ledger.checkpoints.db")
    ledger.close()
    extra = ["--contents"] if asked else []
    assert main(["view", "--ledger", "sqlite:///ledger.db", "--out", "r.html", *extra]) == 0
    (block,) = re.findall(r'id="task-data">([^<]*)<', (tmp_path / "r.html").read_text())
    said = gzip.decompress(base64.b64decode(block)).decode()
    assert ("what is x" in said) == asked


def test_without_checkpoints_contents_cannot_be_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Ledger("sqlite:///ledger.db").close()
    status = main(["view", "--ledger", "sqlite:///ledger.db", "--out", "r.html", "--contents"])
    assert status == 2
    assert "--contents reads checkpoints, and there are none here" in capsys.readouterr().err
