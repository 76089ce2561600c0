"""The rows of benchmarks/cascade.py, and what the pocket model makes of each.

SNIPS validation rows are requests with a right call; CLINC150's out-of-scope rows fit no tool. None
of them trained the pocket model. A calibration is fitted on one half of the SNIPS rows with
out-of-scope validation rows, and scored on the other half with out-of-scope test rows, seven to
three in both.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import StructuredTool
from pydantic import create_model

from agentkit.cascade.evidence import Evidence
from agentkit.cascade.signals import signals_of
from agentkit.models.local import LocalChatModel
from agentkit.tools.catalogue import ToolCatalogue
from agentkit.tools.provision.toolbox import Toolbox

_DATA = Path(os.environ.get("AGENTKIT_DATA", "../shared/data")) / "local"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A request with the call it should become; no name where no tool fits."""

    text: str
    name: str | None
    arguments: dict[str, str]

    def is_met_by(self, message: AIMessage) -> bool:
        """Whether a call is the right one, by name and all arguments; a refusal is no call."""
        if not message.tool_calls:
            return False
        call = message.tool_calls[0]
        values = {key: clean(str(value)) for key, value in call["args"].items()}
        return call["name"] == self.name and values == self.arguments


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the pocket model made of a row: its signals, a refusal, the right call or not."""

    row: Row
    signals: dict[str, float]
    refused: bool
    right: bool
    sum_logprob: float


@dataclass(frozen=True, kw_only=True)
class Split:
    """Rows that a calibration is fitted on, and others that it is scored on."""

    fit: tuple[Row, ...]
    score: tuple[Row, ...]


def splits(count: int) -> Iterator[Split]:
    """`count` random halvings, each used both ways."""
    snips = [_snips(row) for row in _read("snips_validate")]
    validation = [_no_tool(row) for row in _read("clinc150_oos_val")]
    test = [_no_tool(row) for row in _read("clinc150_oos_test")]
    for seed in range(count):
        rng = random.Random(seed)
        shuffled = rng.sample(snips, len(snips))
        half = len(snips) // 2
        refusals = half * 3 // 7
        for fit, score in (
            (shuffled[:half], shuffled[half:]),
            (shuffled[half:], shuffled[:half]),
        ):
            yield Split(
                fit=(*fit, *rng.sample(validation, refusals)),
                score=(*score, *rng.sample(test, refusals)),
            )


def tools() -> list[StructuredTool]:
    """The seven SNIPS tools with the slots that the training rows use; each says "done"."""
    slots: dict[str, dict[str, None]] = {}
    for row in _read("snips_train"):
        slots.setdefault(_snake(row["intent"]), {}).update(
            dict.fromkeys(_snake(slot["name"]) for slot in row["slots"])
        )
    return [_tool(name, list(keys)) for name, keys in slots.items()]


def see(model: LocalChatModel, rows: Sequence[Row]) -> dict[str, Seen]:
    """What the model makes of each request, by its text."""
    offered = tools()
    toolbox = Toolbox(ToolCatalogue(offered))
    bound = model.bind_tools(toolbox.schemas([]))
    seen: dict[str, Seen] = {}
    for row in rows:
        if row.text in seen:
            continue
        message = bound.invoke([HumanMessage(row.text)])
        evidence = Evidence(message=message, toolbox=toolbox, request=row.text)
        signals = signals_of(evidence)
        seen[row.text] = Seen(
            row=row,
            signals=signals,
            refused=bool(message.response_metadata.get("abstained")),
            right=row.is_met_by(message),
            sum_logprob=signals.get("sum_logprob", 0.0),
        )
    return seen


def _tool(name: str, keys: Sequence[str]) -> StructuredTool:
    fields: dict[str, Any] = dict.fromkeys(keys, (str | None, None))
    return StructuredTool.from_function(
        func=lambda **_: "done",
        name=name,
        description=name.replace("_", " "),
        args_schema=create_model(name, **fields),
    )


def _snips(row: dict[str, Any]) -> Row:
    arguments: dict[str, str] = {}
    for slot in row["slots"]:
        arguments.setdefault(_snake(slot["name"]), clean(slot["value"]))
    return Row(text=row["text"], name=_snake(row["intent"]), arguments=arguments)


def _no_tool(row: dict[str, Any]) -> Row:
    return Row(text=row["text"], name=None, arguments={})


def _read(name: str) -> list[dict[str, Any]]:
    path = _DATA / f"{name}.jsonl.gz"
    if not path.exists():
        raise SystemExit(
            f"{path} is not there; set AGENTKIT_DATA to a folder with JSON lines of SNIPS "
            "(github.com/sonos/nlu-benchmark) and CLINC150 (github.com/clinc/oos-eval)"
        )
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def clean(text: str) -> str:
    plain = text.replace('"', "'").replace("\\", "/").replace("\u2019", "'")
    return " ".join(plain.split())
