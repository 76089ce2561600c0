"""What the demo asks for: our own sentences, in the manner of everyday assistants."""

from __future__ import annotations

from dataclasses import dataclass

from agentkit.budgets.budget import Budget


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoRequest:
    """`tool` is the one that fits, None where none does; `evidence` must be in a right answer.

    `budget` is there where it is meant to be too small. Without `direct` the model is asked again
    after the tool has answered.
    """

    text: str
    tool: str | None = None
    evidence: str = ""
    budget: Budget | None = None
    direct: bool = True


REQUESTS = (
    DemoRequest(
        text="what's the weather in Oslo tomorrow", tool="get_weather", evidence="Oslo tomorrow"
    ),
    DemoRequest(text="will it snow in Denver tonight", tool="get_weather", evidence="Yes: snow"),
    DemoRequest(
        text="is it going to be hot in Austin this weekend", tool="get_weather", evidence="Yes: hot"
    ),
    DemoRequest(text="play something by Nina Simone", tool="play_music", evidence="Feeling Good"),
    DemoRequest(
        text="play the song Take Five by Dave Brubeck", tool="play_music", evidence="Take Five"
    ),
    DemoRequest(text="I want to hear some jazz from 1959", tool="play_music", evidence="1959"),
    DemoRequest(
        text="add Heroes by David Bowie to my road trip playlist",
        tool="add_to_playlist",
        evidence="Heroes",
    ),
    DemoRequest(
        text="put Miles Davis on the dinner playlist", tool="add_to_playlist", evidence="dinner"
    ),
    DemoRequest(
        text="book a table for four at Trattoria Lume in Boston tonight",
        tool="book_restaurant",
        evidence="Lume in Boston for 4",
    ),
    DemoRequest(
        text="I need a Mexican restaurant in Austin for 2 people",
        tool="book_restaurant",
        evidence="Casa Brava",
    ),
    DemoRequest(text="give Dracula 4 out of 5 stars", tool="rate_book", evidence="Dracula 4 of 5"),
    DemoRequest(
        text="rate the novel Moby Dick three points out of 6",
        tool="rate_book",
        evidence="Moby Dick 3 of 6",
    ),
    DemoRequest(
        text="find the painting The Starry Night", tool="search_creative_work", evidence="van Gogh"
    ),
    DemoRequest(text="show me the game Tetris", tool="search_creative_work", evidence="Pajitnov"),
    DemoRequest(
        text="when is Nosferatu playing at Palace Cinema",
        tool="search_screening_event",
        evidence="22:00",
    ),
    DemoRequest(
        text="what animated movies are on at the movie house",
        tool="search_screening_event",
        evidence="Lost World",
    ),
    DemoRequest(text="why is my internet so slow today"),
    DemoRequest(text="write a short poem about my cat"),
    DemoRequest(text="move my dentist appointment to friday morning"),
    DemoRequest(
        text="look up the novel Frankenstein",
        tool="search_creative_work",
        evidence="Mary Shelley",
        budget=Budget(calls=1),
        direct=False,
    ),
    DemoRequest(
        text="book a sushi restaurant in Seattle for 3 people at noon",
        tool="book_restaurant",
        evidence="Blue Heron",
        budget=Budget(tokens=60),
    ),
)
