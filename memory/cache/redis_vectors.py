"""The questions of a partition as a vector set, where the Redis server has them (from 8.0 on).

https://redis.io/docs/latest/develop/data-types/vector-sets/
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from itertools import count
from typing import Any, cast

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from agentkit.memory.cache.entry import CacheEntry, tenant_of
from agentkit.memory.cache.store import CacheError, Near
from agentkit.memory.cache.stored import Warned

_EXPLORED = 500
"""Nodes of the graph that a look-up visits. Among 94,000 questions of QQP the nearest one and its
lead are then the exact ones for all of 4,000 questions; of 300 visits .9993, of 200 .996."""
_INDEXED_AT_ONCE = 10
"""So that a server that is filled keeps nobody waiting for more than some 20 ms at 100,000."""
_FILLING_SECONDS = 30
_ASKED_AGAIN_SECONDS = 60.0
_CHECKED_EVERY = 64
"""Look-ups after which all neighbours' entries are asked for."""
_LITTLE = 1e-3
"""How far over 1 rounding may take a cosine."""

Entries = Callable[[Sequence[str]], Sequence[CacheEntry | None]]


class VectorSets:
    """Looks up in the sets that the scripts `put` and `remove` keep, one for each partition.

    A partition that has entries from before the server had sets is filled in a thread; until that
    is done, nothing is looked up in it.
    """

    def __init__(self, client: Any, entries: Entries, warned: Warned) -> None:
        self._client = client
        self._warned = warned
        self._entries = entries
        self._index = client.register_script(
            files("agentkit.memory.cache").joinpath("lua", "index.lua").read_text("utf-8")
        )
        self._there = _has_vector_sets(client)
        self._ask_at = time.monotonic() + _ASKED_AGAIN_SECONDS
        self._filling: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._looked = count()

    @property
    def there(self) -> bool:
        """Whether the server has sets; asked again each minute, for a server may be replaced."""
        if not self._there and time.monotonic() >= self._ask_at:
            self._ask_at = time.monotonic() + _ASKED_AGAIN_SECONDS
            self._there = _has_vector_sets(self._client)
        return self._there

    def arguments(self, entry: CacheEntry) -> tuple[bytes | str, str]:
        """Vector and element of an entry for the script `put`: both '' where it takes none."""
        if not entry.vector or not self.there:
            return "", ""
        if not _is_direction(entry.vector):
            self._warned.say(f"the vector of {entry.entry_id} is damaged: not found by meaning")
            return "", ""
        return entry.vector, _element_of(entry)

    def near(
        self, prefix: str, partition: str, vector: bytes, most: int, *, checked: bool
    ) -> list[Near] | None:
        """The nearest first; None where the set is not there, or not whole yet."""
        if not self.there:
            return None
        if not _is_direction(vector):
            return []
        pipe = self._client.pipeline(transaction=False)
        pipe.execute_command(
            *("VSIM", f"{prefix}:v:{partition}", "FP32", vector),
            *("WITHSCORES", "COUNT", most, "EF", _EXPLORED),
        )
        pipe.execute_command("VCARD", f"{prefix}:v:{partition}")
        pipe.hget(f"{prefix}:indexed", partition)
        pipe.exists(f"{prefix}:log:{partition}")
        replies = pipe.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, ResponseError):
                self._warned.say(
                    f"the vector set of {partition} failed, it is scanned instead: {reply}"
                )
                return None
        answer, size, indexed, kept = replies
        if _misses_some(size, indexed) if indexed else kept:
            self._begin_filling(prefix, partition)
            return None
        rows = _rows(answer)
        due = next(self._looked) % _CHECKED_EVERY == _CHECKED_EVERY - 1
        return self._sound(prefix, partition, rows, checked=checked or due)

    def close(self) -> None:
        """End what is filled; another process, or a later one, goes on with it."""
        self._closing.set()
        for thread in list(self._filling.values()):
            thread.join()

    def _sound(
        self, prefix: str, partition: str, rows: Sequence[tuple[bytes, Any]], *, checked: bool
    ) -> list[Near]:
        """The neighbours in order; elements that the scripts did not write are taken out.

        So are, if `checked`, those whose entries are gone: a server that evicts keys by itself
        knows nothing of elements.
        """
        tenant = tenant_of(partition)
        near: list[Near] = []
        bad: list[bytes] = []
        for name, score in rows:
            found = _near(name, float(score), tenant)
            if found is None:
                bad.append(name)
            else:
                near.append(found)
        if checked and near:
            pipe = self._client.pipeline(transaction=False)
            for each in near:
                pipe.hget(f"{prefix}:e:{each.entry_id}", "element")
            named = zip(near, pipe.execute(raise_on_error=False), strict=True)
            there = {each for each, name in named if name == _element(each)}
            bad += [_element(each) for each in near if each not in there]
            near = [each for each in near if each in there]
        if bad:
            self._warned.say(f"elements of the vector set of {partition} have no entry: removed")
            self._take_out(prefix, partition, bad)
        return sorted(near, key=lambda each: -each.cosine)

    def _take_out(self, prefix: str, partition: str, elements: Sequence[bytes]) -> None:
        pipe = self._client.pipeline()
        for element in elements:
            pipe.execute_command("VREM", f"{prefix}:v:{partition}", element)
        pipe.execute_command("VCARD", f"{prefix}:v:{partition}")
        *_, left = pipe.execute()
        self._client.hset(f"{prefix}:indexed", partition, left)

    def _begin_filling(self, prefix: str, partition: str) -> None:
        """Take in all that a partition has, unless another thread or process is at it."""
        with self._lock:
            if partition in self._filling or self._closing.is_set():
                return
            if not self._client.set(_claim(prefix, partition), 1, nx=True, ex=_FILLING_SECONDS):
                return
            thread = threading.Thread(
                target=self._filled,
                args=(prefix, partition),
                name="agentkit-cache-vectors",
                daemon=True,
            )
            self._filling[partition] = thread
            thread.start()

    def _filled(self, prefix: str, partition: str) -> None:
        try:
            self._fill(prefix, partition)
        except (CacheError, RedisError, OSError) as error:
            self._warned.say(f"the vector set of {partition} could not be filled: {error}")
        finally:
            with self._lock:
                del self._filling[partition]

    def _fill(self, prefix: str, partition: str) -> None:
        names = self._client.zrange(f"{prefix}:log:{partition}", 0, -1)
        ids = [name.decode(errors="replace") for name in names]
        refused, why = 0, b""
        for start in range(0, max(len(ids), 1), _INDEXED_AT_ONCE):
            started = time.monotonic()
            page = self._entries(ids[start : start + _INDEXED_AT_ONCE])
            rows = [
                part
                for entry in page
                if entry is not None and _is_direction(entry.vector)
                for part in (entry.entry_id, _element_of(entry), entry.vector)
            ]
            last = start + _INDEXED_AT_ONCE >= len(ids)
            more, reason = self._index(keys=[prefix], args=[partition, int(last), *rows])
            refused, why = refused + int(more), reason or why
            self._client.expire(_claim(prefix, partition), _FILLING_SECONDS)
            if self._closing.wait(time.monotonic() - started):  # as long for others
                break
        self._client.delete(_claim(prefix, partition))
        if refused:
            self._warned.say(
                f"{refused} vectors of {partition} are not found by meaning: {why.decode()}"
            )


