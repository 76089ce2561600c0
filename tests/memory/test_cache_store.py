"""What every cache store does, in memory, in SQLite and on a real Redis."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit.memory.cache import CacheEntry, CacheError, CacheStore, Outcome
from agentkit.memory.cache.entry import name_in
from agentkit.memory.cache.store import Served
from agentkit.memory.cache.stores import open_cache_store


def entry(name: str, *, tenant: str = "acme", **changes: object) -> CacheEntry:
    made = CacheEntry(
        entry_id=name_in(tenant, "entry", name),
        key=name_in(tenant, "key", name),
        tenant=tenant,
        partition=name_in(tenant, "partition"),
        question=name,
        answer=f"answer to {name}",
        kept_at=1.0,
        expires_at=100.0,
        vector=b"\x00\x00\x80?",
        cost_nusd=1_000,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields by name


def test_an_entry_comes_back_whole(store: CacheStore) -> None:
    kept = entry("a", tags=("faq", "price"), sources=("doc1",))
    store.put(kept)
    found = store.exact(kept.key)
    assert found is not None
    assert replace(found, seq=0) == kept
    assert store.entry(kept.entry_id) == found


def test_the_same_key_again_replaces_the_entry(store: CacheStore) -> None:
    store.put(entry("a"))
    other = entry("b", key=entry("a").key)
    store.put(other)
    found = store.exact(other.key)
    assert found is not None and found.entry_id == other.entry_id
    assert store.entry(entry("a").entry_id) is None
    assert store.totals().entries == 1


def test_changes_tell_what_came_and_went(store: CacheStore) -> None:
    one, two = entry("a"), entry("b")
    store.put(one)
    first = store.changes(one.partition, 0)
    assert first.whole and [e.entry_id for e in first.entries] == [one.entry_id]
    store.put(two)
    store.remove([one.entry_id])
    then = store.changes(one.partition, first.seq)
    assert [e.entry_id for e in then.entries] == [two.entry_id]
    assert list(then.removed) == [one.entry_id]
    assert not then.whole
    after = store.changes(one.partition, then.seq)
    assert not after.entries and not after.removed


def test_changes_of_another_partition_are_not_told(store: CacheStore) -> None:
    other = entry("b", partition=name_in("acme", "other"))
    store.put(other)
    assert not store.changes(entry("a").partition, 0).entries


def test_entries_are_found_by_tag_source_tenant_and_age(store: CacheStore) -> None:
    store.put(entry("a", tags=("faq",), kept_at=1.0))
    store.put(entry("b", sources=("doc",), kept_at=2.0, expires_at=10.0))
    store.put(entry("c", tenant="zeta", tags=("faq",), kept_at=3.0))
    assert [e.question for e in store.find(tag="faq")] == ["c", "a"]
    assert [e.question for e in store.find(tag="faq", tenant="acme")] == ["a"]
    assert [e.question for e in store.find(source="doc")] == ["b"]
    assert [e.question for e in store.find(expired_at=10.0)] == ["b"]
    assert [e.question for e in store.find(limit=2)] == ["c", "b"]
    assert store.ids(tag="faq", tenant="acme", expired_at=100.0) == [entry("a").entry_id]
    assert store.ids(source="doc", expired_at=9.0) == []
    assert sorted(store.ids()) == sorted(e.entry_id for e in store.find())
    assert len(store.ids(limit=2)) == 2


def test_the_least_worth_brings_least_money_per_byte(store: CacheStore) -> None:
    store.put(entry("cheap", cost_nusd=1))
    store.put(entry("dear", cost_nusd=9_000))
    store.put(entry("large", cost_nusd=9_000, answer="x" * 100_000))
    assert store.least_worth(2) == [entry("cheap").entry_id, entry("large").entry_id]
    for _ in range(3):
        store.used(entry("cheap").entry_id, 1_000_000)
    assert store.least_worth(1) == [entry("large").entry_id]


def test_totals_follow_hits_and_removals(store: CacheStore) -> None:
    store.put(entry("a"))
    store.put(entry("b", tenant="zeta"))
    store.used(entry("a").entry_id, 500)
    totals = store.totals()
    assert (totals.entries, totals.hits, totals.saved_nusd) == (2, 1, 500)
    assert totals.size_bytes == entry("a").size_bytes + entry("b").size_bytes
    both = [entry("a").entry_id, entry("b", tenant="zeta").entry_id]
    assert store.remove([*both, both[0]]) == 2
    assert store.totals() == (0, 0, 0, 0)


def test_one_owner_has_a_claim_until_it_is_given_up(store: CacheStore) -> None:
    key = entry("a").key
    assert store.claim(key, "one", seconds=60)
    assert store.claim(key, "one", seconds=60)
    assert not store.claim(key, "two", seconds=60)
    store.give_up(key, "two")
    assert not store.claim(key, "two", seconds=60)
    store.give_up(key, "one")
    assert store.claim(key, "two", seconds=60)


def test_nobody_waits_for_what_was_given_up_as_open(store: CacheStore) -> None:
    key = entry("a").key
    assert store.claim(key, "one", seconds=60)
    store.give_up(key, "two", open_seconds=60)
    assert store.claim(key, "two", seconds=60) is False
    store.give_up(key, "one", open_seconds=0.2)
    assert store.claim(key, "two", seconds=60) is None
    assert store.claim(key, "one", seconds=60) is None
    store.give_up(key, "two")
    until = time.monotonic() + 10
    while store.claim(key, "two", seconds=60) is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert store.claim(key, "one", seconds=60) is False


def test_a_wrong_hit_is_remembered_against_its_tenant(store: CacheStore) -> None:
    hit = name_in("acme", "hit")
    kept = entry("a")
    store.put(kept)
    served = Served(hit, kept.entry_id, "acme", Outcome(1.2, True), 5.0)
    store.used(kept.entry_id, 0, served)
    assert store.served("acme") == [Outcome(1.2, True)]
    assert store.report_wrong(hit) == served._replace(outcome=Outcome(1.2, False))
    assert store.served("acme") == [Outcome(1.2, False)]
    assert store.served("zeta") == []
    assert store.report_wrong(name_in("acme", "unknown")) is None


def test_what_one_process_keeps_another_one_finds(address: str) -> None:
    if address == "memory://":
        pytest.skip("the memory of a process is its own")
    one, two = open_cache_store(address), open_cache_store(address)
    one.put(entry("a"))
    assert [e.question for e in two.changes(entry("a").partition, 0).entries] == ["a"]
    one.close()
    two.close()


@pytest.mark.parametrize("bad", ["", "sqlite:", "sqlite:///", "postgres://x", "cache.db"])
def test_an_unknown_address_says_what_is_known(bad: str) -> None:
    with pytest.raises(CacheError, match="use memory://"):
        open_cache_store(bad)


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="failed"):
        open_cache_store(f"unix://{tmp_path / 'nobody'}")


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "cache.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(CacheError, match="later agentkit"):
        open_cache_store(f"sqlite:///{path}")


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    path.write_bytes(b"not a database, but long enough to be looked at as one" * 40)
    with pytest.raises(CacheError, match="cannot be opened"):
        open_cache_store(f"sqlite:///{path}")
