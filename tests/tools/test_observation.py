"""Cutting: the ends stay, the bound holds, what was left out is said."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.tools import Observation, cut


def test_short_text_stays_as_it_is() -> None:
    assert cut("short", max_bytes=5).text == "short"
    assert not cut("short", max_bytes=5).was_cut


def test_head_and_tail_stay_and_the_line_adds_up() -> None:
    found = cut("a" * 25_000 + "z" * 25_000, max_bytes=1789)
    assert found.text.startswith("aaaa")
    assert found.text.endswith("zzzz")
    assert f"\n[… {found.left_out_chars:,} of 50,000 characters left out …]\n" in found.text


@given(text=st.text(alphabet=st.characters(), max_size=300), max_bytes=st.integers(1, 400))
def test_the_bound_holds_for_any_text(text: str, max_bytes: int) -> None:
    found = cut(text, max_bytes=max_bytes)
    assert len(found.text.encode()) <= max_bytes
    assert found.original_bytes == len(text.encode("utf-8", "surrogatepass"))
    assert found.was_cut == (found.original_bytes > max_bytes)
    assert "\0" not in found.text


@given(text=st.text(min_size=200, max_size=400))
def test_what_stays_and_what_goes_make_the_whole(text: str) -> None:
    found = cut(text, max_bytes=150)
    line = f"\n[… {found.left_out_chars:,} of {len(text):,} characters left out …]\n"
    head, _, tail = found.text.partition(line)
    assert len(head) + len(tail) + found.left_out_chars == len(text)


@pytest.mark.parametrize("text", ["x" * 50_000_000, "é" * 25_000_000], ids=["ascii", "not ascii"])
def test_fifty_megabytes_take_no_time(text: str) -> None:
    started = time.perf_counter()
    cut(text, max_bytes=65_536)
    assert time.perf_counter() - started < 0.5  # measured: 0.1 ms and 18 ms


def test_an_observation_answers_its_call() -> None:
    message = Observation(call_id="c1", name="add", content="3", status="ok").to_message()
    assert (message.tool_call_id, message.name, message.content) == ("c1", "add", "3")
    assert message.status == "success"
