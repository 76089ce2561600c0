"""`agentkit cache` lists what is kept, takes reports of wrong hits, and forgets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkit.cli import main
from agentkit.memory.cache import CachePolicy, CacheRequest, ResponseCache
from tests.memory.conftest import WordVectors


@pytest.fixture
def kept(tmp_path: Path) -> tuple[str, str]:
    """The address of a cache with one entry that was hit by meaning, and the hit's id."""
    address = f"sqlite:///{tmp_path / 'cache.db'}"
    cache = ResponseCache(address, embedder=WordVectors(), policy=CachePolicy(threshold=0.5))
    texts = ("reset the router password", "please reset the router password")
    first, second = (CacheRequest(tenant="acme", exact=text, text=text) for text in texts)
    cache.keep(first, "secret", cost_nusd=2_000_000, tags=("feature:faq",), sources=("doc1",))
    hit = cache.look_up(second)
    cache.close()
    assert hit is not None
    return address, hit.hit_id


def _json(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:  # JSON
    capsys.readouterr()
    assert main(["cache", *arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_the_list_tells_savings_and_no_contents_unless_asked(
    kept: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    listed = _json(capsys, "list", "--at", kept[0])
    assert listed["totals"]["hits"] == 1
    assert listed["entries"][0]["saved_usd"] == "0.002000000"
    assert "router" not in json.dumps(listed)
    assert "router" in json.dumps(_json(capsys, "list", "--at", kept[0], "--contents"))
    assert main(["cache", "list", "--at", kept[0]]) == 0
    printed = capsys.readouterr().out
    assert "1 kept" in printed and "saved $0.002000" in printed


def test_a_wrong_hit_raises_the_threshold(
    kept: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _json(capsys, "wrong", kept[1], "--at", kept[0])["threshold_at_least"] > 0.5
    cache = ResponseCache(kept[0], embedder=WordVectors(), policy=CachePolicy(threshold=0.5))
    text = "please reset the router password"
    assert cache.look_up(CacheRequest(tenant="acme", exact=text, text=text)) is None
    cache.close()
    told = _json(capsys, "wrong", "acme:none", "--at", kept[0], status=2)
    assert "no hit" in told["error"]["message"]


def test_forgetting_says_how_many(
    kept: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _json(capsys, "forget", "--at", kept[0], "--tag", "feature:none") == {"forgotten": 0}
    assert _json(capsys, "forget", "--at", kept[0], "--source", "doc1") == {"forgotten": 1}
    assert _json(capsys, "list", "--at", kept[0])["entries"] == []
    assert "--tenant" in _json(capsys, "forget", "--at", kept[0], status=2)["error"]["message"]


def test_looking_makes_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "none.db"
    told = _json(capsys, "list", "--at", f"sqlite:///{path}", status=2)
    assert "there is no cache" in told["error"]["message"]
    assert not path.exists()
    assert "use memory://" in _json(capsys, "list", "--at", "x", status=2)["error"]["message"]
