"""Cache entries in Redis, shared by many machines; all keys of a tenant lie in one hash slot."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from itertools import groupby
from typing import Any, Literal, cast

import redis
from redis.exceptions import RedisError, ResponseError

from agentkit.memory.cache.entry import CacheEntry, tenant_of
from agentkit.memory.cache.redis_vectors import VectorSets
from agentkit.memory.cache.store import CacheError, Changes, Near, Served, Totals
from agentkit.memory.cache.stored import Warned, outcomes
from agentkit.memory.cache.threshold import Outcome

_TENANTS = "agentkit:cache:tenants"
_TIMEOUT_SECONDS = 5.0
_SERVED_KEPT = 2_000
_GONE_KEPT = 10_000
_PAGE = 500

_READ = (
    *("key", "tenant", "partition", "question", "answer", "kept_at", "expires_at", "vector"),
    *("cost_nusd", "saved_nusd", "hits", "tags", "sources"),
)

_OPEN = b""
"""Owns a claim that nobody waits for."""

Script = Literal["put", "remove", "used"]


class RedisCacheStore:
    """Implements CacheStore on `redis://`, `rediss://` or `unix://`."""

    def __init__(self, address: str) -> None:
        """Raises CacheError where the server cannot be reached."""
        self._where = address.rpartition("@")[2]
        self._warned = Warned()
        try:
            self._redis = cast(
                "Any",
                redis.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  # its keywords are untyped
                    address,
                    socket_timeout=_TIMEOUT_SECONDS,
                    socket_connect_timeout=_TIMEOUT_SECONDS,
                ),
            )
        except ValueError as error:
            raise CacheError(f"the cache address is not one of Redis: {error}") from error
        with self._failing():
            self._redis.ping()
            self._vectors = VectorSets(self._redis, self._entries, self._warned)
        names: tuple[Script, ...] = ("put", "remove", "used")
        self._scripts = {name: self._redis.register_script(_source(name)) for name in names}

    @property
    def blocking(self) -> bool:
        return True

    def put(self, entry: CacheEntry) -> None:
        prefix = _prefix(entry.key)
        labels = [f"tag:{tag}" for tag in entry.tags] + [f"source:{s}" for s in entry.sources]
        worth = entry.cost_nusd / entry.size_bytes
        arguments: list[Any] = [entry.entry_id, entry.key, entry.partition, entry.kept_at]
        arguments += [entry.expires_at, worth, entry.size_bytes, json.dumps(labels)]
        fields = [part for field in _fields(entry).items() for part in field]
        with self._failing():
            arguments += [*self._vectors.arguments(entry), *fields]
            self._redis.sadd(_TENANTS, tenant_of(entry.key))
            old, refused = self._scripts["put"](keys=[prefix], args=arguments)
            while old:
                self._scripts["remove"](keys=[prefix], args=[old])
                old, refused = self._scripts["put"](keys=[prefix], args=arguments)
        if refused:
            self._warned.say(f"a question is not found by meaning: {refused.decode()}")

    def exact(self, key: str) -> CacheEntry | None:
        with self._failing():
            entry_id = self._redis.get(f"{_prefix(key)}:k:{key}")
        return None if entry_id is None else self.entry(_text(entry_id))

    def entry(self, entry_id: str) -> CacheEntry | None:
        return self._entries([entry_id])[0]

    def changes(self, partition: str, after: int) -> Changes:
        prefix = _prefix(partition)
        log = f"{prefix}:log:{partition}"
        with self._failing():
            pipe = self._redis.pipeline()
            pipe.get(f"{prefix}:seq")
            pipe.hget(f"{prefix}:floors", partition)
            pipe.zrangebyscore(log, f"({after}", "+inf")
            seq, floor, ids = pipe.execute()
        whole = after == 0 or after < int(floor or 0) or after > int(seq or 0)
        if whole and after:
            with self._failing():
                ids = self._redis.zrange(log, 0, -1)
        names = [_text(name) for name in ids]
        found = self._entries(names)
        removed = [name for name, entry in zip(names, found, strict=True) if entry is None]
        if len(removed) > _GONE_KEPT:
            self._forget_removals(prefix, partition, removed)
        return Changes(int(seq or 0), [entry for entry in found if entry], removed, whole)

    def near(
        self, partition: str, vector: bytes, count: int, *, checked: bool = False
    ) -> list[Near] | None:
        with self._failing():
            return self._vectors.near(_prefix(partition), partition, vector, count, checked=checked)

    def used(self, entry_id: str, saved_nusd: int, served: Served | None = None) -> None:
        arguments: list[Any] = [entry_id, saved_nusd]
        if served is not None:
            record = json.dumps([served.entry_id, served.tenant, *served.outcome, served.at])
            arguments += [served.hit_id, record, served.at, _SERVED_KEPT]
        with self._failing():
            self._scripts["used"](keys=[_prefix(entry_id)], args=arguments)

    def remove(self, entry_ids: Sequence[str]) -> int:
        removed = 0
        with self._failing():
            for prefix, group in groupby(sorted(entry_ids, key=_prefix), key=_prefix):
                removed += int(self._scripts["remove"](keys=[prefix], args=list(group)))
        return removed

    def ids(
        self,
        *,
        tenant: str | None = None,
        tag: str | None = None,
        source: str | None = None,
        expired_at: float | None = None,
        limit: int = 1_000,
    ) -> list[str]:
        return self._fitting(tenant, tag, source, expired_at, limit)[:limit]

    def find(
        self,
        *,
        tenant: str | None = None,
        tag: str | None = None,
        source: str | None = None,
        expired_at: float | None = None,
        limit: int = 1_000,
    ) -> list[CacheEntry]:
        ids = self._fitting(tenant, tag, source, expired_at, limit)
        found = [entry for entry in self._entries(ids) if entry is not None]
        return sorted(found, key=lambda entry: -entry.kept_at)[:limit]

    def least_worth(self, count: int) -> list[str]:
        ranked: list[tuple[float, str]] = []
        with self._failing():
            for prefix in self._prefixes():
                rows = self._redis.zrange(f"{prefix}:worth", 0, count - 1, withscores=True)
                ranked += [(worth, _text(name)) for name, worth in rows]
        return [name for _, name in sorted(ranked)[:count]]

    def totals(self) -> Totals:
        sums = [0, 0, 0, 0]
        with self._failing():
            for prefix in self._prefixes():
                row = self._redis.hmget(
                    f"{prefix}:totals", "entries", "bytes", "hits", "saved_nusd"
                )
                sums = [total + int(value or 0) for total, value in zip(sums, row, strict=True)]
        return Totals(*sums)

    def claim(self, key: str, owner: str, *, seconds: float) -> bool | None:
        name = f"{_prefix(key)}:claim:{key}"
        with self._failing():
            if self._redis.set(name, owner, nx=True, px=max(1, int(seconds * 1000))):
                return True
            now = self._redis.get(name)
        return None if now == _OPEN else bool(now == owner.encode())

    def give_up(self, key: str, owner: str, *, open_seconds: float = 0.0) -> None:
        name = f"{_prefix(key)}:claim:{key}"
        with self._failing(), self._redis.pipeline() as pipe:
            pipe.watch(name)
            if pipe.get(name) != owner.encode():
                return
            pipe.multi()
            if open_seconds > 0:
                pipe.set(name, _OPEN, px=max(1, int(open_seconds * 1000)))
            else:
                pipe.delete(name)
            try:
                pipe.execute()
            except redis.WatchError:
                return  # another has the claim by now

    def report_wrong(self, hit_id: str) -> Served | None:
        with self._failing():
            name = f"{_prefix(hit_id)}:served"
            record = self._redis.hget(name, hit_id)
            row = None if record is None else _record(record)
            if row is None:
                return None
            entry_id, tenant, score, _, at = row
            self._redis.hset(name, hit_id, json.dumps([entry_id, tenant, score, False, at]))
        return Served(hit_id, entry_id, tenant, Outcome(score, False), at)

    def served(self, tenant: str, limit: int = 1_000) -> list[Outcome]:
        prefix = _tenant_prefix(tenant)
        with self._failing():
            ids = self._redis.zrevrange(f"{prefix}:served_at", 0, limit - 1)
            records: list[bytes | None] = self._redis.hmget(f"{prefix}:served", ids) if ids else []
        rows = [_record(record) for record in records if record is not None]
        return outcomes((row[2], row[3]) for row in rows if row is not None)

    def close(self) -> None:
        self._vectors.close()
        self._redis.close()

    def _prefixes(self, tenant: str | None = None) -> list[str]:
        if tenant is not None:
            return [_tenant_prefix(tenant)]
        with self._failing():
            names = self._redis.smembers(_TENANTS)
        return [f"agentkit:cache:{{{_text(name)}}}" for name in names]

    def _fitting(
        self,
        tenant: str | None,
        tag: str | None,
        source: str | None,
        expired_at: float | None,
        limit: int,
    ) -> list[str]:
        """Ids that fit, `limit` of each tenant; a label may outlive an entry that was evicted."""
        names: list[bytes] = []
        with self._failing():
            for prefix in self._prefixes(tenant):
                kept, expires = f"{prefix}:kept", f"{prefix}:expires"
                labels = [f"{prefix}:l:tag:{tag}"] if tag is not None else []
                labels += [f"{prefix}:l:source:{source}"] if source is not None else []
                if expired_at is not None and not labels:
                    names += self._redis.zrangebyscore(expires, "-inf", expired_at, 0, limit)
                elif not labels:
                    names += self._redis.zrevrange(kept, 0, limit - 1)
                else:
                    fit = self._redis.zinter([kept, *labels])
                    if expired_at is not None:
                        old = set(self._redis.zrangebyscore(expires, "-inf", expired_at))
                        fit = [name for name in fit if name in old]
                    names += fit[-limit:]
        return [_text(name) for name in names]

    def _entries(self, entry_ids: Sequence[str]) -> list[CacheEntry | None]:
        found: list[CacheEntry | None] = []
        for start in range(0, len(entry_ids), _PAGE):
            page = entry_ids[start : start + _PAGE]
            with self._failing():
                pipe = self._redis.pipeline(transaction=False)
                for entry_id in page:
                    pipe.hmget(f"{_prefix(entry_id)}:e:{entry_id}", *_READ)
                rows = pipe.execute(raise_on_error=False)
                found += [self._entry(name, row) for name, row in zip(page, rows, strict=True)]
        return found

    def _entry(self, entry_id: str, row: Any) -> CacheEntry | None:
        """None for what is not there, and for what we did not write or somebody damaged."""
        if isinstance(row, ResponseError) and not str(row).startswith("WRONGTYPE"):
            raise row
        if isinstance(row, ResponseError) or None in row:
            if isinstance(row, ResponseError) or any(row):
                self._warned.say(f"{entry_id!r} is damaged, nothing is served from it")
            return None
        return self._warned.sound(entry_id, lambda: _read(entry_id, row))

    def _forget_removals(self, prefix: str, partition: str, removed: Sequence[str]) -> None:
        """Who has not seen these removals by now reads the partition anew."""
        log = f"{prefix}:log:{partition}"
        with self._failing():
            scores = [int(self._redis.zscore(log, name) or 0) for name in removed]
            self._redis.hset(f"{prefix}:floors", partition, max(scores))
            self._redis.zrem(log, *removed)

    @contextmanager
    def _failing(self) -> Generator[None]:
        try:
            yield
        except RedisError as error:
            raise CacheError(f"the cache at {self._where} failed: {error}") from error


def _prefix(name: str) -> str:
    """Where a key, partition, entry or hit lives: each begins with its tenant's digest."""
    return f"agentkit:cache:{{{tenant_of(name)}}}"


