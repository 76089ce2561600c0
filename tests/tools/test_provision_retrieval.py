"""The tools that a request calls for are found, kept on disk, and offered at the end only."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from agentkit.tools import InvalidTool, ToolSpec
from agentkit.tools.provision import (
    Calibration,
    LangChainEmbedding,
    Provisioner,
    StaticEmbedding,
    ToolCard,
    ToolIndex,
    search,
)
from agentkit.tools.provision.intent import MAX_INTENTS, deliverables, intents
from agentkit.tools.provision.words import plain, spoken, terms

FITTED = Calibration.fitted("shipped")

TEXTS = {
    "get_weather": "Current weather and forecast of a city",
    "send_email": "Send an e-mail to a person",
    "convert_currency": "Convert an amount of money from one currency to another",
    "searchFlights": "Find flights between two airports on a date",
    "write_file": "Write text to a file",
    "play_song": "Play a song or an album",
    "book_table": "Reserve a table in a restaurant",
}


def cards() -> list[ToolCard]:
    return [ToolCard(name=n, description=t, schema={}) for n, t in TEXTS.items()]


@pytest.fixture(scope="module")
def index() -> ToolIndex:
    return ToolIndex(cards())


@pytest.mark.parametrize(
    ("request_", "needed"),
    [
        ("Will it rain in Lisbon tomorrow?", "get_weather"),
        ("How many euros are 100 dollars?", "convert_currency"),
        ("I need to fly from Rome to Oslo on Friday", "searchFlights"),
        ("put on some jazz music", "play_song"),
        ("save it in /home/me/notes.md", "write_file"),
    ],
)
def test_a_request_finds_its_tool_without_its_words(
    index: ToolIndex, request_: str, needed: str
) -> None:
    assert needed in [match.name for match in search(index, request_, limit=2)]


def test_every_part_of_a_request_finds_its_tool(index: ToolIndex) -> None:
    request = "Book a table at an Italian restaurant, play a song, and then send an e-mail to Ann"
    found = {match.name for match in search(index, request, limit=3)}
    assert found == {"book_table", "play_song", "send_email"}


def test_a_file_to_be_written_finds_what_writes_it(index: ToolIndex) -> None:
    """Although all the rest of the request is about something else."""
    request = "Find flights between Rome and Oslo, compare them, and make a table in ~/trip/plan.md"
    found = [match.name for match in search(index, request, limit=3)]
    assert found[0] == "searchFlights"
    assert "write_file" in found


@pytest.mark.parametrize(
    ("request_", "calls_for"),
    [
        ("Write a summary and save it to /root/notes.md.", ["create a new file"]),
        ("Make slides about cats, saved as `./cats.pptx`", ["save powerpoint presentation"]),
        ("Put it in ./a.csv and export it to ./b.xlsx", ["create a new file", "save excel"]),
        ("What does /root/notes.md say?", []),
        ("Read the report at /root/notes.md", []),
        ("Save the whales", []),
    ],
)
def test_only_files_to_be_written_are_deliverables(request_: str, calls_for: list[str]) -> None:
    found = deliverables(request_)
    assert len(found) == len(calls_for)
    for text, start in zip(found, calls_for, strict=True):
        assert text.startswith(start)


def test_no_name_is_found_twice() -> None:
    """Of cards of one name, as pools of several catalogues have them, the best is found."""
    alike = [ToolCard(name="get_weather", description=t, schema={}) for t in ("a", "Weather")]
    index = ToolIndex([*cards(), *alike])
    names = [match.name for match in search(index, "weather of a city", limit=5)]
    assert len(names) == len(set(names)) == 5


def test_a_request_that_no_tool_fits_is_offered_nothing(index: ToolIndex) -> None:
    assert search(index, "Prove that the square root of 2 is irrational", calibration=FITTED) == ()


def test_a_request_that_a_tool_fits_passes_the_floor(index: ToolIndex) -> None:
    best, *_ = search(index, "What is the weather in Paris?", calibration=FITTED)
    assert best.name == "get_weather"
    assert best.chance is not None
    assert best.chance > 0
    assert "weather" in best.shared_words


@pytest.mark.parametrize("request_", ["", "   ", "\x00", "?!", "x" * 100_000, "\ud800 weather"])
def test_odd_requests_do_no_harm(index: ToolIndex, request_: str) -> None:
    assert len(search(index, request_, limit=3)) <= 3


def test_an_empty_index_finds_nothing() -> None:
    assert search(ToolIndex([]), "weather") == ()


class CountingEmbedder:
    """The shipped embedding, counting the texts it was given."""

    fingerprint = "counting"

    def __init__(self) -> None:
        self.texts = 0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += len(texts)
        return StaticEmbedding.shipped().embed(texts)


def test_an_index_is_read_back_from_disk(tmp_path: Path) -> None:
    made, read = CountingEmbedder(), CountingEmbedder()
    first = ToolIndex(cards(), embedder=made, cache_folder=tmp_path)
    second = ToolIndex(cards(), embedder=read, cache_folder=tmp_path)
    assert made.texts > 0
    assert read.texts == 0
    assert search(second, "the weather of a city") == search(first, "the weather of a city")


def test_changed_tools_are_indexed_anew(tmp_path: Path) -> None:
    ToolIndex(cards(), cache_folder=tmp_path)
    embedder = CountingEmbedder()
    changed = [*cards()[1:], ToolCard(name="get_weather", description="Stocks", schema={})]
    ToolIndex(changed, embedder=embedder, cache_folder=tmp_path)
    assert embedder.texts > 0


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no index", b"\x80\x04pickle"])
def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    ToolIndex(cards(), cache_folder=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    index = ToolIndex(cards(), cache_folder=tmp_path)
    assert search(index, "rain in Rome", limit=1)[0].name == "get_weather"


class HashEmbeddings(Embeddings):
    """A LangChain embedding with a direction for each text, of length 3."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[3.0 if n == _hash(text) else 0.0 for n in range(8)] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def _hash(text: str) -> int:
    return hashlib.sha256(text.encode()).digest()[0] % 8


