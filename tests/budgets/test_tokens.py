"""Token counting is tiktoken's own, and needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import time
import timeit
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.budgets import tokens
from agentkit.budgets.margin import TokenMargins
from agentkit.budgets.tokens import (
    EncodingName,
    count_foreign,
    count_text,
    encoding_for_model,
    has_encoding,
    load_encoding,
)

TEXTS = Path(__file__).parents[2] / "benchmarks" / "foreign_texts.json"
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


NASTY = st.text(
    alphabet=st.sampled_from(
        "aZ09 \t\n\r.,;:!?()[]{}\"'<>=/_-+#@\u00a0\u2003\x1c中é，。あア한жß½²́😀\ud800"
    ),
    max_size=60,
)


@pytest.mark.parametrize("name", NAMES)
@given(left=NASTY, right=NASTY)
def test_cutting_at_a_sure_boundary_never_changes_the_tokens(
    name: EncodingName, left: str, right: str
) -> None:
    """What long texts rely on."""
    encode, text = load_encoding(name).encode_ordinary, left + right
    for cut in tokens._SURE_BOUNDARY.finditer(text):
        assert encode(text[: cut.end()]) + encode(text[cut.end() :]) == encode(text)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox, 42 of them; it's 3.14 o'clock.\n  indented\n\n" * 4_000,
        "她说：「你好，世界。」" * 20_000,
        base64.b64encode(bytes(range(256)) * 800).decode(),
        '{"id": 17, "name": "\\u00e9"},' * 8_000,
    ],
    ids=["prose", "chinese", "base64", "json"],
)
def test_long_texts_count_as_tiktoken_counts(name: EncodingName, text: str) -> None:
    assert len(text) > 2 * tokens._CHUNK_CHARS
    assert count_text(text, name) == len(load_encoding(name).encode_ordinary(text))


@pytest.mark.parametrize(
    "unit", ["a", " ", "\n", "\t", "^", "中", "\0", "7", "\n ", "aB", "\ud800"]
)
def test_endless_stretches_never_count_below_tiktoken(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    true = len(load_encoding("o200k_base").encode_ordinary(text))
    assert true <= count_text(text) <= len(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("unit", [" ", "x", "word and word. ", "😀"])
def test_fifty_megabytes_take_seconds_not_minutes(unit: str) -> None:
    text = unit * (50_000_000 // len(unit.encode()))
    began = time.perf_counter()
    assert count_text(text) >= len(text) // 128
    assert time.perf_counter() - began < 60


def test_a_text_seen_before_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a message that comes back at every step of the transcript, and is long " * 400
    expected = count_text(text)
    monkeypatch.setattr(tokens, "_count_chunk", lambda *_: pytest.fail("encoded again"))
    assert count_text(text) == expected


def test_memo_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_MEMO_SIZE", 8)
    monkeypatch.setattr(tokens, "_memo", {})
    for number in range(100):
        count_text(f"{number} " * 100)
        assert len(tokens._memo) <= 8


def test_threads_build_one_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_loaded", {})
    with ThreadPoolExecutor(8) as threads:
        built = {id(found) for found in threads.map(load_encoding, ["cl100k_base"] * 16)}
    assert len(built) == 1


@pytest.mark.parametrize("name", NAMES)
def test_an_encoding_loads_quickly(name: EncodingName) -> None:
    """Under half a second of this process's own time, whatever else the machine does."""
    timer = timeit.Timer(lambda: tokens._build(name), timer=time.process_time)
    assert min(timer.repeat(number=1, repeat=3)) < 0.5


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
        ("ft:gpt-3.5-turbo:acme", "cl100k_base"),
        ("openai:gpt-4o", "o200k_base"),
        ("a model of tomorrow", "o200k_base"),
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


@pytest.mark.parametrize("text", json.loads(TEXTS.read_text(encoding="utf-8")).values())
def test_other_makers_encodings_are_counted_no_lower_than_o200k(text: str) -> None:
    counted, known = count_foreign(text), count_text(text)
    assert counted >= known
    assert (counted == known) == text.isascii()
    assert counted <= len(text.encode()) + known  # no encoding of bytes needs more


@pytest.mark.parametrize(
    ("language", "theirs"),
    [("tamil", 228), ("thai", 191), ("greek", 167), ("arabic", 109), ("russian", 83)],
)
def test_what_claude_2_counted_is_within_the_margin(language: str, theirs: int) -> None:
    """`benchmarks/foreign_tokens.py` counted them."""
    text = json.loads(TEXTS.read_text(encoding="utf-8"))[language]
    bound = TokenMargins().bound(count_foreign(text), model="claude", provider="anthropic")
    assert count_text(text) * 2 < theirs < bound < 3 * theirs


@pytest.mark.parametrize(
    ("model", "provider", "known"),
    [
        ("gpt-5-mini", "openai", True),
        ("o3", "azure", True),
        ("chatgpt-4o-latest", "openai", True),
        ("ft:gpt-4o-mini:acme::x", "openai", True),
        ("openai/gpt-oss-20b", "openai", True),
        ("qwen3-32b", "openai", False),
        ("olmo-2", "openai", False),
        ("gptq-llama", "openai", False),
        ("gpt-5-mini", "anthropic", False),
    ],
)
def test_whose_encoding_is_at_hand(model: str, provider: str, known: bool) -> None:
    assert has_encoding(model, provider) is known
