"""Whether the tools that a request needs are offered, at what price in tokens, and how fast.

    python benchmarks/tools.py [--json] [--rows N] [--methods shipped,bm25,minilm,bigtool]

`shipped` is agentkit with the embedding in its wheel, `minilm` agentkit with all-MiniLM-L6-v2 as a
GGUF through llama.cpp, `bm25` the lexical half alone, `bigtool` the retrieval of langgraph-bigtool
over MiniLM. What was fitted saw rows at even positions of the MetaTool and BFCL sets only
(packaging/fit_calibration.py, packaging/fit_shares.py); "held_out" scores the odd ones. LiveMCP's
41 requests were looked at while the way to search was chosen (that a file to be written calls for
what writes it comes from them) and were a part of the fit: read their figures as of seen rows.
`schema_tokens_ratio` counts what ten tools and the dispatcher's two take, against all definitions
as they are. `multi_turn` drives an agent through whole conversations. `together` is what earlier
tasks bring: one half of a set's rows are those, the other is scored. Times are of this machine
in this run. MiniLM's vectors are remembered between runs: the median times of `minilm` and
`bigtool` leave them out once they are known. `--rows` takes an even sample of each set.

Needs the data folder named by AGENTKIT_DATA (by default ../shared/data); `minilm` and `bigtool`
need the extra `local` and the groups `dev` and `bench`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from _minilm import RememberedMiniLM
from _tool_company import measured_company
from _tool_sets import (
    BFCL,
    IRRELEVANCE,
    Request,
    ToolSet,
    bfcl_rows,
    conversations,
    tool_sets,
)
from _tool_turns import measured_turns
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from agentkit.budgets.tokens import count_text
from agentkit.tools import ToolCatalogue
from agentkit.tools.provision import (
    Calibration,
    Embedder,
    ToolCard,
    ToolIndex,
    compact_all,
    search,
)
from agentkit.tools.provision.dispatch import Dispatcher

METHODS = ("shipped", "minilm", "bm25", "bigtool")
Ours = Literal["shipped", "minilm"]
OURS: tuple[Ours, ...] = ("shipped", "minilm")
_LIMITS = (5, 10)
_SIZES = (527, 2_500, 10_000)
Search = Callable[[str], Sequence[str]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    parser.add_argument("--rows", type=int, default=0, metavar="N", help="requests a set at most")
    parser.add_argument("--methods", default=",".join(METHODS), help="which, with commas")
    arguments = parser.parse_args()
    methods = [name for name in METHODS if name in arguments.methods.split(",")]
    report = measured(methods, arguments.rows)
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)


def measured(methods: Sequence[str], rows: int) -> dict[str, Any]:
    """All figures of the run."""
    report: dict[str, Any] = {}
    sets = tool_sets()
    minilm = RememberedMiniLM() if {"minilm", "bigtool"} & set(methods) else None
    for name, tools in sets.items():
        report[name] = {
            method: _scored(tools, _searcher(method, tools, minilm), rows, ours=method in OURS)
            for method in methods
        }
    report["compaction"] = _compaction(sets)
    report["irrelevance"] = {
        method: _irrelevance(sets, rows, _embedder(method, minilm), Calibration.fitted(method))
        for method in OURS
        if method in methods
    }
    report["multi_turn"] = {
        name: measured_turns(name, rows)
        for name in ("bfcl_multi_turn_base", "bfcl_multi_turn_miss_func")
    }
    report["together"] = measured_company(sets)
    report["scale"] = {str(size): _speed(size) for size in _SIZES}
    if minilm is not None:
        minilm.save()
    return report


def _searcher(method: str, tools: ToolSet, minilm: RememberedMiniLM | None) -> Search:
    if method == "bm25":
        return _lexical(tools)
    if method == "bigtool":
        assert minilm is not None
        return _bigtool(tools, minilm)
    assert method in OURS
    index = ToolIndex(tools.cards, embedder=_embedder(method, minilm))
    calibration = Calibration.fitted(method)
    return lambda text: [m.name for m in search(index, text, limit=10, calibration=calibration)]


def _embedder(method: Ours, minilm: RememberedMiniLM | None) -> Embedder | None:
    return minilm if method == "minilm" else None


def _lexical(tools: ToolSet) -> Search:
    """Plain BM25 over names and descriptions, by the same library."""
    from bm25s import BM25, tokenize

    index = BM25()
    texts = [f"{card.name} {card.description}" for card in tools.cards]
    index.index(tokenize(texts, show_progress=False), show_progress=False)

    def found(text: str) -> Sequence[str]:
        (words,) = tokenize([text], return_ids=False, show_progress=False)
        known = [word for word in words if word in index.vocab_dict]
        if not known:
            return ()
        scores = index.get_scores(known)
        return _distinct(tools.cards[at].name for at in np.argsort(-scores, kind="stable"))

    return found


def _bigtool(tools: ToolSet, minilm: RememberedMiniLM) -> Search:
    """Its retrieval tool over LangGraph's store in memory, as its documentation sets it up."""
    from langgraph.store.memory import InMemoryStore
    from langgraph_bigtool.tools import get_default_retrieval_tool

    store = InMemoryStore(
        index={
            "dims": 384,
            "embed": lambda texts: minilm.embed(texts).tolist(),
            "fields": ["description"],
        }
    )
    for number, card in enumerate(tools.cards):
        value = {"description": f"{card.name}: {card.description}"}
        store.put(("tools",), str(number), value)
    alike = max(Counter(card.name for card in tools.cards).values())
    retrieve, _ = get_default_retrieval_tool(("tools",), limit=10 * alike)
    return lambda text: _distinct(tools.cards[int(k)].name for k in retrieve(text, store=store))


