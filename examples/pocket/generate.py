"""Examples without end: requests of the corpus, their slots refilled, with tools to choose from."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from corpus import NO_TOOL, SNIPS_TOOLS, Piece, Request, clean
from overlaps import overlap

_CLOSED_VALUES = 60
_CONSONANTS, _VOWELS = "bcdfghjklmnprstvwz", "aeiou"
_CONNECTORS = frozenset(("of", "the", "and", "in", "from", "to", "for", "with", "on", "&", "-"))
_TITLE_SHARE = 0.1
_OPENINGS = ("please", "hey", "can you", "could you", "i want you to", "now", "ok", "i'd like to")


@dataclass(frozen=True, kw_only=True)
class Span:
    """Characters `start` to `end` of the request fill `slot`."""

    start: int
    end: int
    slot: str


@dataclass(frozen=True, kw_only=True)
class Example:
    """A request with the tools on offer and the right call."""

    text: str
    offered: tuple[str, ...]
    tool: str
    spans: tuple[Span, ...]
    tagged: bool
    """False where the data set marks no slots, so that there are no tags to learn."""

    @property
    def arguments(self) -> dict[str, str]:
        """Values by key, in the order of the request; of a repeated slot the first."""
        if self.tool == NO_TOOL:
            return {}
        values: dict[str, str] = {}
        for span in self.spans:
            values.setdefault(span.slot, self.text[span.start : span.end])
        return values


class Generator:
    """Draws examples; every SNIPS row comes once before any comes twice."""

    def __init__(self, requests: Sequence[Request], *, seed: int) -> None:
        self._random = random.Random(seed)
        self._snips = [request for request in requests if request.source == "snips"]
        self._clinc = [request for request in requests if request.source == "clinc"]
        self._unmatched = [request for request in self._clinc if request.tool == NO_TOOL]
        self._slurp = [request for request in requests if request.source == "slurp"]
        self._tools = sorted({request.tool for request in requests} - {NO_TOOL})
        self._values = _values_by_slot(requests)
        self._connectors = {slot: _connectors(values) for slot, values in self._values.items()}
        self._open = sorted(
            {
                value
                for values in self._values.values()
                if len(values) > _CLOSED_VALUES
                for value in values
            }
        )
        self._words = sorted({word for value in self._open for word in value.split()})
        self._rows = self._endless()

    def example(self) -> Example:
        """The next one."""
        chance = self._random.random()
        if chance < 0.72:
            return self._from_snips(next(self._rows))
        if chance < 0.75 and self._unmatched:
            return self._from_clinc(self._random.choice(self._unmatched))
        if chance < 0.91 and self._clinc:
            return self._from_clinc(self._random.choice(self._clinc))
        return self._from_slurp(self._random.choice(self._slurp or self._snips))

    def _endless(self) -> Iterator[Request]:
        while True:
            yield from self._random.sample(self._snips, len(self._snips))

    def _from_snips(self, request: Request) -> Example:
        pieces = request.pieces
        if self._random.random() < 0.5:
            pieces = self._refilled(request)
        offered = self._offer(request.tool, seven=self._random.random() < 0.6)
        if self._random.random() < 0.92:
            return self._example(request.tool, [*offered, request.tool], pieces)
        return self._example(NO_TOOL, offered, pieces)

    def _from_clinc(self, request: Request) -> Example:
        refused = request.tool == NO_TOOL or self._random.random() < 0.6
        seven = refused and self._random.random() < 0.8
        offered = self._offer(request.tool, seven=seven)
        if refused:
            return self._example(NO_TOOL, offered, request.pieces, tagged=False)
        return self._example(request.tool, [*offered, request.tool], request.pieces, tagged=False)

    def _from_slurp(self, request: Request) -> Example:
        refused = self._random.random() < 0.5
        offered = self._offer(request.tool, seven=refused)
        pieces = self._refilled(request) if self._random.random() < 0.4 else request.pieces
        if refused:
            return self._example(NO_TOOL, offered, pieces, tagged=False)
        return self._example(request.tool, [*offered, request.tool], pieces)

    def _offer(self, tool: str, *, seven: bool) -> list[str]:
        """Tools beside `tool`, none of which the request could be for as well."""
        pool: Sequence[str] = SNIPS_TOOLS
        if not seven:
            others = self._random.sample(self._tools, min(len(self._tools), 12))
            few = self._random.sample(SNIPS_TOOLS, 3)
            count = self._random.randint(2, 8)
            pool = list(dict.fromkeys(few + others if self._random.random() < 0.5 else others))
            pool = pool[:count]
        return [other for other in pool if not overlap(tool, other)]

    def _refilled(self, request: Request) -> tuple[Piece, ...]:
        return tuple(
            Piece(text=self._refill(request.source, piece.slot), slot=piece.slot)
            if piece.slot is not None and self._random.random() < 0.8
            else piece
            for piece in request.pieces
        )

    def _refill(self, source: str, slot: str) -> str:
        values = self._values[source, slot]
        chance = self._random.random()
        if len(values) <= _CLOSED_VALUES or chance < 0.76:
            return self._random.choice(values)
        if chance < 0.82:
            return self._random.choice(self._open)
        connectors = self._connectors[source, slot]
        if chance < 0.90 and connectors:
            return self._joined(values, connectors)
        return self._made_up() if chance < 0.96 else self._random.choice(values)

    def _joined(self, values: Sequence[str], connectors: Sequence[str]) -> str:
        """Parts of two titles with a small word between: boundaries that no list shows."""
        first, second = self._random.choice(values).split(), self._random.choice(values).split()
        front = first[: self._random.randint(1, len(first))][:3]
        back = second[self._random.randrange(len(second)) :][:3]
        return clean(" ".join([*front, self._random.choice(connectors), *back]))

    def _made_up(self) -> str:
        count = self._random.choices([1, 2, 3, 4, 5], [4, 4, 3, 2, 1])[0]
        words = [
            self._random.choice(self._words) if self._random.random() < 0.6 else self._syllables()
            for _ in range(count)
        ]
        case = self._random.choice((str.capitalize, str.lower, str))
        return clean(" ".join(case(word) for word in words)) or "x"

    def _syllables(self) -> str:
        draw = self._random
        return "".join(
            draw.choice(_CONSONANTS)
            + draw.choice(_VOWELS)
            + (draw.choice(_CONSONANTS) if draw.random() < 0.4 else "")
            for _ in range(draw.randint(1, 4))
        )

    def _example(
        self, tool: str, offered: Sequence[str], pieces: Sequence[Piece], *, tagged: bool = True
    ) -> Example:
        pieces = self._restyled(pieces)
        text, spans = assembled(pieces)
        shuffled = self._random.sample(list(offered), len(offered))
        return Example(text=text, offered=tuple(shuffled), tool=tool, spans=spans, tagged=tagged)

    def _restyled(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """Letter case, punctuation and courtesies must not tell one data set from another."""
        chance = self._random.random()
        if chance < 0.12:
            return [Piece(text=piece.text.lower(), slot=piece.slot) for piece in pieces]
        first, last = pieces[0], pieces[-1]
        if chance < 0.24 and first.slot is None:
            changed = first.text[:1].upper() + first.text[1:]
            return [Piece(text=changed), *pieces[1:]]
        if chance < 0.28 and first.slot is None:
            opening = self._random.choice(_OPENINGS)
            return [Piece(text=f"{opening} {first.text[:1].lower()}{first.text[1:]}"), *pieces[1:]]
        if chance < 0.36 and last.text.rstrip()[-1:].isalnum():
            ending = Piece(text=self._random.choice((".", "?", "!", " please", " thanks")))
            return [*pieces[:-1], Piece(text=last.text.rstrip(), slot=last.slot), ending]
        return pieces


def assembled(pieces: Sequence[Piece]) -> tuple[str, tuple[Span, ...]]:
    """The clean text of `pieces`, and where in it the slots are."""
    text = ""
    spans: list[Span] = []
    for piece in pieces:
        part = clean(piece.text)
        gap = piece.text[:1].isspace() or text[-1:].isspace()
        text = text.rstrip() + (" " if gap and text.strip() and part else "")
        if piece.slot is not None and part:
            spans.append(Span(start=len(text), end=len(text) + len(part), slot=piece.slot))
        text += part + (" " if piece.text[-1:].isspace() else "")
    return text.rstrip(), tuple(spans)


def plain_example(request: Request, offered: Sequence[str]) -> Example:
    """The request as it stands; a refusal where its tool is not among those `offered`."""
    text, spans = assembled(request.pieces)
    tool = request.tool if request.tool in offered else NO_TOOL
    return Example(text=text, offered=tuple(offered), tool=tool, spans=spans, tagged=True)


def _values_by_slot(requests: Sequence[Request]) -> dict[tuple[str, str], list[str]]:
    """The distinct values that each slot takes."""
    values: dict[tuple[str, str], set[str]] = {}
    for request in requests:
        for piece in request.pieces:
            if piece.slot is not None and clean(piece.text):
                values.setdefault((request.source, piece.slot), set()).add(clean(piece.text))
    return {slot: sorted(found) for slot, found in values.items()}


def _connectors(values: Sequence[str]) -> list[str]:
    """Small words in the values of a slot that takes titles: capitals, and one in ten has one."""
    if sum(value[:1].isupper() for value in values) < len(values) / 2:
        return []
    inside = [
        word for value in values for word in value.lower().split()[1:-1] if word in _CONNECTORS
    ]
    return sorted(inside) if len(inside) >= _TITLE_SHARE * len(values) else []
