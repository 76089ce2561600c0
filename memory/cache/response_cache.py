"""Answers that are not paid for twice: the same request first, then the same meaning."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from agentkit.memory.cache.calibrated import shipped_threshold
from agentkit.memory.cache.entry import CacheEntry, CacheHit, CacheRequest, HitKind, tenant_of
from agentkit.memory.cache.store import CacheError, CacheStore, FindsNear, Served
from agentkit.memory.cache.stores import open_cache_store
from agentkit.memory.cache.threshold import NEVER, Outcome, moved_threshold

if TYPE_CHECKING:
    from agentkit.memory.cache.neighbours import Embedder, Neighbour, Neighbours, Vectors
    from agentkit.memory.cache.reading import Reading

_log = logging.getLogger("agentkit.memory")

_DAY_SECONDS = 86_400.0
_PARTITIONS_REMEMBERED = 512
_ROOM_CHECKED_EVERY = 64
_EVICTED_SHARE = 0.1
_FIRST_POLL_SECONDS = 0.01
_LONGEST_POLL_SECONDS = 0.1
_THRESHOLD_SECONDS = 5.0
_OPEN_SECONDS = 60.0

Judge = Callable[[str, str], bool]


@dataclass(frozen=True, kw_only=True)
class CachePolicy:
    """How a cache behaves.

    `max_wrong` is the share of hits by meaning that may be wrong; the threshold of likeness follows
    from it. `threshold` replaces the calibrated one. `ttl_seconds` is how long an answer is fresh,
    `ttl_by_tag` the same for entries with a tag (the shortest counts); for `stale_seconds` more it
    is still served, and made anew. `claim_seconds` is how long others wait for the one who makes an
    answer. Raises CacheError for values that make no sense.
    """

    max_wrong: float = 0.01
    by_meaning: bool = True
    threshold: float | None = None
    ttl_seconds: float = 7 * _DAY_SECONDS
    ttl_by_tag: Mapping[str, float] = field(default_factory=dict[str, float])
    stale_seconds: float = 0.0
    max_entries: int = 100_000
    max_bytes: int = 512 * 1024 * 1024
    claim_seconds: float = 120.0

    def __post_init__(self) -> None:
        if not _is_number(self.max_wrong) or not self.max_wrong < 1:
            raise CacheError(f"max_wrong={self.max_wrong}; give a share between 0 and 1, like 0.01")
        for name in ("ttl_seconds", "max_entries", "max_bytes", "claim_seconds"):
            if not _is_number(getattr(self, name)):
                raise CacheError(f"{name}={getattr(self, name)!r}; give a number above 0")
        for tag, ttl in self.ttl_by_tag.items():
            if not _is_number(ttl):
                raise CacheError(f"ttl_by_tag[{tag!r}]={ttl!r}; give seconds above 0")
        for name in ("stale_seconds", "threshold"):
            value = getattr(self, name)
            if value is not None and value != 0 and not _is_number(value):
                raise CacheError(f"{name}={value!r}; give a number, 0 or above")


def _is_number(value: object) -> bool:
    """Whether a setting is a number above 0; infinity is one, NaN and True are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


