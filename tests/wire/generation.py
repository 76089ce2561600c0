"""What the model produces within `max_tokens`: a reply cut where the tokens end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from tests.wire.script import Reply, WireRequest
from tests.wire.tokens import Meter, canonical

_CALL_TOKENS = 8
_PIECES_PER_BLOCK = 6
_NO_CALL_TEXT = "(no tool may be called)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A part of a streamed block; `output_tokens` is all that was produced up to its end."""

    text: str
    output_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A text, or the arguments of a call to the tool `name`, in pieces."""

    name: str | None
    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """The whole text or argument text."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def arguments(self) -> Mapping[str, object]:
        """The arguments as an object; {} where the text is no JSON object, as when it was cut."""
        try:
            value: object = json.loads(self.text)
        except json.JSONDecodeError:
            return {}
        return cast("dict[str, object]", value) if isinstance(value, dict) else {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """All that was produced; `output_tokens` includes `reasoning_tokens`."""

    blocks: tuple[Block, ...]
    output_tokens: int
    reasoning_tokens: int
    finish: Literal["stop", "tool_calls", "length"]

    @property
    def text(self) -> str:
        """The text of the answer."""
        return "".join(block.text for block in self.blocks if block.name is None)

    @property
    def calls(self) -> tuple[Block, ...]:
        """The tool calls."""
        return tuple(block for block in self.blocks if block.name is not None)


def generate(reply: Reply, request: WireRequest, meter: Meter, most_tokens: int) -> Generation:
    """The reply as produced: allowed calls only, ended at `most_tokens`."""
    reasoning = min(reply.reasoning_tokens if request.thinking else 0, most_tokens)
    used, blocks, cut = reasoning, list[Block](), False
    for name, whole in _wanted(reply, request):
        overhead = 0 if name is None else meter.billed(_CALL_TOKENS + meter.count(name))
        if used + max(overhead, 1) > most_tokens:
            used, cut = most_tokens, True
            break
        text, cost = whole, overhead + (meter.billed(meter.count(whole)) if whole else 0)
        if used + cost > most_tokens:
            text = meter.longest_prefix(whole, most_tokens - used - overhead)
            cost, cut = most_tokens - used, True
        blocks.append(Block(name=name, pieces=_pieces(text, used, cost)))
        used += cost
        if cut:
            break
    calls = any(block.name is not None for block in blocks)
    return Generation(
        blocks=tuple(blocks),
        output_tokens=max(used, 1),
        reasoning_tokens=reasoning,
        finish="length" if cut else "tool_calls" if calls else "stop",
    )


def _wanted(reply: Reply, request: WireRequest) -> list[tuple[str | None, str]]:
    if reply.empty:
        return []
    calls = list(reply.tool_calls) if request.may_call else []
    if not request.parallel_tool_calls:
        calls = calls[:1]
    wanted: list[tuple[str | None, str]] = []
    if reply.text or (reply.tool_calls and not calls):
        wanted.append((None, reply.text or _NO_CALL_TEXT))
    for at, (name, arguments) in enumerate(calls):
        raw = reply.raw_arguments if at == 0 else None
        wanted.append((name, canonical(arguments) if raw is None else raw))
    return wanted


def _pieces(text: str, used: int, cost: int) -> tuple[Piece, ...]:
    """`text` in a few parts; tokens before the last part are in proportion, rounded up."""
    size = max(-(-len(text) // _PIECES_PER_BLOCK), 1)
    pieces: list[Piece] = []
    for start in range(0, max(len(text), 1), size):
        part = text[start : start + size]
        so_far = -(-cost * (start + len(part)) // len(text)) if text else cost
        pieces.append(Piece(text=part, output_tokens=used + so_far))
    return tuple(pieces)
