"""Questions in the vector sets of Redis 8: `make test-redis8` gets such a server."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import redis
from numpy.typing import NDArray

from agentkit.memory.cache import CachePolicy, CacheRequest, ResponseCache
from agentkit.memory.cache.redis import RedisCacheStore
from tests.memory.conftest import WordVectors

LOOSE = CachePolicy(threshold=0.9)


class Directions:
    """Each word has a direction of its own, and no two texts are equally near to a third."""

    fingerprint = "directions"

    def embed(self, texts: list[str] | tuple[str, ...]) -> NDArray[np.float32]:
        rows = [sum(map(_direction, text.split()), np.zeros(96)) for text in texts]
        return np.asarray([row / np.linalg.norm(row) for row in rows], np.float32)


def _direction(word: str) -> NDArray[np.float64]:
    return np.random.default_rng(list(word.encode())).standard_normal(96)


def asked(text: str, *, tenant: str = "acme") -> CacheRequest:
    return CacheRequest(tenant=tenant, exact=text, text=text)


@pytest.fixture
def server(cache_server: str, client: Any) -> str:
    """The address of an empty server that has vector sets."""
    try:
        client.execute_command("VCARD", "none")
    except redis.ResponseError:
        pytest.skip("this redis-server has no vector sets, which came with 8.0: `make test-redis8`")
    client.execute_command(
        *("ACL", "SETUSER", "old", "on", ">old", "~*", "&*", "+@all"),
        *("-vcard", "-vadd", "-vsim", "-vrem"),
    )
    return cache_server


@pytest.fixture
def cache(server: str, words: WordVectors) -> Iterator[ResponseCache]:
    opened = ResponseCache(server, embedder=words, policy=LOOSE)
    yield opened
    opened.close()


def _old(server: str) -> str:
    return server.replace("unix://", "unix://old:old@")


def _kept(cache: ResponseCache, text: str, answer: str = "answer", tenant: str = "acme") -> str:
    entry_id = cache.keep(asked(text, tenant=tenant), answer, cost_nusd=1)
    assert entry_id is not None
    return entry_id


def _partition(cache: ResponseCache, entry_id: str) -> str:
    entry = cache.store.entry(entry_id)
    assert entry is not None
    return entry.partition


def _near(cache: ResponseCache, partition: str, text: str) -> list[str] | None:
    """The ids that the server itself finds near; None while it cannot."""
    assert isinstance(cache.store, RedisCacheStore)
    assert cache._embedder is not None
    vector = cache._embedder.embed([text])[0].tobytes()
    found = cache.store.near(partition, vector, 10)
    return None if found is None else [each.entry_id for each in found]


def _set_of(client: Any) -> bytes:
    (name,) = client.keys("*:v:*")
    assert isinstance(name, bytes)
    return name


def _until_filled(cache: ResponseCache, partition: str) -> list[str]:
    until = time.monotonic() + 20
    while (found := _near(cache, partition, "router")) is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


def _no_scan(cache: ResponseCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on only the server may look."""

    def refuse(*_: object) -> None:
        raise AssertionError("the process read the partition itself")

    monkeypatch.setattr(cache.store, "changes", refuse)


