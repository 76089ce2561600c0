"""Which requests need the dear model, told from the request alone: the gap that is recovered.

    python benchmarks/escalation.py [--json] [--seeds 3] [--folds 10]

For each question of MMLU and GSM8K it is known whether a weak and a strong model were right
(RouteLLM's published outcomes of mixtral-8x7b and gpt-4). A method scores each question, and those
of the highest score go to the strong model. APGR is the share of the gap between both models that
is recovered, averaged over all shares of questions sent; CPT the share that recovers 50 or 80 %.

Each subject of MMLU is scored by what was fitted to all others; `--folds` says in how many folds of
whole subjects instead. GSM8K has none; its ten folds are of single questions. All that is fitted or
chosen, the parts of our score too, is fitted inside the training folds. Figures are means over
seeds, of the folds where they are drawn and of the forests; scores of all folds are ranked
together. Ours is fitted as it ships, to the rows of both sets but the fold that is scored.

Needs the data folder named by AGENTKIT_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _routing_rows import Question, questions
from numpy.typing import NDArray

from agentkit.routing.difficulty import shipped_pieces
from agentkit.routing.features import features_of
from agentkit.routing.fit import Examples, fit_difficulty, gap_recovered, shared_gains

DATA = Path(os.environ.get("AGENTKIT_DATA", "../shared/data"))
SETS = ("mmlu", "gsm8k")
_SINGLE_FOLDS = 10
_RANDOM_ORDERS = 200
_BOOTSTRAPS = 400
_TRAINED_ON = (
    "the development rows of RouteLLM's MMLU (34 subjects) and GSM8K outcomes, Apache-2.0: "
    "where gpt-4-1106 was right and mixtral-8x7b was not"
)
NO_ROUTELLM = (
    "none of its learned routers runs without a network: mf and sw_ranking embed each request with "
    "OpenAI's API, bert and causal_llm load their weights from a hub (docs/decisions/routing.md)"
)

Floats = NDArray[np.float64]
Row = dict[str, Any]
Scorer = Callable[["Split"], Floats]


class Split:
    """A set with its features and the fold that is scored; `others` are the rows of other sets."""

    def __init__(self, rows: Sequence[Question], others: Sequence[Question]) -> None:
        self.rows = rows
        self.seed = 0
        self.all = _examples([*rows, *others])
        self.others = range(len(rows), len(rows) + len(others))
        self.gains = [row.gain for row in rows]
        self.groups = [row.subject or str(place) for place, row in enumerate(rows)]
        self.train: list[int] = []
        self.test: list[int] = []


def _examples(rows: Sequence[Question]) -> Examples:
    """Rows as what a difficulty is fitted to, each group the same weight."""
    pieces = shipped_pieces()
    return Examples(
        features=[features_of(row.text, pieces) for row in rows],
        cheap_ok=[row.weak_ok for row in rows],
        dear_ok=[row.strong_ok for row in rows],
        groups=[row.subject or f"none {place % 20}" for place, row in enumerate(rows)],
    )


def main() -> None:
    """Print the figures as a table, or as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seeds", type=int, default=3, help="how often folds are drawn anew")
    parser.add_argument("--folds", type=int, help="of whole subjects; default: one a subject")
    parser.add_argument("--ship", metavar="FILE", help="fit to all rows, write the file, and stop")
    arguments = parser.parse_args()
    if arguments.ship:
        ship(Path(arguments.ship))
        return
    rows = {name: questions(DATA, name) for name in SETS}
    report = {
        name: measured(
            rows[name],
            [row for other in SETS if other != name for row in rows[other]],
            arguments.seeds,
            arguments.folds,
        )
        for name in SETS
    }
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)


def measured(
    rows: Sequence[Question], others: Sequence[Question], seeds: int, folds: int | None
) -> dict[str, Row]:
    """Each method's figures on a set; the words of a request say the same with each seed."""
    gain = np.array([row.gain for row in rows], float)
    split = Split(rows, others)
    found: dict[str, list[Floats]] = {"agentkit": [], "tfidf": []}
    scorers: dict[str, Scorer] = {"agentkit": _agentkit, "tfidf": _tfidf}
    if not rows[0].subject:
        folds = _SINGLE_FOLDS
    for seed in range(seeds):
        split.seed = seed
        for name, scorer in scorers.items():
            if folds is None and seed and name == "tfidf":
                continue
            found[name].append(_out_of_fold(split, scorer, folds))
            print(
                f"seed {seed}: {name} {gap_recovered(found[name][-1], gain):.4f}", file=sys.stderr
            )
    length = np.array([len(row.text) for row in rows], float)
    generator = np.random.default_rng(0)
    chance = [generator.permutation(len(rows)).astype(float) for _ in range(_RANDOM_ORDERS)]
    figures = {
        "agentkit": _figures(found["agentkit"], gain),
        "random": _figures(chance, gain),
        "length": _figures([length], gain),
        "tfidf": _figures(found["tfidf"], gain),
        "routellm": {"apgr": None, "cpt50": None, "cpt80": None, "reason": NO_ROUTELLM},
    }
    figures["agentkit"] |= _against(found["agentkit"], length, rows)
    return figures


