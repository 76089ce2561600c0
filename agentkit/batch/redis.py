"""The batch store in the Redis of the ledger, shared by many machines.

All keys are in one hash slot: in a cluster one node keeps them, each verb as atomic as on a single
server. Each verb that writes is an optimistic transaction: it watches one version key, so two of
them are never mixed. Claims go by the clocks of the processes, which may differ by less than a
claim.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar, cast

import redis
from redis.cluster import RedisCluster
from redis.exceptions import RedisError, WatchError

from agentkit.batch.item import Batch, BatchItem, BatchState, ItemAnswer, ItemState, QueueSums
from agentkit.budgets.errors import StoreError
from agentkit.budgets.stores.redis_address import RedisAddress, close_client, read_address

_PREFIX = "agentkit:{batch}:"
_VERSION = f"{_PREFIX}version"
_TIMEOUT_SECONDS = 10.0
_PAGE = 500
_MOST_FORGOTTEN = 10_000
_STATES: tuple[ItemState, ...] = ("queued", "sent", "answered", "refused", "late", "cancelled")

T = TypeVar("T")


class RedisBatchStore:
    """Implements BatchStore on `redis://`, `rediss://` or `unix://`."""

    def __init__(
        self, address: str | RedisAddress, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Raises StoreError where the server cannot be reached."""
        place = read_address(address) if isinstance(address, str) else address
        self._where = place.where
        self._clock = clock
        with self._failing():
            self._redis = _client(place)
            self._redis.ping()

    def add(self, item: BatchItem, body: bytes) -> BatchItem:
        def act(pipe: Any) -> BatchItem:
            known = _one(self._redis, item.item_id)
            if known is not None:
                return known
            pipe.multi()
            pipe.hset(_item(item.item_id), "body", body)
            _place(pipe, None, item)
            return item

        return self._write(act)

    def item(self, item_id: str) -> BatchItem | None:
        with self._failing():
            return _one(self._redis, item_id)

    def items(
        self,
        *,
        batch_id: str | None = None,
        task_id: str | None = None,
        states: Sequence[ItemState] = (),
        limit: int = 100_000,
    ) -> list[BatchItem]:
        keys = [_key("state", state) for state in states or _STATES]
        named = [("batch", batch_id), ("task", task_id)]
        narrow = [_key(kind, name) for kind, name in named if name is not None]
        with self._failing():
            ids: set[bytes] = self._redis.sunion(keys)
            if narrow:
                ids &= self._redis.sinter(narrow)
        return self._read(sorted(each.decode() for each in ids)[:limit])

    def states(self, item_ids: Sequence[str]) -> dict[str, ItemState]:
        return {item.item_id: item.state for item in self._read(item_ids)}

    def queues(self) -> list[QueueSums]:
        found: list[QueueSums] = []
        with self._failing():
            for name in sorted(self._redis.smembers(f"{_PREFIX}queues")):
                queue = name.decode()
                pipe = self._redis.pipeline()
                pipe.zcard(_key("urgent", queue))
                pipe.hget(f"{_PREFIX}bytes", queue)
                pipe.zrange(_key("oldest", queue), 0, 0, withscores=True)
                pipe.zrange(_key("urgent", queue), 0, 0, withscores=True)
                requests, size, oldest, urgent = pipe.execute()
                if requests and oldest and urgent:
                    first = _one(self._redis, urgent[0][0].decode())
                    endpoint = "" if first is None else first.endpoint
                    found.append(
                        QueueSums(
                            queue, endpoint, requests, int(size or 0), oldest[0][1], urgent[0][1]
                        )
                    )
        return found

    def seal(self, batch: Batch, *, most_requests: int, most_bytes: int) -> Batch | None:
        def act(pipe: Any) -> Batch | None:
            names = pipe.zrange(_key("urgent", batch.queue), 0, most_requests - 1)
            taken: list[BatchItem] = []
            size = 0
            for item in _several(self._redis, [name.decode() for name in names]):
                if taken and size + item.size_bytes > most_bytes:
                    break
                taken.append(item)
                size += item.size_bytes
            if not taken:
                return None
            sealed = replace(
                batch,
                requests=len(taken),
                size_bytes=size,
                least_deadline=min(item.deadline for item in taken),
            )
            pipe.multi()
            _put_batch(pipe, sealed)
            for item in taken:
                _place(pipe, item, replace(item, state="sent", batch_id=sealed.batch_id))
            return sealed

        return self._write(act)

    def bodies(self, batch_id: str) -> Iterator[tuple[str, bytes]]:
        for item in self.items(batch_id=batch_id, states=("sent",)):
            yield item.custom_id, self.body(item.item_id) or b"{}"

    def body(self, item_id: str) -> bytes | None:
        with self._failing():
            return cast("bytes | None", self._redis.hget(_item(item_id), "body"))

    def batch(self, batch_id: str) -> Batch | None:
        with self._failing():
            return _batch(self._redis, batch_id)

    def batches(self, states: Sequence[BatchState] = (), *, limit: int = 1000) -> list[Batch]:
        with self._failing():
            names = [each.decode() for each in self._redis.zrevrange(f"{_PREFIX}batches", 0, -1)]
            found = (each for page in _pages(names) for each in _batches(self._redis, page))
            wanted = (each for each in found if not states or each.state in states)
            return list(islice(wanted, limit))

    def claim(self, batch_id: str, owner: str, *, seconds: float) -> bool:
        def act(pipe: Any) -> bool:
            now = self._clock()
            held, until = pipe.hmget(_key("of", batch_id), "owner", "until")
            if held is not None and held.decode() != owner and float(until) >= now:
                return False
            pipe.multi()
            claim = {"owner": owner, "until": str(now + seconds)}
            pipe.hset(_key("of", batch_id), mapping=claim)
            return True

        return self._write(act)

    def put_batch(self, batch: Batch, owner: str) -> bool:
        def act(pipe: Any) -> bool:
            held = pipe.hget(_key("of", batch.batch_id), "owner")
            if held is None or held.decode() != owner:
                return False
            pipe.multi()
            _put_batch(pipe, batch)
            return True

        return self._write(act)

    def withdraw(self, batch_id: str) -> None:
        with self._failing():
            self._redis.hset(_key("of", batch_id), "withdrawn", "1")

    def answer(self, batch_id: str, answers: Sequence[ItemAnswer]) -> list[str]:
        def act(pipe: Any) -> list[str]:
            by_id = {answer.item_id: answer for answer in answers}
            sent = [
                item
                for item in _several(self._redis, list(by_id))
                if item.batch_id == batch_id and item.state == "sent"
            ]
            pipe.multi()
            for item in sent:
                answer = by_id[item.item_id]
                after = replace(item, state=answer.state, error=answer.error)
                if answer.state == "queued":
                    after = replace(
                        after, batch_id=None, attempts=item.attempts + 1, queued_at=self._clock()
                    )
                if answer.payload:
                    pipe.hset(_item(item.item_id), "answer", answer.payload)
                _place(pipe, item, after)
            return [item.item_id for item in sent]

        return self._write(act)

    def answer_of(self, item_id: str) -> bytes | None:
        with self._failing():
            return cast("bytes | None", self._redis.hget(_item(item_id), "answer"))

    def put_item(self, item: BatchItem, answer: bytes | None = None) -> None:
        def act(pipe: Any) -> None:
            known = _one(self._redis, item.item_id)
            pipe.multi()
            if answer is not None:
                pipe.hset(_item(item.item_id), "answer", answer)
            _place(pipe, known, item)

        self._write(act)

    def move(self, item_ids: Sequence[str], state: ItemState) -> list[str]:
        def act(pipe: Any) -> list[str]:
            named = _several(self._redis, list(dict.fromkeys(item_ids)))
            waiting = [item for item in named if item.state == "queued"]
            pipe.multi()
            for item in waiting:
                _place(pipe, item, replace(item, state=state))
            return [item.item_id for item in waiting]

        return self._write(act) if item_ids else []

    def overdue(self, until: float, *, limit: int = 1000) -> list[str]:
        found: list[str] = []
        with self._failing():
            for name in self._redis.smembers(f"{_PREFIX}queues"):
                key = _key("urgent", name.decode())
                late = self._redis.zrangebyscore(key, "-inf", f"({until}", start=0, num=limit)
                found += [each.decode() for each in late]
        return found[:limit]

    def finish(self, item_ids: Sequence[str], *, taken: bool = False) -> None:
        def act(pipe: Any) -> None:
            items = _several(self._redis, item_ids)
            pipe.multi()
            for item in items:
                gone = ["body"] if item.state == "answered" else []
                gone += ["answer"] if taken else []
                if gone:
                    pipe.hdel(_item(item.item_id), *gone)
                _place(pipe, item, replace(item, closed=True, taken=item.taken or taken))

        if item_ids:
            self._write(act)

    def unfinished(self, *, limit: int = 1000) -> list[BatchItem]:
        with self._failing():
            ids = self._redis.smembers(f"{_PREFIX}unfinished")
        return self._read(sorted(each.decode() for each in ids)[:limit])

    def counts(self, task_id: str | None = None) -> dict[ItemState, int]:
        counts: dict[ItemState, int] = {}
        with self._failing():
            for state in _STATES:
                key = _key("state", state)
                counts[state] = (
                    self._redis.scard(key)
                    if task_id is None
                    else len(self._redis.sinter([key, _key("task", task_id)]))
                )
        return {state: count for state, count in counts.items() if count}

    def forget(self, before: float) -> int:
        ended = [
            batch.batch_id
            for batch in self.batches(("processed", "failed"), limit=_MOST_FORGOTTEN)
            if (batch.ended_at or batch.created_at) < before
        ]
        for batch_id in ended:
            self._write(partial(_forget, batch_id=batch_id, items=self.items(batch_id=batch_id)))
        return len(ended)

    def close(self) -> None:
        close_client(self._redis)

    def _read(self, item_ids: Sequence[str]) -> list[BatchItem]:
        with self._failing():
            return _several(self._redis, item_ids)

    def _write(self, act: Callable[[Any], T]) -> T:
        """Read, then write all of it or nothing; again where another has written meanwhile."""
        with self._failing():
            while True:
                with self._redis.pipeline(transaction=True) as pipe:
                    try:
                        pipe.watch(_VERSION)
                        result = act(pipe)
                        if len(pipe):
                            pipe.incr(_VERSION)
                            pipe.execute()
                        return result
                    except WatchError:
                        continue

    @contextmanager
    def _failing(self) -> Generator[None]:
        try:
            yield
        except RedisError as error:
            raise StoreError(f"the batches at {self._where} failed: {error}") from error


