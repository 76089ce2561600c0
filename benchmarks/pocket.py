"""How often the shipped pocket model is right, and how far its confidence can be trusted.

SNIPS validation rows as requests with a right call, CLINC150 and SLURP rows that fit none of the
seven SNIPS tools as requests to refuse. SNIPS train, CLINC150 train and SLURP devel trained the
model; none of the rows here did. The floor of the log-probability is chosen on one random half and
scored on the other, over many splits; the frontier model behind it is assumed perfect.

    python benchmarks/pocket.py [--json]

needs the data folder named by AGENTKIT_DATA (by default ../shared/data).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import HumanMessage

from agentkit.models.local import LocalChatModel, local_model
from agentkit.models.local.pocket import DEFAULT_LOGPROB_FLOOR

_DATA = Path(os.environ.get("AGENTKIT_DATA", "../shared/data")) / "local"
_SPLITS = 100
_TARGETS = (0.95, 0.98)
_SHIPPED_TARGET = 0.965  # 0.95 and a margin, for a floor chosen on few rows often falls short
_ARGUABLE = re.compile(
    r"play|music|song|restaurant|weather|book|audiobook|radio|podcast|movie|list|recommend|lights"
    r"|takeaway|factoid|game|busy|reserv|meal|query_events|events"
)
"""Intents of other data sets whose requests a SNIPS tool could rightly take."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A request with the call it should become; no name where none fits."""

    text: str
    kind: str
    name: str | None
    arguments: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What the model made of a row."""

    row: Row
    tool_right: bool
    exact: bool
    logprob: float
    milliseconds: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    arguments = parser.parse_args()
    tools = _tools()
    scored = list(_score(local_model("pocket"), tools, _rows()))
    report = _report(scored)
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)


def _score(
    model: LocalChatModel, tools: list[dict[str, Any]], rows: Sequence[Row]
) -> Iterator[Scored]:
    bound = model.bind_tools(tools)
    bound.invoke([HumanMessage("warm up")])
    for row in rows:
        started = time.perf_counter()
        message = bound.invoke([HumanMessage(row.text)])
        spent = (time.perf_counter() - started) * 1000
        call = message.tool_calls[0] if message.tool_calls else None
        named = call["name"] if call is not None else None
        values = {key: _clean(str(value)) for key, value in (call or {"args": {}})["args"].items()}
        yield Scored(
            row=row,
            tool_right=named == row.name,
            exact=named == row.name and values == row.arguments,
            logprob=float(message.response_metadata["logprobs"]["sum"]),
            milliseconds=spent,
        )


def _report(scored: Sequence[Scored]) -> dict[str, Any]:
    kinds = sorted({item.row.kind for item in scored})
    report: dict[str, Any] = {
        "rows": len(scored),
        "exact": _share([item.exact for item in scored]),
        "auroc": _auroc(scored),
        "median_ms": round(statistics.median(item.milliseconds for item in scored), 2),
        "kinds": {kind: _kind(scored, kind) for kind in kinds},
        "floors": [_transfer(scored, target) for target in _TARGETS],
        "shipped_floor": _shipped(scored),
    }
    return report


def _kind(scored: Sequence[Scored], kind: str) -> dict[str, Any]:
    rows = [item for item in scored if item.row.kind == kind]
    return {
        "rows": len(rows),
        "exact": _share([item.exact for item in rows]),
        "tool": _share([item.tool_right for item in rows]),
    }


def _transfer(scored: Sequence[Scored], target: float) -> dict[str, Any]:
    rng = random.Random(0)
    floors, escalated, ends = [], [], []
    for _ in range(_SPLITS):
        shuffled = rng.sample(list(scored), len(scored))
        half = len(shuffled) // 2
        floor = _floor(shuffled[:half], target)
        rest = shuffled[half:]
        floors.append(floor)
        escalated.append(_share([item.logprob < floor for item in rest]))
        ends.append(_share([item.exact or item.logprob < floor for item in rest]))
    return {
        "target": target,
        "floor_median": round(statistics.median(floors), 3),
        "floor_quartile_above": round(statistics.quantiles(floors, n=4)[2], 3),
        "escalated": round(statistics.mean(escalated), 3),
        "end_accuracy": round(statistics.mean(ends), 3),
        "end_accuracy_sd": round(statistics.stdev(ends), 3),
        "splits_over_1_point_short": _share([end < target - 0.01 for end in ends]),
    }


def _shipped(scored: Sequence[Scored]) -> dict[str, Any]:
    """The floor that comes with the model, on the half of one split that did not choose it."""
    shuffled = random.Random(1).sample(list(scored), len(scored))
    half = len(shuffled) // 2
    rest = shuffled[half:]
    floor = DEFAULT_LOGPROB_FLOOR
    return {
        "chosen_on_first_half": round(_floor(shuffled[:half], _SHIPPED_TARGET), 3),
        "floor": floor,
        "escalated": _share([item.logprob < floor for item in rest]),
        "end_accuracy": _share([item.exact or item.logprob < floor for item in rest]),
        "accuracy_of_kept": _share([item.exact for item in rest if item.logprob >= floor]),
    }


def _floor(scored: Sequence[Scored], target: float) -> float:
    """The lowest floor at which the answers, with all below it put right, reach `target`."""
    best = 0.0
    for floor in sorted((item.logprob for item in scored), reverse=True):
        end = statistics.mean(item.exact or item.logprob < floor for item in scored)
        if end < target:
            break
        best = floor
    return best


def _auroc(scored: Sequence[Scored]) -> float:
    right = [item.logprob for item in scored if item.exact]
    wrong = [item.logprob for item in scored if not item.exact]
    wins = sum((good > bad) + (good == bad) / 2 for good in right for bad in wrong)
    return round(wins / (len(right) * len(wrong)), 3)


def _rows() -> list[Row]:
    """All SNIPS validation rows and 3 refusals for every 7 of them."""
    rng = random.Random(0)
    snips = [_snips(row) for row in _read("snips_validate")]
    per_source = len(snips) * 3 // 7 // 3
    refusals: list[Row] = []
    for source in ("clinc150_test", "clinc150_oos_test", "slurp_test"):
        fitting = [row for row in _read(source) if not _ARGUABLE.search(_intent(row))]
        refusals += [
            Row(text=str(row["text"]), kind=source, name=None, arguments={})
            for row in rng.sample(fitting, per_source)
        ]
    return snips + refusals


def _snips(row: dict[str, Any]) -> Row:
    arguments: dict[str, str] = {}
    for slot in row["slots"]:
        arguments.setdefault(_snake(slot["name"]), _clean(slot["value"]))
    return Row(
        text=row["text"], kind="snips_validate", name=_snake(row["intent"]), arguments=arguments
    )


def _tools() -> list[dict[str, Any]]:
    """The seven SNIPS tools with the slots that the training rows use."""
    slots: dict[str, dict[str, None]] = {}
    for row in _read("snips_train"):
        slots.setdefault(_snake(row["intent"]), {}).update(
            dict.fromkeys(_snake(slot["name"]) for slot in row["slots"])
        )
    return [
        {
            "type": "function",
            "function": {
                "name": name,
                "parameters": {
                    "type": "object",
                    "properties": {key: {"type": "string"} for key in keys},
                },
            },
        }
        for name, keys in slots.items()
    ]


def _read(name: str) -> list[dict[str, Any]]:
    path = _DATA / f"{name}.jsonl.gz"
    if not path.exists():
        raise SystemExit(
            f"{path} is not there; set AGENTKIT_DATA to a folder with SNIPS "
            "(github.com/sonos/nlu-benchmark), CLINC150 (github.com/clinc/oos-eval) and SLURP "
            "(github.com/pswietojanski/slurp) as JSON lines"
        )
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _intent(row: dict[str, Any]) -> str:
    return str(row.get("intent") or f"{row['scenario']}_{row['action']}")


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _clean(text: str) -> str:
    plain = text.replace('"', "'").replace("\\", "/").replace("\u2019", "'")
    return " ".join(plain.split())


def _share(values: Sequence[bool]) -> float:
    return round(sum(values) / len(values), 3)


def _print(report: dict[str, Any]) -> None:
    print(
        f"{report['rows']} rows: exact {report['exact']}, AUROC of the summed log-probability "
        f"{report['auroc']}, median {report['median_ms']} ms a request\n"
    )
    print(f"{'rows':20}{'n':>5}{'exact':>8}{'tool':>8}")
    for kind, figures in report["kinds"].items():
        print(f"{kind:20}{figures['rows']:>5}{figures['exact']:>8}{figures['tool']:>8}")
    print(f"\n{'target':>7}{'floor':>8}{'(q3)':>8}{'escalated':>11}{'end':>7}{'sd':>7}{'short':>7}")
    for line in report["floors"]:
        print(
            f"{line['target']:>7}{line['floor_median']:>8}{line['floor_quartile_above']:>8}"
            f"{line['escalated']:>11}{line['end_accuracy']:>7}{line['end_accuracy_sd']:>7}"
            f"{line['splits_over_1_point_short']:>7}"
        )
    shipped = report["shipped_floor"]
    print(
        f"\nfloor of {shipped['floor']} on the half that did not choose it: escalates "
        f"{shipped['escalated']}, kept answers right {shipped['accuracy_of_kept']}, "
        f"end accuracy {shipped['end_accuracy']}"
    )


if __name__ == "__main__":
    main()
