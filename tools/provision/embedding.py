"""Vectors for texts: the embedding that ships with agentkit, or any of LangChain's.

The shipped one has a vector for each word piece, and a text's vector is their mean:
`packaging/build_static_embedding.py` made it from MiniLM. It needs numpy alone, and thousands of
texts take a second.
"""

from __future__ import annotations

import io
import re
import threading
import unicodedata
import zlib
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Protocol, runtime_checkable

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_CASE_CHANGE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u4e00-\u9fff]+|[^\w\s]")
_LONGEST_WORD_CHARS = 64
_MAX_TEXT_CHARS = 2_000
_CHUNK_TEXTS = 256
_PROBE = "Find the tools that this request calls for."
_ZERO_CODE = 8  # codes are 4 bits: 0 to 15 stand for -8 to 7 steps

_lock = threading.Lock()
_shipped: StaticEmbedding | None = None


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors of length 1; `fingerprint` tells one model from another."""

    @property
    def fingerprint(self) -> str:
        """Names the model and its version: an index cached on disk is valid for this one only."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row a text."""
        ...


class StaticEmbedding:
    """A vector for each word piece; `StaticEmbedding.shipped()` is the one in the wheel."""

    def __init__(self, pieces: Sequence[str], table: Vectors, *, fingerprint: str) -> None:
        """`table` holds a row for each of `pieces`; continuations of a word begin with "##"."""
        self._ids = {piece: number for number, piece in enumerate(pieces)}
        self._table = table
        self._fingerprint = fingerprint
        self._word_ids = lru_cache(65_536)(self._split)

    @classmethod
    def shipped(cls) -> StaticEmbedding:
        """The embedding in the wheel, read at the first call."""
        global _shipped
        with _lock:
            if _shipped is None:
                _shipped = _read(
                    files("agentkit.tools.provision").joinpath("static.npz").read_bytes()
                )
            return _shipped

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 a text; of zeros where no word is known."""
        found = self.sums(texts)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.maximum(lengths, 1e-9), np.float32)

    def sums(self, texts: Sequence[str]) -> Vectors:
        """One row a text, the sum over its word pieces: it is the longer the more they say."""
        found = np.zeros((len(texts), self._table.shape[1]), np.float32)
        for start in range(0, len(texts), _CHUNK_TEXTS):
            chunk = [self.piece_ids(text) for text in texts[start : start + _CHUNK_TEXTS]]
            rows = [start + row for row, ids in enumerate(chunk) if ids]
            known = [ids for ids in chunk if ids]
            if known:
                found[rows] = self._added(known)
        return found

    def _added(self, known: Sequence[Sequence[int]]) -> Vectors:
        starts = np.cumsum([0, *(len(ids) for ids in known[:-1])])
        flat = np.fromiter((number for ids in known for number in ids), np.int64)
        return np.add.reduceat(self._table[flat], starts, axis=0)

    def piece_ids(self, text: str) -> list[int]:
        """The numbers of the pieces of a text, in order."""
        spaced = _CASE_CHANGE.sub(" ", text[:_MAX_TEXT_CHARS]).lower()
        if not spaced.isascii():
            spaced = "".join(
                char
                for char in unicodedata.normalize("NFD", spaced)
                if unicodedata.category(char) != "Mn"
            )
        return [number for word in _WORD.findall(spaced) for number in self._word_ids(word)]

    def _split(self, word: str) -> tuple[int, ...]:
        """BERT's WordPiece: the longest known pieces from the left; nothing where one is unknown.

        Wu et al., "Google's Neural Machine Translation System" (2016), section 4.1.
        """
        found: list[int] = []
        start = 0
        word = word[:_LONGEST_WORD_CHARS]
        while start < len(word):
            mark = "##" if start else ""
            for end in range(len(word), start, -1):
                if (number := self._ids.get(mark + word[start:end])) is not None:
                    break
            else:
                return ()
            found.append(number)
            start = end
        return tuple(found)


class LangChainEmbedding:
    """Any LangChain `Embeddings` as an Embedder; `fingerprint` names its model and version."""

    def __init__(self, embeddings: Embeddings, *, fingerprint: str | None = None) -> None:
        """Without a `fingerprint` the vector of a fixed text tells one model from another."""
        self._embeddings = embeddings
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str:
        if self._fingerprint is None:
            digest = zlib.crc32(np.round(self.embed([_PROBE]), 2).tobytes())
            self._fingerprint = f"{type(self._embeddings).__qualname__}-{digest:08x}"
        return self._fingerprint

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 a text, all in one call."""
        rows = np.asarray(self._embeddings.embed_documents(list(texts)), dtype=np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.maximum(lengths, 1e-9), np.float32)


def embedder_of(embedding: Embedder | Embeddings | None) -> Embedder:
    """The Embedder that is meant; None means the one in the wheel."""
    if embedding is None:
        return StaticEmbedding.shipped()
    return LangChainEmbedding(embedding) if isinstance(embedding, Embeddings) else embedding


def pack(pieces: Sequence[str], table: Vectors) -> bytes:
    """A table in 4 bits a number, with a step a row, as `StaticEmbedding.shipped` reads it."""
    steps = np.maximum(_best_steps(table), 1e-8).astype(np.float16)
    codes = np.clip(np.rint(table / steps[:, None].astype(np.float32)), -_ZERO_CODE, 7) + _ZERO_CODE
    nibbles = codes.astype(np.uint8)
    target = io.BytesIO()
    np.savez(
        target,
        codes=nibbles[:, 0::2] | (nibbles[:, 1::2] << 4),
        steps=steps,
        pieces=np.frombuffer(zlib.compress("\n".join(pieces).encode(), 9), np.uint8),
    )
    return target.getvalue()


def _best_steps(table: Vectors) -> Vectors:
    """For each row the step, of 24, that loses least."""
    largest = np.maximum(np.abs(table).max(axis=1), 1e-8)
    steps = largest / 7 * np.linspace(0.4, 1.0, 24, dtype=np.float32)[:, None]
    losses = np.stack([_loss(table, step) for step in steps])
    best = losses.argmin(axis=0)
    return np.asarray(steps[best, np.arange(len(table))], np.float32)


def _loss(table: Vectors, steps: Vectors) -> Vectors:
    codes = np.clip(np.rint(table / steps[:, None]), -_ZERO_CODE, 7)
    return np.asarray(np.square(codes * steps[:, None] - table).sum(axis=1), np.float32)


def _read(data: bytes) -> StaticEmbedding:
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        codes, steps = stored["codes"], stored["steps"]
        pieces = zlib.decompress(stored["pieces"].tobytes()).decode().split("\n")
    table = np.empty((len(codes), codes.shape[1] * 2), np.float32)
    table[:, 0::2] = codes & 15
    table[:, 1::2] = codes >> 4
    table -= _ZERO_CODE
    table *= steps.astype(np.float32)[:, None]
    return StaticEmbedding(pieces, table, fingerprint=f"agentkit-static-{zlib.crc32(data):08x}")