_DEFAULT_POLICY = CachePolicy()


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The right to make the answer of a request while others wait: end it with `give_up`.

    `alone` says that nobody waits for it: the wait was over before anybody else had an answer, or
    the last one's could not be kept.
    """

    request: CacheRequest
    owner: str
    alone: bool = False


class ResponseCache:
    """Looks answers up by request and by meaning, per tenant, and keeps them for a while.

    >>> from agentkit.memory.cache import CacheRequest, ResponseCache
    >>> cache = ResponseCache()
    >>> request = CacheRequest(tenant="acme", exact="what is our refund policy")
    >>> cache.keep(request, "30 days", cost_nusd=2_000_000) is not None
    True
    >>> cache.look_up(request).answer
    '30 days'
    """

    def __init__(
        self,
        store: CacheStore | str = "memory://",
        *,
        embedder: Embedder | None = None,
        policy: CachePolicy = _DEFAULT_POLICY,
        judge: Judge | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """A cache over a store, or an address: `memory://`, `sqlite:///cache.db`, `redis://…`.

        Without `embedder` only the same request hits. `judge(cached, asked)` has the last word on a
        hit by meaning. Raises CacheError where the store cannot be opened.
        """
        self.store: CacheStore = open_cache_store(store) if isinstance(store, str) else store
        self.policy = policy
        self._embedder = embedder if policy.by_meaning else None
        self._judge = judge
        self._clock = clock
        self._indexes: OrderedDict[str, tuple[int, Neighbours]] = OrderedDict()
        self._lock = threading.RLock()
        self._thresholds: dict[str, tuple[float, float]] = {}
        self._kept = 0

    def look_up(self, request: CacheRequest) -> CacheHit | None:
        """The answer to `request`, or None. Raises CacheError where the store fails."""
        entry = self.store.exact(request.key)
        if entry is not None and self._serves(entry, request):
            return self._hit(entry, request, "exact", 1.0)
        return self._by_meaning(request)

    def keep(
        self,
        request: CacheRequest,
        answer: str,
        *,
        cost_nusd: int,
        tags: tuple[str, ...] = (),
        sources: tuple[str, ...] = (),
        ttl_seconds: float | None = None,
    ) -> str | None:
        """Keep an answer and return its entry's id.

        None where it is larger than the cache, or no text, as half of a surrogate pair is.
        `ttl_seconds` goes before what the policy says.
        `refusal` in `agentkit.memory.cache.admission` says what must not be kept.
        """
        now = self._clock()
        vector = self._vector(request)
        ttls = [self.policy.ttl_by_tag[tag] for tag in tags if tag in self.policy.ttl_by_tag]
        entry = CacheEntry(
            entry_id=_new_id(request.tenant),
            key=request.key,
            tenant=request.tenant,
            partition=self._partition(request),
            question=request.text or "",
            answer=answer,
            kept_at=now,
            expires_at=now + (ttl_seconds or min(ttls or [self.policy.ttl_seconds])),
            vector=b"" if vector is None else vector.tobytes(),
            cost_nusd=cost_nusd,
            tags=tags,
            sources=sources,
        )
        try:
            fits = entry.size_bytes <= self.policy.max_bytes
        except UnicodeEncodeError:
            return None
        if not fits:
            return None
        self.store.put(entry)
        self._kept += 1
        if self._kept % _ROOM_CHECKED_EVERY == 0:
            self.make_room()
        return entry.entry_id

    def begin(
        self, request: CacheRequest, *, wait_seconds: float | None = None
    ) -> CacheHit | Claim:
        """The answer, or the claim to make it; waits while somebody else makes it."""
        waiting = _Waiting(self, request, wait_seconds)
        while (outcome := waiting.look()) is None:
            time.sleep(waiting.pause())
        return outcome

    async def abegin(
        self, request: CacheRequest, *, wait_seconds: float | None = None
    ) -> CacheHit | Claim:
        """As `begin`, on the event loop."""
        waiting = _Waiting(self, request, wait_seconds)
        while True:
            blocking = self.store.blocking
            outcome = await asyncio.to_thread(waiting.look) if blocking else waiting.look()
            if outcome is not None:
                return outcome
            await asyncio.sleep(waiting.pause())

    def claim(self, request: CacheRequest) -> Claim | None:
        """The right to make an answer anew; None while somebody else has it."""
        owner = secrets.token_hex(8)
        if self.store.claim(request.key, owner, seconds=self.policy.claim_seconds):
            return Claim(request=request, owner=owner)
        return None

    def give_up(self, claim: Claim, *, refused: bool = False) -> None:
        """End a claim, whether its answer was kept or not: the next one may try.

        `refused` says that such an answer is never kept: for a minute nobody waits for another's.
        """
        seconds = _OPEN_SECONDS if refused else 0.0
        self.store.give_up(claim.request.key, claim.owner, open_seconds=seconds)

    def wrong(self, hit_id: str) -> float:
        """Report a wrong hit; returns the tenant's threshold from now on.

        Raises CacheError where no such hit is remembered; only hits by meaning are.
        """
        served = self.store.report_wrong(hit_id)
        if served is None:
            raise CacheError(f"no hit by meaning with the id {hit_id!r} is remembered")
        self._thresholds.pop(served.tenant, None)
        return self.threshold(served.tenant)

    def forget(
        self, *, tag: str | None = None, source: str | None = None, tenant: str | None = None
    ) -> int:
        """Remove the entries that fit all that is given; returns how many there were."""
        if tag is None and source is None and tenant is None:
            raise CacheError("say what to forget: tag, source or tenant")
        removed = 0
        while ids := self.store.ids(tag=tag, source=source, tenant=tenant):
            gone = self.store.remove(ids)
            removed += gone
            if not gone:
                break  # ids that are none of ours, which a store lists and cannot remove
        return removed

    def threshold(self, tenant: str) -> float:
        """The score from which on a tenant's questions are taken for the same.

        What other processes report takes effect within five seconds.
        """
        known = self._thresholds.get(tenant)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        threshold = self._threshold(tenant)
        if len(self._thresholds) >= _PARTITIONS_REMEMBERED:
            self._thresholds.clear()
        self._thresholds[tenant] = (threshold, time.monotonic() + _THRESHOLD_SECONDS)
        return threshold

    def make_room(self) -> int:
        """Remove what is past its time, then what brings least money per byte; returns how many."""
        now = self._clock()
        old = self.store.ids(expired_at=now - self.policy.stale_seconds)
        removed = self.store.remove(old)
        totals = self.store.totals()
        if totals.entries > self.policy.max_entries or totals.size_bytes > self.policy.max_bytes:
            over = max(
                totals.entries / self.policy.max_entries, totals.size_bytes / self.policy.max_bytes
            )
            share = 1 - (1 - _EVICTED_SHARE) / over
            ids = self.store.least_worth(max(1, round(totals.entries * share)))
            removed += self.store.remove(ids)
        return removed

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def _threshold(self, tenant: str) -> float:
        base = self.policy.threshold
        if base is None:
            name = "" if self._embedder is None else self._embedder.fingerprint
            base = shipped_threshold(name, self.policy.max_wrong)
        return moved_threshold(base, self.store.served(tenant), self.policy.max_wrong)

    def _by_meaning(self, request: CacheRequest) -> CacheHit | None:
        if self._embedder is None or not request.text:
            return None
        threshold = self.threshold(request.tenant)
        if threshold == NEVER:
            return None
        found = self._nearest_entry(request, threshold)
        if found is None or not self._serves(found[0], request):
            return None
        entry, likeness = found
        score = likeness - _doubt(entry.question, request.text, self.policy.max_wrong)
        if score < threshold:
            return None
        if not self._judged_same(entry.question, request.text):
            return None
        return self._hit(entry, request, "meaning", score)

    def _serves(self, entry: CacheEntry, request: CacheRequest) -> bool:
        """Never another partition's, whatever an index or a store says; never too old."""
        if entry.partition != self._partition(request) or entry.tenant != request.tenant:
            return False
        return self._clock() < entry.expires_at + self.policy.stale_seconds

    def _hit(
        self, entry: CacheEntry, request: CacheRequest, kind: HitKind, score: float
    ) -> CacheHit:
        now = self._clock()
        hit = CacheHit(
            hit_id=_new_id(request.tenant),
            entry_id=entry.entry_id,
            answer=entry.answer,
            kind=kind,
            score=score,
            saved_nusd=entry.cost_nusd,
            age_seconds=now - entry.kept_at,
            stale=now >= entry.expires_at,
        )
        served = Served(hit.hit_id, entry.entry_id, request.tenant, Outcome(score, True), now)
        self.store.used(entry.entry_id, entry.cost_nusd, served if hit.kind == "meaning" else None)
        return hit

    def _partition(self, request: CacheRequest) -> str:
        """One embedding model's vectors are never compared with another's."""
        model = "" if self._embedder is None else self._embedder.fingerprint
        return f"{request.partition}.{model}" if request.text else request.partition

    def _vector(self, request: CacheRequest) -> Vectors | None:
        """Where a question lies; None for one that is compared with none."""
        if self._embedder is None or not request.text:
            return None
        from agentkit.memory.cache.neighbours import direction

        try:
            return direction(self._embedder.embed([request.text]))
        except Exception as error:  # noqa: BLE001  anybody's embedding, maybe behind a network: without it a question costs what it costs
            kind = type(error).__name__
            _log.warning("cache: a question is not compared with others: %s: %s", kind, error)
            return None

    def _judged_same(self, cached: str, asked: str) -> bool:
        if self._judge is None:
            return True
        try:
            return self._judge(cached, asked)
        except Exception as error:  # noqa: BLE001  as above: a judge that does not answer has not agreed
            _log.warning("cache: the judge failed, no hit by meaning: %s", type(error).__name__)
            return False

    def _nearest_entry(
        self, request: CacheRequest, threshold: float
    ) -> tuple[CacheEntry, float] | None:
        """The entry of the nearest question, and its likeness, from the threshold on."""
        vector = self._vector(request)
        if vector is None:
            return None
        for checked in (False, True):
            near = self._nearest(self._partition(request), vector, checked=checked)
            if near is None or not near.score >= threshold:
                return None
            entry = self.store.entry(near.entry_id)
            if entry is not None:
                return entry, near.score
        return None

    def _nearest(self, partition: str, vector: Vectors, *, checked: bool) -> Neighbour | None:
        from agentkit.memory.cache.neighbours import SHORTLIST, first_of

        if isinstance(self.store, FindsNear):
            near = self.store.near(partition, vector.tobytes(), SHORTLIST, checked=checked)
            if near is not None:
                self._indexes.pop(partition, None)
                return first_of(near)
        with self._lock:
            return self._index(partition, len(vector)).nearest(vector)

    def _index(self, partition: str, dimensions: int) -> Neighbours:
        """The partition's questions, brought up to what other processes kept and removed."""
        from agentkit.memory.cache.neighbours import Neighbours

        seq, index = self._indexes.pop(partition, (0, None))
        changes = self.store.changes(partition, seq)
        if index is None or changes.whole:
            index = Neighbours(dimensions)
        index.remove(changes.removed)
        for entry in changes.entries:
            vector = _kept_vector(entry.vector, dimensions)
            if vector is not None:
                index.put(entry.entry_id, vector, entry.answer_digest)
        self._indexes[partition] = (changes.seq, index)
        if len(self._indexes) > _PARTITIONS_REMEMBERED:
            self._indexes.popitem(last=False)
        return index


