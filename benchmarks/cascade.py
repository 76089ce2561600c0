"""A cascade over the pocket model and a frontier that is always right: quality, cost, babble.

Rows: SNIPS validation requests and CLINC150 out-of-scope ones, seven to three; none trained the
pocket model. They are halved at random, `--splits` times, and each half is used both ways: a
calibration is fitted on one half (with out-of-scope validation rows) and scored on the other (with
out-of-scope test rows). The frontier is a fake that looks its answers up, billed at the prices of
Claude Sonnet 4.5 by our own token count, nothing from a cache; the local model is free.

The pocket model is asked once a row and its answer judged at each promised quality; what a row
costs by the frontier alone, and after a local answer that was turned down, comes from real agents
over every row. At 0.98 the whole agent runs over the scoring half of the first split, and has to
agree on each row. Frontier-only, a request with a tool takes two calls, the second to say what came
of it; one that no tool fits takes one. `asked_frontier` is the share of tasks that went up.
Intervals are Wilson's, 95 %, for as many rows as one halving scores; `halves_met` is the share of
halves in whose own interval the promise lies or is passed. `saved` is with the default, where a
task that went up ends at the frontier, unless that called the tool which the pocket model had
named: then its answer is what the tool said, as for tasks that stayed. `saved_relayed` is with
`sticky_after=2`, where it always is; `saved_of_one_call` so, beside a frontier whose second call is
not counted either.

    python benchmarks/cascade.py [--json] [--splits 10] [--write calibration.json]

`--write` keeps the calibration of the fitting half of the first split. Hints: 60 word problems made
here, and the SNIPS rows of that split. Babble: models made here (tests/gguf_factory.py). Needs the
data folder named by AGENTKIT_DATA (by default ../shared/data) and the extras `local` and `eval`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parent.parent))
from agentkit import Cascade
from agentkit.cascade import Calibration
from agentkit.models.local import local_model
from benchmarks._cascade_babble import babble
from benchmarks._cascade_figures import (
    Outcome,
    auroc,
    brier,
    calibration_error,
    is_monotone,
    setting_figures,
)
from benchmarks._cascade_fit import PARTS, SUM, fit
from benchmarks._cascade_frontier import PRICED_LIKE, Ended, always_up, carry_out
from benchmarks._cascade_hints import on_arithmetic, on_calls
from benchmarks._cascade_rows import Seen, Split, see, splits

QUALITIES = (0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
_CHECKED_QUALITY = 0.98
_PROBLEMS = 60
_MADE_OF = (
    "SNIPS validation and CLINC150 out-of-scope validation rows, the fitting half of split 0 of "
    "benchmarks/cascade.py"
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    parser.add_argument("--splits", type=int, default=10, help="random halvings")
    parser.add_argument("--write", type=Path, help="keep the first split's calibration here")
    arguments = parser.parse_args()
    report = _report(arguments.splits, arguments.write)
    print(json.dumps(report, indent=2)) if arguments.json else _print(report)


def _report(count: int, write: Path | None) -> dict[str, Any]:
    halves = list(splits(count))
    rows = list({row.text: row for half in halves for row in (*half.fit, *half.score)}.values())
    _note(f"asking the pocket model {len(rows)} times")
    seen = see(local_model("pocket"), rows)
    fitted = [fit([seen[row.text] for row in half.fit], SUM, made_of=_MADE_OF) for half in halves]
    if write is not None:
        fitted[0].write(write)
    scored = list({row.text: row for half in halves for row in half.score}.values())
    _note(f"running {len(scored)} tasks by the frontier alone, and with a wasted local answer")
    alone, up = carry_out(scored), always_up(scored)
    settings = [
        setting_figures(
            quality,
            [
                _outcomes(half, calibration, quality, seen, alone, up)
                for half, calibration in zip(halves, fitted, strict=True)
            ],
            len(halves[0].score) + len(halves[1].score),
        )
        for quality in QUALITIES
    ]
    _note("running the whole agent, hints and babble")
    first = halves[0].score
    snips = [row for row in first if row.name is not None]
    return {
        "frontier": f"a fake, always right, priced like {PRICED_LIKE}",
        "splits": count,
        "rows_a_half": len(first),
        "frontier_usd_a_task": round(
            statistics.mean(alone[row.text].cost_nusd for half in halves for row in half.score)
            / 1e9,
            6,
        ),
        "pocket": _pocket_figures(first, seen),
        "cascade": settings,
        "monotone": is_monotone(settings),
        "target": _target(settings),
        "agent": _agreement(halves[0], fitted[0], seen, alone, up),
        "signals": _signal_figures(halves, seen),
        "hints_on_arithmetic": on_arithmetic(_PROBLEMS),
        "hints_on_calls": on_calls(snips, fitted[0]),
        "babble": babble(first),
    }


def _outcomes(
    half: Split,
    calibration: Calibration,
    quality: float,
    seen: Mapping[str, Seen],
    alone: Mapping[str, Ended],
    up: Mapping[str, Ended],
) -> list[Outcome]:
    """Each scored row, kept or sent up as the agent would."""
    floor = calibration.threshold(quality)
    outcomes: list[Outcome] = []
    for row in half.score:
        each = seen[row.text]
        kept = not each.refused and calibration.probability(each.signals) >= floor
        outcomes.append(
            Outcome(
                right=each.right if kept else up[row.text].right,
                asked_frontier=not kept,
                cost_nusd=0 if kept else up[row.text].cost_nusd,
                first_nusd=0 if kept else up[row.text].first_nusd,
                alone_nusd=alone[row.text].cost_nusd,
                alone_first_nusd=alone[row.text].first_nusd,
            )
        )
    return outcomes


def _agreement(
    half: Split,
    calibration: Calibration,
    seen: Mapping[str, Seen],
    alone: Mapping[str, Ended],
    up: Mapping[str, Ended],
) -> dict[str, Any]:
    """The whole agent over one scoring half, beside what was reckoned for it."""
    ran = carry_out(half.score, quality=_CHECKED_QUALITY, cascade=Cascade(calibration=calibration))
    relayed = carry_out(
        half.score,
        quality=_CHECKED_QUALITY,
        cascade=Cascade(calibration=calibration, sticky_after=2),
    )
    reckoned = _outcomes(half, calibration, _CHECKED_QUALITY, seen, alone, up)
    pairs = [(ran[row.text], outcome) for row, outcome in zip(half.score, reckoned, strict=True)]
    right = sum(ended.right for ended, _ in pairs)
    return {
        "promised": _CHECKED_QUALITY,
        "tasks": len(pairs),
        "end_quality": round(right / len(pairs), 4),
        "asked_frontier": round(sum(ended.asked_frontier for ended, _ in pairs) / len(pairs), 4),
        "usd_a_resolved_task": round(sum(ended.cost_nusd for ended, _ in pairs) / right / 1e9, 6),
        "rows_that_differ": sum(
            (ended.right, ended.asked_frontier, ended.cost_nusd)
            != (outcome.right, outcome.asked_frontier, outcome.cost_nusd)
            for ended, outcome in pairs
        ),
        "rows_that_differ_relayed": sum(
            (relayed[row.text].right, relayed[row.text].cost_nusd)
            != (outcome.right, outcome.first_nusd)
            for row, outcome in zip(half.score, reckoned, strict=True)
        ),
    }


def _target(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The cheapest setting that ends at 98 % of the frontier's quality, which is 1."""
    good = [setting for setting in settings if setting["end_quality"] >= 0.98]
    if not good:
        return None
    best = max(good, key=lambda setting: setting["saved"])
    return {
        name: best[name]
        for name in ("promised", "end_quality", "saved", "saved_relayed", "saved_of_one_call")
    }