def _distinct(names: Iterable[str]) -> list[str]:
    """The first ten names: BFCL's pool holds several functions of some, an offer one of each."""
    return list(itertools.islice(dict.fromkeys(names), 10))


def _scored(tools: ToolSet, found_by: Search, rows: int, *, ours: bool) -> dict[str, Any]:
    requests = _sample(tools.requests, rows)
    found_by(requests[0].text)
    offers: list[Sequence[str]] = []
    milliseconds: list[float] = []
    for request in requests:
        started = time.perf_counter()
        offers.append(found_by(request.text))
        milliseconds.append((time.perf_counter() - started) * 1_000)
    costs = {tool.original_name: _tokens(tool.openai_schema) for tool in compact_all(tools.cards)}
    whole = sum(_tokens(_definition(card)) for card in tools.cards)
    own = _dispatcher_tokens() if ours else 0
    offered = statistics.fmean(own + sum(costs[name] for name in offer) for offer in offers)
    places = _sample(range(len(tools.requests)), rows)
    odd = [number for number, place in enumerate(places) if place % 2]
    return {
        **_recall(requests, offers),
        "held_out": _recall([requests[n] for n in odd], [offers[n] for n in odd]),
        "schema_tokens_ratio": round(offered / whole, 4),
        "offered_nothing": round(statistics.fmean(not offer for offer in offers), 4),
        "ms_p50": round(float(np.percentile(milliseconds, 50)), 3),
        "ms_p99": round(float(np.percentile(milliseconds, 99)), 3),
    }


def _dispatcher_tokens() -> int:
    """The two tools that an agent of many tools is offered beside those found."""
    dispatcher = Dispatcher.beside(ToolCatalogue(), lambda _: ())
    return sum(_tokens(spec.openai_schema) for spec in (dispatcher.find, dispatcher.call))


def _recall(requests: Sequence[Request], offers: Sequence[Sequence[str]]) -> dict[str, Any]:
    recall: dict[str, float] = {}
    complete: dict[str, float] = {}
    for limit in _LIMITS:
        shares = [
            len(request.needed.intersection(offer[:limit])) / len(request.needed)
            for request, offer in zip(requests, offers, strict=True)
        ]
        recall[str(limit)] = round(statistics.fmean(shares), 4)
        complete[str(limit)] = round(statistics.fmean(share == 1 for share in shares), 4)
    return {"recall_at": recall, "complete_at": complete}


def _compaction(sets: dict[str, ToolSet]) -> dict[str, Any]:
    """Tokens saved over all catalogues, and what becomes of BFCL's calls."""
    catalogues = {
        "livemcp": sets["livemcp"].cards,
        "metatool": sets["metatool_single"].cards,
        "bfcl": sets["bfcl"].cards,
        "bfcl_multi_turn": conversations("bfcl_multi_turn_base")[0].cards,
    }
    before = {
        name: sum(_tokens(_definition(card)) for card in cards)
        for name, cards in catalogues.items()
    }
    after = {
        name: sum(_tokens(tool.openai_schema) for tool in compact_all(cards))
        for name, cards in catalogues.items()
    }
    return {
        "saved": {name: round(1 - after[name] / before[name], 4) for name in catalogues},
        "saved_over_all": round(1 - sum(after.values()) / sum(before.values()), 4),
        "calls": _call_check(),
    }


