"""Plain text and Markdown: headings, and the sentences that say most of what is asked for."""

from __future__ import annotations

import re

from agentkit.tools.prune.escapes import without_repeats
from agentkit.tools.prune.outline import Ask, Outline
from agentkit.tools.prune.salience import is_trouble, names_something, salience

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'(\[A-Z0-9])|(?<=[。！？])")
_HEADING = re.compile(r"#{1,6} \S|[A-Z][^.!?]{2,60}:$|={3,}|-{3,}$")
_FIELD = re.compile(r"\s*(?:[-*] )?([\w \"'().-]{1,40}): *(\S.{0,100})$")
_LONG_LINE_CHARS = 200
_PIECE_CHARS = 600
_REPEAT_CHARS = 60
_MAX_PIECES = 4_000
_HEAD, _TAIL, _SAMPLED, _ASKED = 300, 100, 1_500, 1_000


def prose_outline(text: str, ask: Ask) -> Outline:
    """Lines, long ones by sentence, under their headings; lines that stand there twice once."""
    outline = Outline(unit="sentences")
    add_prose(outline, text, ask, indent="", parent=-1)
    return outline


def add_prose(outline: Outline, text: str, ask: Ask, *, indent: str, parent: int) -> None:
    """Adds text below a line of another outline."""
    pieces = [
        piece
        for line in without_repeats(text.split("\n"))
        if line.strip()
        for piece in _pieces(line)
    ]
    ask.deadline.check()
    asked = ask.terms.hits(pieces)
    numbers = _candidates(pieces, asked)
    outline.unseen += len(pieces) - len(numbers)
    heading = parent
    seen: set[str] = set()
    for number in numbers:
        ask.deadline.check()
        piece = pieces[number]
        if piece in seen:
            continue
        if len(piece) > _REPEAT_CHARS:
            seen.add(piece)
        score = 30.0 * asked.get(number, 0.0) + 6.0 / (1 + len(outline.texts) / 5) + _score(piece)
        if indent:
            score *= 0.4
        if len(piece) <= _LONG_LINE_CHARS and _HEADING.match(piece.strip()):
            heading = outline.add(indent + piece.strip(), score + 8.0, parent)
        else:
            added = outline.add(indent + (piece.strip() if indent else piece), score, heading)
            field = _FIELD.match(piece)
            if field is not None and names_something(field.group(1)):
                outline.names[added] = (field.group(2),)


def _score(piece: str) -> float:
    score = 20.0 * min(1.0, salience(piece)) + 8.0 * is_trouble(piece)
    score += 8.0 * (_FIELD.match(piece) is not None)
    return score / (1.0 + len(piece) / 400)


def _candidates(pieces: list[str], asked: dict[int, float]) -> list[int]:
    """All of them, or of very many the ends, an even sample, and those that are asked for."""
    if len(pieces) <= _MAX_PIECES:
        return list(range(len(pieces)))
    kept = set(range(_HEAD)) | set(range(len(pieces) - _TAIL, len(pieces)))
    kept |= set(range(0, len(pieces), len(pieces) // _SAMPLED))
    kept |= set(sorted(asked, key=lambda number: -asked[number])[:_ASKED])
    return sorted(kept)


def _pieces(line: str) -> list[str]:
    """A long line by sentence, and endless sentences in pieces of 600 characters."""
    if len(line) <= _LONG_LINE_CHARS:
        return [line.rstrip()]
    return [
        sentence[start : start + _PIECE_CHARS]
        for sentence in _SENTENCE_END.split(line.strip())
        for start in range(0, len(sentence), _PIECE_CHARS)
    ]