class _Waiting:
    """One caller's wait for an answer that somebody else may be making."""

    def __init__(
        self, cache: ResponseCache, request: CacheRequest, wait_seconds: float | None
    ) -> None:
        self._cache = cache
        self._request = request
        self._owner = secrets.token_hex(8)
        most = cache.policy.claim_seconds
        self._until = time.monotonic() + (most if wait_seconds is None else min(wait_seconds, most))
        self._pause = _FIRST_POLL_SECONDS
        self._looked = False

    def look(self) -> CacheHit | Claim | None:
        """The answer, the claim, or None while another has the claim."""
        cache, request = self._cache, self._request
        if not self._looked:
            self._looked = True
            hit = cache.look_up(request)
            if hit is not None:
                return hit
        claimed = cache.store.claim(request.key, self._owner, seconds=cache.policy.claim_seconds)
        if claimed is None:
            return Claim(request=request, owner=self._owner, alone=True)
        if claimed:
            claim = Claim(request=request, owner=self._owner)
            if cache.store.exact(request.key) is None:
                return claim
            hit = cache.look_up(request)  # kept between our look and our claim
            if hit is None:
                return claim
            cache.give_up(claim)
            return hit
        if time.monotonic() >= self._until:
            return Claim(request=request, owner=self._owner, alone=True)
        return None

    def pause(self) -> float:
        """Seconds until the next look."""
        pause = min(self._pause, max(0.0, self._until - time.monotonic()))
        self._pause = min(self._pause * 1.5, _LONGEST_POLL_SECONDS)
        return pause


def _new_id(tenant: str) -> str:
    return f"{tenant_of(tenant, named=True)}:{secrets.token_hex(6)}"


def _doubt(cached: str, asked: str, max_wrong: float) -> float:
    from agentkit.memory.cache.difference import difference, penalty

    return penalty(difference(_reading(cached), _reading(asked)), max_wrong)


@lru_cache(8_192)
def _reading(text: str) -> Reading:
    from agentkit.memory.cache.reading import read

    return read(text)


def _kept_vector(data: bytes, dimensions: int) -> Vectors | None:
    import numpy as np

    if len(data) != 4 * dimensions:
        return None
    vector = np.frombuffer(data, np.float32)
    return vector if bool(np.isfinite(vector).all()) else None
