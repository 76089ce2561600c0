"""Seven everyday tools over the demo's database, under the names that the pocket model knows.

Every argument is optional text, as a person would say it. A tool answers with one sentence, also
where it finds nothing: then the sentence begins with `NOTHING`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from agentkit.demo.world import Row, World
from agentkit.tools.catalogue import ToolCatalogue, ToolSpec

NOTHING = "Nothing found: "
_HOME = "Boston"
"""Where the demo's person is."""
_NUMBERS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
}
_DAYS = (
    ("tonight", ("tonight", "evening", "night")),
    ("tomorrow", ("tomorrow",)),
    ("weekend", ("weekend", "saturday", "sunday")),
    ("today", ("today", "now", "current", "morning", "afternoon", "noon", "hour")),
)
_SKIES = {
    "rain": ("rain", "rainy", "wet", "shower", "drizzle"),
    "snow": ("snow", "snowy", "snowing", "blizzard", "freezing", "cold", "chilly"),
    "sunny": ("sun", "sunny", "warm", "clear"),
    "hot": ("hot", "warm", "boiling"),
    "cloudy": ("cloud", "cloudy", "overcast"),
    "windy": ("wind", "windy", "breezy"),
    "storm": ("storm", "stormy", "thunderstorm"),
    "clear": ("clear", "sunny"),
    "fog": ("fog", "foggy"),
}


def everyday_tools(world: World, *, direct: bool = True) -> ToolCatalogue:
    """The seven tools; with `direct` what a tool says is the answer, without another model call."""
    functions: tuple[Callable[..., str], ...] = (
        *_music_tools(world),
        *_place_tools(world),
        *_work_tools(world),
    )
    writes = {"add_to_playlist", "book_restaurant", "rate_book"}
    return ToolCatalogue(
        ToolSpec.of(
            function,
            return_direct=direct,
            side_effect="write" if function.__name__ in writes else "read",
        )
        for function in functions
    )


def _music_tools(world: World) -> tuple[Callable[..., str], ...]:
    def play_music(
        artist: str = "",
        track: str = "",
        album: str = "",
        playlist: str = "",
        genre: str = "",
        year: str = "",
        music_item: str = "",
        service: str = "",
        sort: str = "",
    ) -> str:
        """Play music by artist, track, album, playlist, genre or year."""
        del music_item, sort  # every match plays the best one
        on = f" on {service}" if service else ""
        if playlist and (lists := world.search("playlist", {"name": _bare(playlist)})):
            return f"Playing your playlist {lists[0]['name']}{on}."
        wanted = {
            "artist": artist,
            "title": track,
            "album": album,
            "genre": genre,
            "year": _digits(year),
        }
        found = world.search("track", wanted)
        if not found:
            return f"{NOTHING}no music for {_said(artist, track, album, playlist, genre, year)}."
        return f"Playing {_track(found[0])}{on}."

    def add_to_playlist(
        entity_name: str = "",
        artist: str = "",
        playlist: str = "",
        playlist_owner: str = "",
        music_item: str = "",
    ) -> str:
        """Add a song, an album or an artist to a playlist."""
        del music_item
        found = world.search("track", {"title": entity_name, "artist": artist})
        found = found or world.search("track", {"artist": entity_name})
        if not found:
            return f"{NOTHING}no music for {_said(entity_name, artist)}."
        lists = world.search("playlist", {"name": _bare(playlist)})
        if not lists:
            return f"{NOTHING}no playlist called {_said(playlist)}."
        name = str(lists[0]["name"])
        world.add("entry", name, str(found[0]["title"]))
        count = len(world.rows("SELECT item FROM entry WHERE playlist = ?", [name]))
        whose = playlist_owner if playlist_owner not in ("", "my") else "your"
        return f"Added {_track(found[0])} to {whose} playlist {name}, {count} new."

    return play_music, add_to_playlist


