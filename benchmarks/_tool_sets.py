"""The tool-selection data: catalogues as cards, and requests with the tools that they need."""

from __future__ import annotations

import ast
import gzip
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkit.tools.provision import ToolCard

DATA = Path(os.environ.get("AGENTKIT_DATA", "../shared/data")) / "tools"
BFCL = (
    "bfcl_simple_python",
    "bfcl_multiple",
    "bfcl_parallel",
    "bfcl_parallel_multiple",
    "bfcl_live_simple",
    "bfcl_live_multiple",
)
IRRELEVANCE = ("bfcl_irrelevance", "bfcl_live_irrelevance")
_JSON_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request, and the names of the tools that it needs."""

    text: str
    needed: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class ToolSet:
    """A catalogue with the requests made to it."""

    cards: tuple[ToolCard, ...]
    requests: tuple[Request, ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of BFCL: its request, its own few functions, and its calls where it has any."""

    text: str
    cards: tuple[ToolCard, ...]
    calls: tuple[tuple[str, dict[str, list[Any]]], ...]


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Turns of a person, each with the names of the functions that it needs.

    `arrivals` are the functions that are there only from a turn on.
    """

    turns: tuple[Request, ...]
    cards: tuple[ToolCard, ...]
    arrivals: Mapping[int, frozenset[str]]


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of a file of the data folder."""
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        raise SystemExit(f"{path} is missing: set AGENTKIT_DATA to the folder with the data sets")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def tool_sets() -> dict[str, ToolSet]:
    """The four sets by name."""
    single, multi = _metatool("metatool_single"), _metatool("metatool_multi")
    return {
        "livemcp": _livemcp(),
        "metatool_single": single,
        "metatool_multi": multi,
        "bfcl": _bfcl(),
    }


def _livemcp() -> ToolSet:
    cards = tuple(
        ToolCard(
            name=row["name"],
            description=row["description"] or "",
            schema=row["parameters"] or {},
            group=row["server"],
            group_description=row["server_description"] or "",
        )
        for row in rows("livemcp_catalogue")
    )
    requests = tuple(
        Request(
            text=row["query"],
            needed=frozenset(
                re.findall(r"^\d+\.\s*(.+?)\s*$", row["annotator"]["Tools"], re.MULTILINE)
            ),
        )
        for row in rows("livemcp_queries")
    )
    return ToolSet(cards=cards, requests=requests)


def _metatool(name: str) -> ToolSet:
    cards = tuple(
        ToolCard(name=row["name"], description=row["description"] or "", schema={})
        for row in rows("metatool_catalogue")
    )
    requests = tuple(
        Request(text=row["query"], needed=frozenset(row["tools"])) for row in rows(name)
    )
    return ToolSet(cards=cards, requests=requests)


def _bfcl() -> ToolSet:
    found: dict[tuple[str, str], ToolCard] = {}
    requests: list[Request] = []
    for name in BFCL:
        for row in bfcl_rows(name):
            found.update({(card.name, card.description): card for card in row.cards})
            requests.append(Request(text=row.text, needed=frozenset(n for n, _ in row.calls)))
    return ToolSet(cards=tuple(found.values()), requests=tuple(requests))


def bfcl_rows(name: str) -> list[Row]:
    """The rows of a single-turn file."""
    return [
        Row(
            text="\n".join(_said(turn) for turn in row["question"]),
            cards=tuple(_card(function) for function in row["function"]),
            calls=tuple(item for call in row["ground_truth"] or () for item in call.items()),
        )
        for row in rows(name)
    ]


def conversations(name: str) -> list[Conversation]:
    """The rows of a multi-turn file; each is offered the functions of every class there is."""
    cards = {
        function["name"]: _card(function, group=row["file"])
        for row in rows("bfcl_multi_turn_docs")
        for function in row["functions"]
    }
    found: list[Conversation] = []
    for row in rows(name):
        turns = tuple(
            Request(text=_said(turn), needed=frozenset(map(_called, calls)) & frozenset(cards))
            for turn, calls in zip(row["question"], row["ground_truth"], strict=True)
        )
        arrivals = {
            int(turn): frozenset(names) & frozenset(cards)
            for turn, names in row.get("missed_function", {}).items()
        }
        found.append(Conversation(turns=turns, cards=tuple(cards.values()), arrivals=arrivals))
    return found


def _said(turn: list[dict[str, str]]) -> str:
    return "\n".join(message["content"] for message in turn if message["role"] == "user")


def _called(call: str) -> str:
    node = ast.parse(call, mode="eval").body
    assert isinstance(node, ast.Call)
    return ast.unparse(node.func)


def _card(function: Mapping[str, Any], *, group: str = "") -> ToolCard:
    return ToolCard(
        name=function["name"],
        description=function["description"] or "",
        schema=_json_schema(function["parameters"]),
        group=group,
    )


def _json_schema(schema: Any) -> Any:
    """BFCL names types as Python does."""
    if isinstance(schema, list):
        return [_json_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _json_schema(value) for key, value in schema.items()}
    kind = found.get("type")
    if isinstance(kind, str) and kind in _JSON_TYPES:
        found["type"] = _JSON_TYPES[kind]
        if found["type"] is None:
            del found["type"]
    return found
