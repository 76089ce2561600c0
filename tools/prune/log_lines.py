"""Logs: one whole line of each template with its count, rare ones and trouble first.

A template is a line without its variable words. Digits are masked over the whole text at once, so
that words are split for distinct lines alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from agentkit.tools.prune.outline import Ask, Outline
from agentkit.tools.prune.salience import is_trouble

_SEPARATORS = b"=,;:()[]{}\"'<>|/@#\t\r\f\v"
_CALENDAR = frozenset(
    b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec Mon Tue Wed Thu Fri Sat Sun".split()
)
_VARIABLE = b"*"
_MAX_KEY_BYTES = 2_000
_MAX_SHAPES = 60_000
_MAX_COMPARED = 2_000
_MAX_FAMILIES = 200
_COMMON_SHARE = 0.5
_CHECK_EVERY = 256

# What a line is worth for being the first of something; the rarer, the more within its step.
_FAMILY, _TEMPLATE, _EDGE, _ASKED = 340.0, 200.0, 400.0, 250.0
_TROUBLE = 80.0


@dataclass(frozen=True, kw_only=True)
class Merging:
    """Which lines are alike: those with the same words between `separators`, but for words with a
    digit, parts of dates, and words longer than `max_word_bytes`. Templates are of one family where
    `likeness` of the words that tell them apart from others are the same: names and paths vary too.

    `benchmarks/prune.py` chooses each of these on all logs but one, and scores that one.
    """

    separators: bytes = _SEPARATORS
    max_word_bytes: int = 40
    likeness: float = 0.6


_MERGING = Merging()


def log_outline(text: str, ask: Ask, merging: Merging = _MERGING) -> Outline:
    """One line per template by first occurrence, with the count of those seen more often."""
    lines = text.split("\n")
    templates = _templates(text, ask, merging)
    families = _families(templates, merging.likeness, ask)
    outline = Outline(unit="lines", gaps=False, legend="×N: N lines alike")
    asked = ask.terms.hits(lines)
    edges = {0, len(lines) - 1}
    firsts = {first: words for words, (first, _) in templates.items()}
    for number in sorted(firsts.keys() | asked.keys() | edges):
        line = lines[number].rstrip()
        if not line.strip():
            continue
        words = firsts.get(number)
        count = templates[words][1] if words is not None else 1
        score = _ASKED * asked.get(number, 0.0) + _EDGE * (number in edges)
        if words is not None:
            score += _FAMILY if number in families else _TEMPLATE
            score += 50.0 / count + _TROUBLE * is_trouble(line)
        outline.add(f"×{count} {line}" if count > 1 else line, score)
    outline.unseen = len(lines) - len(outline.texts)
    return outline


def _templates(text: str, ask: Ask, merging: Merging) -> dict[tuple[bytes, ...], tuple[int, int]]:
    """Template -> its first line's number, and how many lines have it."""
    shapes = _shapes(text, _mask(merging.separators))
    ask.deadline.check()
    counts = Counter(shapes)
    last = len(shapes) - 1
    first = {shape: last - number for number, shape in enumerate(reversed(shapes))}
    found: dict[tuple[bytes, ...], tuple[int, int]] = {}
    for position, (shape, count) in enumerate(counts.items()):
        if position % _CHECK_EVERY == 0:
            ask.deadline.check()
        if position >= _MAX_SHAPES:
            break
        words = _words(shape[:_MAX_KEY_BYTES], merging.max_word_bytes)
        if words:
            known = found.get(words)
            found[words] = (known[0], known[1] + count) if known else (first[shape], count)
    return found


@lru_cache
def _mask(separators: bytes) -> bytes:
    return bytes.maketrans(b"123456789" + separators, b"0" * 9 + b" " * len(separators))


def _shapes(text: str, mask: bytes) -> list[bytes]:
    """The lines with every run of digits as one 0, and spaces for what separates words."""
    masked = text.encode().translate(mask)
    for width in (16, 8, 4, 3, 2, 2):
        masked = masked.replace(b"0" * width, b"0")
    return masked.split(b"\n")


def _words(shape: bytes, max_bytes: int) -> tuple[bytes, ...]:
    return tuple(
        _VARIABLE if b"0" in word or word in _CALENDAR or len(word) > max_bytes else word
        for word in shape.split()
    )


def _families(
    templates: dict[tuple[bytes, ...], tuple[int, int]], likeness: float, ask: Ask
) -> set[int]:
    """First lines of the families: a template joins the one that it has most words in common with,
    if enough, and the family keeps those (Drain's rule, on sets: He and others, ICWS 2017).

    Words that half of the templates have, such as a level, tell nothing of one that has others.
    Of more than 2,000 templates the rest are families of their own, as are those that come when
    there are 200.
    """
    words_of = {words: set(words) - {_VARIABLE} for words in templates}
    shared = Counter(word for words in words_of.values() for word in words)
    common = {word for word, count in shared.items() if count > _COMMON_SHARE * len(templates)}
    families: list[set[bytes]] = []
    found: set[int] = set()
    for position, (words, (first, _)) in enumerate(templates.items()):
        if position % _CHECK_EVERY == 0:
            ask.deadline.check()
        telling = words_of[words] - common
        if len(telling) <= (1 - likeness) * len(words_of[words]):
            telling = words_of[words]  # most lines are of one family: this is one of them
        family = _closest(telling, families, likeness) if position < _MAX_COMPARED else None
        if family is not None:
            family &= telling
            continue
        found.add(first)
        if len(families) < _MAX_FAMILIES:
            families.append(telling)
    return found


def _closest(
    words: set[bytes], families: Sequence[set[bytes]], likeness: float
) -> set[bytes] | None:
    """The family that has most of the words, if it has enough of them."""
    best, most = None, likeness * len(words)
    for family in families:
        same = len(words & family)
        if same >= most and same:
            best, most = family, same + 0.5
    return best
