"""Parts of benchmarks/pocket.py: rows, the model's answers to them, figures of confidence."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import HumanMessage

from agentkit.models.local import LocalChatModel

DATA = Path(os.environ.get("AGENTKIT_DATA", "../shared/data"))
SPLITS = 100
_ARGUABLE = re.compile(
    r"play|music|song|restaurant|weather|book|audiobook|radio|podcast|movie|list|recommend|lights"
    r"|takeaway|factoid|game|busy|reserv|meal|query_events|events"
)
"""Intents of other data sets whose requests a SNIPS tool could rightly take."""
_JSON_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A request with the call it should become; no name where none fits."""

    text: str
    name: str | None
    arguments: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What the model made of a row."""

    row: Row
    name: str | None
    arguments: dict[str, str]
    logprobs: dict[str, float]
    output_tokens: int
    milliseconds: float

    @property
    def exact(self) -> bool:
        return (self.name, self.arguments) == (self.row.name, self.row.arguments)

    @property
    def sum(self) -> float:
        """The summed log-probability of the answer."""
        return self.logprobs["sum"]


def score(model: LocalChatModel, rows: Sequence[Row]) -> list[Scored]:
    """The model's answers to `rows` with the seven SNIPS tools on offer."""
    bound = model.bind_tools(snips_tools())
    bound.invoke([HumanMessage("warm up")])
    scored: list[Scored] = []
    for row in rows:
        started = time.perf_counter()
        message = bound.invoke([HumanMessage(row.text)])
        spent = (time.perf_counter() - started) * 1000
        call = message.tool_calls[0] if message.tool_calls else None
        values = call["args"] if call is not None else {}
        usage, told = message.usage_metadata, message.response_metadata["logprobs"]
        scored.append(
            Scored(
                row=row,
                name=call["name"] if call is not None else None,
                arguments={key: clean(str(value)) for key, value in values.items()},
                logprobs={
                    **{key: float(told[key]) for key in ("sum", "mean", "min", "count")},
                    "margin": min(told["margin"]),
                },
                output_tokens=usage["output_tokens"] if usage is not None else 0,
                milliseconds=spent,
            )
        )
    return scored


def call_figures(scored: Sequence[Scored]) -> dict[str, float]:
    """How right the calls are. The F1 counts key and value pairs of all rows together."""
    right = wanted = given = 0
    for item in scored:
        expected, found = item.row.arguments.items(), item.arguments.items()
        right += len(set(expected) & set(found)) if item.name == item.row.name else 0
        wanted += len(expected)
        given += len(found)
    return {
        "exact_call": share([item.exact for item in scored]),
        "intent": share([item.name == item.row.name for item in scored]),
        "argument_f1": round(2 * right / (wanted + given), 3),
    }


