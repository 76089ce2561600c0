"""Names in what had to go stand in one line."""

import json

from agentkit.budgets.tokens import count_text
from agentkit.tools.prune import prune
from agentkit.tools.prune.mentions import mentions
from agentkit.tools.prune.room import Room
from agentkit.tools.prune.terms import Terms

FILLER = "It is a long way, and nothing of note happens on it for quite some time. " * 4


def test_quoted_words_addresses_and_ids_of_lines_left_out_are_named() -> None:
    lines = [
        f"Mode is 'rewrite' or \"append\"; see https://example.com/doc. {FILLER}",
        f"Order ORD-77-B and file_name, also (celsius or fahrenheit). {FILLER}",
    ]
    found = mentions(lines, [], "", Terms.of(""), Room(limit=60, unit="tokens"))
    for name in ("rewrite", "append", "https://example.com/doc", "ORD-77-B", "file_name"):
        assert name in found
    assert "celsius or fahrenheit" in found


def test_what_is_shown_already_is_not_named_again() -> None:
    room = Room(limit=50, unit="tokens")
    assert mentions(["id 'abc-1'"], ["abc-1"], "has abc-1", Terms.of(""), room) == ""


def test_names_stay_within_their_room_and_asked_ones_go_first() -> None:
    names = [f"file_{n}.txt" for n in range(500)]
    room = Room(limit=20, unit="tokens")
    found = mentions([], names, "", Terms.of("where is file_444.txt"), room)
    assert found.startswith("file_444.txt")
    assert count_text(found) <= 20


def test_titles_of_rows_that_go_are_named() -> None:
    rows = [{"title": f"History of topic {n}", "snippet": f"{n} {FILLER}"} for n in range(8)]
    found = prune(json.dumps({"results": rows}), max_tokens=200)
    for n in range(8):
        assert f"History of topic {n}" in found.text
