"""Babble for benchmarks/cascade.py: output with and without the cut, and what it leaves alone.

The pocket model has no prose to ramble in. So the models are made on the spot by
tests/gguf_factory.py: some write their script over and over, some a right answer of many like
lines, one has random weights. Hosted models are the loopback servers of tests/wire, reached through
the real client libraries.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage

from agentkit import Agent, Cascade, chat_model
from agentkit.budgets.tokens import count_text
from agentkit.models.local import LocalChatModel, local_model
from agentkit.models.local.loaded import close_engines
from agentkit.tools.catalogue import ToolCatalogue
from agentkit.tools.provision.toolbox import Toolbox
from benchmarks._cascade_rows import Row, tools
from tests.gguf_factory import random_model, scripted_model
from tests.wire import ScriptedProvider, answer

_MOST_TOKENS = 900
_CIRCLES: Mapping[str, Sequence[str]] = {
    "one phrase": ("I", " am", " sorry", ".", "\n"),
    "a sentence that turns back": ("It", " is", " as", " it", " was", " and"),
    "laughter": ("ha",),
    "empty table cells": (" |", " |", "\n"),
    "a paragraph of reasons": tuple(
        f" {word}"
        for word in (
            "Let us think about this once more, step by step, and look at all that is known so "
            "far: the train left at nine, the car at ten, and both came to the town at noon."
        ).split()
    ),
}
_RIGHT: Mapping[str, Sequence[str]] = {
    "a list of 60 orders": tuple(
        f"Order {n}: {n * 17 % 101} pieces, delivered to the shop.\n" for n in range(60)
    ),
    "a table of squares": tuple(f"| {n} | {n * n} | {n**3} |\n" for n in range(100)),
    "rows of JSON": tuple(
        json.dumps({"id": n, "name": f"customer {n}", "paid": n % 2 == 0}) + "\n" for n in range(60)
    ),
    "a short refrain": ("We shall overcome.\n",) * 5,
}
_HOSTED = ("openai:gpt-5-mini", "anthropic:claude-haiku-4-5")
_SENTENCE = "It is as it was and so it is. "
_HOSTED_CIRCLES = {"endless circles": _SENTENCE * 200, "30 circles that end": _SENTENCE * 30}
_PROMPTS = (
    "Tell me about the sea.", "Once", "List the months.", "Why?", "Write a poem about rain.",
    "hello hello", "Count to ten.", "What is a ledger?", "Say it again.", "Go on.",
)  # fmt: skip


def babble(rows: Sequence[Row]) -> dict[str, Any]:
    """Output tokens uncut and cut, and the answers that the cut changed."""
    with tempfile.TemporaryDirectory() as folder:
        circles = _scripted(Path(folder), _CIRCLES, endless=True)
        right = _scripted(Path(folder), _RIGHT, endless=False)
        random = _random(Path(folder))
        close_engines()
    return {
        "circles": circles,
        "right_answers": right,
        "random_weights": random,
        "pocket": _pocket(rows),
        "hosted": {
            f"{name} on {label}": _hosted(label, text)
            for label in _HOSTED
            for name, text in _HOSTED_CIRCLES.items()
        },
    }


def _scripted(
    folder: Path, scripts: Mapping[str, Sequence[str]], *, endless: bool
) -> dict[str, dict[str, Any]]:
    figures: dict[str, dict[str, Any]] = {}
    for name, script in scripts.items():
        path = scripted_model(
            folder / f"{name.replace(' ', '-')}.gguf", _chained(script), endless=endless
        )
        figures[name] = _compared(local_model(str(path), max_tokens=_MOST_TOKENS), ["tell me"])
    return figures


def _chained(script: Sequence[str]) -> list[str]:
    """A piece has one successor, so one that comes again is spelled with a mark of its own."""
    seen: dict[str, int] = {}
    pieces: list[str] = []
    for piece in script:
        seen[piece] = seen.get(piece, -1) + 1
        pieces.append(" " * seen[piece] + piece)
    return pieces


def _random(folder: Path) -> dict[str, Any]:
    path = random_model(folder / "random.gguf")
    return _compared(local_model(str(path), max_tokens=_MOST_TOKENS), _PROMPTS)


def _compared(model: LocalChatModel, prompts: Sequence[str]) -> dict[str, Any]:
    uncut = [model.invoke(prompt, cut_babble=False) for prompt in prompts]
    cut = [model.invoke(prompt) for prompt in prompts]
    return {
        "uncut_tokens": sum(map(_output, uncut)),
        "cut_tokens": sum(map(_output, cut)),
        "cut": sum(bool(message.response_metadata.get("babbled")) for message in cut),
        "answers": len(prompts),
        "changed_otherwise": sum(
            not one.text.startswith(other.text) for one, other in zip(uncut, cut, strict=True)
        ),
    }


def _hosted(label: str, text: str) -> dict[str, Any]:
    """Of one answer, read to its end and cut: tokens that came, and what the ledger was charged."""
    figures: dict[str, Any] = {}
    for name, cascade in (("uncut", Cascade()), ("cut", Cascade(cut_babble=True))):
        with ScriptedProvider(answer(text), count=count_text) as server:
            url = server.openai_url if label.startswith("openai") else server.anthropic_url
            model = chat_model(label, base_url=url, api_key="none", max_tokens=_MOST_TOKENS)
            result = Agent([model], cascade=cascade).run("tell me")
            figures[f"{name}_tokens_read"] = count_text(result.answer)
            figures[f"{name}_usd"] = float(result.cost_usd)
    return figures


def _pocket(rows: Sequence[Row]) -> dict[str, int]:
    model = local_model("pocket")
    bound = model.bind_tools(Toolbox(ToolCatalogue(tools())).schemas([]))
    cut = [bound.invoke([HumanMessage(row.text)]) for row in rows]
    uncut = [bound.invoke([HumanMessage(row.text)], cut_babble=False) for row in rows]
    return {
        "rows": len(rows),
        "cut_tokens": sum(map(_output, cut)),
        "uncut_tokens": sum(map(_output, uncut)),
        "cut": sum(bool(message.response_metadata.get("babbled")) for message in cut),
        "different": sum(_said(one) != _said(two) for one, two in zip(cut, uncut, strict=True)),
        "made_wrong": sum(
            row.is_met_by(two) and not row.is_met_by(one)
            for row, one, two in zip(rows, cut, uncut, strict=True)
        ),
        "tokens_without_tools": sum(_output(model.invoke(prompt)) for prompt in _PROMPTS),
    }


def _said(message: AIMessage) -> list[Any]:
    return [message.text, *[[call["name"], call["args"]] for call in message.tool_calls]]


def _output(message: AIMessage) -> int:
    usage = message.usage_metadata
    return 0 if usage is None else usage["output_tokens"]
