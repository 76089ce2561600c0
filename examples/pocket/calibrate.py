"""The floor of confidence: answers whose summed log-probability is lower should be asked again.

Chosen on rows of the training files that trained nothing: held-out SNIPS rows, and validation rows
of CLINC150 that none of the seven tools fits, three for every seven.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus import NO_TOOL, SNIPS_TOOLS, Corpus, Request
from generate import Example, assembled, plain_example
from langchain_core.messages import HumanMessage
from overlaps import overlap

from agentkit.models.local import LocalChatModel

TARGET = 0.965
"""95 % right in the end, and a margin: a floor chosen on few rows often falls short."""
_LARGEST_OUTPUT = 96


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A row, what the model made of it, and the summed log-probability of that."""

    example: Example
    tool: str
    arguments: dict[str, str]
    logprobs: dict[str, float]

    @property
    def exact(self) -> bool:
        return (self.tool, self.arguments) == (self.example.tool, self.example.arguments)


def score(path: Path, corpus: Corpus) -> list[Scored]:
    """The model's answers to the held-out rows and to requests that it should refuse."""
    examples = [plain_example(request, SNIPS_TOOLS) for request in corpus.held_out]
    fitting = [request for request in corpus.refusals if not _arguable(request)]
    sampled = random.Random(0).sample(fitting, min(len(fitting), len(examples) * 3 // 7))
    examples += [plain_example(request, SNIPS_TOOLS) for request in sampled]
    model = LocalChatModel(model_path=str(path), max_tokens=_LARGEST_OUTPUT)
    bound = model.bind_tools(_specs(corpus))
    scored: list[Scored] = []
    for example in examples:
        message = bound.invoke([HumanMessage(example.text)])
        call = message.tool_calls[0] if message.tool_calls else None
        figures = message.response_metadata["logprobs"]
        scored.append(
            Scored(
                example=example,
                tool=call["name"] if call is not None else NO_TOOL,
                arguments={} if call is None else {k: str(v) for k, v in call["args"].items()},
                logprobs={key: float(figures[key]) for key in ("sum", "mean", "min", "count")},
            )
        )
    return scored


def chosen_floor(scored: Sequence[Scored], target: float = TARGET) -> float:
    """The lowest floor at which the answers, with all below it put right, reach `target`."""
    best, wrong = 0.0, 0
    for row in sorted(scored, key=lambda row: row.logprobs["sum"], reverse=True):
        wrong += not row.exact
        if wrong > (1 - target) * len(scored):
            break
        best = row.logprobs["sum"]
    return round(best, 3)


def _arguable(request: Request) -> bool:
    return any(overlap(request.tool, tool) for tool in SNIPS_TOOLS)


def _specs(corpus: Corpus) -> list[dict[str, object]]:
    """The seven tools with the keys that training shows for them."""
    keys: dict[str, dict[str, None]] = {tool: {} for tool in SNIPS_TOOLS}
    for request in corpus.train:
        if request.source == "snips":
            _, spans = assembled(request.pieces)
            keys[request.tool].update(dict.fromkeys(span.slot for span in spans))
    return [
        {
            "type": "function",
            "function": {
                "name": tool,
                "parameters": {
                    "type": "object",
                    "properties": {key: {"type": "string"} for key in found},
                },
            },
        }
        for tool, found in keys.items()
    ]
