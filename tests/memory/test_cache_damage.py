"""What somebody damaged in a kept cache, or a server evicted: a miss, never an exception."""

from __future__ import annotations

import logging
import random
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from agentkit.memory.cache import CacheError, CachePolicy, CacheRequest, ResponseCache
from tests.budgets.redis_server import running_redis
from tests.memory.conftest import WordVectors

ASKED = CacheRequest(tenant="acme", exact="reset", text="reset the router password")
LIKE = CacheRequest(tenant="acme", exact="please", text="please reset the router password")


@pytest.fixture
def cache(cache_server: str, client: Any, words: WordVectors) -> Iterator[ResponseCache]:
    policy = CachePolicy(threshold=0.9, max_entries=4)
    opened = ResponseCache(cache_server, embedder=words, policy=policy)
    assert opened.keep(ASKED, "hold the button", cost_nusd=1, tags=("faq",)) is not None
    yield opened
    opened.close()


DAMAGE = {
    "hits": b"many",
    "expires_at": b"tomorrow",
    "tags": b"7",
    "sources": b"[" * 100_000,
    "answer": b"\xff\xfe",
    "partition": b"another",
    "labels": b"{",
}


@pytest.mark.parametrize("field", DAMAGE)
def test_a_damaged_field_is_a_miss_and_goes_with_the_rest(
    field: str, cache: ResponseCache, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (name,) = client.keys("*:e:*")
    client.hset(name, field, DAMAGE[field])
    with caplog.at_level(logging.WARNING):
        looked = [cache.look_up(ASKED), cache.look_up(LIKE)]
    if field == "labels":
        assert None not in looked
    else:
        assert looked == [None, None]
        assert ("is damaged" in caplog.text) == (field != "partition")
    assert "hold the button" not in caplog.text
    assert cache.forget(tag="faq") == 1
    assert cache.store.totals().entries == 0
    assert client.keys("*:e:*") == []


def test_an_entry_without_a_field_is_a_miss(
    cache: ResponseCache, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (name,) = client.keys("*:e:*")
    client.hdel(name, "expires_at")
    assert cache.look_up(ASKED) is None
    assert cache.store.find() == []
    assert caplog.text.count("is damaged") == 1


ROWS: dict[str, object] = {
    "hits": "many",
    "expires_at": "tomorrow",
    "tags": "7",
    "sources": "[" * 100_000,
    "answer": b"\xff\xfe",
    "question": b"\xff\xfe",
    "vector": 7,
    "seq": "x",
}


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("column", ROWS)
def test_a_damaged_row_is_a_miss_and_hides_no_other(
    column: str,
    text: bool,
    tmp_path: Path,
    words: WordVectors,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "cache.db"
    cache = ResponseCache(
        f"sqlite:///{path}", embedder=words, policy=CachePolicy(threshold=0.9, max_entries=1)
    )
    cache.keep(ASKED, "hold the button", cost_nusd=1, tags=("faq",))
    other = CacheRequest(tenant="acme", exact="cat", text="feed the grey cat today")
    cache.keep(other, "at noon", cost_nusd=9_000)
    value = "CAST(? AS TEXT)" if text else "?"
    with closing(sqlite3.connect(path)) as db, db:
        where = "WHERE question = 'reset the router password'"
        db.execute(f"UPDATE entries SET {column} = {value} {where}", (ROWS[column],))  # noqa: S608  names of ours
    with caplog.at_level(logging.WARNING):
        assert cache.look_up(LIKE) is None
        assert cache.look_up(ASKED) is None
    assert caplog.text.count("is damaged") == 1
    assert "hold the button" not in caplog.text
    assert cache.look_up(replace(other, exact="", text="feed the grey cat today please"))
    assert [entry.question for entry in cache.store.find()] == ["feed the grey cat today"]
    assert cache.forget(tag="faq") == 1
    assert cache.store.totals().entries == 1
    cache.close()


def test_labels_of_evicted_entries_hide_no_others(cache: ResponseCache, client: Any) -> None:
    gone = [name for name in client.keys("*:e:*") if client.delete(name)]
    for number in range(3):
        request = CacheRequest(tenant="acme", exact=str(number), text=f"call number {number}")
        cache.keep(request, "yes", cost_nusd=9_000, tags=("faq",))
    for name in gone:
        cache.store.remove([name.decode().partition(":e:")[2]])
    assert len(cache.store.ids(tag="faq", limit=3)) == 3
    assert len(cache.store.find(tag="faq", limit=2)) == 2
    assert cache.forget(tag="faq") == 3


def test_an_id_that_is_none_of_ours_does_not_keep_forgetting_for_ever(
    cache: ResponseCache, client: Any
) -> None:
    (kept,) = client.keys("*:kept")
    client.zadd(kept, {b"\xff\xfe": 1, b"another:id": 2})
    assert cache.forget(tenant="acme") == 1
    assert cache.look_up(ASKED) is None


def test_damaged_records_of_hits_do_not_matter(cache: ResponseCache, client: Any) -> None:
    (first, second, third) = (cache.look_up(LIKE) for _ in range(3))
    assert first is not None and second is not None and third is not None
    (name,) = client.keys("*:served")
    client.hset(name, first.hit_id, "{")
    client.hset(name, second.hit_id, '["e", "acme", NaN, true, 0]')
    with pytest.raises(CacheError, match="no hit by meaning"):
        cache.wrong(first.hit_id)
    assert len(cache.store.served("acme")) == 1
    assert cache.wrong(third.hit_id) > third.score


@pytest.mark.parametrize("left", ["nothing", "a string"])
def test_an_entry_that_is_gone_is_a_miss_and_makes_room(
    left: str, cache: ResponseCache, client: Any
) -> None:
    (name,) = client.keys("*:e:*")
    client.delete(name)
    if left == "a string":
        client.set(name, "x")
    assert cache.look_up(ASKED) is None
    assert cache.look_up(LIKE) is None
    for number in range(8):
        request = CacheRequest(tenant="acme", exact=str(number), text=f"call number {number}")
        cache.keep(request, "yes", cost_nusd=9_000)
    cache.make_room()
    assert client.keys(name.decode()) == []
    assert cache.store.totals().entries <= 4
    assert cache.keep(ASKED, "hold it long", cost_nusd=9_000) is not None
    looked = [cache.look_up(LIKE) for _ in range(70)]  # vector sets are checked at times
    assert looked[-1] is not None and looked[-1].answer == "hold it long"


def test_a_server_that_evicts_at_random_never_makes_an_answer_wrong() -> None:
    options = ("--maxmemory", "4mb", "--maxmemory-policy", "allkeys-random")
    words = ["".join(pair) for pair in product("abcdefg", "hijklm")]

    def work(seed: int) -> int:
        chance = random.Random(seed)
        policy = CachePolicy(threshold=0.9, max_entries=2_000)
        cache = ResponseCache(address, embedder=WordVectors(), policy=policy)
        hits = 0
        for turn in range(500):
            text, tenant = " ".join(chance.sample(words, 2)), chance.choice(("acme", "zeta"))
            request = CacheRequest(tenant=tenant, exact=f"{text}{turn % 2}", text=text)
            hit = cache.look_up(request)
            if hit is None:
                cache.keep(request, f"{tenant}{text}" + " " * 2_000, cost_nusd=1, tags=("faq",))
            else:
                hits += 1
                assert hit.answer.startswith(tenant)
                assert hit.kind == "meaning" or hit.answer.strip() == f"{tenant}{text}"
            if turn % 100 == 99:
                cache.make_room()
        cache.close()
        return hits

    with running_redis(*options) as server:
        address = f"unix://{server.socket}"
        with ThreadPoolExecutor(3) as pool:
            assert sum(pool.map(work, range(3))) > 50
        assert int(server.ask("INFO", "stats")["evicted_keys"]) > 0
