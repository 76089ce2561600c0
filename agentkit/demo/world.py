"""The demo's database: weather, music, restaurants, books and films, made up for it.

Places are real; their weather, restaurants and cinemas are not. Titles are well-known works.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Mapping, Sequence

Row = Mapping[str, object]

_SCHEMA = """
CREATE TABLE weather (city TEXT, region TEXT, country TEXT, day TEXT, sky TEXT, celsius INTEGER);
CREATE TABLE track (title TEXT, artist TEXT, album TEXT, genre TEXT, year INTEGER);
CREATE TABLE playlist (name TEXT, owner TEXT);
CREATE TABLE entry (playlist TEXT, item TEXT);
CREATE TABLE restaurant (name TEXT, kind TEXT, cuisine TEXT, dish TEXT, city TEXT, region TEXT,
                         country TEXT, facility TEXT);
CREATE TABLE booking (restaurant TEXT, guests INTEGER, at TEXT);
CREATE TABLE work (title TEXT, kind TEXT, creator TEXT, year INTEGER);
CREATE TABLE rating (title TEXT, stars INTEGER, best INTEGER);
CREATE TABLE screening (film TEXT, kind TEXT, cinema TEXT, near TEXT, at TEXT);
"""
_PLACE_COLUMNS = ("city", "region", "country")
_CITIES = (
    ("Oslo", "", "Norway", "rain", 7),
    ("Lisbon", "", "Portugal", "sunny", 21),
    ("Nairobi", "", "Kenya", "cloudy", 24),
    ("Kyoto", "", "Japan", "clear", 15),
    ("Denver", "Colorado", "United States", "snow", -3),
    ("Boston", "Massachusetts", "United States", "windy", 9),
    ("Austin", "Texas", "United States", "hot", 33),
    ("Seattle", "Washington", "United States", "rain", 11),
    ("Paris", "", "France", "cloudy", 14),
    ("Reykjavik", "", "Iceland", "storm", 3),
)
_NEXT_SKY = {
    "rain": "cloudy",
    "sunny": "sunny",
    "cloudy": "rain",
    "clear": "fog",
    "snow": "snow",
    "windy": "clear",
    "hot": "hot",
    "storm": "windy",
}
_TRACKS = (
    ("So What", "Miles Davis", "Kind of Blue", "jazz", 1959),
    ("Blue in Green", "Miles Davis", "Kind of Blue", "jazz", 1959),
    ("Take Five", "Dave Brubeck", "Time Out", "jazz", 1959),
    ("Giant Steps", "John Coltrane", "Giant Steps", "jazz", 1960),
    ("Heroes", "David Bowie", "Heroes", "rock", 1977),
    ("Life on Mars", "David Bowie", "Hunky Dory", "rock", 1971),
    ("Jolene", "Dolly Parton", "Jolene", "country", 1974),
    ("Feeling Good", "Nina Simone", "I Put a Spell on You", "soul", 1965),
    ("Respect", "Aretha Franklin", "Respect", "soul", 1967),
    ("Gymnopédie No. 1", "Erik Satie", "Gymnopédies", "classical", 1888),
    ("Clair de Lune", "Claude Debussy", "Suite bergamasque", "classical", 1905),
    ("One Love", "Bob Marley", "Exodus", "reggae", 1977),
)
_PLAYLISTS = ("road trip", "dinner", "running", "rainy days", "focus")
_RESTAURANTS = (
    ("Trattoria Lume", "trattoria", "Italian", "pasta", "Boston", "Massachusetts", "terrace"),
    ("Blue Heron", "restaurant", "Japanese", "sushi", "Seattle", "Washington", "bar"),
    ("The Copper Pot", "pub", "British", "fish and chips", "Boston", "Massachusetts", "parking"),
    ("Casa Brava", "restaurant", "Mexican", "tacos", "Austin", "Texas", "outdoor seating"),
    ("Chez Odile", "bistro", "French", "onion soup", "Paris", "", "terrace"),
    ("Sundial Diner", "diner", "American", "pancakes", "Denver", "Colorado", "wifi"),
    ("Mango Leaf", "restaurant", "Indian", "biryani", "Austin", "Texas", "parking"),
    ("Fado Azul", "tavern", "Portuguese", "grilled sardines", "Lisbon", "", "live music"),
)
_WORKS = (
    ("Dracula", "novel", "Bram Stoker", 1897),
    ("Moby Dick", "novel", "Herman Melville", 1851),
    ("Frankenstein", "novel", "Mary Shelley", 1818),
    ("Emma", "novel", "Jane Austen", 1815),
    ("The Time Machine", "novel", "H. G. Wells", 1895),
    ("Treasure Island", "book", "Robert Louis Stevenson", 1883),
    ("Metropolis", "film", "Fritz Lang", 1927),
    ("Nosferatu", "film", "F. W. Murnau", 1922),
    ("The Starry Night", "painting", "Vincent van Gogh", 1889),
    ("Tetris", "game", "Alexey Pajitnov", 1984),
    ("Kind of Blue", "album", "Miles Davis", 1959),
    ("Twin Peaks", "television show", "David Lynch and Mark Frost", 1990),
)
_SCREENINGS = (
    ("Metropolis", "film", "Palace Cinema", "cinema", "19:30"),
    ("Nosferatu", "film", "Palace Cinema", "cinema", "22:00"),
    ("The General", "film", "Harbour Lights", "movie theatre", "18:15"),
    ("Safety Last", "film", "Harbour Lights", "movie theatre", "20:45"),
    ("The Lost World", "animated movie", "Star Screen", "movie house", "16:00"),
    ("The Adventures of Prince Achmed", "animated movie", "Palace Cinema", "cinema", "15:00"),
)


class World:
    """The database, safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        weakref.finalize(self, self._db.close)
        self._db.row_factory = sqlite3.Row
        self._db.executescript(_SCHEMA)
        self._fill()

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows that `query` finds."""
        with self._lock:
            return [dict(row) for row in self._db.execute(query, values).fetchall()]

    def search(
        self, table: str, wanted: Mapping[str, str], *, places: Sequence[str] = ()
    ) -> list[Row]:
        """Rows of `table` in which every wanted column holds its text, in one of `places`.

        Empty texts are left out, and with none at all there is nothing to find. A place may be a
        city, a region or a country, whatever the model took it for. `table` and the columns are
        names of this package, never a model's words.
        """
        given = {column: text.strip() for column, text in wanted.items() if text.strip()}
        named = [place.strip() for place in places if place.strip()]
        if not given and not named:
            return []
        terms = [f"{column} LIKE ? ESCAPE '!'" for column in given]
        if named:
            somewhere = [f"{column} LIKE ? ESCAPE '!'" for _ in named for column in _PLACE_COLUMNS]
            terms.append(f"({' OR '.join(somewhere)})")
        query = f"SELECT * FROM {table} WHERE {' AND '.join(terms)}"  # noqa: S608  see above
        values = [*given.values(), *(place for place in named for _ in _PLACE_COLUMNS)]
        return self.rows(query, [f"%{_literal(text)}%" for text in values])

    def add(self, table: str, *values: object) -> int:
        """Add a row to `table` and return its number."""
        marks = ",".join("?" * len(values))
        with self._lock:
            cursor = self._db.execute(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608  our own names
            return int(cursor.lastrowid or 0)

    def _fill(self) -> None:
        for city, region, country, sky, celsius in _CITIES:
            days = (
                ("today", sky, celsius),
                ("tonight", sky, celsius - 5),
                ("tomorrow", _NEXT_SKY[sky], celsius + 1),
                ("weekend", _NEXT_SKY[_NEXT_SKY[sky]], celsius + 2)
                if sky != "clear"
                else ("weekend", "sunny", celsius + 2),
            )
            for day, then, degrees in days:
                self.add("weather", city, region, country, day, then, degrees)
        for track in _TRACKS:
            self.add("track", *track)
        for playlist in _PLAYLISTS:
            self.add("playlist", playlist, "me")
        for name, kind, cuisine, dish, city, region, facility in _RESTAURANTS:
            country = next(row[2] for row in _CITIES if row[0] == city)
            self.add("restaurant", name, kind, cuisine, dish, city, region, country, facility)
        for work in _WORKS:
            self.add("work", *work)
        for screening in _SCREENINGS:
            self.add("screening", *screening)


def _literal(text: str) -> str:
    """`text` with LIKE's wildcards taken literally."""
    for mark in "!%_":
        text = text.replace(mark, f"!{mark}")
    return text
