"""The cache data as look-ups whose truth is known, and the traps that change one thing."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

DATA = Path(os.environ.get("AGENTKIT_DATA", "../shared/data")) / "cache"
_TRAP_PLACES = (("Paris", "Lyon"), ("London", "Leeds"), ("India", "Brazil"), ("Google", "Amazon"))
_MONTHS = ("January", "March", "June", "October")
_DAYS = ("Monday", "Tuesday", "Friday", "Sunday")
_UNITS = (
    ("km", "miles"), ("kg", "pounds"), ("dollars", "euros"), ("minutes", "hours"), ("GB", "MB"),
    ("days", "weeks"), ("litres", "gallons"), ("Celsius", "Fahrenheit"),
)  # fmt: skip
_VERB = re.compile(r"\b(can|do|does|is|are|should|will|would|did|has|have)\b", re.IGNORECASE)
_NUMBER = re.compile(r"\b\d+\b")

Half = Literal["chosen", "scored"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A cached question, the one asked after it, and whether they ask the same."""

    cached: str
    asked: str
    same: bool


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of a file of the data folder."""
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        raise SystemExit(f"{path} is missing; name the data folder in AGENTKIT_DATA")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def half(items: Sequence[Any], which: Half) -> list[Any]:
    """Every other item: thresholds are chosen on one half and scored on the other."""
    return list(items[0::2] if which == "chosen" else items[1::2])


def qqp() -> list[Pair]:
    """Pairs of questions with a person's verdict."""
    return [Pair(cached=r["a"], asked=r["b"], same=r["same"]) for r in rows("qqp_pairs")]


def gptcache_mock() -> list[tuple[str, str]]:
    """Texts with a paraphrase of each."""
    return [(row["a"], row["b"]) for row in rows("gptcache_mock")]


def banking77() -> list[tuple[str, str]]:
    """Requests with their intent, in a fixed random order: the file is sorted by intent."""
    stream = [(row["text"], row["intent"]) for row in rows("banking77")]
    random.Random(7).shuffle(stream)
    return stream


def traps(count: int) -> list[Pair]:
    """Questions in which one number, date, name, unit or negation was changed.

    Made from the questions of qqp and banking77, the same ones at every run.
    """
    questions = [pair.cached for pair in half(qqp(), "scored")]
    questions += [text for text, _ in half(banking77(), "scored")]
    chance = random.Random(11)
    makers: tuple[Callable[[str, random.Random], Pair | None], ...]
    makers = (_number_trap, _date_trap, _name_trap, _unit_trap, _negation_trap)
    made: list[Pair] = []
    while len(made) < count:
        trap = makers[len(made) % len(makers)](chance.choice(questions), chance)
        if trap is not None and trap.cached != trap.asked:
            made.append(trap)
    return made


def turned(count: int) -> list[Pair]:
    """Questions that were negated and framed politely, so that they differ in several places."""
    chance = random.Random(5)
    questions = [pair.cached for pair in half(qqp(), "scored")]
    questions += [text for text, _ in half(banking77(), "scored")]
    made: list[Pair] = []
    while len(made) < count:
        trap = _negation_trap(chance.choice(questions), chance)
        if trap is not None:
            asked = trap.asked[0].lower() + trap.asked[1:].rstrip("?. ")
            framed = f"Please tell me: {asked}, thanks"
            made.append(Pair(cached=trap.cached, asked=framed, same=False))
    return made


def _number_trap(question: str, chance: random.Random) -> Pair | None:
    found = _NUMBER.search(question)
    if found is None:
        bare = question.rstrip("?. ")
        return _trap(f"{bare} in {chance.randint(2, 99)} steps?", chance)
    return _trap(question, chance)


def _trap(question: str, chance: random.Random) -> Pair | None:
    found = _NUMBER.search(question)
    if found is None:
        return None
    other = str(int(found[0]) + chance.randint(1, 9))
    changed = question[: found.start()] + other + question[found.end() :]
    return Pair(cached=question, asked=changed, same=False)


def _date_trap(question: str, chance: random.Random) -> Pair | None:
    bare = question.rstrip("?. ")
    one, other = chance.sample(chance.choice((_MONTHS, _DAYS)), 2)
    return Pair(cached=f"{bare} on {one}?", asked=f"{bare} on {other}?", same=False)


def _name_trap(question: str, chance: random.Random) -> Pair | None:
    bare = question.rstrip("?. ")
    one, other = chance.choice(_TRAP_PLACES)
    return Pair(cached=f"{bare} in {one}?", asked=f"{bare} in {other}?", same=False)


def _unit_trap(question: str, chance: random.Random) -> Pair | None:
    bare = question.rstrip("?. ")
    one, other = chance.choice(_UNITS)
    number = chance.randint(2, 90)
    cached, asked = (f"{bare} within {number} {unit}?" for unit in (one, other))
    return Pair(cached=cached, asked=asked, same=False)


def _negation_trap(question: str, chance: random.Random) -> Pair | None:
    found = _VERB.search(question)
    if found is None or re.search(r"\b(not|no|never|without|n't)\b", question, re.IGNORECASE):
        return None
    changed = question[: found.end()] + " not" + question[found.end() :]
    return Pair(cached=question, asked=changed, same=False)
