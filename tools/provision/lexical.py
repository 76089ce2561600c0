"""BM25 over the words of cards, by bm25s; what is stored of it are plain arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

_K1, _B = 1.2, 0.6
_ARRAYS = ("data", "indices", "indptr")

Arrays = dict[str, NDArray[np.generic]]


class _BM25(Protocol):
    """What is used of bm25s, which has no types."""

    vocab_dict: dict[str, int]
    scores: dict[str, NDArray[np.generic] | int]
    nonoccurrence_array: NDArray[np.generic] | None

    def index(self, corpus: Sequence[Sequence[str]], *, show_progress: bool) -> None: ...

    def get_scores(self, query_tokens_single: list[str]) -> NDArray[np.float32]: ...


class Lexical:
    """How well each document's words fit those of a request."""

    def __init__(self, bm25: _BM25, documents: int) -> None:
        self._bm25 = bm25
        self._documents = documents

    @classmethod
    def of(cls, documents: Sequence[Sequence[str]]) -> Lexical:
        """An index of documents given as their words."""
        bm25 = _new()
        bm25.index([words or [""] for words in documents] or [[""]], show_progress=False)
        return cls(bm25, len(documents))

    @classmethod
    def from_arrays(cls, stored: Mapping[str, NDArray[np.generic]], documents: int) -> Lexical:
        """An index from what `arrays` gave. Raises KeyError or ValueError where it is none."""
        bm25 = _new()
        words = cast("list[str]", json.loads(stored["words"].tobytes()))
        bm25.vocab_dict = {word: int(number) for number, word in enumerate(words)}
        bm25.scores = {name: stored[name] for name in _ARRAYS}
        bm25.scores["num_docs"] = max(documents, 1)
        bm25.nonoccurrence_array = None  # as `index` leaves it for this kind of BM25
        if len(stored["indptr"]) <= len(words) - 1:
            raise ValueError("fewer words are indexed than named")
        return cls(bm25, documents)

    def arrays(self) -> Arrays:
        """The index as arrays that `from_arrays` takes."""
        by_number = sorted(self._bm25.vocab_dict, key=self._bm25.vocab_dict.__getitem__)
        words = np.frombuffer(json.dumps(by_number).encode(), np.uint8)
        return {"words": words, **{name: np.asarray(self._bm25.scores[name]) for name in _ARRAYS}}

    def scores(self, words: Sequence[str]) -> NDArray[np.float32]:
        """One score a document; zeros where no word is known."""
        known = [word for word in words if word in self._bm25.vocab_dict]
        if not known or not self._documents:
            return np.zeros(self._documents, np.float32)
        return np.asarray(self._bm25.get_scores(known), np.float32)


def _new() -> _BM25:
    import bm25s  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

    return cast("_BM25", bm25s.BM25(k1=_K1, b=_B))