def stream_figures(scored: Sequence[Scored]) -> dict[str, Any]:
    """What the summed log-probability is worth on a stream; a perfect tier above is assumed.

    Floors are chosen on a random half and scored on the other, over many splits.
    """
    kept = sorted(scored, key=lambda item: item.sum, reverse=True)[: len(scored) * 4 // 5]
    figures: dict[str, Any] = {
        "stream_rows": len(scored),
        "stream_exact": share([item.exact for item in scored]),
        "accuracy_at_80": share([item.exact for item in kept]),
        "auroc": auroc([item.sum for item in scored], [item.exact for item in scored]),
    }
    for target in (0.95, 0.98):
        figures |= _transfer(scored, target)
    calibrated = _calibrated(scored)
    return figures | ({} if calibrated is None else {"calibrated": calibrated})


def floor_figures(scored: Sequence[Scored], floor: float) -> dict[str, float]:
    """What the floor in the model's file does. No row here had a part in choosing it."""
    kept = [item.exact for item in scored if item.sum >= floor]
    return {
        "floor": floor,
        "escalated": share([item.sum < floor for item in scored]),
        "accuracy_of_kept": share(kept),
        "end_accuracy": share([item.exact or item.sum < floor for item in scored]),
    }


def _transfer(scored: Sequence[Scored], target: float) -> dict[str, float]:
    rng = random.Random(0)
    escalated, ends = [], []
    for _ in range(SPLITS):
        shuffled = rng.sample(list(scored), len(scored))
        half = len(shuffled) // 2
        floor, rest = _floor(shuffled[:half], target), shuffled[half:]
        escalated.append(share([item.sum < floor for item in rest]))
        ends.append(share([item.exact or item.sum < floor for item in rest]))
    name = f"{target:.2f}".removeprefix("0.")
    return {
        f"escalation_for_{name}": round(statistics.mean(escalated), 3),
        f"end_accuracy_for_{name}": round(statistics.mean(ends), 3),
        f"end_accuracy_sd_for_{name}": round(statistics.stdev(ends), 3),
    }


def _floor(scored: Sequence[Scored], target: float) -> float:
    """The lowest floor at which the answers, with all below it put right, reach `target`."""
    ordered = sorted(scored, key=lambda item: item.sum, reverse=True)
    wrong, best = 0, 0.0
    for item in ordered:
        wrong += not item.exact
        if wrong > (1 - target) * len(scored):
            break
        best = item.sum
    return best


def _calibrated(scored: Sequence[Scored]) -> dict[str, float] | None:
    """Logistic regression over several signals against the sum alone, fitted on the other half."""
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        return None
    rng = random.Random(0)
    combined, alone = [], []
    for _ in range(20):
        shuffled = rng.sample(list(scored), len(scored))
        half = len(shuffled) // 2
        model = make_pipeline(StandardScaler(), LogisticRegression())
        model.fit([_signals(item) for item in shuffled[:half]], [i.exact for i in shuffled[:half]])
        rest = shuffled[half:]
        right = [item.exact for item in rest]
        chances = model.predict_proba([_signals(item) for item in rest])[:, 1]
        combined.append(auroc([float(chance) for chance in chances], right))
        alone.append(auroc([item.sum for item in rest], right))
    return {
        "auroc": round(statistics.mean(combined), 3),
        "auroc_of_sum": round(statistics.mean(alone), 3),
    }


def _signals(item: Scored) -> list[float]:
    return [*item.logprobs.values(), float(len(item.arguments)), float(item.name is None)]


def auroc(scores: Sequence[float], right: Sequence[bool]) -> float:
    """The chance that a right answer scores above a wrong one."""
    good = [score for score, is_right in zip(scores, right, strict=True) if is_right]
    bad = [score for score, is_right in zip(scores, right, strict=True) if not is_right]
    wins = sum((one > other) + (one == other) / 2 for one in good for other in bad)
    return round(wins / (len(good) * len(bad)), 3)


def share(values: Sequence[bool]) -> float:
    """The share that is true."""
    return round(sum(values) / len(values), 3)


def snips_rows() -> list[Row]:
    """Every SNIPS validation row."""
    rows = []
    for row in read("local/snips_validate"):
        arguments: dict[str, str] = {}
        for slot in row["slots"]:
            arguments.setdefault(_snake(slot["name"]), clean(slot["value"]))
        rows.append(Row(text=row["text"], name=_snake(row["intent"]), arguments=arguments))
    return rows


def refusal_rows(source: str, count: int) -> list[Row]:
    """`count` rows of another data set that none of the seven tools fits."""
    fitting = [row for row in read(f"local/{source}") if not _ARGUABLE.search(_intent(row))]
    sampled = random.Random(0).sample(fitting, count)
    return [Row(text=str(row["text"]), name=None, arguments={}) for row in sampled]


def snips_tools() -> list[dict[str, Any]]:
    """The seven SNIPS tools with the slots that the training rows use."""
    slots: dict[str, dict[str, None]] = {}
    for row in read("local/snips_train"):
        slots.setdefault(_snake(row["intent"]), {}).update(
            dict.fromkeys(_snake(slot["name"]) for slot in row["slots"])
        )
    return [
        _spec(name, {"type": "object", "properties": {key: {"type": "string"} for key in keys}})
        for name, keys in slots.items()
    ]


def unseen_exact(model: LocalChatModel) -> dict[str, float]:
    """Right calls to tools that no training showed, each row with the one tool that it is for."""
    right, refused = [], []
    for row in read("tools/bfcl_simple_python"):
        specs = [_spec(tool["name"], _json_schema(tool["parameters"])) for tool in row["function"]]
        message = model.bind_tools(specs).invoke(row["question"][0][-1]["content"])
        refused.append(not message.tool_calls)
        right.append(any(_matches(call, row["ground_truth"][0]) for call in message.tool_calls))
    return {"unseen_exact_call": share(right), "unseen_refused": share(refused)}


def _matches(call: Mapping[str, Any], truth: Mapping[str, Mapping[str, Sequence[Any]]]) -> bool:
    """BFCL's rule: every value is among those allowed; a key may lack where "" is allowed."""
    allowed = truth.get(call["name"])
    if allowed is None or not set(call["args"]) <= set(allowed):
        return False
    return all(
        call["args"][key] in values if key in call["args"] else "" in values
        for key, values in allowed.items()
    )


def _json_schema(value: Any) -> Any:
    """BFCL's Python types as those of JSON schemas."""
    if isinstance(value, dict):
        return {
            key: _JSON_TYPES.get(item, item)
            if key == "type" and isinstance(item, str)
            else _json_schema(item)
            for key, item in value.items()
        }
    return [_json_schema(item) for item in value] if isinstance(value, list) else value


def _spec(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def read(name: str) -> Iterator[dict[str, Any]]:
    """Rows of a file of the data folder."""
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        raise SystemExit(
            f"{path} is not there; set AGENTKIT_DATA to a folder with local/ (SNIPS, "
            "github.com/sonos/nlu-benchmark; CLINC150, github.com/clinc/oos-eval; SLURP, "
            "github.com/pswietojanski/slurp) and tools/bfcl_simple_python (the Berkeley Function "
            "Calling Leaderboard), as gzipped JSON lines"
        )
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def clean(text: str) -> str:
    """Text as the pocket model sees it."""
    plain = text.replace('"', "'").replace("\\", "/").replace("\u2019", "'")
    return " ".join(plain.split())


def _intent(row: Mapping[str, Any]) -> str:
    return str(row.get("intent") or f"{row['scenario']}_{row['action']}")


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
