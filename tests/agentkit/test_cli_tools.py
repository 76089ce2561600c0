"""`agentkit tools`: list, search and explain, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkit.cli import main

MODULE = '''"""Tools of a test."""

from langchain_core.tools import StructuredTool

SUBJECTS = ("weather", "train", "currency", "recipe", "translation", "invoice", "parcel", "music")
VERBS = ("find", "create", "delete", "update", "export", "share", "rename", "archive")


def _tool(verb, subject):
    def run(item: str, count: int = 1, note: str = "") -> str:
        return item

    return StructuredTool.from_function(
        run, name=f"{verb}_{subject}", description=f"{verb.capitalize()} a {subject} by its title."
    )


many = [_tool(verb, subject) for verb in VERBS for subject in SUBJECTS]
few = many[:3]
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with a module of tools whose name no other test uses."""
    (tmp_path / "toolshed.py").write_text(MODULE, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["tools", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_list_shows_what_definitions_take(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "list", "--tools", "toolshed:few")
    assert [each["name"] for each in found["tools"]] == [
        "find_weather",
        "find_train",
        "find_currency",
    ]
    assert found["tokens"] == sum(each["tokens"] for each in found["tools"])
    assert all(0 < each["compact_tokens"] < each["tokens"] for each in found["tools"])


def test_explain_says_that_few_tools_are_all_offered(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "explain", "will it rain?", "--tools", "toolshed:few")
    assert found["offers_all"]
    assert len(found["offered"]) == 3
    assert found["tokens"] == found["tokens_of_all"]


def test_explain_says_what_a_request_gets_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("explain", "export the invoice of March", "--tools", "toolshed:many")
    found = told(capsys, *asked, "--tool-tokens", "900", "--limit", "4")
    assert not found["offers_all"]
    assert found["offered"][:2] == ["find_tools", "call_tool"]
    assert "export_invoice" in found["offered"]
    assert len(found["offered"]) <= 6
    assert found["tokens"] < found["tokens_of_all"] / 3
    best = found["matches"][0]
    assert best["name"] == "export_invoice"
    assert {"export", "invoic"} <= set(best["shared_words"])
    assert best["semantic"] > 0
    assert best["lexical"] > 0
    assert 0 < best["chance"] < 1
    assert told(capsys, *asked, "--tool-tokens", "900", "--limit", "4")["hash"] == found["hash"]


def test_explain_for_people_marks_what_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["tools", "explain", "export the invoice", "--tools", "toolshed:many"]
    assert main([*asked, "--tool-tokens", "900"]) == 0
    text = capsys.readouterr().out
    assert "export_invoice" in text
    assert "offered:" in text


def test_search_finds_the_nearest_however_little_fits(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(
        capsys, "search", "why is the sky blue?", "--tools", "toolshed:many", "--limit", "3"
    )
    assert len(found) == 3


@pytest.mark.parametrize(
    ("arguments", "told_of"),
    [
        (["explain", " ", "--tools", "toolshed:few"], "empty"),
        (["search", "x"], "no tools are named"),
        (["list", "--tools", "toolshed:fewer"], "did you mean 'few'"),
        (["list", "--tools", "nowhere:few"], "nowhere"),
    ],
)
def test_bad_input_is_named(
    capsys: pytest.CaptureFixture[str], arguments: list[str], told_of: str
) -> None:
    assert main(["tools", *arguments]) == 2
    assert told_of in capsys.readouterr().err


def test_the_project_file_says_how_tools_are_offered(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "agentkit.toml").write_text(
        '[agent]\ntools = ["toolshed:many"]\n\n'
        '[provisioning]\ncore = ["share_music"]\nlimit = 2\nlimit_tokens = 900\nlater = "never"\n'
    )
    found = told(capsys, "explain", "export the invoice of March", "--trust-config")
    assert "share_music" in found["offered"]
    assert len(found["offered"]) == 3
    more = told(capsys, "explain", "export the invoice", "--trust-config", "--limit", "5")
    assert len(more["offered"]) == 6


@pytest.mark.parametrize(
    ("line", "told_of"),
    [
        ('core = ["sing"]', "sing"),
        ("limit = 0", "limit"),
        ("limit_tokens = [900, -1]", "limit_tokens"),
        ('later = "soon"', "later"),
        ("tokens = 900", "limit_tokens"),
    ],
)
def test_what_the_project_file_cannot_mean_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], line: str, told_of: str
) -> None:
    (folder / "agentkit.toml").write_text(
        f'[agent]\ntools = ["toolshed:many"]\n\n[provisioning]\n{line}\n'
    )
    assert main(["tools", "explain", "export the invoice", "--trust-config"]) in (1, 2)
    assert told_of in capsys.readouterr().err


def test_the_index_is_kept_between_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = ("explain", "export the invoice", "--tools", "toolshed:many", "--tool-tokens", "900")
    first = told(capsys, *asked)
    (kept,) = (tmp_path / "cache" / "agentkit" / "tools").glob("tools-*.npz")
    made_at = kept.stat().st_ino
    assert told(capsys, *asked) == first
    assert kept.stat().st_ino == made_at


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    asked = ("explain", "export the invoice", "--tools", "toolshed:many", "--tool-tokens", "900")
    assert "export_invoice" in told(capsys, *asked)["offered"]
