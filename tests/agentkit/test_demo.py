"""The demo: its tools work on its database, and its requests come to what is told of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentkit.budgets.ledger import Ledger
from agentkit.demo import World, everyday_tools
from agentkit.demo.everyday import NOTHING
from agentkit.demo.performance import Shown, perform
from agentkit.demo.requests import REQUESTS, DemoRequest
from tests.agentkit.command_line import agentkit
from tests.wire import Reply, ScriptedProvider, WireRequest


@pytest.fixture
def world() -> World:
    return World()


def _use(world: World, tool: str, **arguments: str) -> str:
    spec = everyday_tools(world).get(tool)
    assert spec is not None
    return str(spec.tool.invoke(arguments))


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("get_weather", {"city": "Oslo"}, "It is rain, 7 °C in Oslo today."),
        ("get_weather", {"country": "Kenya", "time_range": "this evening"}, "Nairobi tonight"),
        ("get_weather", {"city": "denver", "condition_description": "snow"}, "Yes: snow"),
        ("get_weather", {"city": "Lisbon", "condition_description": "stormy"}, "No: sunny"),
        ("get_weather", {"city": "Oslo", "country": "Oslo"}, "Oslo today"),
        ("get_weather", {"current_location": "here"}, "Boston today"),
        ("get_weather", {"city": "Atlantis"}, f"{NOTHING}no weather for Atlantis."),
        ("get_weather", {"city": "Oslo", "time_range": "in 3 weeks"}, NOTHING),
        ("get_weather", {}, NOTHING),
        ("play_music", {"artist": "dolly parton"}, "Playing Jolene by Dolly Parton"),
        ("play_music", {"genre": "jazz", "year": "1960"}, "Giant Steps"),
        ("play_music", {"playlist": "my focus playlist"}, "Playing your playlist focus."),
        ("play_music", {"artist": "Nobody At All"}, f"{NOTHING}no music for Nobody At All."),
        ("play_music", {}, NOTHING),
        ("add_to_playlist", {"entity_name": "Respect", "playlist": "running"}, "Added Respect"),
        ("add_to_playlist", {"entity_name": "Bob Marley", "playlist": "dinner"}, "One Love"),
        ("add_to_playlist", {"entity_name": "Respect", "playlist": "nope"}, NOTHING),
        ("book_restaurant", {"restaurant_name": "Chez Odile", "party_size_number": "two"}, "for 2"),
        ("book_restaurant", {"cuisine": "indian", "city": "Austin"}, "Booked Mango Leaf in Austin"),
        ("book_restaurant", {"cuisine": "indian", "city": "Oslo"}, NOTHING),
        (
            "book_restaurant",
            {"served_dish": "sushi", "party_size_description": "me and Ida"},
            "for 2",
        ),
        ("rate_book", {"object_name": "dracula", "rating_value": "four"}, "4 of 5"),
        ("rate_book", {"object_name": "Metropolis", "rating_value": "4"}, NOTHING),
        ("rate_book", {"object_name": "Dracula"}, NOTHING),
        (
            "search_creative_work",
            {"object_name": "kind of blue"},
            "Kind of Blue: album by Miles Davis",
        ),
        ("search_creative_work", {"object_name": "Unwritten"}, NOTHING),
        ("search_screening_event", {"movie_name": "nosferatu"}, "Palace Cinema, 22:00"),
        ("search_screening_event", {}, "Metropolis at Palace Cinema"),
        ("search_screening_event", {"movie_name": "Sequel IX"}, NOTHING),
    ],
)  # fmt: skip
def test_tool_answers_from_the_database(
    world: World, tool: str, arguments: dict[str, str], told: str
) -> None:
    assert told in _use(world, tool, **arguments)


def test_bookings_ratings_and_entries_are_kept(world: World) -> None:
    _use(world, "book_restaurant", restaurant_name="Blue Heron", party_size_number="3")
    _use(world, "rate_book", object_name="Emma", rating_value="5")
    _use(world, "add_to_playlist", entity_name="Heroes", playlist="focus")

    assert world.rows("SELECT * FROM booking") == [
        {"restaurant": "Blue Heron", "guests": 3, "at": ""}
    ]
    assert world.rows("SELECT * FROM rating") == [{"title": "Emma", "stars": 5, "best": 5}]
    assert world.rows("SELECT * FROM entry") == [{"playlist": "focus", "item": "Heroes"}]


@pytest.mark.parametrize("text", ["%", "_", "!", "'; DROP TABLE track; --", '"', "%%%"])
def test_hostile_arguments_find_nothing_and_harm_nothing(world: World, text: str) -> None:
    assert _use(world, "play_music", artist=text).startswith(NOTHING)
    assert len(world.rows("SELECT * FROM track")) > 5


def test_tools_are_the_seven_that_the_pocket_model_knows() -> None:
    assert set(everyday_tools(World()).names) == {
        "get_weather",
        "play_music",
        "add_to_playlist",
        "book_restaurant",
        "rate_book",
        "search_creative_work",
        "search_screening_event",
    }


def _performed(*requests: DemoRequest) -> list[Shown]:
    return list(perform(Ledger(), [], requests or REQUESTS))


def test_pocket_model_calls_the_fitting_tools() -> None:
    shown = _performed()

    assert len(shown) >= 20
    assert sum(row.as_intended for row in shown) >= 0.85 * len(shown)
    assert sum(row.outcome == "resolved" for row in shown) >= 12
    assert all(row.result is None or row.result.cost_usd == 0 for row in shown)


def test_what_no_tool_fits_fails_and_says_so() -> None:
    (row,) = _performed(DemoRequest(text="why is my internet so slow today"))

    assert row.outcome == "failed"
    assert row.tool is None
    assert row.doubts == ("no offered tool fits the request",)


def test_budgets_made_too_small_land_and_exhaust() -> None:
    shown = _performed(*(request for request in REQUESTS if request.budget))

    assert [row.outcome for row in shown] == ["landed", "exhausted"]
    assert shown[0].result is not None
    assert "Mary Shelley" in shown[0].result.answer
    assert shown[1].result is not None
    assert shown[1].result.calls == 0


def test_tool_that_finds_nothing_is_no_success() -> None:
    (row,) = _performed(
        DemoRequest(text="play something by Nina Nobody", tool="play_music", evidence="Playing")
    )

    assert row.found is False
    assert row.outcome == "answered"


def test_command_without_a_key_names_the_missing_tier(tmp_path: Path) -> None:
    done = agentkit("demo", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "would go up a tier:" in done.stdout
    assert "set OPENAI_API_KEY (openai:gpt-5-mini) or ANTHROPIC_API_KEY" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_command_as_json(tmp_path: Path) -> None:
    report = json.loads(agentkit("demo", "--json", folder=tmp_path).stdout)

    assert report["sums"]["requests"] == len(REQUESTS) == len(report["requests"])
    assert report["sums"]["cost_usd"] == "0"
    assert report["sums"]["seconds"] < 60
    assert report["frontier"] == []
    assert report["requests"][3]["arguments"] == {"artist": "Nina Simone"}
    assert report["requests"][3]["found"]


def test_command_with_a_key_escalates_for_real(tmp_path: Path) -> None:
    def script(request: WireRequest) -> Reply:
        return Reply(text="A frontier answer.")

    with ScriptedProvider(script) as provider:
        env = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": provider.openai_url}
        report = json.loads(agentkit("demo", "--json", folder=tmp_path, env=env).stdout)
        billed = provider.bill.to_dict()["total"]

    poem = next(row for row in report["requests"] if "poem" in row["request"])
    assert report["frontier"] == ["openai:gpt-5-mini"]
    assert poem["result"]["answer"] == "A frontier answer."
    assert [tier["model"] for tier in poem["result"]["tiers"]] == [
        "local:pocket",
        "openai:gpt-5-mini",
    ]
    assert isinstance(billed, dict)
    assert float(report["sums"]["cost_usd"]) * 1e9 == pytest.approx(billed["cost_nusd"])


def test_local_only_escalates_to_nobody(tmp_path: Path) -> None:
    done = agentkit("demo", "--local-only", "--json", folder=tmp_path, env={"OPENAI_API_KEY": "x"})

    assert json.loads(done.stdout)["frontier"] == []
