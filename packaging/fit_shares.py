"""Chooses how much words, parts of a request and groups of tools count in a search.

    python packaging/fit_shares.py

Scores a small grid by recall over all development requests, under both embeddings together: each
request counts alike, so that the 41 of LiveMCP choose little, and there is one set of numbers for
all embeddings and catalogues. The best points differ by less than chance; of those within .001 of
the highest the one that falls short of the aims (`AIMS`) by least is `Shares` in
tools/provision/retrieval.py. Of the MetaTool and BFCL sets only rows at even positions are looked
at; LiveMCP's requests are looked at whole (benchmarks/tools.py says so beside its figures).

Needs the data folder named by AGENTKIT_DATA (by default ../shared/data) and llama.cpp.
"""

from __future__ import annotations

import itertools
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
from _minilm import RememberedMiniLM  # noqa: E402
from _tool_sets import ToolSet, tool_sets  # noqa: E402

from agentkit.tools.provision.embedding import Embedder, StaticEmbedding  # noqa: E402
from agentkit.tools.provision.index import Evidence, ToolIndex  # noqa: E402
from agentkit.tools.provision.retrieval import Shares, best_of, combined, texts_of  # noqa: E402

EMBEDDINGS = ("minilm", "shipped")
AIMS = {
    "minilm livemcp": 0.60,
    "minilm metatool_single": 0.82,
    "minilm bfcl": 0.90,
    "shipped livemcp": 0.50,
    "shipped metatool_single": 0.68,
    "shipped bfcl": 0.85,
}
"""Recall at 10 on LiveMCP, at 5 elsewhere."""
PLATEAU = 0.001
LEXICAL = (0.15, 0.2, 0.25, 0.3, 0.4)
PART = (0.15, 0.3, 0.5)
GROUP = (0.4, 0.6, 0.8)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of one request before it is scored."""

    evidence: Evidence
    files: int
    needed: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A set's index and rows, under one embedding."""

    index: ToolIndex
    rows: tuple[Row, ...]
    limit: int


def main() -> None:
    """Score the grid and print the best points."""
    sets = {name: prepared(name, tools) for name, tools in tool_sets().items()}
    found: list[tuple[float, Shares, dict[str, list[float]]]] = []
    for lexical, part, group in itertools.product(LEXICAL, PART, GROUP):
        shares = Shares(lexical=lexical, part=part, group=group)
        figures = {
            f"{embedding} {name}": gains(of[embedding], shares)
            for embedding in EMBEDDINGS
            for name, of in sets.items()
        }
        found.append((statistics.fmean(itertools.chain(*figures.values())), shares, figures))
    best = max(value for value, _, _ in found)
    found = [point for point in found if point[0] > best - PLATEAU]
    found.sort(key=lambda point: (shortfall(point[2]), -point[0]))
    for value, shares, figures in found[:8]:
        print(f"{value:.4f} {shares}, {shortfall(figures):.4f} short")
        for name, each in figures.items():
            complete = statistics.fmean(gain == 1 for gain in each)
            print(f"    {name:24} recall {statistics.fmean(each):.4f} complete {complete:.4f}")


def prepared(name: str, tools: ToolSet) -> dict[str, Prepared]:
    """The evidence of a set's development rows, by embedding."""
    minilm = RememberedMiniLM()
    embedders: dict[str, Embedder] = {"minilm": minilm, "shipped": StaticEmbedding.shipped()}
    requests = tools.requests if name == "livemcp" else tools.requests[::2]
    found: dict[str, Prepared] = {}
    for embedding, embedder in embedders.items():
        index = ToolIndex(tools.cards, embedder=embedder)
        rows: list[Row] = []
        for request in requests:
            texts, files = texts_of(request.text)
            evidence = index.evidence([*texts, *files])
            rows.append(Row(evidence=evidence, files=len(files), needed=request.needed))
        limit = 10 if name == "livemcp" else 5
        found[embedding] = Prepared(index=index, rows=tuple(rows), limit=limit)
    minilm.save()
    return found


def gains(on: Prepared, shares: Shares) -> list[float]:
    """For each request of a set the share of what it needs that it is offered."""
    found: list[float] = []
    for row in on.rows:
        scores = combined(on.index, row.evidence, files=row.files, shares=shares)
        offer = {on.index.cards[at].name for at in best_of(on.index, scores, on.limit)}
        found.append(len(row.needed & offer) / len(row.needed))
    return found


def shortfall(figures: Mapping[str, list[float]]) -> float:
    """How much recall the aims are missed by, together."""
    return sum(max(0.0, aim - statistics.fmean(figures[of])) for of, aim in AIMS.items())


if __name__ == "__main__":
    main()
