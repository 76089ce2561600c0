"""What a tool call came to, as the model is told: text, bounded and safe to send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from langchain_core.messages import ToolMessage

from agentkit.tools.remembered import Remembered

Status = Literal["ok", "error", "timeout", "invalid", "unknown_tool", "denied"]

SPARED = "agentkit_spared_tokens"
"""In a message's response metadata, which no provider is sent: tokens that pruning left out."""
_CHUNK_CHARS = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The result of one call. `content` is never empty; `original_bytes` is its size before a cut.

    `artifact` is what the tool kept from the model (LangChain's content_and_artifact); `command` is
    a LangGraph Command that the tool returned, for the graph to apply. `spared_tokens` is what
    pruning took off what would have been sent. `remembered` tells of a result that an earlier call
    had made.
    """

    call_id: str
    name: str
    content: str
    status: Status
    duration_seconds: float = 0.0
    original_bytes: int = 0
    cut: bool = False
    return_direct: bool = False
    artifact: object = None
    command: object = None
    spared_tokens: int = 0
    remembered: Remembered | None = None

    def to_message(self) -> ToolMessage:
        """The message that answers the call."""
        return ToolMessage(
            content=self.content,
            tool_call_id=self.call_id,
            name=self.name,
            status="success" if self.status == "ok" else "error",
            artifact=self.artifact,
            response_metadata={SPARED: self.spared_tokens} if self.spared_tokens else {},
        )


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Text within its bound; `left_out_chars` is 0 where nothing had to go."""

    text: str
    original_bytes: int
    left_out_chars: int

    @property
    def was_cut(self) -> bool:
        return self.left_out_chars > 0


def cut(text: str, *, max_bytes: int) -> Cut:
    """Text of at most `max_bytes` in UTF-8: its head and tail, and a line for what was left out.

    Lone surrogates and NUL, which APIs and databases refuse, become '?'. A bound too small for
    the line keeps the head alone. Only the kept ends of a long text are copied.
    """
    size = _utf8_bytes(text)
    if size <= max_bytes:
        return Cut(text=_sendable(text), original_bytes=size, left_out_chars=0)
    line = _left_out_line(len(text), len(text))  # as long as it can get
    room = max_bytes - len(line.encode())
    if room <= 0:
        head = _head(text, max_bytes)
        return Cut(text=head, original_bytes=size, left_out_chars=len(text) - len(head))
    head = _head(text, room - room // 2)
    tail = _tail(text, room // 2)
    left_out = len(text) - len(head) - len(tail)
    return Cut(
        text=head + _left_out_line(left_out, len(text)) + tail,
        original_bytes=size,
        left_out_chars=left_out,
    )


def _left_out_line(left_out_chars: int, chars: int) -> str:
    return f"\n[… {left_out_chars:,} of {chars:,} characters left out …]\n"


def _head(text: str, max_bytes: int) -> str:
    return _sendable(text[:max_bytes]).encode()[:max_bytes].decode(errors="ignore")


def _tail(text: str, max_bytes: int) -> str:
    if max_bytes == 0:
        return ""
    return _sendable(text[-max_bytes:]).encode()[-max_bytes:].decode(errors="ignore")


def _sendable(text: str) -> str:
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\0", "?")


def _utf8_bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    chunks = (text[i : i + _CHUNK_CHARS] for i in range(0, len(text), _CHUNK_CHARS))
    return sum(len(chunk.encode("utf-8", "surrogatepass")) for chunk in chunks)
