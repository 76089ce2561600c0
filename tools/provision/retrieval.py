"""Which tools a request calls for: the best matches of an index, or none where nothing fits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agentkit.tools.provision.index import Evidence, Scores, ToolIndex
from agentkit.tools.provision.intent import MAX_REQUEST_CHARS, deliverables, intents
from agentkit.tools.provision.signals import Calibration, Request, Signals
from agentkit.tools.provision.together import Together
from agentkit.tools.provision.words import plain, terms

_CANDIDATES = 10
_PLACE_OF_WRITER = 2
_COMPANY = 2.0
"""Standard deviations that a tool rises by which all tasks used along with one of the best."""
_COMPANIED = 3


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How much words, a request's best-fitting part, and a tool's group count beside its meaning.

    `packaging/fit_shares.py` chose them.
    """

    lexical: float = 0.3
    part: float = 0.5
    group: float = 0.6


SHARES = Shares()


@dataclass(frozen=True, kw_only=True)
class Match:
    """A tool that may serve: `score` orders the matches of one request, `chance` is its fit.

    `chance` is the calibrated probability, 0 to 1, that a request this close to a tool calls for
    it; None where the embedding has no calibration. Why: `semantic` is the cosine with the whole
    request, `lexical` its BM25, `shared_words` the stems that both have, `used_with` the better
    match that earlier tasks used it with, where that raised it.
    """

    name: str
    score: float
    chance: float | None
    semantic: float
    lexical: float
    shared_words: tuple[str, ...]
    used_with: str = ""


def search(
    index: ToolIndex,
    request: str,
    *,
    limit: int = 10,
    calibration: Calibration | None = None,
    floor: bool = True,
    together: Together | None = None,
) -> tuple[Match, ...]:
    """The tools that fit a request best, best first; none where no chance reaches the floor.

    Of cards of one name the best is found. What earlier tasks used `together` with the three best
    is raised.

    Without a calibration there is no chance and no floor, and `limit` tools are always found;
    without `floor` there are chances, and they hold nothing back.
    """
    texts, files = texts_of(request)
    if not index.cards or not texts or limit < 1:
        return ()
    evidence = index.evidence([*texts, *files])
    scores = combined(index, evidence, files=len(files))
    company = {} if together is None else _raised(index, scores, together)
    best = best_of(index, scores, max(limit, _CANDIDATES))
    asked = dict.fromkeys(terms(texts[0]))
    if calibration is None:
        return tuple(
            _match(index, evidence, at, scores, asked, None, company) for at in best[:limit]
        )
    chances = [
        calibration.chance(found) for found in signals_of(index, evidence, texts[0], asked, best)
    ]
    if floor and calibration.holds_back(chances[:_CANDIDATES]):
        return ()
    return tuple(
        _match(index, evidence, at, scores, asked, chance, company)
        for at, chance in zip(best[:limit], chances, strict=False)
    )


def signals_of(
    index: ToolIndex,
    evidence: Evidence,
    request: str,
    asked: Mapping[str, object],
    positions: Sequence[int],
) -> Iterator[Signals]:
    """The signals of a request, whose stems are `asked`, and each of some tools."""
    said = Request(request)
    for at in positions:
        card, words = index.cards[at], index.words(at)
        yield Signals(
            semantic=float(evidence.semantic[0, at]),
            intent=float(evidence.semantic[:, at].max()),
            covered=sum(word in words for word in asked) / max(len(asked), 1),
            echoed=said.echo(card.spoken_name),
            grounded=said.grounding(card),
            length=math.log1p(len(asked)),
        )


def combined(
    index: ToolIndex, evidence: Evidence, *, files: int = 0, shares: Shares = SHARES
) -> Scores:
    """One score a tool: meaning and words, of the whole request and of its best-fitting part.

    Cosines and BM25 have no scale in common, so each counts in standard deviations over the tools.
    The last `files` rows are what a request's result is written with: the best tool for each
    comes right behind the two best of the request.
    """
    own = np.asarray(
        _standard(evidence.semantic) + np.float32(shares.lexical) * _standard(evidence.lexical),
        np.float32,
    )
    rows = own + np.float32(shares.group) * index.spread_over_groups(own)
    parts = rows[1 : len(rows) - files]
    scores = np.array(rows[0], np.float32)
    if len(parts):
        scores += np.float32(shares.part) * parts.max(axis=0)
    if files:
        place = min(_PLACE_OF_WRITER, len(scores))
        least = scores[_best(scores, place)[-1]]
        for row in rows[len(rows) - files :]:
            writer = row.argmax()
            scores[writer] = max(scores[writer], least)
    return scores


def _raised(index: ToolIndex, scores: Scores, together: Together) -> dict[int, str]:
    """Raises, in place, what goes along with the best; the positions raised, and by which tool."""
    rises: dict[int, tuple[float, str]] = {}
    for at in best_of(index, scores, _COMPANIED):
        name = index.cards[at].name
        for other, share in together.companions(name).items():
            place = index.places.get(other)
            if place is not None and share > rises.get(place, (0.0, ""))[0]:
                rises[place] = (share, name)
    for place, (share, _) in rises.items():
        scores[place] += np.float32(_COMPANY * share)
    return {place: name for place, (_, name) in rises.items()}


def texts_of(request: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The texts that a request is searched by: itself and its parts, and files to be written."""
    whole = plain(request[:MAX_REQUEST_CHARS]).strip()
    return ((whole, *intents(whole)), deliverables(request)) if whole else ((), ())


def best_of(index: ToolIndex, scores: Scores, count: int) -> Sequence[int]:
    """Positions of the highest scores in falling order, no name twice."""
    best: dict[str, int] = {}
    for at in _best(scores, count * index.most_alike):
        best.setdefault(index.cards[at].name, at)
    return list(best.values())[:count]


def _standard(rows: Scores) -> Scores:
    spread = rows.std(axis=1, keepdims=True)
    return np.asarray((rows - rows.mean(axis=1, keepdims=True)) / (spread + 1e-6), np.float32)


def _best(scores: Scores, count: int) -> Sequence[int]:
    """Positions of the highest scores in falling order; the earlier tool where two are equal."""
    if count < len(scores):
        lowest = -np.partition(-scores, count - 1)[count - 1]
        at = np.flatnonzero(scores >= lowest)
    else:
        at = np.arange(len(scores))
    return [int(position) for position in at[np.argsort(-scores[at], kind="stable")][:count]]


def _match(
    index: ToolIndex,
    evidence: Evidence,
    at: int,
    scores: Scores,
    asked: Iterable[str],
    chance: float | None,
    company: Mapping[int, str],
) -> Match:
    words = index.words(at)
    return Match(
        name=index.cards[at].name,
        score=float(scores[at]),
        chance=chance,
        semantic=float(evidence.semantic[0, at]),
        lexical=float(evidence.lexical[0, at]),
        shared_words=tuple(word for word in asked if word in words),
        used_with=company.get(at, ""),
    )