def test_a_langchain_embedding_serves() -> None:
    embedder = LangChainEmbedding(HashEmbeddings(), fingerprint="hash-1")
    assert np.linalg.norm(embedder.embed(["a"])) == pytest.approx(1)
    found = search(ToolIndex(cards(), embedder=embedder), "send an e-mail", limit=9)
    assert {match.name for match in found} == set(TEXTS)
    assert found[0].chance is None


def test_meaning_is_nearer_than_another_meaning() -> None:
    rain, weather, money = StaticEmbedding.shipped().embed(
        ["Will it rain?", "weather forecast", "bank account balance"]
    )
    assert rain @ weather > rain @ money + 0.2


def test_a_text_without_words_has_no_direction() -> None:
    assert not StaticEmbedding.shipped().embed(["", "\u0000"]).any()


def test_names_are_read_as_words() -> None:
    assert spoken("getHTTPStatus_code.v2") == "get HTTP Status code v2"
    assert terms("the refunded orders") == terms("refund order")


def test_paths_say_what_kind_of_file_they_are() -> None:
    assert plain("save it in /root/a b/x.PPTX") == "save it in /root/a powerpoint presentation file"


def test_one_intent_is_not_split_and_many_are_bounded() -> None:
    assert intents("What is the weather in Rome?") == ()
    assert len(intents(". ".join(f"Do the thing number {n}" for n in range(50)))) == MAX_INTENTS


def test_a_card_is_made_from_a_tool_of_a_catalogue() -> None:
    def refund(order: str) -> str:
        """Give the money of an order back."""
        return order

    card = ToolCard.of(ToolSpec.of(refund), group="shop")
    assert (card.name, card.group) == ("refund", "shop")
    assert search(ToolIndex([card]), "money back", limit=1)[0].name == "refund"


def test_an_offer_grows_at_its_end_only(index: ToolIndex) -> None:
    provisioner = Provisioner(index, core=["write_file"], limit=2)
    first = provisioner.offer("weather in Rome")
    second = provisioner.offer("play a song", already=first.names)
    assert first.names[0] == "write_file"
    assert second.names[: len(first.names)] == first.names
    assert "play_song" in second.names


def test_the_same_offer_has_the_same_fingerprint(index: ToolIndex) -> None:
    provisioner = Provisioner(index, limit=1)
    first = provisioner.offer("weather in Rome")
    again = provisioner.offer("weather in Rome", already=first.names)
    assert again.fingerprint == first.fingerprint
    assert again.added == ()
    assert provisioner.offer("play a song").fingerprint != first.fingerprint


def test_nothing_that_fits_leaves_the_core(index: ToolIndex) -> None:
    offer = Provisioner(index, core=["write_file"]).offer("Prove that the root of 2 is irrational")
    assert offer.names == ("write_file",)


def test_an_offer_stays_within_its_tokens(index: ToolIndex) -> None:
    whole = Provisioner(index, limit=5, calibration=None).offer("weather in Rome")
    small = Provisioner(index, limit=5, calibration=None, limit_tokens=whole.tokens - 1)
    offer = small.offer("weather in Rome")
    assert offer.tokens < whole.tokens
    assert set(offer.left_out) == set(whole.names) - set(offer.names)


def test_a_called_name_leads_back_to_the_catalogue() -> None:
    index = ToolIndex([ToolCard(name="math.add", description="Add numbers", schema={})])
    offer = Provisioner(index).offer("add two numbers")
    assert offer.original_name("math_add") == "math.add"
    assert offer.original_name("rm") is None


def test_a_core_that_is_not_there_is_refused(index: ToolIndex) -> None:
    with pytest.raises(InvalidTool, match="nowhere"):
        Provisioner(index, core=["nowhere"])


def test_a_missing_package_is_told_with_its_extra() -> None:
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "try:\n from agentkit.tools.provision import StaticEmbedding\n"
        "except ImportError as error:\n print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "agentkit[retrieval]"' in done.stdout
