"""Token counting is tiktoken's own, and needs no network."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import time
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.budgets.tokens import EncodingName, count_text, encoding_for_model, load_encoding

NAMES = get_args(EncodingName)
# What tiktoken_ext.openai_public expects of the raw tables.
EXPECTED = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}


@pytest.mark.parametrize("name", NAMES)
def test_packed_table_is_the_one_that_tiktoken_expects(name: EncodingName) -> None:
    ranks = load_encoding(name)._mergeable_ranks
    lines = b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())
    assert hashlib.sha256(lines).hexdigest() == EXPECTED[name]


@pytest.mark.parametrize("name", NAMES)
def test_pattern_and_special_tokens_are_tiktokens(
    name: EncodingName, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiktoken_ext.openai_public as published

    monkeypatch.setattr(published, "load_tiktoken_bpe", lambda *_, **__: {})
    definition = getattr(published, name)()
    assert load_encoding(name)._pat_str == definition["pat_str"]
    assert load_encoding(name)._special_tokens == definition["special_tokens"]


@given(st.text(max_size=400))
def test_short_texts_count_as_tiktoken_counts(text: str) -> None:
    encoding = load_encoding("o200k_base")
    sendable = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert count_text(text) == len(encoding.encode_ordinary(sendable))


def test_special_tokens_and_lone_surrogates_are_plain_text() -> None:
    assert count_text("<|endoftext|>") > 1
    assert count_text("\ud800") >= 1


@pytest.mark.parametrize("text", ["a" * 200_000, " " * 200_000, "\n" * 200_000, "ab c\n" * 40_000])
def test_long_texts_never_count_below_tiktoken(text: str) -> None:
    pieces = [text[start : start + 20_000] for start in range(0, len(text), 20_000)]
    whole = sum(len(load_encoding("o200k_base").encode_ordinary(piece)) for piece in pieces)
    assert count_text(text) >= whole - len(pieces)


def test_a_run_of_ten_million_characters_takes_seconds_not_minutes() -> None:
    began = time.perf_counter()
    assert count_text("x" * 10_000_000) > 1_000_000
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4.1-mini", "o200k_base"),
        ("gpt-5-mini", "o200k_base"),
        ("o3", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("claude-sonnet-4-5", "o200k_base"),
    ],
)
def test_encoding_for_model(model: str, encoding: str) -> None:
    assert encoding_for_model(model) == encoding


def test_counts_without_network_or_cache_in_a_new_process(tmp_path: object) -> None:
    code = (
        "import socket, sys\n"
        "socket.socket.connect = lambda *_: sys.exit('tried to connect')\n"
        "from agentkit.budgets.tokens import count_text\n"
        "assert 'tiktoken' not in sys.modules\n"
        "print(count_text('hello world'))\n"
    )
    env = {"TIKTOKEN_CACHE_DIR": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert (done.stdout.strip(), done.returncode) == ("2", 0), done.stderr
