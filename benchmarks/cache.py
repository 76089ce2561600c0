"""How often a cache answers by meaning, and how often that answer is wrong.

    python benchmarks/cache.py [--json] [--calibrate] [--without-minilm] [--speed-at ADDRESS]

Each method's threshold is chosen on every other row, for at most 1 % and 5 % of wrong hits, counted
as (wrong + 1) / (hits + 1), and scored on the rest; where no threshold keeps to that, nothing hits.

qqp            one entry in the cache, one question to it. 15 % is shown too: people's verdicts on
               nearly equal questions contradict one another in about a tenth of the rows. `curve`
               is how many of the scored rows hit at each measured share of wrong hits.
gptcache_mock  all texts cached, each once, then their paraphrases asked.
banking77      a stream in which each miss is kept; the intent stands for the answer. Hits and wrong
               hits are means over three orders of the same rows: with another order a threshold
               for 1 % moves by as much as methods differ.
traps          one number, date, name, unit or negation changed, at the shipped threshold for 1 %.
turned         negated and framed politely, at the shipped thresholds for 1 % and 5 %.

--speed-at     times look-ups alone, in an empty store at an address, such as a Redis: the first one
               with the opening of the store, then each. Where the server has vector sets, `found`
               is the share of the 96 nearest, and of the very nearest, that they give.

Needs the data folder named by AGENTKIT_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import bisect
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
from _cache_methods import Embedding, Method, Ours, TfIdf
from _cache_sets import Half, Pair, banking77, gptcache_mock, half, qqp, traps, turned

from agentkit.memory.cache import (
    CachePolicy,
    CacheRequest,
    CacheStore,
    Outcome,
    ResponseCache,
    threshold_for,
)
from agentkit.memory.cache.neighbours import SHORTLIST
from agentkit.memory.cache.store import FindsNear
from agentkit.tools.provision.embedding import StaticEmbedding

_SHARES = (0.01, 0.05)
_CURVE_SHARES = (0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25, 0.3)
_LEAST_CURVE_HITS = 50
"""Fewer say little about a share."""
_CALIBRATED_SHARES = (0.005, 0.01, 0.02, 0.05, 0.1)
_STREAM_THRESHOLDS = 128
_STREAM_ORDERS = 3
_TRAPS = 2_000
_TURNED = 1_000
_SIZES = (10_000, 100_000)
_ROUNDING = 1e-5

Row = dict[str, Any]


def main() -> None:
    """Print the figures as a table, or as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--calibrate", action="store_true", help="print the thresholds to ship")
    parser.add_argument("--without-minilm", action="store_true")
    parser.add_argument("--without-speed", action="store_true")
    parser.add_argument("--speed-at", metavar="ADDRESS", help="of an empty store")
    arguments = parser.parse_args()
    if arguments.speed_at:
        print(json.dumps(_speed(arguments.speed_at), indent=2))
        return
    methods = _methods(minilm=not arguments.without_minilm)
    if arguments.calibrate:
        print(json.dumps({n: _calibrated(m) for n, m in methods.items() if n in _OURS}, indent=2))
        return
    report: dict[str, Any] = {
        "qqp": {name: _qqp(method) for name, method in methods.items()},
        "gptcache_mock": {name: _mock(method) for name, method in methods.items()},
        "banking77": {name: _stream(method) for name, method in methods.items()},
        "traps": _traps(traps(_TRAPS), 0.01),
        "turned": {f"{s:.0%}": _traps(turned(_TURNED), s) for s in _SHARES},
    }
    if not arguments.without_speed:
        report |= _speed()
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)


_OURS = ("agentkit", "agentkit_minilm")


def _methods(*, minilm: bool) -> dict[str, Method]:
    texts = [text for pair in qqp() for text in (pair.cached, pair.asked)]
    texts += [text for pair in gptcache_mock() for text in pair]
    texts += [text for text, _ in banking77()]
    shipped = Embedding("shipped", texts)
    methods: dict[str, Method] = {"agentkit": Ours(shipped)}
    if minilm:
        embedding = Embedding("minilm", texts)
        methods["agentkit_minilm"] = Ours(embedding)
        methods["embedding_only_minilm"] = Ours(embedding, plain=True)
    methods["embedding_only"] = Ours(shipped, plain=True)
    methods["tfidf"] = TfIdf([pair.cached for pair in half(qqp(), "chosen")])
    return methods


def _qqp(method: Method) -> Row:
    row: Row = {}
    for share in (*_SHARES, 0.15):
        rule = method.promising(share)
        _score(row, share, _qqp_outcomes(rule, "chosen"), _qqp_outcomes(rule, "scored"))
    loosest = method.promising(min(_CURVE_SHARES))
    return row | {"curve": _curve(_qqp_outcomes(loosest, "scored"))}


@lru_cache
def _qqp_outcomes(method: Method, which: Half) -> list[Outcome]:
    return [_pair(method, pair) for pair in half(qqp(), which)]


