"""An index over many tools: how well each fits a request, by its words and by its meaning."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import io
import json
import logging
import os
import tempfile
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from agentkit.tools.provision.compaction import shared_prefix
from agentkit.tools.provision.embedding import Embedder, StaticEmbedding, Vectors, embedder_of
from agentkit.tools.provision.lexical import Lexical
from agentkit.tools.provision.words import spoken, terms

if TYPE_CHECKING:
    from agentkit.tools.catalogue import Schema, ToolSpec

Scores = NDArray[np.float32]

_VERSION = "2"  # of what is indexed and how: an index cached by another version is made anew
_MAX_ARGUMENTS = 24
_DIGEST_BYTES = 32
_MOST_KEPT = 32
_MAX_DESCRIPTION_CHARS = 1_200
_MAX_ARGUMENT_CHARS = 160
_BLOCK_CARDS = 128
_NAME_SHARE = 0.3
"""How much of a tool's vector is its name's, the rest its description's."""
_GROUP_SHARE = 0.3
"""How much of its group's vector is added to a tool's."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ToolCard:
    """What is indexed of a tool. `group` holds tools that belong together: those of one server.

    `schema` is the JSON schema of its arguments; their names and descriptions are indexed too.
    """

    name: str
    description: str
    schema: Schema
    group: str = ""
    group_description: str = ""

    @classmethod
    def of(
        cls, spec: ToolSpec, *, group: str | None = None, group_description: str = ""
    ) -> ToolCard:
        """The card of a catalogue's tool."""
        return cls(
            name=spec.name,
            description=spec.description,
            schema=spec.schema,
            group=spec.group if group is None else group,
            group_description=group_description,
        )

    @property
    def spoken_name(self) -> str:
        """The name as words, without its group's in front."""
        return spoken(self.name.removeprefix(f"{self.group}__"))


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """How each tool fits each text: rows are texts, columns tools in the order of the cards."""

    lexical: Scores
    semantic: Scores


class ToolIndex:
    """Tools to search; building one takes about a second for 4,000 tools, so it can be cached."""

    def __init__(
        self,
        cards: Sequence[ToolCard],
        *,
        embedder: Embedder | Embeddings | None = None,
        cache_folder: Path | None = None,
    ) -> None:
        """With `cache_folder` an index of the same cards and embedder is read from there.

        A cached index that cannot be read is made anew.
        """
        self.cards = tuple(cards)
        self.embedder = embedder_of(embedder)
        self._words: dict[int, frozenset[str]] = {}
        self._lexical, self._vectors = self._read_or_build(cache_folder)
        groups = {group: number for number, group in enumerate(sorted({c.group for c in cards}))}
        self._groups = np.array([groups[card.group] for card in cards], np.int64)

    @property
    def has_shipped_embedding(self) -> bool:
        """Whether the vectors are of the embedding in the wheel."""
        return self.embedder is StaticEmbedding.shipped()

    @functools.cached_property
    def most_alike(self) -> int:
        """How many cards have one name, at most; a catalogue's tools never share one."""
        return max(Counter(card.name for card in self.cards).values(), default=1)

    @functools.cached_property
    def places(self) -> Mapping[str, int]:
        """The position of the first card of each name."""
        return {card.name: at for at, card in reversed(list(enumerate(self.cards)))}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of everything indexed and of the embedder."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (_VERSION, self.embedder.fingerprint):
            digest.update(part.encode() + b"\0")
        for card in self.cards:
            digest.update(json.dumps(_card_texts(card)).encode() + b"\0")
        return digest.hexdigest()

    def evidence(self, texts: Sequence[str]) -> Evidence:
        """How well every tool fits each text."""
        vectors = self.embedder.embed(texts)
        semantic = _products(vectors, self._vectors)
        lexical = np.zeros_like(semantic)
        for row, text in enumerate(texts):
            lexical[row] = self._lexical.scores(terms(text))
        return Evidence(lexical=lexical, semantic=semantic)

    def words(self, position: int) -> frozenset[str]:
        """The stems under which the card at a position is found."""
        if (known := self._words.get(position)) is None:
            known = self._words[position] = frozenset(_card_terms(self._distinct[position]))
        return known

    def spread_over_groups(self, scores: Scores) -> Scores:
        """For each tool the best score within its group; zeros where there is but one group."""
        order, starts = self._group_order
        if len(starts) < 2:
            return np.zeros_like(scores)
        best = np.maximum.reduceat(scores[:, order], starts, axis=1)
        return np.asarray(best[:, self._groups], np.float32)

    @functools.cached_property
    def _distinct(self) -> tuple[ToolCard, ...]:
        """The cards without what all descriptions of a group begin with."""
        groups: dict[str, list[str]] = {}
        for card in self.cards:
            groups.setdefault(card.group, []).append(card.description)
        shared = {group: shared_prefix(texts) for group, texts in groups.items() if group}
        return tuple(
            replace(card, description=card.description.removeprefix(shared[card.group]))
            if shared.get(card.group)
            else card
            for card in self.cards
        )

    @functools.cached_property
    def _group_order(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.argsort(self._groups, kind="stable")
        _, starts = np.unique(self._groups[order], return_index=True)
        return order, starts

    def _read_or_build(self, folder: Path | None) -> tuple[Lexical, Vectors]:
        path = folder / f"tools-{self.fingerprint}.npz" if folder else None
        if path is not None and (stored := _read(path, len(self.cards))) is not None:
            return stored
        built = Lexical.of([_card_terms(card) for card in self._distinct]), self._embed_cards()
        if path is not None:
            _keep(path, *built)
        return built

    def _embed_cards(self) -> Vectors:
        if not self.cards:
            return np.zeros((0, self.embedder.embed([""]).shape[1]), np.float32)
        names = self.embedder.embed([card.spoken_name for card in self.cards])
        full = self.embedder.embed([_sentence(card) for card in self._distinct])
        vectors = _NAME_SHARE * names + (1 - _NAME_SHARE) * full
        groups = sorted({f"{spoken(c.group)}. {c.group_description}" for c in self.cards})
        if len(groups) > 1:
            known = dict(zip(groups, self.embedder.embed(groups), strict=True))
            vectors += _GROUP_SHARE * np.stack(
                [known[f"{spoken(c.group)}. {c.group_description}"] for c in self.cards]
            )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)


