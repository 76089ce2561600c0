"""Which tools a request calls for: the best matches of an index, or none where nothing fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agentkit.tools.provision.index import Evidence, Scores, ToolIndex
from agentkit.tools.provision.intent import MAX_REQUEST_CHARS, intents
from agentkit.tools.provision.words import plain, spoken, terms

_LEXICAL_SHARE = 0.4
_INTENT_SHARE = 0.3
_GROUP_SHARE = 0.6
_LEAST_CANDIDATES = 10


@dataclass(frozen=True, kw_only=True)
class Match:
    """A tool that may serve: `score` orders the matches of one request, `chance` is its fit.

    `chance` is the calibrated probability, 0 to 1, that a request this close to a tool calls for
    it; None where the embedding has no calibration. `shared_words` are why, as far as words go.
    """

    name: str
    score: float
    chance: float | None
    shared_words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A logistic model of a match's chance, and the `floor` under which nothing is offered."""

    bias: float
    semantic: float
    intent: float
    covered: float
    named: float
    floor: float

    def chance(self, *, semantic: float, intent: float, covered: float, named: float) -> float:
        """0 to 1; semantic and intent are cosines, covered and named shares of words."""
        logit = (
            self.bias
            + self.semantic * semantic
            + self.intent * intent
            + self.covered * covered
            + self.named * named
        )
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, logit))))


# Fitted on even positions of BFCL's irrelevance and single-turn sets, each row with its own few
# functions; the floors were set on even positions of the MetaTool sets and BFCL's pool, so that no
# set loses more than 2 points of recall. MINILM's are of a third of those rows.
SHIPPED = Calibration(
    bias=-2.604, semantic=0.166, intent=5.163, covered=-0.018, named=1.198, floor=0.23
)
MINILM = Calibration(
    bias=-3.57, semantic=2.49, intent=4.557, covered=0.756, named=1.138, floor=0.17
)


def search(
    index: ToolIndex,
    request: str,
    *,
    limit: int = 10,
    calibration: Calibration | None = None,
) -> tuple[Match, ...]:
    """The tools that fit a request best, best first; none where no chance reaches the floor.

    Without a calibration there is no floor, and `limit` tools are always found.
    """
    texts = _texts(request)
    if not index.cards or not texts or limit < 1:
        return ()
    evidence = index.evidence(texts)
    scores = combined(index, evidence)
    best = _best(scores, max(limit, _LEAST_CANDIDATES))
    matches = [_match(index, evidence, texts[0], int(at), scores, calibration) for at in best]
    if calibration is not None:
        highest = max(match.chance or 0.0 for match in matches)
        if highest < calibration.floor:
            return ()
    return tuple(matches[:limit])


def combined(index: ToolIndex, evidence: Evidence) -> Scores:
    """One score a tool: meaning and words, of the whole request and of its best-fitting part.

    Cosines and BM25 have no scale in common, so each counts in standard deviations over the tools.
    """
    own = np.asarray(
        _standard(evidence.semantic) + np.float32(_LEXICAL_SHARE) * _standard(evidence.lexical),
        np.float32,
    )
    rows = own + np.float32(_GROUP_SHARE) * index.spread_over_groups(own)
    if len(rows) == 1:
        return np.asarray(rows[0], np.float32)
    return np.asarray(rows[0] + np.float32(_INTENT_SHARE) * rows[1:].max(axis=0), np.float32)


def _texts(request: str) -> tuple[str, ...]:
    whole = plain(request[:MAX_REQUEST_CHARS]).strip()
    return (whole, *intents(whole)) if whole else ()


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
    request: str,
    at: int,
    scores: Scores,
    calibration: Calibration | None,
) -> Match:
    asked = dict.fromkeys(terms(request))
    named = set(terms(spoken(index.cards[at].name)))
    words = index.words(at)
    shared = tuple(word for word in asked if word in words)
    chance = (
        None
        if calibration is None
        else calibration.chance(
            semantic=float(evidence.semantic[0, at]),
            intent=float(evidence.semantic[:, at].max()),
            covered=len(shared) / max(len(asked), 1),
            named=len(named.intersection(asked)) / max(len(named), 1),
        )
    )
    return Match(
        name=index.cards[at].name, score=float(scores[at]), chance=chance, shared_words=shared
    )
