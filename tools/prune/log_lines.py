"""Logs: one whole line of each template with its count, rare ones and trouble first.

A template is a line without its variable words. Digits are masked over the whole text at once, so
that words are split for distinct lines alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agentkit.tools.prune.outline import Ask, Outline
from agentkit.tools.prune.salience import is_trouble

_SEPARATORS = b"=,;:()[]{}\"'<>|/@#\t\r\f\v"
_MASKED = bytes.maketrans(b"123456789" + _SEPARATORS, b"0" * 9 + b" " * len(_SEPARATORS))
_CALENDAR = frozenset(
    b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec Mon Tue Wed Thu Fri Sat Sun".split()
)
_VARIABLE = b"*"
_MAX_WORD_BYTES = 40
_MAX_KEY_BYTES = 2_000
_MAX_SHAPES = 60_000
_CHECK_EVERY = 256

# What a line is worth for being the first of something; the rarer, the more within its step.
_FAMILY, _TEMPLATE, _EDGE, _ASKED = 300.0, 200.0, 400.0, 250.0
_TROUBLE = 80.0


def log_outline(text: str, ask: Ask) -> Outline:
    """One line per template by first occurrence, with the count of those seen more often."""
    lines = text.split("\n")
    templates = _templates(text, ask)
    families = _families(templates)
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


def _templates(text: str, ask: Ask) -> dict[tuple[bytes, ...], tuple[int, int]]:
    """Template -> its first line's number, and how many lines have it."""
    shapes = _shapes(text)
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
        words = _words(shape[:_MAX_KEY_BYTES])
        if words:
            known = found.get(words)
            found[words] = (known[0], known[1] + count) if known else (first[shape], count)
    return found


def _shapes(text: str) -> list[bytes]:
    """The lines with every run of digits as one 0, and spaces for what separates words."""
    masked = text.encode().translate(_MASKED)
    for width in (16, 8, 4, 3, 2, 2):
        masked = masked.replace(b"0" * width, b"0")
    return masked.split(b"\n")


def _words(shape: bytes) -> tuple[bytes, ...]:
    return tuple(
        _VARIABLE if b"0" in word or word in _CALENDAR or len(word) > _MAX_WORD_BYTES else word
        for word in shape.split()
    )


def _families(templates: dict[tuple[bytes, ...], tuple[int, int]]) -> set[int]:
    """First lines of the templates that differ in more than words which one template alone has."""
    shared = Counter(word for words in templates for word in set(words))
    seen: set[tuple[int, Sequence[bytes]]] = set()
    found: set[int] = set()
    for words, (first, _) in templates.items():
        family = (len(words), tuple(word for word in words if shared[word] > 1))
        if family not in seen:
            seen.add(family)
            found.add(first)
    return found
