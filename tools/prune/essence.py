"""What an observation holds inside the envelopes of tool protocols, also where it was cut off."""

from __future__ import annotations

import json

from agentkit.tools.prune.cut_json import closed
from agentkit.tools.prune.escapes import unescaped, unwrapped
from agentkit.tools.prune.json_tree import enveloped, parsed

_MAX_ENVELOPES = 4
_ENVELOPE_PROBE_CHARS = 2_000


def essence(text: str) -> str:
    """The text inside the envelopes of tool protocols, as deep as four."""
    for _ in range(_MAX_ENVELOPES):
        inner = unwrapped(text)
        start = inner[:_ENVELOPE_PROBE_CHARS].lstrip()
        if start.startswith('"') or (start.startswith("{") and '"content"' in start):
            try:
                inner = enveloped(_loaded(inner)) or inner
            except (ValueError, RecursionError):
                return inner
        if inner == text:
            return text
        text = inner
    return text


def _loaded(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        whole_text = closed(text)
        if whole_text is None:
            raise
        return json.loads(whole_text)


def readable(text: str) -> str:
    """A kept observation with its escapes undone and JSON on many lines, for a range of them."""
    inner = essence(text)
    if inner.lstrip()[:1] in ("{", "["):
        try:
            return json.dumps(parsed(inner), ensure_ascii=False, indent=1)
        except (ValueError, RecursionError):
            pass
    return unescaped(inner)