def _client(place: RedisAddress) -> Any:
    kind: Any = RedisCluster if place.cluster else redis.Redis
    try:
        return kind.from_url(
            place.url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
        )
    except ValueError as error:
        raise StoreError(f"{place.where!r} is no address of Redis: {error}") from error


def _key(kind: str, name: str) -> str:
    return f"{_PREFIX}{kind}:{name}"


def _item(item_id: str) -> str:
    return _key("item", item_id)


def _one(client: Any, item_id: str) -> BatchItem | None:
    found = _several(client, [item_id])
    return found[0] if found else None


def _several(client: Any, item_ids: Sequence[str]) -> list[BatchItem]:
    """The items that there are, in the order of `item_ids`."""
    found: list[BatchItem] = []
    for page in _pages(item_ids):
        pipe = client.pipeline(transaction=False)
        for item_id in page:
            pipe.hget(_item(item_id), "facts")
        facts = (each for each in pipe.execute() if each is not None)
        found += [BatchItem.from_dict(json.loads(each)) for each in facts]
    return found


def _pages(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _PAGE):
        yield names[start : start + _PAGE]


def _place(pipe: Any, before: BatchItem | None, after: BatchItem) -> None:
    """Write an item and move it in every index."""
    name, queue = after.item_id, after.queue
    if before is not None:
        pipe.srem(_key("state", before.state), name)
        if before.batch_id is not None:
            pipe.srem(_key("batch", before.batch_id), name)
        if before.state == "queued":
            pipe.zrem(_key("urgent", queue), name)
            pipe.zrem(_key("oldest", queue), name)
            pipe.hincrby(f"{_PREFIX}bytes", queue, -before.size_bytes)
    pipe.hset(_item(name), "facts", json.dumps(after.to_dict()))
    pipe.sadd(_key("state", after.state), name)
    pipe.sadd(_key("task", after.task_id), name)
    if after.batch_id is not None:
        pipe.sadd(_key("batch", after.batch_id), name)
    if after.state == "queued":
        pipe.sadd(f"{_PREFIX}queues", queue)
        pipe.zadd(_key("urgent", queue), {name: after.deadline})
        pipe.zadd(_key("oldest", queue), {name: after.queued_at})
        pipe.hincrby(f"{_PREFIX}bytes", queue, after.size_bytes)
    unfinished = not after.closed and not after.is_open
    getattr(pipe, "sadd" if unfinished else "srem")(f"{_PREFIX}unfinished", name)


