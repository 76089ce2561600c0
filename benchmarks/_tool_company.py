"""What it brings that tools which earlier tasks used together raise each other.

Half of a set's requests or conversations are earlier tasks, the other half is scored, and the other
way round; a conversation's tools were used together, and each of its turns is a search.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from _tool_sets import Request, ToolSet, conversations

from agentkit.tools.provision import Together, ToolCard, ToolIndex, search

_CONVERSATIONS = ("bfcl_multi_turn_base", "bfcl_multi_turn_miss_func")
_LIMITS = (5, 10)
Task = tuple[Request, ...]


def measured_company(sets: dict[str, ToolSet]) -> dict[str, Any]:
    """Recall and complete offers without and with earlier tasks, with the shipped embedding."""
    tasks: dict[str, tuple[Sequence[ToolCard], list[Task]]] = {
        name: (sets[name].cards, [(request,) for request in sets[name].requests])
        for name in ("livemcp", "metatool_multi")
    }
    for name in _CONVERSATIONS:
        kept = conversations(name)
        turns = [tuple(t for t in each.turns if t.needed and t.text) for each in kept]
        tasks[name] = (kept[0].cards, turns)
    return {name: _compared(cards, each) for name, (cards, each) in tasks.items()}


def _compared(cards: Sequence[ToolCard], tasks: Sequence[Task]) -> dict[str, Any]:
    index = ToolIndex(cards)
    halves = tasks[::2], tasks[1::2]
    report: dict[str, Any] = {}
    for label, past, scored in (("odd", *halves), ("even", *reversed(halves))):
        together = Together.of({n for turn in task for n in turn.needed} for task in past)
        requests = [turn for task in scored for turn in task]
        report[f"{label}_rows"] = {
            "earlier_tasks": len(past),
            "searches": len(requests),
            "without": _recall(index, requests, None),
            "with": _recall(index, requests, together),
        }
    return report


def _recall(
    index: ToolIndex, requests: Sequence[Request], together: Together | None
) -> dict[str, float]:
    found: dict[str, float] = {}
    offers = [
        [match.name for match in search(index, request.text, together=together)]
        for request in requests
    ]
    for limit in _LIMITS:
        gains = [
            len(request.needed.intersection(offer[:limit])) / len(request.needed)
            for request, offer in zip(requests, offers, strict=True)
        ]
        found[f"recall_at_{limit}"] = round(statistics.fmean(gains), 4)
        found[f"complete_at_{limit}"] = round(statistics.fmean(g == 1 for g in gains), 4)
    return found