def _tenant_prefix(tenant: str) -> str:
    return f"agentkit:cache:{{{tenant_of(tenant, named=True)}}}"


def _text(name: bytes) -> str:
    """A name as text; what is none of ours becomes one that nothing has."""
    return name.decode(errors="replace")


def _source(name: Script) -> str:
    return files("agentkit.memory.cache").joinpath("lua", f"{name}.lua").read_text("utf-8")


def _fields(entry: CacheEntry) -> Mapping[str, str | bytes | int | float]:
    return {
        "tenant": entry.tenant,
        "question": entry.question,
        "answer": entry.answer,
        "kept_at": entry.kept_at,
        "expires_at": entry.expires_at,
        "vector": entry.vector,
        "cost_nusd": entry.cost_nusd,
        "tags": json.dumps(entry.tags),
        "sources": json.dumps(entry.sources),
    }


def _record(text: bytes) -> tuple[Any, Any, Any, Any, Any] | None:
    """What `used` wrote of a hit: entry, tenant, score, right, at; None where it is damaged."""
    try:
        entry_id, tenant, score, right, at = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    return entry_id, tenant, score, right, at


def _read(entry_id: str, row: Sequence[bytes]) -> CacheEntry:
    """The entry of the values of `_READ`, which is half of what the whole hash would be."""
    key, tenant, partition, question, answer = (value.decode() for value in row[:5])
    kept_at, expires_at, vector, cost_nusd, saved_nusd, hits, tags, sources = row[5:]
    return CacheEntry(
        entry_id=entry_id,
        key=key,
        tenant=tenant,
        partition=partition,
        question=question,
        answer=answer,
        kept_at=float(kept_at),
        expires_at=float(expires_at),
        vector=vector,
        cost_nusd=int(cost_nusd),
        saved_nusd=int(saved_nusd),
        hits=int(hits),
        tags=_names(tags),
        sources=_names(sources),
    )


def _names(listed: bytes) -> tuple[str, ...]:
    return () if listed == b"[]" else tuple(json.loads(listed))
