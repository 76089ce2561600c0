"""What a tool returned, as text: strings stay, data becomes JSON, binary is described, not sent."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import cast

from langchain_core.messages import ToolMessage
from langchain_core.messages.tool import ToolOutputMixin
from pydantic import BaseModel

_BINARY = (bytes, bytearray, memoryview)
_DATA = (bool, int, float, Mapping, Sequence, AbstractSet, BaseModel)
_MAX_ITEMS = 1000  # of an iterator, which may have no end
_MAX_ERROR_CHARS = 500
_BINARY_PROBE_BYTES = 8192
_SIGNATURES = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
)
# The keys that make a dict a content block of LangChain or MCP, and not a user's own data.
_BLOCK_KEYS = {
    "text": {"text"},
    "image_url": {"image_url"},
    "image": {"data", "base64", "url", "source", "file_id"},
    "audio": {"data", "base64", "url", "file_id"},
    "file": {"data", "base64", "url", "file", "file_id"},
}


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A result as text of any length, with what a graph may want beside it."""

    text: str
    is_error: bool = False
    artifact: object = None
    command: object = None


def render(result: object, *, call_id: str) -> Rendered:
    """The text of a tool's result; it may raise what the result's own methods raise."""
    if isinstance(result, ToolMessage):
        return Rendered(
            text=_text(result.content),
            is_error=result.status == "error",
            artifact=result.artifact,
        )
    if isinstance(result, ToolOutputMixin):  # LangGraph's Command
        return Rendered(text=_answer_in(result, call_id), command=result)
    return Rendered(text=_text(result))


def render_error(error: BaseException) -> str:
    """Type and first lines of an error, bounded; no traceback, which may hold secrets."""
    return _error_text(_only_cause(error))


def _only_cause(error: BaseException) -> BaseException:
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    parts = list(group.exceptions)
    return _only_cause(parts[0]) if len(parts) == 1 else group


def _error_text(error: BaseException) -> str:
    try:
        message = str(error).strip()
    except Exception:  # noqa: BLE001  an error's own __str__ is the tool's code
        message = "(its message cannot be shown)"
    if len(message) > _MAX_ERROR_CHARS:
        message = message[:_MAX_ERROR_CHARS] + "…"
    message = "\n".join(message.splitlines()[:5])
    name = type(error).__name__
    return f"{name}: {message}" if message else name


def _text(value: object) -> str:
    match value:
        case str():
            return value or "(empty result)"
        case None:
            return "(no result)"
        case _ if isinstance(value, _BINARY):
            return _bytes_text(bytes(cast("bytes", value)))
        case Iterator():
            return _json([*islice(cast("Iterator[object]", value), _MAX_ITEMS)])
        case list() if _is_content(cast("list[object]", value)):
            blocks = cast("list[str | dict[str, object]]", value)
            return "\n".join(_block_text(block) for block in blocks) or "(empty result)"
        case _ if isinstance(value, _DATA):
            return _json(cast("object", value))
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return _json(value)
        case _:
            return str(value)


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError):  # keys that JSON lacks, a circle
        return repr(value)


def _plain(value: object) -> object:
    match value:
        case BaseModel():
            return value.model_dump()
        case Enum():
            return value.value
        case _ if isinstance(value, _BINARY):
            return _bytes_text(bytes(cast("bytes", value)))
        case Mapping():
            return dict(cast("Mapping[object, object]", value))
        case AbstractSet():
            return sorted(cast("AbstractSet[object]", value), key=repr)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        case _:
            return str(value)


def _bytes_text(data: bytes) -> str:
    if b"\0" not in data[:_BINARY_PROBE_BYTES]:
        try:
            return data.decode() or "(empty result)"
        except UnicodeDecodeError:
            pass
    kind = next((f", {kind}" for start, kind in _SIGNATURES if data.startswith(start)), "")
    return f"<binary, {len(data):,} bytes{kind}; not shown>"


def _is_content(items: list[object]) -> bool:
    return bool(items) and all(_is_block(item) for item in items)


def _is_block(item: object) -> bool:
    if not isinstance(item, dict):
        return False
    block = cast("dict[object, object]", item)
    keys = _BLOCK_KEYS.get(str(block.get("type")))
    return keys is not None and not keys.isdisjoint(cast("dict[str, object]", block))


def _block_text(block: str | dict[str, object]) -> str:
    if isinstance(block, str):
        return block
    if block["type"] == "text":
        return str(block["text"])
    kind = block.get("mime_type") or block.get("mimeType") or ""
    return f"<{block['type']}{f', {kind}' if kind else ''}; not shown>"


def _answer_in(command: object, call_id: str) -> str:
    """The text of the ToolMessage that a Command carries for this call."""
    update = getattr(command, "update", None)
    messages = cast("dict[str, object]", update).get("messages") if isinstance(update, dict) else ()
    for message in cast("Sequence[object]", messages or ()):
        if isinstance(message, ToolMessage) and message.tool_call_id in ("", call_id):
            return _text(message.content)
    return "(done)"