def _claim(prefix: str, partition: str) -> str:
    return f"{prefix}:filling:{partition}"


def _has_vector_sets(client: Any) -> bool:
    """Whether the server knows the commands, and lets us use all of them.

    The last one can only fail; it must not for want of a permission. Raises RedisError where the
    server does not answer.
    """
    name = "agentkit:cache:no-such-set"
    pipe = client.pipeline(transaction=False)
    pipe.execute_command("VCARD", name)
    pipe.execute_command("VSIM", name, "FP32", b"\x00\x00\x80?")
    pipe.execute_command("VREM", name, "nothing")
    pipe.execute_command("VADD", name, "FP32", b"", "nothing")
    *replies, added = pipe.execute(raise_on_error=False)
    refused = any(isinstance(reply, ResponseError) for reply in replies)
    return not refused and not isinstance(added, NoPermissionError)


def _misses_some(size: int, indexed: bytes) -> bool:
    """Whether a set has fewer elements than were put into it: the server evicted it."""
    return indexed.isdigit() and size < int(indexed)


def _is_direction(vector: bytes) -> bool:
    """Whether numbers of float32 are finite, and not all of them 0."""
    if not vector or len(vector) % 4:
        return False
    return 0.0 < math.hypot(*memoryview(vector).cast("f")) < math.inf


def _element_of(entry: CacheEntry) -> str:
    """The name of an entry in its set: with it comes what tells its answer from others."""
    return f"{entry.entry_id} {entry.answer_digest}"


def _element(near: Near) -> bytes:
    return f"{near.entry_id} {near.answer_digest}".encode()


def _near(element: bytes, score: float, tenant: str) -> Near | None:
    """Redis moves the cosine from -1 … 1 to 0 … 1; None for what no script of ours wrote."""
    try:
        entry_id, space, answer_digest = element.decode().partition(" ")
    except UnicodeDecodeError:
        return None
    cosine = 2.0 * score - 1.0
    if not space or tenant_of(entry_id) != tenant or not abs(cosine) <= 1.0 + _LITTLE:
        return None
    return Near(entry_id, cosine, answer_digest)


def _rows(answer: Any) -> list[tuple[bytes, Any]]:
    """Names and scores: a mapping, or one after the other, as the older protocol has them."""
    if isinstance(answer, Mapping):
        return list(cast("Mapping[bytes, Any]", answer).items())
    return list(zip(answer[::2], answer[1::2], strict=True))
