"""Plain text and Markdown: headings, and the sentences that say most of what is asked for."""

from __future__ import annotations

import re

from agentkit.tools.prune.escapes import without_repeats
from agentkit.tools.prune.outline import Ask, Outline
from agentkit.tools.prune.salience import is_trouble, salience

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'(\[A-Z0-9])|(?<=[。！？])")
_HEADING = re.compile(r"#{1,6} \S|[A-Z][^.!?]{2,60}:$|={3,}|-{3,}$")
_FIELD = re.compile(r"\s*(?:[-*] )?[\w \"'().-]{1,40}: *\S.{0,100}$")
_LONG_LINE_CHARS = 200
_MAX_LINE_CHARS = 2_000
_PIECE_CHARS = 1_000
_REPEAT_CHARS = 60
_MAX_LINES = 4_000
_HEAD_LINES, _TAIL_LINES, _SAMPLED_LINES, _ASKED_LINES = 300, 100, 1_500, 1_000


def prose_outline(text: str, ask: Ask) -> Outline:
    """Lines, long ones by sentence, under their headings; lines that stand there twice once."""
    outline = Outline(unit="sentences")
    add_prose(outline, text, ask, indent="", parent=-1)
    return outline


def add_prose(outline: Outline, text: str, ask: Ask, *, indent: str, parent: int) -> None:
    """Adds text below a line of another outline."""
    lines = without_repeats(text.split("\n"))
    asked = ask.terms.hits(lines)
    numbers = _candidates(lines, asked)
    outline.unseen += len(lines) - len(numbers)
    heading = parent
    seen: set[str] = set()
    for number in numbers:
        ask.deadline.check()
        line = lines[number].strip()
        if not line or line in seen:
            continue
        if len(line) > _REPEAT_CHARS:
            seen.add(line)
        gain = 30.0 * asked.get(number, 0.0)
        base = 6.0 / (1 + len(outline.texts) / 5)
        if _HEADING.match(line):
            heading = outline.add(indent + line[:_MAX_LINE_CHARS], 8.0 + gain + base, parent)
            continue
        kept = lines[number].rstrip() if len(line) <= _LONG_LINE_CHARS else line
        for piece in _pieces(kept):
            score = base + _score(piece) + (gain and gain * _share(piece, ask))
            outline.add(indent + piece, score, heading)


def _share(piece: str, ask: Ask) -> float:
    """How much of a line's gain one of its sentences has."""
    return 1.0 if ask.terms.weight(piece) else 0.3


def _score(piece: str) -> float:
    score = 20.0 * min(1.0, salience(piece)) + 8.0 * is_trouble(piece)
    score += 8.0 * (_FIELD.match(piece) is not None)
    return score / (1.0 + len(piece) / 400)


def _candidates(lines: list[str], asked: dict[int, float]) -> list[int]:
    """All lines, or of very many the ends, an even sample, and those that are asked for."""
    if len(lines) <= _MAX_LINES:
        return list(range(len(lines)))
    kept = set(range(_HEAD_LINES)) | set(range(len(lines) - _TAIL_LINES, len(lines)))
    kept |= set(range(0, len(lines), len(lines) // _SAMPLED_LINES))
    kept |= set(sorted(asked, key=lambda number: -asked[number])[:_ASKED_LINES])
    return sorted(kept)


def _pieces(line: str) -> list[str]:
    """A long line by sentence, and an endless one in pieces of 1,000 characters."""
    if len(line) <= _LONG_LINE_CHARS:
        return [line]
    pieces = (
        sentence[start : start + _PIECE_CHARS]
        for sentence in _SENTENCE_END.split(line[: _MAX_LINES * _PIECE_CHARS])
        for start in range(0, len(sentence), _PIECE_CHARS)
    )
    return [piece for piece in pieces if piece.strip()]