def test_the_server_finds_it_without_a_scan(
    cache: ResponseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_scan(cache, monkeypatch)
    assert cache.look_up(asked("please reset the router")) is None
    _kept(cache, "reset the router password", "hold the button")
    hit = cache.look_up(asked("please reset the router password"))
    assert hit is not None
    assert (hit.answer, hit.kind) == ("hold the button", "meaning")


@pytest.mark.parametrize("kept", [0, 1, 250])
def test_entries_from_before_the_server_had_sets_are_taken_in(
    kept: int, server: str, words: WordVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ResponseCache(_old(server), embedder=words, policy=LOOSE)
    for number in range(kept):
        _kept(before, f"reset router number{number} now", f"do {number}")
    before.close()
    after = ResponseCache(server, embedder=words, policy=LOOSE)
    question = asked("please reset router number0 now")
    first = after.look_up(question)
    assert (first is not None) == (kept > 0)  # scanned meanwhile
    _until_filled(after, after._partition(question))
    _no_scan(after, monkeypatch)
    hit = after.look_up(question)
    assert (None if hit is None else hit.answer) == (None if kept == 0 else "do 0")
    after.close()


def test_what_is_kept_and_removed_while_a_set_is_filled_is_right_afterwards(
    server: str, client: Any, words: WordVectors
) -> None:
    before = ResponseCache(_old(server), embedder=words, policy=LOOSE)
    ids = [_kept(before, f"reset router number{number} now") for number in range(600)]
    before.close()
    after = ResponseCache(server, embedder=words, policy=LOOSE)
    partition = _partition(after, ids[0])
    assert _near(after, partition, "router") is None
    gone = ids[::7]
    after.store.remove(gone)
    new = [_kept(after, f"restart modem number{number} soon") for number in range(50)]
    _until_filled(after, partition)
    members = client.execute_command("VRANDMEMBER", _set_of(client), 10_000)
    assert {m.decode().partition(" ")[0] for m in members} == ({*ids} - {*gone}) | {*new}
    (counts,) = client.keys("*:indexed")
    assert client.hgetall(counts) == {partition.encode(): str(len(members)).encode()}
    after.close()


def test_the_same_hits_as_the_scan(server: str) -> None:
    chance = random.Random(7)
    vocabulary = ["".join(chance.choices("abcdefgh", k=5)) for _ in range(60)]
    policy = CachePolicy(threshold=0.6)
    here = ResponseCache(embedder=Directions(), policy=policy)
    there = ResponseCache(server, embedder=Directions(), policy=policy)
    texts = [" ".join(chance.sample(vocabulary, 6)) for _ in range(1_000)]
    for number, text in enumerate(texts):
        for cache in (here, there):
            _kept(cache, text, f"answer {number % 400}")
    hits = 0
    for text in chance.sample(texts, 150):
        changed = text.split()
        changed[chance.randrange(6)] = chance.choice(vocabulary)
        question = asked(" ".join(changed))
        one, other = here.look_up(question), there.look_up(question)
        assert (one and one.answer) == (other and other.answer)
        if one is not None and other is not None:
            assert one.score == pytest.approx(other.score, abs=1e-5)
            hits += 1
    assert 20 < hits < 150
    here.close()
    there.close()


def test_two_processes_see_what_the_other_one_keeps_and_forgets(server: str) -> None:
    cache = ResponseCache(server, embedder=Directions(), policy=LOOSE)
    _kept(cache, "feed the grey cat today", "at noon", "zeta")
    assert cache.look_up(asked("feed the grey cat today please", tenant="zeta")) is not None
    _kept(cache, "reset the router password", "hold the button")
    code = f"""
from tests.memory.test_cache_vectors import *
cache = ResponseCache({server!r}, embedder=Directions(), policy=LOOSE)
print(cache.look_up(asked("please reset the router password")).answer)
cache.keep(asked("open the garage door now"), "press twice", cost_nusd=1)
cache.forget(tenant="zeta")
"""
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert other.stdout.strip() == "hold the button"
    assert cache.look_up(asked("feed the grey cat today please", tenant="zeta")) is None
    hit = cache.look_up(asked("please open the garage door now"))
    assert hit is not None and hit.answer == "press twice"
    cache.close()


def test_what_was_removed_forgotten_evicted_or_expired_is_not_found(
    server: str, words: WordVectors
) -> None:
    now = [1_000.0]
    policy = replace(LOOSE, max_entries=3, ttl_by_tag={"short": 10.0})
    cache = ResponseCache(server, embedder=words, policy=policy, clock=lambda: now[0])
    removed = _kept(cache, "reset the router password")
    partition = _partition(cache, removed)
    assert _near(cache, partition, "reset the router password") == [removed]
    cache.store.remove([removed])
    assert _near(cache, partition, "reset the router password") == []

    cache.keep(asked("open the garage door"), "press", cost_nusd=1, tags=("faq",), sources=("doc",))
    assert cache.look_up(asked("please open the garage door")) is not None
    assert cache.forget(source="doc") == 1
    assert cache.look_up(asked("please open the garage door")) is None

    cache.keep(asked("feed the grey cat today"), "at noon", cost_nusd=1, tags=("short",))
    assert cache.look_up(asked("feed the grey cat today please")) is not None
    now[0] += 11
    assert cache.look_up(asked("feed the grey cat today please")) is None
    assert cache.make_room() == 1
    assert _near(cache, partition, "feed the grey cat today") == []

    for number in range(5):
        cache.keep(asked(f"call number{number} back now"), "yes", cost_nusd=number)
    assert cache.make_room() > 0
    assert cache.look_up(asked("please call number0 back now")) is None
    assert cache.look_up(asked("please call number4 back now")) is not None
    cache.close()


def test_tenants_never_meet(cache: ResponseCache) -> None:
    owner: dict[str, str] = {}
    for number in range(20):
        tenant = f"tenant{number}"
        owner[_kept(cache, "reset the router password", f"of {tenant}", tenant)] = tenant
    for entry_id, tenant in owner.items():
        assert _near(cache, _partition(cache, entry_id), "reset router") == [entry_id]
        hit = cache.look_up(asked("please reset the router password", tenant=tenant))
        assert hit is not None and hit.answer == f"of {tenant}"
    assert cache.look_up(asked("please reset the router password", tenant="nobody")) is None


def test_a_server_without_sets_is_scanned(
    cache_server: str, client: Any, words: WordVectors
) -> None:
    """The one on this machine, or what the old user sees of it."""
    try:
        client.execute_command("VCARD", "none")
        client.execute_command(
            *("ACL", "SETUSER", "old", "on", ">old", "~*", "&*", "+@all", "-vcard", "-vadd")
        )
        cache_server = _old(cache_server)
    except redis.ResponseError:
        pass
    cache = ResponseCache(cache_server, embedder=words, policy=LOOSE)
    kept = _kept(cache, "reset the router password", "hold the button")
    assert _near(cache, _partition(cache, kept), "reset the router password") is None
    hit = cache.look_up(asked("please reset the router password"))
    assert hit is not None and hit.kind == "meaning"
    assert client.keys("*:v:*") == []
    cache.close()


@pytest.mark.parametrize("command", ["vcard", "vadd", "vsim", "vrem"])
def test_a_user_who_may_not_use_one_command_is_given_a_scan(
    command: str, server: str, client: Any, words: WordVectors
) -> None:
    client.execute_command("ACL", "SETUSER", "old", "+@all", f"-{command}")
    cache = ResponseCache(_old(server), embedder=words, policy=LOOSE)
    _kept(cache, "reset the router password", "hold the button")
    assert cache.look_up(asked("please reset the router password")) is not None
    assert client.keys("*:v:*") == []
    cache.close()


@pytest.mark.parametrize(
    "element", [b"\xff\xfe", b"", b"nothing", b"acme nothing", b"0" * 12 + b":feed beef"]
)
def test_an_element_that_no_script_wrote_is_taken_out(
    element: bytes, cache: ResponseCache, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _kept(cache, "reset the router password", "hold the button")
    assert cache._embedder is not None
    vector = cache._embedder.embed(["please reset the router password"])[0]
    name = _set_of(client)
    client.execute_command("VADD", name, "FP32", vector.tobytes(), element, "NOQUANT")
    with caplog.at_level(logging.WARNING):
        hit = cache.look_up(asked("please reset the router password"))
    assert hit is not None and hit.answer == "hold the button"
    assert "have no entry: removed" in caplog.text
    assert client.execute_command("VCARD", name) == 1


def test_a_vector_that_is_not_a_number_is_taken_out(cache: ResponseCache, client: Any) -> None:
    kept = _kept(cache, "reset the router password", "hold the button")
    name = _set_of(client)
    for number in range(120):
        bad = np.full(256, np.nan, np.float32).tobytes()
        element = f"{kept} {number}"
        client.execute_command("VADD", name, "FP32", bad, element, "NOQUANT")
    looked = [cache.look_up(asked("please reset the router password")) for _ in range(3)]
    assert looked[-1] is not None and looked[-1].answer == "hold the button"
    assert client.execute_command("VCARD", name) == 1


@pytest.mark.parametrize("vector", [b"", b"\x00", b"\x00\x00\x80?", b"\x00\x00\xc0\x7f" * 256])
def test_an_entry_with_a_damaged_vector_is_kept_and_not_found(
    vector: bytes, cache: ResponseCache, caplog: pytest.LogCaptureFixture
) -> None:
    _kept(cache, "open the garage door", "press twice")
    _kept(cache, "reset the router password", "hold the button")
    (entry,) = [e for e in cache.store.find() if e.question == "reset the router password"]
    with caplog.at_level(logging.WARNING):
        cache.store.put(replace(entry, vector=vector))
    assert cache.look_up(asked("please reset the router password")) is None
    assert cache.look_up(asked("reset the router password")) is not None
    assert ("not found by meaning" in caplog.text) == bool(vector)
    assert cache.look_up(asked("please open the garage door")) is not None


@pytest.mark.parametrize("damage", ["type", "dimensions"])
def test_a_damaged_set_is_scanned_instead(
    damage: str, cache: ResponseCache, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _kept(cache, "reset the router password", "hold the button")
    name = _set_of(client)
    client.delete(name)
    if damage == "type":
        client.set(name, "x")
    else:
        client.execute_command("VADD", name, "VALUES", 2, 1, 0, "x")
    with caplog.at_level(logging.WARNING):
        hit = cache.look_up(asked("please reset the router password"))
    assert hit is not None and hit.answer == "hold the button"
    assert "scanned instead" in caplog.text
    _kept(cache, "open the garage door", "press twice")
    assert cache.look_up(asked("please open the garage door")) is not None
    assert cache.forget(tenant="acme") == 2


def test_a_set_that_the_server_evicted_is_filled_again(cache: ResponseCache, client: Any) -> None:
    kept = {_kept(cache, "reset the router password"), _kept(cache, "open the garage door")}
    client.delete(_set_of(client))
    kept.add(_kept(cache, "feed the grey cat today"))  # the set is there again, with one element
    assert cache.look_up(asked("please reset the router password")) is not None
    assert set(_until_filled(cache, _partition(cache, next(iter(kept))))) == kept


def test_an_entry_that_the_server_evicted_makes_way_for_the_next(
    cache: ResponseCache, client: Any
) -> None:
    gone = _kept(cache, "please kindly reset the router password", "hold the button")
    _kept(cache, "reset the router password", "hold it long")
    client.delete(*client.keys(f"*:e:{gone}"))
    hit = cache.look_up(asked("please reset the router password"))
    assert hit is not None and hit.answer == "hold it long"
    assert client.execute_command("VCARD", _set_of(client)) == 1


def test_entries_that_the_server_evicted_do_not_stand_in_the_way_for_long(
    cache: ResponseCache, client: Any
) -> None:
    """One that lies as near as the right one, so that neither can be served."""
    gone = _kept(cache, "kindly reset the router password", "hold the button")
    _kept(cache, "please reset the router password", "hold it long")
    client.delete(*client.keys(f"*:e:{gone}"))
    question = asked("do reset the router password")
    assert sum(cache.look_up(question) is not None for _ in range(70)) > 0
