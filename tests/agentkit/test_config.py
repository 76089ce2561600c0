"""agentkit.toml: found, checked, and refused with the nearest valid name."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit.config import Project, find_project, read_project
from agentkit.errors import ConfigError


def _read(folder: Path, text: str) -> Project:
    path = folder / "agentkit.toml"
    path.write_text(text, "utf-8")
    return read_project(path, folder=folder)


def test_whole_file_is_read(tmp_path: Path) -> None:
    project = _read(
        tmp_path,
        """
        [agent]
        models = ["local:pocket", "openai:gpt-5-mini"]
        tools = ["shop:tools"]
        system = "Be brief."
        name = "shop"
        max_steps = 20
        [task]
        scope = "acme/shop"
        tags = { feature = "orders" }
        [budget]
        usd = "0.05"
        tokens = 40_000
        thresholds = [0.5, 1.0]
        [ledger]
        address = "sqlite:///ledger.db"
        [checkpoint]
        address = "none"
        [trace]
        to = "spans.jsonl"
        [prices]
        file = "prices.toml"
        [models."openai:gpt-5-mini"]
        base_url = "http://127.0.0.1:8000/v1"
        max_tokens = 500
        """,
    )

    assert project.agent.models == ("local:pocket", "openai:gpt-5-mini")
    assert str(project.budget.usd) == "0.05"
    assert project.task.tags == {"feature": "orders"}
    assert project.models["openai:gpt-5-mini"]["max_tokens"] == 500
    assert project.folder == tmp_path.resolve()


def test_empty_file_is_all_defaults(tmp_path: Path) -> None:
    project = _read(tmp_path, "")

    assert project.agent.models == ()
    assert project.budget.model_dump(exclude_none=True) == {}


def test_no_file_is_all_defaults(tmp_path: Path) -> None:
    project = read_project(None, folder=tmp_path)

    assert project.path is None
    assert project.folder == tmp_path.resolve()


def test_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert _read(tmp_path, "\ufeff[agent]\nname = 'n'\n").agent.name == "n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[agnt]\n", "there is no [agnt]; did you mean 'agent'?"),
        ("[agent]\nmodles = []\n", "[agent] has no key 'modles'; did you mean 'models'?"),
        ("[budget]\ntoken = 3\n", "[budget] has no key 'token'; did you mean 'tokens'?"),
        ("[trace]\nwhither = 'x'\n", "[trace] has no key 'whither'; known: "),
        ("usd = 3\n", "'usd' belongs into [budget]"),
        ("agent = 3\n", "agent is a table; write [agent]"),
        ("models = ['local:pocket']\n", "models is a table"),
        ("[models]\nbase_url = 'x'\n", "[models] holds one table a model"),
        ("[budget]\ntokens = 'many'\n", "[budget] tokens: Input should be a valid integer"),
        ("[agent]\nmax_steps = 0\n", "[agent] max_steps: "),
        ("[agent]\nmodels = 'local:pocket'\n", "[agent] models: "),
        ("[budget]\nunknown_price = 'guess'\n", "[budget] unknown_price: "),
        ("[agent\n", "cannot be read"),
        ("path = '/etc'\n", "there is no [path]"),
    ],
)
def test_mistake_is_refused_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _read(tmp_path, text)

    assert told in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "sk-live-1"',
        'openai_api_key = "x"',
        'token = "x"',
        'auth_token = "x"',
        'secret = "x"',
        'default_headers = { Authorization = "Bearer abc" }',
        'default_headers = { "x-api-key" = "abc" }',
        'extra_body = { anything = "sk-live-1" }',
    ],
)
def test_key_in_the_file_is_refused_and_not_repeated(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match="keys do not belong in a project file") as caught:
        _read(tmp_path, f'[models."openai:gpt-5-mini"]\n{line}\n')

    assert "abc" not in str(caught.value)
    assert "sk-live-1" not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["max_tokens", "kv_tokens", "max_completion_tokens", "top_logprobs"]
)
def test_counts_of_tokens_are_no_keys(tmp_path: Path, key: str) -> None:
    project = _read(tmp_path, f'[models."local:pocket"]\n{key} = 5\n')

    assert project.models["local:pocket"] == {key: 5}


def test_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="over 1 MB"):
        _read(tmp_path, "#" * 1_000_001)


def test_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "agentkit.toml"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ConfigError, match="cannot be read"):
        read_project(path, folder=tmp_path)


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        _read(tmp_path, "x = " + "[" * 50_000)


def test_nearest_file_wins(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "agentkit.toml").touch()
    (tmp_path / "a" / "agentkit.toml").touch()

    assert find_project(deep) == (tmp_path / "a" / "agentkit.toml").resolve()


def test_file_of_another_user_above_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    planted = tmp_path.resolve() / "agentkit.toml"
    planted.touch()
    real_stat = Path.stat

    class Stat:
        st_uid = 4242
        st_mode = real_stat(planted).st_mode

    def stat(self: Path, *, follow_symlinks: bool = True) -> object:
        found = real_stat(self, follow_symlinks=follow_symlinks)
        return Stat() if self == planted else found

    assert find_project(mine) == planted
    monkeypatch.setattr(Path, "stat", stat)
    assert find_project(mine) is None
