"""The floor of confidence: answers whose summed log-probability is lower should be asked again.

Chosen on rows of the training files that trained nothing, and of those on the ones that are most
like what was never seen: the half of the held-out SNIPS rows that shares the fewest words with any
training row, and CLINC150's out-of-scope validation rows. A floor chosen on all of them promises
what only requests like the training's keep.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus import NO_TOOL, SNIPS_TOOLS, Corpus, Request, text_of
from generate import Example, assembled, plain_example
from langchain_core.messages import HumanMessage

from agentkit.evals.interval import Z90_BELOW, wilson
from agentkit.models.local import LocalChatModel

TARGET = 0.95
"""The share right in the end that the floor is to hold, by the lower bound of 90 %."""
_LARGEST_OUTPUT = 96
_WORD = re.compile(r"\w+")


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
    """The model's answers to held-out rows unlike the training's, and to what fits no tool."""
    requests = [*_least_alike(corpus), *(r for r in corpus.refusals if r.tool == NO_TOOL)]
    examples = [plain_example(request, SNIPS_TOOLS) for request in requests]
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
    """The lowest floor at which the answers, with all below it put right, hold `target`."""
    best, wrong = 0.0, 0
    for row in sorted(scored, key=lambda row: row.logprobs["sum"], reverse=True):
        wrong += not row.exact
        if wilson(len(scored) - wrong, len(scored), z=Z90_BELOW)[0] < target:
            break
        best = row.logprobs["sum"]
    return round(best, 3)


def _least_alike(corpus: Corpus) -> list[Request]:
    """The half of the held-out rows whose nearest training row shares the fewest of its words."""
    known = [_words(request) for request in corpus.train if request.source == "snips"]

    def likeness(request: Request) -> float:
        words = _words(request)
        return max(len(words & other) / len(words | other) for other in known)

    ordered = sorted(corpus.held_out, key=likeness)
    return ordered[: (len(ordered) + 1) // 2]


def _words(request: Request) -> frozenset[str]:
    return frozenset(_WORD.findall(text_of(request.pieces).lower()))


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
