"""How each method scores a look-up: the cache's own rule, an embedding alone, and TF-IDF."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from _minilm import RememberedMiniLM
from numpy.typing import NDArray

from agentkit.memory.cache.difference import difference, penalty
from agentkit.memory.cache.neighbours import Neighbours
from agentkit.memory.cache.reading import Reading, read
from agentkit.tools.provision.embedding import StaticEmbedding

Vectors = NDArray[np.float32]
_WORD = re.compile(r"\w+")


class Found(NamedTuple):
    """The entry that a look-up would answer with, and its score."""

    entry: int
    score: float


class Method(Protocol):
    """A way to look questions up; `index` begins an empty cache."""

    def index(self) -> Lookup: ...

    def promising(self, max_wrong: float) -> Method:
        """The method where a share of the hits may be wrong; the same one for equal rules."""
        ...


class Lookup(Protocol):
    """A cache that is being filled."""

    def put(self, entry: int, question: str, answer: str) -> None: ...

    def find(self, question: str) -> Found | None: ...


class Embedding:
    """Vectors by text, computed once for all that is asked of a run."""

    def __init__(self, name: str, texts: Iterable[str]) -> None:
        known = sorted(set(texts))
        if name == "minilm":
            vectors = _minilm(known)
        else:
            vectors = StaticEmbedding.shipped().embed(known)
        self._vectors = vectors
        self._places = {text: place for place, text in enumerate(known)}

    @property
    def dimensions(self) -> int:
        return int(self._vectors.shape[1])

    def of(self, text: str) -> Vectors:
        """The vector of a text that was announced."""
        return np.asarray(self._vectors[self._places[text]], np.float32)


class Ours:
    """The cache's own rule: nearest, with its lead, less what the difference takes off."""

    def __init__(
        self, embedding: Embedding, *, plain: bool = False, max_wrong: float = 0.0
    ) -> None:
        """`plain` leaves the rule out: the cosine alone, as most semantic caches have it."""
        self.embedding = embedding
        self.plain = plain
        self.max_wrong = max_wrong
        self._promising: dict[float, Ours] = {penalty("swapped", max_wrong): self}

    def promising(self, max_wrong: float) -> Method:
        if self.plain:
            return self
        other = Ours(self.embedding, max_wrong=max_wrong)
        return self._promising.setdefault(penalty("swapped", max_wrong), other)

    def index(self) -> Lookup:
        return _OurLookup(self)


class _OurLookup:
    def __init__(self, method: Ours) -> None:
        self._method = method
        self._near = Neighbours(method.embedding.dimensions)
        self._questions: dict[int, str] = {}

    def put(self, entry: int, question: str, answer: str) -> None:
        self._near.put(str(entry), self._method.embedding.of(question), answer)
        self._questions[entry] = question

    def find(self, question: str) -> Found | None:
        near = self._near.nearest(self._method.embedding.of(question))
        if near is None:
            return None
        entry = int(near.entry_id)
        if self._method.plain:
            return Found(entry, near.cosine)
        cached = _reading(self._questions[entry])
        off = penalty(difference(cached, _reading(question)), self._method.max_wrong)
        return Found(entry, near.score - off)


class TfIdf:
    """Cosine of TF-IDF vectors (Salton and Buckley, 1988) over the texts of the chosen half."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = Counter(word for text in texts for word in set(_words(text)))
        self._idf = {word: math.log(len(texts) / count) + 1 for word, count in counts.items()}
        self._most = math.log(len(texts)) + 1

    def index(self) -> Lookup:
        return _TfIdfLookup(self)

    def promising(self, max_wrong: float) -> Method:  # noqa: ARG002  its rule is the same
        return self

    def vector(self, text: str) -> dict[str, float]:
        """The weights of a text's words, of length 1."""
        weights = {
            word: count * self._idf.get(word, self._most)
            for word, count in Counter(_words(text)).items()
        }
        length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
        return {word: weight / length for word, weight in weights.items()}


class _TfIdfLookup:
    def __init__(self, method: TfIdf) -> None:
        self._method = method
        self._postings: dict[str, list[tuple[int, float]]] = {}

    def put(self, entry: int, question: str, answer: str) -> None:
        for word, weight in self._method.vector(question).items():
            self._postings.setdefault(word, []).append((entry, weight))

    def find(self, question: str) -> Found | None:
        scores: dict[int, float] = {}
        for word, weight in self._method.vector(question).items():
            for entry, other in self._postings.get(word, ()):
                scores[entry] = scores.get(entry, 0.0) + weight * other
        if not scores:
            return None
        best = max(scores, key=lambda entry: scores[entry])
        return Found(best, scores[best])


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


@lru_cache(65_536)
def _reading(text: str) -> Reading:
    return read(text)


def _minilm(texts: Sequence[str]) -> Vectors:
    """MiniLM's vectors, kept between runs: tens of thousands take minutes."""
    model = RememberedMiniLM()
    vectors = model.embed(texts)
    model.save()
    return vectors