def _products(texts: Vectors, cards: Vectors) -> Scores:
    """Every text's product with every card.

    In blocks that BLAS keeps to one thread: where other work has the cores, a product shared among
    threads waits for the slowest of them, twenty times as long as it takes.
    """
    found = np.empty((len(texts), len(cards)), np.float32)
    for start in range(0, len(cards), _BLOCK_CARDS):
        block = slice(start, start + _BLOCK_CARDS)
        found[:, block] = texts @ cards[block].T
    return found


def _sentence(card: ToolCard) -> str:
    return f"{card.spoken_name}: {card.description[:_MAX_DESCRIPTION_CHARS]}"


def _card_texts(card: ToolCard) -> list[str]:
    return [card.name, card.description, card.group, card.group_description, _arguments(card)]


def _arguments(card: ToolCard) -> str:
    """The names and descriptions of a tool's arguments, as one text."""
    properties = card.schema.get("properties")
    if not isinstance(properties, Mapping):
        return ""
    parts: list[str] = []
    for name, argument in list(cast("Mapping[str, object]", properties).items())[:_MAX_ARGUMENTS]:
        parts.append(spoken(name))
        if isinstance(argument, Mapping):
            text = cast("Mapping[str, object]", argument).get("description")
            if isinstance(text, str):
                parts.append(text[:_MAX_ARGUMENT_CHARS])
    return ". ".join(parts)


def _card_terms(card: ToolCard) -> list[str]:
    """The words of a card; those of its name count twice."""
    name = card.spoken_name
    return terms(f"{name} {name} {card.description} {_arguments(card)} {spoken(card.group)}")


def _keep(path: Path, lexical: Lexical, vectors: Vectors) -> None:
    """Write the index, and let go of those that nobody has used for longest."""
    try:
        _write(path, lexical, vectors)
        kept = sorted(path.parent.glob("tools-*.npz"), key=lambda each: each.stat().st_mtime)
        for old in kept[:-_MOST_KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("index of tools cannot be kept at %s: %s", path, error.strerror)


def _write(path: Path, lexical: Lexical, vectors: Vectors) -> None:
    """Whole or not at all: another process may read or write the same index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[np.generic]] = {"vectors": vectors, **lexical.arrays()}
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **arrays)
    data = packed.getvalue()
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as partial:
        partial.write(_digest(data) + data)
    os.replace(partial.name, path)


def _read(path: Path, cards: int) -> tuple[Lexical, Vectors] | None:
    try:
        whole = path.read_bytes()
        digest, data = whole[:_DIGEST_BYTES], whole[_DIGEST_BYTES:]
        if not hmac.compare_digest(_digest(data), digest):
            raise ValueError("its digest is another")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            stored: dict[str, NDArray[np.generic]] = {name: archive[name] for name in archive.files}
        vectors = np.asarray(stored["vectors"], np.float32)
        if len(vectors) == cards:
            with contextlib.suppress(OSError):  # a folder that can only be read serves as well
                os.utime(path)
            return Lexical.from_arrays(stored, cards), vectors
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        _log.warning("index of tools at %s cannot be read (%s): made anew", path, error)
    return None


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
