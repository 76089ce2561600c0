"""A text read for comparison: its words, and what must not differ between two questions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast

import snowballstemmer  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

_LONGEST_READ_CHARS = 4_000
_KNOWN_WORDS = 65_536
_WORD = re.compile(
    r"[\u3040-\u30ff\u4e00-\u9fff]|(?:\d+(?:[.,:/]\d+)*[^\W\d]{0,3}\b)|(?:\d+(?:[.,:/]\d+)*)|(?:[^\W\d][\w.]*\w|[^\W\d])(?:'[^\W\d]+)?"
)
_COMMON = frozenset(
    "a about again all am an and any are as at be been being both but by can could d did do does "
    "each few for had has have having he her here him his how i if in into is it its just kind let "
    "like ll m may me might mine more most must my no nor not of on or other our out please re s "
    "shall she should so some such t than that the their them then there these they this those to "
    "too us ve very was we were what when where which who whom whose why will with would you your "
    "yours ever really actually want wants wanted need needs possible help tell show know "
    "explain give able wondering wonder ask asking inquire interested hi hello thanks thank "
    "also already still currently".split()
)
_NEGATIONS = frozenset(
    "not no never without neither nor none nobody nothing nowhere cannot except unless hardly "
    "barely unable non lack lacks lacking absence absent".split()
)
_QUESTIONS = {
    "what": "what", "which": "what", "who": "who", "whom": "who", "whose": "who",
    "when": "when", "where": "where", "why": "why", "how": "how",
}  # fmt: skip
_MEASURED_BY = frozenset("many much long often far old big tall fast soon deep high".split())
_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
        "sixteen seventeen eighteen nineteen twenty".split(),
        start=2,
    )
} | {
    "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80",
    "ninety": "90", "hundred": "100", "thousand": "1000", "million": "1000000",
    "billion": "1000000000", "half": "0.5", "double": "2", "twice": "2", "dozen": "12",
}  # fmt: skip
_MONTHS = "january february march april may june july august september october november december"
_DAYS = "monday tuesday wednesday thursday friday saturday sunday"
_DATES = {
    **{name: name for name in f"{_MONTHS} {_DAYS}".split() if name not in ("may", "march")},
    **{
        name[:3]: name
        for name in f"{_MONTHS} {_DAYS}".split()
        if name[:3] not in ("mar", "may", "sat", "sun", "mon", "wed")
    },
    **{
        word: word
        for word in "today tomorrow yesterday tonight morning afternoon evening week weekend month "
        "year quarter summer winter spring autumn next last previous current".split()
    },
}


_UNITS = frozenset(
    map(
        str.lower,
        "usd eur gbp jpy inr chf cad aud dollar dollars euro euros pound pounds yen rupee "
        "rupees cent cents km kilometer kilometers kilometre kilometres mile miles meter meters "
        "metre metres cm mm inch inches foot feet yard yards kg kilogram kilograms gram grams "
        "lb lbs ounce ounces ton tons liter liters litre litres ml gallon gallons celsius "
        "fahrenheit kelvin percent second seconds minute minutes hour hours day days week weeks "
        "month months year years byte bytes kb mb gb tb watt watts volt volts mph kmh acre "
        "acres hectare hectares".split(),
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a text holds: `words` in lower case, `stems` of those that carry meaning, in order."""

    words: tuple[str, ...]
    stems: tuple[str, ...]
    content: frozenset[str]
    numbers: frozenset[str]
    dates: frozenset[str]
    units: frozenset[str]
    names: tuple[str, ...]
    negations: int
    question: str

    @property
    def negated(self) -> bool:
        """Whether anything in it is denied."""
        return self.negations > 0


def read(text: str) -> Reading:
    """The reading of a text; of its first 4,000 characters."""
    found = _WORD.findall(text[:_LONGEST_READ_CHARS].replace("\u2019", "'"))
    words = [word.lower() for word in found]
    bare = [word.partition("'")[0] for word in words]
    content = [word for word in bare if word not in _COMMON and not word[0].isdigit()]
    return Reading(
        words=tuple(words),
        stems=tuple(map(stem, content)),
        content=frozenset(content),
        numbers=frozenset(map(_number, filter(is_number, words))),
        dates=frozenset(_DATES[word] for word in bare if word in _DATES),
        units=frozenset(stem(word) for word in bare if word in _UNITS),
        names=tuple(_names(found)),
        negations=sum(map(is_negation, words)),
        question=_question(bare),
    )


class _Stemmer(Protocol):
    """What is used of snowballstemmer, which has no types."""

    def stemWord(self, word: str) -> str: ...  # noqa: N802


_stemmer = cast("_Stemmer", snowballstemmer.EnglishStemmer())


@lru_cache(_KNOWN_WORDS)
def stem(word: str) -> str:
    """A word without its ending."""
    return _stemmer.stemWord(word[:64])


def is_negation(word: str) -> bool:
    """True for "not", "without", "can't" and the like."""
    return word in _NEGATIONS or word.endswith("n't")


def is_number(word: str) -> bool:
    """True for digits and for the names of numbers."""
    return word[0].isdigit() or word in _NUMBER_WORDS


def is_unit(word: str) -> bool:
    """True for a word that says what a number counts."""
    return word in _UNITS


def _number(word: str) -> str:
    return _NUMBER_WORDS.get(word, word.replace(",", ""))


def _names(found: list[str]) -> list[str]:
    """Words written as names: capitals inside a sentence or a word, digits or marks in a word."""
    names: list[str] = []
    for place, word in enumerate(found):
        bare = word.partition("'")[0]
        if bare.lower() in _COMMON or bare[0].isdigit():
            continue
        inside = any(char.isupper() or char.isdigit() or char in "_." for char in bare[1:])
        if inside or (place > 0 and bare[0].isupper()):
            names.append(bare.lower())
    return names


def _question(words: list[str]) -> str:
    for place, word in enumerate(words):
        kind = _QUESTIONS.get(word)
        if kind is None:
            continue
        after = words[place + 1] if place + 1 < len(words) else ""
        return f"how {after}" if kind == "how" and after in _MEASURED_BY else kind
    return ""
