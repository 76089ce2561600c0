"""The questions of a partition by meaning: the nearest one, and what speaks for its answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from agentkit.memory.cache.store import Near

Vectors = NDArray[np.float32]

MARGIN_WEIGHT = 2.0
WIDEST_MARGIN = 0.25
_SKETCH_DIMENSIONS = 48
_EXACT_BELOW = 4_000
SHORTLIST = 96
"""How many of the nearest questions speak for their answers, and against others."""
_EVIDENCE_WIDTH = 0.05
"""A question that is so much farther off speaks for its answer with a weight of 1/e."""
_GROWTH = 1.5


class Embedder(Protocol):
    """Turns texts into vectors of length 1; `fingerprint` tells one model from another."""

    @property
    def fingerprint(self) -> str:
        """Names the model and its version."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row a text."""
        ...


class Neighbour(NamedTuple):
    """The nearest question: its cosine, the evidence for its answer, and the lead of that.

    The evidence is the cosine where no other entry has the answer, and a little more where other
    near ones have it; the lead is over the evidence for the next answer, and may be below 0.
    """

    entry_id: str
    cosine: float
    evidence: float
    margin: float

    @property
    def score(self) -> float:
        """Likeness and distinctness in one number.

        A question that lies between two entries with different answers may mean either, however
        near it is: twice the lead, up to 0.25, counts beside the evidence.
        """
        return self.evidence + MARGIN_WEIGHT * min(self.margin, WIDEST_MARGIN)


def direction(rows: Vectors) -> Vectors | None:
    """The one vector of `rows` with a length of 1; None where all of it is 0.

    Raises ValueError for anything else than one row of finite numbers, which an embedding that
    does not keep to its Protocol may give.
    """
    vectors = np.asarray(rows, np.float32)
    if vectors.ndim != 2 or len(vectors) != 1:
        raise ValueError(f"the embedding of one text has the shape {vectors.shape}")
    length = float(np.linalg.norm(vectors[0].astype(np.float64)))
    if not np.isfinite(length):
        raise ValueError("its embedding has numbers that are not finite")
    return np.asarray(vectors[0] / np.float32(length), np.float32) if length else None


def first_of(near: Sequence[Near]) -> Neighbour | None:
    """The first of `near`, which are in order; None where there is none."""
    if not near:
        return None
    numbers: dict[str, int] = {}
    answers = [numbers.setdefault(each.answer_digest, len(numbers)) for each in near]
    cosines = np.array([each.cosine for each in near])
    return _weighed(near[0].entry_id, 0, cosines, np.array(answers))


def _weighed(
    entry_id: str, place: int, cosines: NDArray[np.floating[Any]], answers: NDArray[np.int64]
) -> Neighbour:
    """The neighbour at `place`, which is the nearest, among all with their answers' numbers.

    What speaks for an answer is the smooth maximum of the cosines of its entries, the logarithm of
    a sum of exponentials.
    """
    cosine = float(cosines[place])
    weights = np.exp((cosines.astype(np.float64) - cosine) / _EVIDENCE_WIDTH)
    _, groups = np.unique(answers, return_inverse=True)
    evidence = cosine + _EVIDENCE_WIDTH * np.log(np.bincount(groups, weights))
    mine = float(evidence[groups[place]])
    others = np.delete(evidence, groups[place])
    margin = mine - float(others.max()) if len(others) else WIDEST_MARGIN
    return Neighbour(entry_id, cosine, mine, margin)


class Neighbours:
    """Vectors with their answers; grows in place, so that adding one costs no copy of the rest.

    Beyond 4,000 rows a look-up ranks sketches first: random projections keep distances roughly
    (Johnson and Lindenstrauss, 1984), and the best 96 are compared exactly.
    """

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._rows: Vectors = np.zeros((0, dimensions), np.float32)
        self._sketches: Vectors = np.zeros((0, _SKETCH_DIMENSIONS), np.float32)
        self._answers: NDArray[np.int64] = np.zeros(0, np.int64)
        self._ids: list[str] = []
        self._places: dict[str, int] = {}
        self._answer_numbers: dict[str, int] = {}
        projection = np.random.default_rng(0).standard_normal((dimensions, _SKETCH_DIMENSIONS))
        self._projection = np.asarray(projection / np.sqrt(_SKETCH_DIMENSIONS), np.float32)

    def __len__(self) -> int:
        return len(self._ids)

    def put(self, entry_id: str, vector: Vectors, answer_digest: str) -> None:
        """Add a question, or replace it."""
        place = self._places.get(entry_id)
        if place is None:
            place = len(self._ids)
            self._make_room(place + 1)
            self._ids.append(entry_id)
            self._places[entry_id] = place
        self._rows[place] = vector
        self._sketches[place] = vector @ self._projection
        self._answers[place] = self._answer_numbers.setdefault(
            answer_digest, len(self._answer_numbers)
        )

    def remove(self, entry_ids: Iterable[str]) -> None:
        """Take questions out; those that are not there do not matter."""
        for entry_id in entry_ids:
            place = self._places.pop(entry_id, None)
            if place is None:
                continue
            last = len(self._ids) - 1
            if place != last:
                for rows in (self._rows, self._sketches, self._answers):
                    rows[place] = rows[last]
                self._ids[place] = self._ids[last]
                self._places[self._ids[place]] = place
            self._ids.pop()

    def nearest(self, vector: Vectors) -> Neighbour | None:
        """The nearest question, or None where there is none."""
        count = len(self._ids)
        if count == 0:
            return None
        places, cosines = self._shortlist(vector, count)
        best = int(cosines.argmax())
        return _weighed(self._ids[int(places[best])], best, cosines, self._answers[places])

    def _shortlist(self, vector: Vectors, count: int) -> tuple[NDArray[np.int64], Vectors]:
        """The nearest rows, in no order, with their cosines."""
        if count <= _EXACT_BELOW:
            cosines = _products(self._rows[:count], vector)
            places = _largest(cosines)
            return places, cosines[places]
        places = _largest(_products(self._sketches[:count], vector @ self._projection))
        return places, _products(self._rows[places], vector)

    def _make_room(self, needed: int) -> None:
        have = len(self._rows)
        if needed <= have:
            return
        more = max(needed, int(have * _GROWTH), 64) - have
        self._rows = np.vstack([self._rows, np.zeros((more, self._dimensions), np.float32)])
        sketches = np.zeros((more, _SKETCH_DIMENSIONS), np.float32)
        self._sketches = np.vstack([self._sketches, sketches])
        self._answers = np.concatenate([self._answers, np.zeros(more, np.int64)])


def _largest(values: Vectors) -> NDArray[np.int64]:
    """The places of the largest values, in no order."""
    if len(values) <= SHORTLIST:
        return np.arange(len(values))
    return np.asarray(np.argpartition(-values, SHORTLIST)[:SHORTLIST], np.int64)


def _products(rows: Vectors, vector: Vectors) -> Vectors:
    """`rows @ vector` on this thread: a BLAS wakes its others, which a busy machine makes wait."""
    return np.asarray(np.einsum("ij,j->i", rows, vector), np.float32)