def _call_check() -> dict[str, int]:
    """Calls valid by the original schema, and how many of those the compact one would lose."""
    counts = {"calls": 0, "valid_before": 0, "lost": 0, "not_mapped_back": 0}
    for name in BFCL:
        for row in bfcl_rows(name):
            compacted = {tool.original_name: tool for tool in compact_all(row.cards)}
            back = {tool.name: tool.original_name for tool in compacted.values()}
            cards = {card.name: card for card in row.cards}
            for called, choices in row.calls:
                counts["calls"] += 1
                counts["not_mapped_back"] += back.get(compacted[called].name) != called
                values = {key: some[0] for key, some in choices.items() if some and some[0] != ""}
                if _is_valid(cards[called].schema, values):
                    counts["valid_before"] += 1
                    counts["lost"] += not _is_valid(compacted[called].schema, values)
    return counts


def _is_valid(schema: Any, values: dict[str, Any]) -> bool:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError:  # a few of BFCL's schemas are no JSON schemas
        return False
    return Draft202012Validator(schema).is_valid(values)


def _irrelevance(
    sets: dict[str, ToolSet], rows: int, embedder: Embedder | None, calibration: Calibration
) -> dict[str, Any]:
    """How often nothing is offered where none of a row's functions fits, and where one does.

    Scored on odd positions: the even ones calibrated the floor. `wrongly_nothing` is of rows one of
    whose own few functions fits; `recall_lost_elsewhere` of the four catalogues.
    """

    def nothing(names: Sequence[str]) -> float:
        kept = [row for name in names for row in _sample(bfcl_rows(name)[1::2], rows) if row.cards]
        return round(
            statistics.fmean(
                not search(
                    ToolIndex(row.cards, embedder=embedder), row.text, calibration=calibration
                )
                for row in kept
            ),
            4,
        )

    lost: dict[str, float] = {}
    for name, tools in sets.items():
        index = ToolIndex(tools.cards, embedder=embedder)
        requests = _sample(tools.requests, rows)
        requests = requests if name == "livemcp" else requests[1::2]
        limit = 10 if name == "livemcp" else 5
        both = [
            [[m.name for m in search(index, r.text, limit=limit, calibration=c)] for r in requests]
            for c in (None, calibration)
        ]
        free, floored = (_recall(requests, offers)["recall_at"][str(limit)] for offers in both)
        lost[name] = round(free - floored, 4)
    return {
        "offered_nothing": {name: nothing([name]) for name in IRRELEVANCE},
        "offered_nothing_over_both": nothing(IRRELEVANCE),
        "wrongly_nothing": {name: nothing([name]) for name in BFCL},
        "wrongly_nothing_over_all": nothing(BFCL),
        "recall_lost_elsewhere": lost,
    }


def _speed(size: int) -> dict[str, float]:
    """Real tools under numbered names until there are `size` of them."""
    sets = tool_sets()
    real = [*sets["livemcp"].cards, *sets["bfcl"].cards]
    cards = [
        ToolCard(
            name=f"{real[n % len(real)].name}_{n}",
            description=real[n % len(real)].description,
            schema=real[n % len(real)].schema,
            group=real[n % len(real)].group,
        )
        for n in range(size)
    ]
    started = time.perf_counter()
    index = ToolIndex(cards)
    seconds = time.perf_counter() - started
    milliseconds: list[float] = []
    for request in _sample([*sets["livemcp"].requests, *sets["bfcl"].requests], 200):
        started = time.perf_counter()
        search(index, request.text, calibration=Calibration.fitted("shipped"))
        milliseconds.append((time.perf_counter() - started) * 1_000)
    return {
        "index_seconds": round(seconds, 3),
        "ms_p50": round(float(np.percentile(milliseconds, 50)), 3),
        "ms_p99": round(float(np.percentile(milliseconds, 99)), 3),
    }


def _definition(card: ToolCard) -> dict[str, Any]:
    parameters = card.schema or {"type": "object", "properties": {}}
    function = {"name": card.name, "description": card.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _tokens(definition: object) -> int:
    return count_text(json.dumps(definition, ensure_ascii=False, separators=(",", ":")))


def _sample(items: Sequence[Any], count: int) -> list[Any]:
    """An even sample in order; all where count is 0 or not below their number."""
    if not 0 < count < len(items):
        return list(items)
    return [items[number * len(items) // count] for number in range(count)]


def _print(report: dict[str, Any]) -> None:
    for name in ("livemcp", "metatool_single", "metatool_multi", "bfcl"):
        for method, row in report[name].items():
            recall, complete = row["recall_at"], row["complete_at"]
            print(
                f"{name:16} {method:8} R@5 {recall['5']:.3f}  R@10 {recall['10']:.3f}  "
                f"complete@5 {complete['5']:.3f}  complete@10 {complete['10']:.3f}  "
                f"tokens {row['schema_tokens_ratio']:.2%}  p50 {row['ms_p50']:.2f} ms"
            )
    for name in ("compaction", "irrelevance", "multi_turn", "together", "scale"):
        print(f"{name}: {json.dumps(report[name])}")


if __name__ == "__main__":
    main()
