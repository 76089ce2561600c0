"""From bytes or text of any size to the text that pruners look at; bytes are capped first."""

from __future__ import annotations

from agentkit.tools.observation import cut

MAX_INPUT_BYTES = 8 * 1024 * 1024
"""What a pruner looks at. Of longer observations it sees three quarters from the head, the rest
from the tail; the keeper gets all of it."""

_BINARY_PROBE_BYTES = 8_192
_SIGNATURES = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
    (b"\x7fELF", "application/x-elf"),
)


def decoded(text: str | bytes) -> tuple[str, int]:
    """The text that is looked at, fit to be sent, and the size of the whole."""
    if isinstance(text, str):
        found = cut(text, max_bytes=MAX_INPUT_BYTES)
        return found.text, found.original_bytes
    if len(text) > MAX_INPUT_BYTES:
        tail = MAX_INPUT_BYTES // 4
        head = text[: MAX_INPUT_BYTES - tail].decode(errors="replace")
        shown = f"{head}\n…\n{text[-tail:].decode(errors='replace')}"
    else:
        shown = text.decode("utf-8-sig", errors="replace")
    return shown.replace("\0", "?"), len(text)


def binary_text(data: bytes) -> str | None:
    """What is said of bytes that are no text; None for text."""
    probe = data[:_BINARY_PROBE_BYTES]
    kind = next((f", {kind}" for start, kind in _SIGNATURES if data.startswith(start)), "")
    bad = probe.decode(errors="replace").count("�")
    if kind or b"\0" in probe or bad > len(probe) // 10:
        return f"<binary, {len(data):,} bytes{kind}; not shown>"
    return None
