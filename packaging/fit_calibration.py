"""Fits when nothing is offered: writes tools/provision/calibration.json.

    python packaging/fit_calibration.py [shipped] [minilm]

A logistic model of the chance that a tool fits a request, from pairs of requests and functions:
BFCL's single-turn rows and its irrelevance rows, each with its own few functions. The floor is the
lowest that holds back 71 % of either irrelevance set, as long as no catalogue's recall falls by
more than 1.5 points. Only rows at even positions are looked at; what is printed last is of the odd
ones, which `benchmarks/tools.py` scores too.

Needs the data folder named by AGENTKIT_DATA (by default ../shared/data); `minilm` also llama.cpp.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentkit.tools.provision.embedding import Embedder, StaticEmbedding
from agentkit.tools.provision.index import ToolIndex
from agentkit.tools.provision.retrieval import search, signals_of, texts_of
from agentkit.tools.provision.signals import Calibration, Signals
from agentkit.tools.provision.words import terms

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
from _minilm import RememberedMiniLM  # noqa: E402
from _tool_sets import BFCL, IRRELEVANCE, Row, ToolSet, bfcl_rows, tool_sets  # noqa: E402

TARGET = ROOT / "tools" / "provision" / "calibration.json"
_NAMES = [field.name for field in fields(Signals)]
_HELD_BACK, _MOST_LOST = 0.71, 0.015
_RIDGE, _STEPS = 1.0, 30
_POOL_ROWS = 450
_LIMITS = {"livemcp": 10}

Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Signals of a request's best tools; `gain` is the share of what it needs among those."""

    place: int
    signals: tuple[Signals, ...]
    fits: tuple[bool, ...]
    gain: float


def main(names: Sequence[str]) -> None:
    """Fit each, write the file, and say what the odd rows come to."""
    known = json.loads(TARGET.read_text("utf-8")) if TARGET.exists() else {}
    for name in names:
        minilm = RememberedMiniLM() if name == "minilm" else None
        embedder: Embedder = minilm or StaticEmbedding.shipped()
        rows = {of: own_rows(bfcl_rows(of), embedder) for of in (*BFCL, *IRRELEVANCE)}
        pools = {
            of: pooled(of, tools, embedder) for of, tools in tool_sets().items() if of != "livemcp"
        }
        if minilm is not None:
            minilm.save()
        fitted = fit(rows)
        floor = floor_of(fitted, rows, pools)
        known[name] = {**{k: round(v, 3) for k, v in fitted.items()}, "floor": round(floor, 3)}
        TARGET.write_text(json.dumps(known, indent=2) + "\n", "utf-8")
        report(name, Calibration(**known[name]), rows, pools)


def own_rows(rows: Sequence[Row], embedder: Embedder) -> list[Scored]:
    """Each row with its own functions."""
    found: list[Scored] = []
    for place, row in enumerate(rows):
        if row.cards and row.text.strip():
            needed = {name for name, _ in row.calls}
            index = ToolIndex(row.cards, embedder=embedder)
            found.append(_scored(place, index, row.text, range(len(row.cards)), needed, 1))
    return found


def pooled(name: str, tools: ToolSet, embedder: Embedder) -> list[Scored]:
    """A sample of a set's requests with the best ten of all its tools."""
    index = ToolIndex(tools.cards, embedder=embedder)
    places = {card.name: place for place, card in reversed(list(enumerate(tools.cards)))}
    step = max(1, len(tools.requests) // _POOL_ROWS) | 1  # odd: it meets even and odd positions
    found: list[Scored] = []
    for place in range(0, len(tools.requests), step):
        request = tools.requests[place]
        matches = search(index, request.text, limit=10)
        limit = _LIMITS.get(name, 5)
        share = len(request.needed.intersection(m.name for m in matches[:limit])) / len(
            request.needed
        )
        at = [places[match.name] for match in matches]
        if at:
            found.append(_scored(place, index, request.text, at, request.needed, share))
    return found


def _scored(
    place: int,
    index: ToolIndex,
    text: str,
    positions: Iterable[int],
    needed: Iterable[str],
    gain: float,
) -> Scored:
    at, (texts, files) = list(positions), texts_of(text)
    evidence = index.evidence([*texts, *files])
    asked = dict.fromkeys(terms(texts[0]))
    wanted = set(needed)
    return Scored(
        place=place,
        signals=tuple(signals_of(index, evidence, texts[0], asked, at)),
        fits=tuple(index.cards[one].name in wanted for one in at),
        gain=gain,
    )


def fit(rows: dict[str, list[Scored]]) -> dict[str, float]:
    """Ridge logistic regression by Newton's method; either kind of row weighs one half."""
    signals: list[list[float]] = []
    truth: list[float] = []
    weights: list[float] = []
    for kind in (BFCL, IRRELEVANCE):
        even = [row for name in kind for row in rows[name] if row.place % 2 == 0]
        for row in even:
            fitting = kind is IRRELEVANCE
            pairs = [s for s, fits in zip(row.signals, row.fits, strict=True) if fits or fitting]
            signals += [[*(getattr(s, name) for name in _NAMES), 1.0] for s in pairs]
            truth += [0.0 if fitting else 1.0] * len(pairs)
            weights += [1_000 / len(even) / max(len(pairs), 1)] * len(pairs)
    x, y, w = np.array(signals), np.array(truth), np.array(weights)
    found: Numbers = np.zeros(x.shape[1])
    ridge = np.diag([_RIDGE] * len(_NAMES) + [0.0])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ found, -30, 30)))
        slope = x.T @ (w * (y - p)) - ridge @ found
        found += np.linalg.solve((x * (w * p * (1 - p))[:, None]).T @ x + ridge, slope)
    return dict(zip([*_NAMES, "bias"], map(float, found), strict=True))


def floor_of(
    fitted: dict[str, float], rows: dict[str, list[Scored]], pools: dict[str, list[Scored]]
) -> float:
    """The lowest that holds enough back on even rows, where that loses little enough."""
    model = Calibration(**fitted, floor=0.0)
    wanted = max(
        float(
            np.quantile(
                [some_fit(model, row) for row in rows[name] if row.place % 2 == 0], _HELD_BACK
            )
        )
        for name in IRRELEVANCE
    )
    while max(lost(model, wanted, pool, 0) for pool in pools.values()) > _MOST_LOST:
        wanted -= 0.005
    return wanted


def some_fit(model: Calibration, row: Scored) -> float:
    """The chance that any of a row's tools fits."""
    return 1 - math.prod(1 - model.chance(signals) for signals in row.signals)


def lost(model: Calibration, floor: float, pool: Sequence[Scored], parity: int) -> float:
    """How much recall a floor costs on the rows at even or odd positions."""
    mine = [row for row in pool if row.place % 2 == parity]
    return sum(row.gain for row in mine if some_fit(model, row) < floor) / max(len(mine), 1)


def report(
    name: str, model: Calibration, rows: dict[str, list[Scored]], pools: dict[str, list[Scored]]
) -> None:
    """What the odd rows come to."""
    print(name, asdict(model))
    for of, scored in rows.items():
        odd = [some_fit(model, row) < model.floor for row in scored if row.place % 2]
        print(f"  {of:22} offered nothing {sum(odd) / len(odd):.3f} of {len(odd)} odd rows")
    for of, pool in pools.items():
        print(f"  {of:22} recall lost {lost(model, model.floor, pool, 1):.4f} on odd rows")


if __name__ == "__main__":
    main(sys.argv[1:] or ["shipped", "minilm"])