def _out_of_fold(split: Split, scorer: Scorer, folds: int | None) -> Floats:
    """Scores by what was fitted to the other folds; None for a fold a group."""
    names = sorted(set(split.groups))
    order = np.random.default_rng(split.seed).permutation(len(names)) % (folds or len(names))
    fold_of = dict(zip(names, order.tolist(), strict=True))
    places = np.array([fold_of[group] for group in split.groups])
    scores = np.zeros(len(split.rows))
    for fold in range(int(places.max()) + 1):
        split.train = np.flatnonzero(places != fold).tolist()
        split.test = np.flatnonzero(places == fold).tolist()
        scores[split.test] = scorer(split)
    return scores


def _agentkit(split: Split) -> Floats:
    fitted = fit_difficulty(split.all.at([*split.train, *split.others]), seed=split.seed)
    return np.array([fitted.of(split.all.features[place]) for place in split.test])


def _tfidf(split: Split) -> Floats:
    """Ridge regression of the gain on the words; the mean of a fold's training rows is no score."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2)
    train = vectorizer.fit_transform([split.rows[place].text for place in split.train])
    gains = np.array([split.gains[place] for place in split.train], float)
    model = Ridge(3.0).fit(train, gains - gains.mean())
    test = vectorizer.transform([split.rows[place].text for place in split.test])
    return np.asarray(model.predict(test), float)


def _figures(scores: Sequence[Floats], gain: Floats) -> Row:
    apgr = [gap_recovered(each, gain) for each in scores]
    return {
        "apgr": round(float(np.mean(apgr)), 4),
        "cpt50": round(float(np.mean([share_for(each, gain, 0.5) for each in scores])), 4),
        "cpt80": round(float(np.mean([share_for(each, gain, 0.8) for each in scores])), 4),
        "apgr_deviation": round(float(np.std(apgr)), 4),
    }


def share_for(scores: Floats, gain: Floats, part: float) -> float:
    """The smallest share sent to the dear model that recovers this part of the gap."""
    recovered = np.cumsum(shared_gains(scores, gain)) / gain.sum()
    return float(np.flatnonzero(recovered >= part)[0] + 1) / len(gain)


def _against(ours: Sequence[Floats], length: Floats, rows: Sequence[Question]) -> Row:
    """The lead over length, with an interval from drawing rows anew."""
    gain = np.array([row.gain for row in rows], float)
    generator = np.random.default_rng(0)
    leads: list[float] = []
    for draw in range(_BOOTSTRAPS):
        picked = generator.integers(0, len(rows), len(rows))
        score = ours[draw % len(ours)]
        leads.append(
            gap_recovered(score[picked], gain[picked]) - gap_recovered(length[picked], gain[picked])
        )
    low, high = np.quantile(leads, [0.025, 0.975])
    lead = np.mean([gap_recovered(each, gain) for each in ours]) - gap_recovered(length, gain)
    return {
        "above_length": round(float(lead), 4),
        "above_length_95": [round(float(low), 4), round(float(high), 4)],
    }


def ship(file: Path) -> None:
    """The difficulty in the wheel: fitted to all rows of both sets, each group the same weight."""
    examples = _examples([row for name in SETS for row in questions(DATA, name)])
    fitted = fit_difficulty(examples, trained_on=_TRAINED_ON)
    fitted.write(file)
    print(f"{file}: {', '.join(fitted.spreads)}, {file.stat().st_size:,} bytes")


def _print(report: dict[str, dict[str, Row]]) -> None:
    print(f"{'set':8}{'method':10}{'APGR':>8}{'CPT50':>8}{'CPT80':>8}")
    for name, methods in report.items():
        for method, row in methods.items():
            cells = "".join(
                f"{'-' if row[key] is None else format(row[key], '.3f'):>8}"
                for key in ("apgr", "cpt50", "cpt80")
            )
            print(f"{name:8}{method:10}{cells}")
        ours = report[name]["agentkit"]
        low, high = ours["above_length_95"]
        print(f"{name:8}above length by {ours['above_length']:.3f} ({low:.3f} to {high:.3f})")
    print(f"routellm: {NO_ROUTELLM}")


if __name__ == "__main__":
    main()
