"""Wrappers, escapes, blobs and repeats are undone without losing what a reader needs."""

import base64
import json
import random

import pytest

from agentkit.tools.prune import prune
from agentkit.tools.prune.escapes import unescaped, unwrapped, without_blobs, without_repeats


def test_repr_of_mcp_blocks_is_taken_off() -> None:
    inner = json.dumps({"id": "W-1", "note": 'it\'s "here"'})
    text = f"meta=None content=[TextContent(type='text', text={inner!r}, annotations=None)]"
    assert unwrapped(text) == inner
    assert 'note: it\'s "here"' in prune(text).text


def test_text_without_a_wrapper_stays() -> None:
    text = "type='text', text= is a phrase"
    assert unwrapped(text) is text


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_nested_escapes_are_undone(layers: int) -> None:
    plain = 'One "two"\n\tthree é\nfour\nfive'
    text = plain
    for _ in range(layers):
        text = json.dumps(text)[1:-1]
    assert unescaped(text) == plain


@pytest.mark.parametrize("text", ["C:\\new\\table\\n\\n\\n", "one \\n only", "a\nb\nc\nd\\n\\n\\"])
def test_text_that_only_looks_escaped_stays(text: str) -> None:
    assert unescaped(text) == text


def test_lines_that_yaml_folded_are_joined() -> None:
    text = 'a: "\\nOne two\\\n    \\ three.\\nFour\\\n    \\ five.\\nSix\\\n    \\ seven."\nb: 1'
    assert unescaped(text) == 'a: "\nOne two three.\nFour five.\nSix seven."\nb: 1'


def test_base64_is_described() -> None:
    blob = base64.b64encode(random.Random(1).randbytes(600)).decode()
    found = without_blobs(f"before data:image/png;base64,{blob} after")
    assert found == "before <base64 image/png, 822 characters; not shown> after"


def test_a_long_word_is_no_base64() -> None:
    text = "a" * 500
    assert without_blobs(text) == text


def test_repeated_lines_are_counted() -> None:
    assert without_repeats(["a", "b", "b", "b", "c"]) == ["a", "b", "[line above ×3]", "c"]


def test_repeated_blocks_are_counted() -> None:
    assert without_repeats(["a", "b"] * 4 + ["c"]) == ["a", "b", "[2 lines above ×4]", "c"]


def test_lines_that_do_not_repeat_stay() -> None:
    lines = ["a", "b", "a", "c", "a"]
    assert without_repeats(lines) == lines
