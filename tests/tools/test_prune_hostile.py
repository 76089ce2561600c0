"""Observations made to do harm: bounded in size, time and depth, whatever they hold."""

import gzip
import json
import random
import time

import pytest

from agentkit.budgets.tokens import count_text
from agentkit.tools.prune import prune
from agentkit.tools.prune.decoding import MAX_INPUT_BYTES
from agentkit.tools.prune.detect import kind_of

BITS = (
    *("[", "{", '{"a":', "}", "]", "<div>", "<a href='", "&#", "<!--", "| ", ",", "\r", "x=", "…"),
    *("\\n", "\\u00", "'", '"', "at ", "- ", "a", "/", "0", "1.", "_", "@", "data:a/b,", "A1b"),
    *("\ud800", "\0", "│ ", "é", "名", "\u2028", "TextContent(type='text', ", "text='", "\n"),
)


@pytest.mark.parametrize("bit", BITS, ids=ascii)
def test_one_thing_over_and_over_takes_little_time(bit: str) -> None:
    """200 kB; a pattern that backtracks over it would take minutes."""
    prune("load")
    began = time.perf_counter()
    found = prune(bit * (200_000 // len(bit)), query="order 17", max_tokens=60)
    assert time.perf_counter() - began < 1.5  # measured: under 0.1 s
    assert found.failure is None
    assert count_text(found.text) <= 60


@pytest.mark.parametrize(
    "bit", ["-", "- ", "|-", "a/", "a-", "1-", "\n", "const ", ")", "\\", "a,"]
)
def test_detection_does_not_backtrack(bit: str) -> None:
    began = time.perf_counter()
    kind_of("\n".join([bit * 249 + "!"] * 60))
    kind_of(bit * 10_000 + "!")
    assert time.perf_counter() - began < 0.5  # measured: under 0.02 s


def test_fuzzed_observations_never_raise_nor_break_the_bound() -> None:
    rng = random.Random(17)
    for _ in range(400):
        text = "".join(rng.choice(BITS) for _ in range(rng.randrange(1, 600)))
        found = prune(text, query="order a 0", max_tokens=40)
        assert count_text(found.text) <= 40
        assert found.text.encode().decode() == found.text


def test_broken_documents_never_raise() -> None:
    rng = random.Random(19)
    whole = [
        json.dumps({"rows": [{"id": n, "s": "x" * 20} for n in range(200)], "t": {"u": [1, [2]]}}),
        "<html><body>" + "<table><tr><td>1<td><p>two</table>" * 100,
        "\n".join(f"2026-01-01 10:00:00 INFO line {n}" for n in range(200)),
        "id,name\n" + "\n".join(f'{n},"na""me"' for n in range(200)),
    ]
    for _ in range(200):
        text = rng.choice(whole)
        start = rng.randrange(len(text))
        broken = text[: start // 2] + rng.choice(BITS) + text[start:]
        assert prune(broken, max_tokens=80).failure is None


@pytest.mark.parametrize("opening", ["[", '{"a":', "<div>", "<ul><li>", "("])
def test_deep_nesting_is_bounded(opening: str) -> None:
    found = prune(opening * 300_000, max_tokens=50)
    assert found.failure is None
    assert count_text(found.text) <= 50


def test_json_deeper_than_is_shown_is_described() -> None:
    value: object = 1
    for _ in range(300):
        value = {"a": value}
    assert "too deep" in prune(json.dumps(value), max_tokens=300).text


def test_numbers_of_a_million_digits_are_text() -> None:
    found = prune("[" + "1" * 1_000_000 + "]", max_tokens=50)
    assert count_text(found.text) <= 50


def test_compressed_bytes_are_never_opened() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert prune(bomb).text == f"<binary, {len(bomb):,} bytes, application/gzip; not shown>"


def test_lone_surrogates_cannot_come_through() -> None:
    found = prune("id \ud83d 17\n" * 5000, max_tokens=50)
    assert found.text.encode().decode() == found.text


@pytest.mark.parametrize("as_bytes", [False, True])
def test_two_hundred_megabytes_are_capped_before_they_are_looked_at(as_bytes: bool) -> None:
    line = "2026-01-01 00:00:00 INFO order 17 paid\n"
    text = line * (200_000_000 // len(line))
    began = time.perf_counter()
    found = prune(text.encode() if as_bytes else text, max_tokens=100)
    assert time.perf_counter() - began < 5  # measured on a busy machine: under 1 s
    assert found.original_bytes == len(text)
    assert f"of the {MAX_INPUT_BYTES >> 20} MB looked at" in found.left_out


def test_records_of_an_array_that_is_too_long_are_still_a_table() -> None:
    rows = [json.dumps({"id": n, "name": f"A{n}", "note": "x" * 60 + str(n)}) for n in range(9)]
    text = "[" + ",".join(rows * (9_000_000 // len(",".join(rows)))) + "]"
    found = prune(text, max_tokens=100)
    assert found.kind == "json"
    assert "id name note" in found.text