def _pocket_figures(rows: Sequence[Any], seen: Mapping[str, Seen]) -> dict[str, Any]:
    each = [seen[row.text] for row in rows]
    return {
        "kept_if_all_are": round(sum(not one.refused for one in each) / len(each), 4),
        "end_quality_if_all_are": round(
            sum(one.right or one.refused for one in each) / len(each), 4
        ),
    }


def _signal_figures(halves: Sequence[Split], seen: Mapping[str, Seen]) -> dict[str, Any]:
    """Over the scored answers that were not refused, means over all halves."""
    found: dict[str, list[dict[str, float]]] = {"log-probability": [], "sum": [], "parts": []}
    for half in halves:
        judged = [seen[row.text] for row in half.score if not seen[row.text].refused]
        right = [each.right for each in judged]
        found["log-probability"].append(
            {"auroc": auroc([each.sum_logprob for each in judged], right)}
        )
        for name, parts in (("sum", SUM), ("parts", PARTS)):
            calibration = fit([seen[row.text] for row in half.fit], parts)
            chances = [calibration.probability(each.signals) for each in judged]
            found[name].append(
                {
                    "auroc": auroc(chances, right),
                    "calibration_error": calibration_error(chances, right),
                    "brier": brier(chances, right),
                }
            )
    return {
        name: {key: round(statistics.mean(one[key] for one in several), 4) for key in several[0]}
        for name, several in found.items()
    }


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(report: Mapping[str, Any]) -> None:
    settings = report["cascade"]
    print(" | ".join(settings[0]))
    for setting in settings:
        print(" | ".join(str(value) for value in setting.values()))
    for name, figures in report.items():
        if name == "cascade":
            continue
        if isinstance(figures, dict) and any(isinstance(each, dict) for each in figures.values()):
            for part, values in figures.items():
                print(f"{name}, {part}: {values}")
        else:
            print(f"{name}: {figures}")


if __name__ == "__main__":
    main()
