"""The tokens between the words: what a prompt and a call are put together from.

agentkit/models/local/pocket.py puts prompts together from the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PAD, STOP, TOOLS, USER, DO = "<|pad|>", "<|stop|>", "<|tools|>", "<|user|>", "<|do|>"
CONTROL = (PAD, STOP, TOOLS, USER, DO)
OPEN, MIDDLE, NEXT, CLOSE, CLOSE_EMPTY = '{"name":"', '","arguments":{', '",', '"}}', "}}"
GLUE = (OPEN, MIDDLE, NEXT, CLOSE, CLOSE_EMPTY)
READINGS = 2
"""The request stands twice in a prompt: the second reading sees how it ends."""


@dataclass(frozen=True, kw_only=True)
class TokenTable:
    """Every token of a model in order: byte-level BPE `pieces`, then those `added` whole."""

    pieces: Sequence[str]
    merges: Sequence[str]
    added: Sequence[str]

    def __len__(self) -> int:
        return len(self.pieces) + len(self.added)

    def id(self, text: str) -> int:
        """The id of one of those added."""
        return len(self.pieces) + self.added.index(text)


def added_tokens(tools: Sequence[str], keys: Sequence[str]) -> tuple[str, ...]:
    """The tokens beside the pieces, in their order."""
    return (*CONTROL, *GLUE, *tools, *(quoted_key(key) for key in keys))


def quoted_key(key: str) -> str:
    """The token that opens the value of `key`."""
    return f'"{key}":"'