def _place_tools(world: World) -> tuple[Callable[..., str], ...]:
    def get_weather(
        city: str = "",
        state: str = "",
        country: str = "",
        time_range: str = "",
        condition_description: str = "",
        condition_temperature: str = "",
        spatial_relation: str = "",
        current_location: str = "",
        geographic_poi: str = "",
    ) -> str:
        """Get the weather of a place, now or later, or whether it will be so."""
        del spatial_relation
        day = _day(time_range)
        if day is None:
            return f"{NOTHING}the forecast ends at the weekend, so none for {_said(time_range)}."
        places = [city, state, country, geographic_poi]
        if current_location and not any(places):
            places = [_HOME]
        found = world.search("weather", {"day": day}, places=places) if any(places) else []
        if not found:
            return f"{NOTHING}no weather for {_said(*places)}."
        row = found[0]
        told = f"{row['sky']}, {row['celsius']} °C in {row['city']} {_when(day)}"
        asked = condition_description or condition_temperature
        if not asked:
            return f"It is {told}."
        fits = any(word in _SKIES[str(row["sky"])] for word in asked.lower().split())
        return f"{'Yes' if fits else 'No'}: {told}."

    def book_restaurant(
        restaurant_name: str = "",
        restaurant_type: str = "",
        cuisine: str = "",
        served_dish: str = "",
        city: str = "",
        state: str = "",
        country: str = "",
        party_size_number: str = "",
        party_size_description: str = "",
        time_range: str = "",
        spatial_relation: str = "",
        poi: str = "",
        facility: str = "",
        sort: str = "",
    ) -> str:
        """Book a table at a restaurant."""
        del spatial_relation, sort
        wanted = {
            "name": restaurant_name,
            "kind": "" if restaurant_type == "restaurant" else restaurant_type,
            "cuisine": cuisine,
            "dish": served_dish,
            "facility": facility,
        }
        found = world.search("restaurant", wanted, places=(city, state, country))
        if not found:
            said = _said(restaurant_name, restaurant_type, cuisine, served_dish, city, state, poi)
            return f"{NOTHING}no restaurant for {said}."
        guests = _number(party_size_number) or len(party_size_description.split(" and ")) or 1
        row = found[0]
        number = world.add("booking", row["name"], guests, time_range)
        people = "1 person" if guests == 1 else f"{guests} people"
        when = f", {time_range}" if time_range else ""
        return f"Booked {row['name']} in {row['city']} for {people}{when}: booking {number}."

    return get_weather, book_restaurant


def _work_tools(world: World) -> tuple[Callable[..., str], ...]:
    def rate_book(
        object_name: str = "",
        object_type: str = "",
        object_select: str = "",
        object_part_of_series_type: str = "",
        rating_value: str = "",
        best_rating: str = "",
        rating_unit: str = "",
    ) -> str:
        """Rate a book."""
        del object_type, object_select, object_part_of_series_type
        books = [row for row in world.search("work", {"title": object_name}) if _is_book(row)]
        stars = _number(rating_value)
        if not books or stars is None:
            return f"{NOTHING}no book and rating in {_said(object_name, rating_value)}."
        best = _number(best_rating) or max(5, stars)
        world.add("rating", books[0]["title"], stars, best)
        return f"Rated {books[0]['title']} {stars} of {best} {rating_unit or 'stars'}."

    def search_creative_work(object_name: str = "", object_type: str = "") -> str:
        """Find a book, film, album, game, painting or show."""
        found = world.search("work", {"title": object_name})
        alike = [row for row in found if str(row["kind"]) in object_type.lower()] or found
        if not alike:
            return f"{NOTHING}no work called {_said(object_name)}."
        row = alike[0]
        return f"{row['title']}: {row['kind']} by {row['creator']} ({row['year']})."

    def search_screening_event(
        movie_name: str = "",
        movie_type: str = "",
        object_type: str = "",
        object_location_type: str = "",
        location_name: str = "",
        spatial_relation: str = "",
        time_range: str = "",
    ) -> str:
        """Find out when and where films are shown."""
        del object_type, spatial_relation, time_range
        wanted = {
            "film": movie_name,
            "kind": _singular(movie_type) if "animat" in movie_type else "",
            "cinema": location_name,
            "near": _singular(object_location_type),
        }
        anything = not any(wanted.values())
        found = (
            world.rows("SELECT * FROM screening") if anything else world.search("screening", wanted)
        )
        if not found:
            return f"{NOTHING}no screening for {_said(movie_name, movie_type, location_name)}."
        shown = [f"{row['film']} at {row['cinema']}, {row['at']}" for row in found[:3]]
        return f"{'; '.join(shown)}."

    return rate_book, search_creative_work, search_screening_event


def _track(row: Row) -> str:
    return f"{row['title']} by {row['artist']} ({row['album']}, {row['year']})"


def _is_book(row: Row) -> bool:
    return row["kind"] in ("novel", "book")


def _day(time_range: str) -> str | None:
    """The day that the forecast has for `time_range`; None for one that it does not reach."""
    said = time_range.lower()
    if not said:
        return "today"
    return next((day for day, words in _DAYS if any(word in said for word in words)), None)


def _when(day: str) -> str:
    return "at the weekend" if day == "weekend" else day


def _bare(playlist: str) -> str:
    """The name of a playlist without the words around it."""
    return re.sub(r"^(my|the)\s+|\s+playlist$", "", playlist.strip(), flags=re.IGNORECASE)


def _singular(kind: str) -> str:
    return re.sub(r"s$", "", kind.strip())


def _digits(text: str) -> str:
    found = re.search(r"\d{2,4}", text)
    return found[0] if found else text


def _number(text: str) -> int | None:
    plain = text.strip().lower()
    if plain in _NUMBERS:
        return _NUMBERS[plain]
    found = re.search(r"\d{1,3}", plain)
    return int(found[0]) if found else None


def _said(*words: str) -> str:
    return " ".join(word for word in words if word) or "that"
