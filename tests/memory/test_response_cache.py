"""Answers by request and by meaning: what hits, what never does, and who waits for whom."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from agentkit.memory.cache import (
    CacheError,
    CacheHit,
    CachePolicy,
    CacheRequest,
    Claim,
    ResponseCache,
)
from tests.memory.conftest import WordVectors

LOOSE = CachePolicy(threshold=0.9)


def asked(text: str, *, tenant: str = "acme", **more: object) -> CacheRequest:
    return replace(CacheRequest(tenant=tenant, exact=text, text=text), **more)  # type: ignore[arg-type]  # fields by name


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_the_same_request_hits_and_says_what_it_saved(address: str) -> None:
    cache = ResponseCache(address)
    cache.keep(asked("what is the refund policy"), "30 days", cost_nusd=700)
    hit = cache.look_up(asked("what is the refund policy"))
    assert hit is not None
    assert (hit.answer, hit.kind, hit.saved_nusd) == ("30 days", "exact", 700)
    assert cache.store.totals().saved_nusd == 700
    assert cache.look_up(asked("what is the return policy")) is None
    cache.close()


def test_the_same_meaning_hits(address: str, words: WordVectors) -> None:
    cache = ResponseCache(address, embedder=words, policy=LOOSE)
    cache.keep(asked("reset the router password quickly now"), "hold the button", cost_nusd=1)
    hit = cache.look_up(asked("quickly reset the router password now please"))
    assert hit is not None and hit.kind == "meaning"
    cache.close()


def test_a_looser_promise_forgives_more_doubts(words: WordVectors) -> None:
    for max_wrong, hits in ((0.01, False), (0.1, True)):
        policy = CachePolicy(max_wrong=max_wrong, threshold=0.9)
        cache = ResponseCache(embedder=words, policy=policy)
        cache.keep(asked("how does one peel a mango"), "with a knife", cost_nusd=1)
        assert (cache.look_up(asked("how does one peel a potato")) is not None) is hits


def test_what_another_process_keeps_is_found_by_meaning(address: str, words: WordVectors) -> None:
    if address == "memory://":
        pytest.skip("the memory of a process is its own")
    one, two = (ResponseCache(address, embedder=words, policy=LOOSE) for _ in range(2))
    assert two.look_up(asked("please reset the router password")) is None
    kept = one.keep(asked("reset the router password"), "hold the button", cost_nusd=1)
    assert two.look_up(asked("please reset the router password")) is not None
    assert kept is not None
    one.store.remove([kept])
    assert two.look_up(asked("please reset the router password")) is None
    one.close()
    two.close()


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "zeta"},
        {"user": "u2"},
        {"family": "gpt-5"},
        {"system": "another prompt"},
        {"tools": "other tools"},
        {"metadata": {"locale": "fr"}},
    ],
)
@pytest.mark.parametrize("text", ["reset the router password", "please reset the router password"])
def test_an_answer_never_crosses_what_it_depends_on(
    change: dict[str, object], text: str, words: WordVectors
) -> None:
    cache = ResponseCache(embedder=words, policy=LOOSE)
    request = asked("reset the router password", user="u1", metadata={"locale": "en"})
    cache.keep(request, "hold the button", cost_nusd=1)
    assert cache.look_up(replace(request, text=text, exact=text)) is not None
    assert cache.look_up(replace(request, text=text, exact=text, **change)) is None  # type: ignore[arg-type]  # fields by name


def test_a_damaged_entry_of_another_tenant_is_not_served(words: WordVectors) -> None:
    """Whatever a store hands out: the partition is compared again."""
    cache = ResponseCache(embedder=words, policy=LOOSE)
    cache.keep(asked("reset the router password", tenant="zeta"), "planted", cost_nusd=1)
    planted = cache.store.find(tenant="zeta")[0]
    victim = asked("reset the router password")
    cache.store.put(replace(planted, entry_id=victim.key, key=victim.key))
    assert cache.look_up(victim) is None


def test_a_vector_of_the_wrong_size_is_passed_over(words: WordVectors) -> None:
    cache = ResponseCache(embedder=words, policy=LOOSE)
    cache.keep(asked("reset the router password"), "hold the button", cost_nusd=1)
    found = cache.store.find()[0]
    cache.store.put(replace(found, vector=b"\x01\x02\x03"))
    assert cache.look_up(asked("please reset the router password")) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_question_that_points_nowhere_hits_only_itself(
    value: float, address: str, words: WordVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ResponseCache(address, embedder=words, policy=LOOSE)
    cache.keep(asked("reset the router password"), "hold the button", cost_nusd=1)
    with monkeypatch.context() as broken:
        broken.setattr(words, "embed", lambda _: np.full((1, 256), value, np.float32))
        assert cache.look_up(asked("please reset the router password")) is None
        cache.keep(asked("open the garage door"), "press twice", cost_nusd=1)
        assert cache.look_up(asked("open the garage door")) is not None
    assert cache.look_up(asked("please open the garage door")) is None
    assert cache.look_up(asked("please reset the router password")) is not None
    cache.close()


def test_an_embedding_or_a_judge_that_fails_costs_the_hit_and_nothing_else(
    words: WordVectors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> bool:
        raise ConnectionError("nobody is there")

    cache = ResponseCache(embedder=words, policy=LOOSE)
    cache.keep(asked("reset the router password"), "hold the button", cost_nusd=1)
    judged = ResponseCache(cache.store, embedder=words, policy=LOOSE, judge=fail)
    assert judged.look_up(asked("please reset the router password")) is None
    assert "the judge failed" in caplog.text
    monkeypatch.setattr(words, "embed", fail)
    assert cache.look_up(asked("please reset the router password")) is None
    assert cache.look_up(asked("reset the router password")) is not None
    assert cache.keep(asked("open the garage door"), "press", cost_nusd=1) is not None
    assert "nobody is there" in caplog.text


def test_what_is_no_text_is_not_kept(address: str, words: WordVectors) -> None:
    cache = ResponseCache(address, embedder=words, policy=LOOSE)
    assert cache.keep(asked("half a pair \ud800"), "answer", cost_nusd=1) is None
    assert cache.keep(asked("whole"), "half a pair \ud800", cost_nusd=1) is None
    assert cache.look_up(asked("half a pair \ud800")) is None
    cache.close()


def test_an_embedding_of_other_numbers_and_lengths_is_taken(
    address: str, words: WordVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = words.embed
    monkeypatch.setattr(words, "embed", lambda texts: rows(texts).astype(np.float64) * 7)
    cache = ResponseCache(address, embedder=words, policy=LOOSE)
    cache.keep(asked("reset the router password"), "hold the button", cost_nusd=1)
    hit = cache.look_up(asked("please reset the router password"))
    assert hit is not None and hit.score < 1.5
    cache.close()


def test_an_answer_past_its_time_is_gone_or_stale() -> None:
    clock = Clock()
    policy = CachePolicy(ttl_seconds=100, stale_seconds=50, ttl_by_tag={"news": 10})
    cache = ResponseCache(policy=policy, clock=clock)
    cache.keep(asked("a"), "a", cost_nusd=1)
    cache.keep(asked("b"), "b", cost_nusd=1, tags=("news",))
    clock.now += 20
    first, second = cache.look_up(asked("a")), cache.look_up(asked("b"))
    assert first is not None and not first.stale
    assert second is not None and second.stale
    clock.now += 100
    assert cache.look_up(asked("b")) is None
    late = cache.look_up(asked("a"))
    assert late is not None and late.stale
    cache.make_room()
    assert [entry.question for entry in cache.store.find()] == ["a"]


def test_forgetting_by_tag_and_source(address: str) -> None:
    cache = ResponseCache(address)
    for name in "abc":
        cache.keep(asked(name), name, cost_nusd=1, tags=("t",), sources=(f"doc-{name}",))
    assert cache.forget(source="doc-a") == 1
    assert cache.look_up(asked("a")) is None
    assert cache.forget(tag="t") == 2
    with pytest.raises(CacheError, match="say what to forget"):
        cache.forget()
    cache.close()


def test_the_limit_is_kept_by_dropping_what_brings_least(address: str) -> None:
    cache = ResponseCache(address, policy=CachePolicy(max_entries=20))
    for number in range(64):
        cache.keep(asked(f"q{number}"), "x", cost_nusd=number)
    entries = cache.store.find()
    assert len(entries) <= 20
    assert min(entry.cost_nusd for entry in entries) >= 44
    cache.close()


def test_an_answer_larger_than_the_cache_is_not_kept() -> None:
    cache = ResponseCache(policy=CachePolicy(max_bytes=1_000))
    assert cache.keep(asked("a"), "x" * 2_000, cost_nusd=1) is None
    assert cache.look_up(asked("a")) is None


def test_a_wrong_hit_raises_the_tenants_threshold_over_it(words: WordVectors) -> None:
    cache = ResponseCache(embedder=words, policy=LOOSE)
    cache.keep(asked("reset the router password"), "hold the button", cost_nusd=1)
    question = "please reset the router password"
    hit = cache.look_up(asked(question))
    assert hit is not None
    assert cache.wrong(hit.hit_id) > hit.score
    assert cache.look_up(asked(question)) is None
    assert cache.threshold("zeta") == 0.9
    with pytest.raises(CacheError, match="no hit"):
        cache.wrong("acme:nothing")


def test_the_judge_has_the_last_word(words: WordVectors) -> None:
    heard: list[tuple[str, str]] = []

    def judge(cached: str, question: str) -> bool:
        heard.append((cached, question))
        return False

    cache = ResponseCache(embedder=words, policy=LOOSE, judge=judge)
    cache.keep(asked("reset the router password"), "hold the button", cost_nusd=1)
    assert cache.look_up(asked("please reset the router password")) is None
    assert heard == [("reset the router password", "please reset the router password")]


def test_an_unknown_embedding_promises_nothing_until_it_is_calibrated(words: WordVectors) -> None:
    cache = ResponseCache(embedder=words)
    cache.keep(asked("reset the router password"), "hold the button", cost_nusd=1)
    assert cache.look_up(asked("please reset the router password")) is None


def test_fifty_threads_make_an_answer_once(address: str) -> None:
    cache = ResponseCache(address)
    made: list[int] = []
    answers: list[str] = []

    def work(number: int) -> None:
        outcome = cache.begin(asked("same"))
        if isinstance(outcome, Claim):
            made.append(number)
            time.sleep(0.2)
            cache.keep(outcome.request, "answer", cost_nusd=1)
            cache.give_up(outcome)
            answers.append("answer")
        else:
            answers.append(outcome.answer)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert answers == ["answer"] * 50
    cache.close()


async def test_fifty_coroutines_make_an_answer_once() -> None:
    cache = ResponseCache()
    made = 0

    async def work() -> str:
        nonlocal made
        outcome = await cache.abegin(asked("same"))
        if isinstance(outcome, CacheHit):
            return outcome.answer
        made += 1
        await asyncio.sleep(0.05)
        cache.keep(outcome.request, "answer", cost_nusd=1)
        cache.give_up(outcome)
        return "answer"

    assert await asyncio.gather(*(work() for _ in range(50))) == ["answer"] * 50
    assert made == 1


def test_the_next_one_tries_where_the_first_one_failed() -> None:
    cache = ResponseCache()
    first = cache.begin(asked("same"))
    assert isinstance(first, Claim) and not first.alone
    waited = cache.begin(asked("same"), wait_seconds=0.05)
    assert isinstance(waited, Claim) and waited.alone
    cache.give_up(first)
    second = cache.begin(asked("same"), wait_seconds=0.05)
    assert isinstance(second, Claim) and not second.alone


def test_a_claim_whose_owner_died_ends_by_itself() -> None:
    cache = ResponseCache(policy=CachePolicy(claim_seconds=0.1))
    assert isinstance(cache.begin(asked("same")), Claim)
    started = time.monotonic()
    second = cache.begin(asked("same"), wait_seconds=10)
    assert isinstance(second, Claim)
    assert time.monotonic() - started < 5


def test_a_hundred_tenants_never_see_each_others_answers(words: WordVectors) -> None:
    cache = ResponseCache(embedder=words, policy=LOOSE)
    for tenant in range(100):
        for number in range(5):
            text = f"question number word{number} about the router"
            cache.keep(asked(text, tenant=f"t{tenant}"), f"t{tenant}", cost_nusd=1)
    for tenant in range(100):
        for number in range(5):
            hit = cache.look_up(
                asked(f"please question number word{number} about the router", tenant=f"t{tenant}")
            )
            assert hit is not None and hit.answer == f"t{tenant}"
        assert cache.look_up(asked("another question altogether", tenant=f"t{tenant}")) is None


@pytest.mark.parametrize(
    "bad",
    [
        {"ttl_seconds": float("nan")},
        {"ttl_seconds": None},
        {"threshold": float("nan")},
        {"threshold": -1.0},
        {"max_wrong": "1 %"},
        {"max_bytes": True},
        {"stale_seconds": float("nan")},
        {"ttl_by_tag": {"feature:news": "an hour"}},
        {"max_wrong": 0},
        {"max_wrong": 1.5},
        {"ttl_seconds": 0},
        {"max_entries": -1},
        {"stale_seconds": -1},
        {"ttl_by_tag": {"a": 0}},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(CacheError, match=next(iter(bad))):
        CachePolicy(**bad)  # type: ignore[arg-type]  # wrong on purpose
