"""The storage Protocol behind the cache, and the values that cross it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from agentkit.memory.cache.entry import CacheEntry
from agentkit.memory.cache.threshold import Outcome


class CacheError(Exception):
    """A cache that cannot be opened, read or written, or a setting that makes no sense."""


class Changes(NamedTuple):
    """What became of a partition since a point in its history.

    `whole` says that the history does not reach back that far: `entries` is then all there is.
    """

    seq: int
    entries: Sequence[CacheEntry]
    removed: Sequence[str]
    whole: bool


class Totals(NamedTuple):
    """The size of a cache and what it brought."""

    entries: int
    size_bytes: int
    hits: int
    saved_nusd: int


class Served(NamedTuple):
    """An answer that was given by meaning: `right` is False once somebody reported it."""

    hit_id: str
    entry_id: str
    tenant: str
    outcome: Outcome
    at: float


class Near(NamedTuple):
    """A kept question near another: its cosine, and what tells its answer from others."""

    entry_id: str
    cosine: float
    answer_digest: str


class CacheStore(Protocol):
    """Where entries live. Every method is atomic and safe from many threads."""

    @property
    def blocking(self) -> bool:
        """True where a method waits for a disk or a network, so that an event loop must not."""
        ...

    def put(self, entry: CacheEntry) -> None:
        """Keep an entry, instead of the one of the same key where there is one."""
        ...

    def exact(self, key: str) -> CacheEntry | None:
        """The entry of a key."""
        ...

    def entry(self, entry_id: str) -> CacheEntry | None:
        """The entry of an id."""
        ...

    def changes(self, partition: str, after: int) -> Changes:
        """What was kept in or removed from `partition` since `after`; 0 asks for all of it."""
        ...

    def used(self, entry_id: str, saved_nusd: int, served: Served | None = None) -> None:
        """Count a hit; remember `served`, an answer that was given by meaning."""
        ...

    def remove(self, entry_ids: Sequence[str]) -> int:
        """Remove entries; returns how many there were."""
        ...

    def ids(
        self,
        *,
        tenant: str | None = None,
        tag: str | None = None,
        source: str | None = None,
        expired_at: float | None = None,
        limit: int = 1_000,
    ) -> list[str]:
        """The ids of the entries that fit all that is given, of damaged ones, too."""
        ...

    def find(
        self,
        *,
        tenant: str | None = None,
        tag: str | None = None,
        source: str | None = None,
        expired_at: float | None = None,
        limit: int = 1_000,
    ) -> list[CacheEntry]:
        """The entries that fit all that is given, the latest first."""
        ...

    def least_worth(self, count: int) -> list[str]:
        """The ids of the entries that bring least money per byte."""
        ...

    def totals(self) -> Totals:
        """Sums over all entries."""
        ...

    def claim(self, key: str, owner: str, *, seconds: float) -> bool | None:
        """Be the one who makes the answer of `key`, until `give_up` or for `seconds`.

        None where it is not worth waiting for: the last one who made it could not keep it.
        """
        ...

    def give_up(self, key: str, owner: str, *, open_seconds: float = 0.0) -> None:
        """End a claim; another owner's is left alone. For `open_seconds` nobody has to wait."""
        ...

    def report_wrong(self, hit_id: str) -> Served | None:
        """Mark a given answer as wrong; None where nobody remembers it."""
        ...

    def served(self, tenant: str, limit: int = 1_000) -> list[Outcome]:
        """What became of the latest answers given by meaning to a tenant."""
        ...

    def close(self) -> None:
        """Let go of files and connections; a second call does nothing."""
        ...


@runtime_checkable
class FindsNear(Protocol):
    """A store whose server compares vectors itself, so that no process needs all of them."""

    def near(
        self, partition: str, vector: bytes, count: int, *, checked: bool = False
    ) -> list[Near] | None:
        """The `count` nearest questions of a partition to a vector of float32, nearest first.

        `checked` leaves out those whose entries are gone, which costs another question. None where
        this server cannot, or not yet: then `changes` tells what there is.
        """
        ...
