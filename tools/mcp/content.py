"""What an MCP tool returned, as text: pictures, sound and files are described, not sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp.types import CallToolResult, ContentBlock

_MOST_LINK_CHARS = 300


def text_of(result: CallToolResult) -> str:
    """The text of all blocks; the structured content where there is none."""
    text = "\n".join(part for block in result.content for part in _parts(block))
    if not text.strip() and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False, separators=(",", ":"))
    return text or "(empty result)"


def _parts(block: ContentBlock) -> Iterator[str]:
    match block.type:
        case "text":
            yield block.text
        case "image" | "audio":
            yield _described(block.type, block.mime_type, block.data)
        case "resource":
            resource = block.resource
            uri = str(resource.uri)[:_MOST_LINK_CHARS]
            text = getattr(resource, "text", None)
            if isinstance(text, str):
                yield f"[resource {uri}]\n{text}"
            else:
                blob = str(getattr(resource, "blob", ""))
                yield f"[resource {uri}] " + _described("file", resource.mime_type, blob)
        case "resource_link":
            kind = f", {block.mime_type}" if block.mime_type else ""
            yield f"<link to {block.name[:100]!r}{kind}: {str(block.uri)[:_MOST_LINK_CHARS]}>"


def _described(what: str, kind: str | None, base64: str) -> str:
    size = max(0, len(base64) * 3 // 4 - base64[-2:].count("="))
    return f"<{what}{f', {kind[:60]}' if kind else ''}, {size:,} bytes; not shown>"