def _put_batch(pipe: Any, batch: Batch) -> None:
    pipe.hset(_key("of", batch.batch_id), "facts", json.dumps(batch.to_dict()))
    pipe.zadd(f"{_PREFIX}batches", {batch.batch_id: batch.created_at})


def _batch(client: Any, batch_id: str) -> Batch | None:
    found = _batches(client, [batch_id])
    return found[0] if found else None


def _batches(client: Any, batch_ids: Sequence[str]) -> list[Batch]:
    """The batches that there are, in the order of `batch_ids`."""
    pipe = client.pipeline(transaction=False)
    for batch_id in batch_ids:
        pipe.hmget(_key("of", batch_id), "facts", "withdrawn")
    return [
        replace(Batch.from_dict(json.loads(facts)), withdrawn=withdrawn is not None)
        for facts, withdrawn in pipe.execute()
        if facts is not None
    ]


def _forget(pipe: Any, batch_id: str, items: Sequence[BatchItem]) -> None:
    closed = [item for item in items if item.closed]
    pipe.multi()
    for item in closed:
        pipe.delete(_item(item.item_id))
        pipe.srem(_key("state", item.state), item.item_id)
        pipe.srem(_key("task", item.task_id), item.item_id)
    pipe.delete(_key("of", batch_id), _key("batch", batch_id))
    pipe.zrem(f"{_PREFIX}batches", batch_id)