def _curve(scored: list[Outcome]) -> dict[str, float]:
    """The most hits at each measured share of wrong ones, whatever threshold that takes."""
    best = dict.fromkeys(_CURVE_SHARES, 0.0)
    wrong = 0
    ranked = sorted(scored, key=lambda outcome: -outcome.score)
    for hits, outcome in enumerate(ranked, start=1):
        wrong += not outcome.right
        if not math.isfinite(outcome.score) or hits < _LEAST_CURVE_HITS:
            continue
        if hits < len(ranked) and ranked[hits].score == outcome.score:
            continue  # a threshold takes all of one score, or none
        for share in best:
            if wrong / hits <= share:
                best[share] = hits / len(scored)
    return {f"{share * 100:g}%": round(rate, 4) for share, rate in best.items()}


def _pair(method: Method, pair: Pair) -> Outcome:
    lookup = method.index()
    lookup.put(0, pair.cached, pair.cached)
    found = lookup.find(pair.asked)
    return Outcome(-math.inf if found is None else found.score, pair.same)


def _mock(method: Method) -> Row:
    row: Row = {}
    for share in _SHARES:
        rule = method.promising(share)
        _score(row, share, _mock_outcomes(rule, "chosen"), _mock_outcomes(rule, "scored"))
    return row


@lru_cache
def _mock_outcomes(method: Method, which: Half) -> list[Outcome]:
    pairs = gptcache_mock()
    lookup = method.index()
    once = {text: number for number, (text, _) in enumerate(pairs)}
    for text, number in once.items():
        lookup.put(number, text, text)
    outcomes: list[Outcome] = []
    for text, paraphrase in half(pairs, which):
        found = lookup.find(paraphrase)
        right = found is not None and pairs[found.entry][0] == text
        outcomes.append(Outcome(-math.inf if found is None else found.score, right))
    return outcomes


def _score(row: Row, share: float, chosen: list[Outcome], scored: list[Outcome]) -> None:
    threshold = threshold_for(chosen, share)
    hits = [outcome for outcome in scored if outcome.score >= threshold]
    _fill(row, share, len(hits), sum(not hit.right for hit in hits), len(scored))


def _fill(row: Row, share: float, hits: float, wrong: float, asked: int) -> None:
    name = f"{round(share * 100)}pct"
    row[f"hit_rate_at_{name}"] = round(hits / asked, 4)
    row[f"wrong_at_{name}"] = round(wrong / hits, 4) if hits else None
    row["precision"] = round(1 - wrong / hits, 4) if hits else row.get("precision")


def _stream(method: Method) -> Row:
    row: Row = {}
    scored = half(banking77(), "scored")
    for share in _SHARES:
        rule = method.promising(share)
        threshold = _stream_threshold(rule, share)
        hits, wrong = _replays(rule, scored, threshold) if math.isfinite(threshold) else (0, 0)
        _fill(row, share, hits, wrong, len(scored))
    return row


def _stream_threshold(method: Method, share: float) -> float:
    """The lowest threshold that keeps to a share on the chosen half, found by halving."""

    def keeps(level: float) -> bool:
        hits, wrong = _chosen_replays(method, level)
        return (wrong + 1) / (hits + 1) <= share

    levels = _levels(method)
    place = bisect.bisect_left(levels, True, key=keeps)
    return levels[place] if place < len(levels) else math.inf


@cache
def _chosen_replays(method: Method, threshold: float) -> tuple[float, float]:
    return _replays(method, half(banking77(), "chosen"), threshold)


@cache
def _levels(method: Method) -> list[float]:
    """Thresholds worth trying: even steps through the scores that occur in the chosen half."""
    lookup = method.index()
    scores: list[float] = []
    for number, (text, intent) in enumerate(half(banking77(), "chosen")):
        found = lookup.find(text)
        if found is not None and math.isfinite(found.score):
            scores.append(found.score)
        lookup.put(number, text, intent)
    return [float(q) for q in np.quantile(scores, np.linspace(0, 1, _STREAM_THRESHOLDS))]


def _replays(
    method: Method, stream: Sequence[tuple[str, str]], threshold: float
) -> tuple[float, float]:
    """Hits and wrong hits of a stream, on average over its own order and others."""
    found = [_replay(method, stream, threshold)]
    for seed in range(1, _STREAM_ORDERS):
        order = list(stream)
        random.Random(seed).shuffle(order)
        found.append(_replay(method, order, threshold))
    hits, wrong = (sum(counts) / _STREAM_ORDERS for counts in zip(*found, strict=True))
    return hits, wrong


def _replay(method: Method, stream: Sequence[tuple[str, str]], threshold: float) -> tuple[int, int]:
    """Hits and wrong hits of a stream that fills its own cache."""
    lookup = method.index()
    hits = wrong = 0
    for number, (text, intent) in enumerate(stream):
        found = lookup.find(text)
        if found is not None and found.score >= threshold:
            hits += 1
            wrong += stream[found.entry][1] != intent
        else:
            lookup.put(number, text, intent)
    return hits, wrong


