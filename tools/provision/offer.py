"""The tools offered to a model: a frozen core, what the request calls for, and nothing withdrawn.

Providers cache a request by its beginning, and definitions of tools stand there: an offer that
changed at every step would be billed anew at every step. So an offer only ever grows at its end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from agentkit.budgets.tokens import count_text
from agentkit.tools.errors import InvalidTool
from agentkit.tools.provision.compaction import CompactTool, compact_all
from agentkit.tools.provision.index import ToolIndex
from agentkit.tools.provision.retrieval import Match, search
from agentkit.tools.provision.signals import Calibration
from agentkit.tools.provision.together import Together

if TYPE_CHECKING:
    from agentkit.tools.catalogue import Schema

_DEFAULT_LIMIT = 10


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a step is offered; keep `names` and give them to the next step's offer.

    `tokens` are o200k tokens of the definitions as compact JSON. `left_out` would have fitted the
    request but not the tokens. `fingerprint` changes only where what is sent does.
    """

    tools: tuple[CompactTool, ...]
    added: tuple[Match, ...]
    left_out: tuple[str, ...]
    tokens: int
    fingerprint: str

    @property
    def names(self) -> tuple[str, ...]:
        """The catalogue's names, in the order sent."""
        return tuple(tool.original_name for tool in self.tools)

    @property
    def openai_schemas(self) -> tuple[Schema, ...]:
        """The definitions as OpenAI-compatible APIs take them."""
        return tuple(tool.openai_schema for tool in self.tools)

    def original_name(self, wire_name: str) -> str | None:
        """The catalogue's name of a tool that a model called; None where it was not offered."""
        for tool in self.tools:
            if tool.name == wire_name:
                return tool.original_name
        return None


class Provisioner:
    """Makes the offers of a catalogue's tasks; it keeps nothing of a task, so tasks can share it.

    >>> from agentkit.tools.provision import ToolCard
    >>> cards = [ToolCard(name="get_weather", description="Weather of a city", schema={}),
    ...          ToolCard(name="send_mail", description="Send an e-mail", schema={})]
    >>> Provisioner(ToolIndex(cards), limit=1).offer("what is the weather in Rome?").names
    ('get_weather',)
    """

    def __init__(
        self,
        index: ToolIndex,
        *,
        core: Iterable[str] = (),
        limit: int = _DEFAULT_LIMIT,
        limit_tokens: int | None = None,
        calibration: Calibration | Literal["fitted"] | None = "fitted",
    ) -> None:
        """`core` is always offered; each request adds at most `limit` tools.

        `limit_tokens` bounds the definitions of an offer; the core and what was offered before stay
        even above it. `calibration` belongs to the index's embedder: "fitted" is the
        one for the shipped embedding and none for any other; None always offers `limit`.
        Raises InvalidTool where the core names a tool that the index has not.
        """
        self._index = index
        self._limit = limit
        self._limit_tokens = limit_tokens
        self._calibration = _calibration(index, calibration)
        self._tools = {tool.original_name: tool for tool in compact_all(index.cards)}
        self._places = {name: place for place, name in enumerate(self._tools)}
        self._core = tuple(core)
        for name in self._core:
            if name not in self._tools:
                raise InvalidTool(
                    f"the core names {name!r}, which the index does not hold; "
                    f"it holds {len(self._tools)} tools",
                    tool=name,
                )
        self._tokens: dict[str, int] = {}

    def tool(self, name: str) -> CompactTool:
        """The compact definition of a tool of the index."""
        return self._tools[name]

    def tokens_of(self, name: str) -> int:
        """o200k tokens of a tool's compact definition as JSON."""
        if name not in self._tokens:
            self._tokens[name] = count_text(_text(self._tools[name].openai_schema))
        return self._tokens[name]

    def matches(
        self,
        request: str,
        *,
        limit: int | None = None,
        floor: bool = True,
        together: Together | None = None,
    ) -> tuple[Match, ...]:
        """The tools that a request calls for, best first; `floor` holds weak ones back, and what
        earlier tasks used `together` raises each other.
        """
        return search(
            self._index,
            request,
            limit=self._limit if limit is None else limit,
            calibration=self._calibration,
            floor=floor,
            together=together,
        )

    def offer(
        self, request: str, *, already: Sequence[str] = (), together: Together | None = None
    ) -> Offer:
        """The core, `already`, then what the request calls for and is not yet there.

        Tools added together stand in the catalogue's order, so that equal sets are sent equally.
        Names in `already` that the catalogue no longer holds are left out.
        """
        standing = list(dict.fromkeys([*self._core, *(n for n in already if n in self._tools)]))
        tokens = sum(map(self.tokens_of, standing))
        added: list[Match] = []
        left_out: list[str] = []
        for match in self.matches(request, together=together):
            if match.name in standing or any(match.name == other.name for other in added):
                continue
            cost = self.tokens_of(match.name)
            if self._limit_tokens is not None and tokens + cost > self._limit_tokens:
                left_out.append(match.name)
                continue
            added.append(match)
            tokens += cost
        new = sorted((match.name for match in added), key=self._places.__getitem__)
        tools = tuple(self._tools[name] for name in (*standing, *new))
        return Offer(
            tools=tools,
            added=tuple(added),
            left_out=tuple(left_out),
            tokens=tokens,
            fingerprint=_fingerprint(tools),
        )


def _calibration(
    index: ToolIndex, asked: Calibration | Literal["fitted"] | None
) -> Calibration | None:
    if asked != "fitted":
        return asked
    return Calibration.fitted("shipped") if index.has_shipped_embedding else None


def _fingerprint(tools: Sequence[CompactTool]) -> str:
    sent = _text([tool.openai_schema for tool in tools])
    return hashlib.blake2b(sent.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _text(definition: object) -> str:
    return json.dumps(definition, ensure_ascii=False, separators=(",", ":"))