def _calibrated(method: Method) -> dict[str, float | None]:
    """The dearer of the thresholds that the chosen halves of the stream and the paraphrases ask."""
    table: dict[str, float | None] = {}
    for share in _CALIBRATED_SHARES:
        rule = method.promising(share)
        paraphrases = threshold_for(_mock_outcomes(rule, "chosen"), share)
        both = max(_stream_threshold(rule, share), paraphrases)
        table[str(share)] = round(both, 3) if math.isfinite(both) else None
    return table


def _traps(pairs: Sequence[Pair], max_wrong: float) -> Row:
    """Each trap asked of a cache that holds its original, at the shipped threshold."""
    policy = CachePolicy(max_wrong=max_wrong)
    cache = ResponseCache(embedder=StaticEmbedding.shipped(), policy=policy)
    wrong = 0
    for number, pair in enumerate(pairs):
        tenant = str(number)
        cached, asked = (
            CacheRequest(tenant=tenant, exact=text, text=text) for text in (pair.cached, pair.asked)
        )
        cache.keep(cached, "answer", cost_nusd=1)
        wrong += cache.look_up(asked) is not None
    return {"wrong_hits": wrong, "n": len(pairs)}


def _speed(address: str = "memory://") -> Row:
    """Milliseconds a look-up by meaning, its embedding included."""
    embedder = StaticEmbedding.shipped()
    filled = ResponseCache(address, embedder=embedder)
    if filled.store.totals().entries:
        raise SystemExit(f"{address} is not empty; name a store that is")
    report: Row = {}
    texts = [text for pair in qqp() for text in (pair.cached, pair.asked)]
    asked = [f"{text} now" for text in texts[:: len(texts) // 400]]
    begin = 0
    for size in _SIZES:
        kept = [_milliseconds(partial(_keep, filled, texts, n)) for n in range(begin, size)]
        begin = size
        started = time.perf_counter()
        elsewhere = address != "memory://"
        cache = ResponseCache(address, embedder=embedder) if elsewhere else filled
        cache.look_up(_of_one_tenant(asked[0]))
        row: Row = {"first_seconds": time.perf_counter() - started} if elsewhere else {}
        times = [_milliseconds(partial(cache.look_up, _of_one_tenant(t))) for t in asked[1:]]
        row |= {"ms_p50": np.percentile(times, 50), "ms_p99": np.percentile(times, 99)}
        row |= {"keep_ms_p50": np.percentile(kept[-1_000:], 50)}
        row |= _found(cache.store, embedder, asked)
        suffix = "" if size == _SIZES[0] else f"_at_{size}"
        report |= {f"{name}{suffix}": round(float(value), 4) for name, value in row.items()}
    return report


def _keep(cache: ResponseCache, texts: Sequence[str], number: int) -> None:
    text = f"{texts[number % len(texts)]} {number // len(texts) or ''}".strip()
    cache.keep(_of_one_tenant(text), text, cost_nusd=1)


def _of_one_tenant(text: str) -> CacheRequest:
    return CacheRequest(tenant="t", exact=text, text=text)


def _milliseconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return (time.perf_counter() - started) * 1_000


def _found(store: CacheStore, embedder: StaticEmbedding, asked: Sequence[str]) -> Row:
    """How many of the nearest, and of the very nearest, a server finds; empty where it scans."""
    partition = f"{_of_one_tenant('').partition}.{embedder.fingerprint}"
    questions = embedder.embed(asked)
    if not isinstance(store, FindsNear) or store.near(partition, questions[0].tobytes(), 1) is None:
        return {}
    entries = store.changes(partition, 0).entries
    rows = np.stack([np.frombuffer(entry.vector, np.float32) for entry in entries])
    shares: list[float] = []
    firsts: list[bool] = []
    for question in questions:
        nearest = np.sort(np.partition(rows @ question, -SHORTLIST)[-SHORTLIST:])
        found = store.near(partition, question.tobytes(), SHORTLIST) or []
        shares.append(sum(each.cosine >= nearest[0] - _ROUNDING for each in found) / SHORTLIST)
        firsts.append(bool(found) and found[0].cosine >= nearest[-1] - _ROUNDING)
    return {"found_96": np.mean(shares), "found_first": np.mean(firsts)}


def _print(report: dict[str, Any]) -> None:
    for name in ("qqp", "gptcache_mock", "banking77"):
        for method, row in report[name].items():
            cells = "  ".join(f"{key} {value}" for key, value in row.items())
            print(f"{name:14} {method:22} {cells}")
    for name, value in report.items():
        if name not in ("qqp", "gptcache_mock", "banking77"):
            print(f"{name}: {json.dumps(value)}")


if __name__ == "__main__":
    main()
