"""JSON that was cut off somewhere: closed again, so that what is whole in it can be read."""

from __future__ import annotations

import json
import re
from contextlib import suppress

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+("?)|[\[\]{},:]', re.DOTALL)
_CLOSERS = {"{": "}", "[": "]"}
_LONGEST_ESCAPE_CHARS = 6
CUT_MARK = "…"
_MAX_CHARS = 2_000_000


def closed(text: str) -> str | None:
    """`text` with its open strings, arrays and objects closed; None where it was not merely cut.

    A string that the cut went through stays, with `…` at its end. A number or word there goes, for
    nobody knows how it went on, and so does a key without a value. At most 2,000,000 characters are
    tried.
    """
    if len(text) > _MAX_CHARS or text.lstrip()[:1] not in _CLOSERS:
        return None
    stack: list[str] = []
    safe: tuple[int, int] | None = None  # where the last whole element ended, and how deep
    after_colon = False
    for match in _TOKEN.finditer(text):
        mark = match.group()
        if mark[0] == '"':
            if not match.group(1):
                return _with_open_string(text, match.start(), stack, after_colon, safe)
            continue
        after_colon = mark == ":"
        if mark in _CLOSERS:
            stack.append(mark)
            safe = (match.end(), len(stack))
        elif mark in "]}":
            if not stack or _CLOSERS[stack.pop()] != mark:
                return None
            if not stack:
                return None
            safe = (match.end(), len(stack))
        elif mark == ",":
            safe = (match.start(), len(stack))
    return _cut_back(text, stack, safe)


def _with_open_string(
    text: str, start: int, stack: list[str], after_colon: bool, safe: tuple[int, int] | None
) -> str | None:
    """The text with its last string closed where that is a value; else without it."""
    if not stack or (stack[-1] == "{" and not after_colon):
        return _cut_back(text, stack, safe)
    for left_out in range(_LONGEST_ESCAPE_CHARS):  # the cut may have gone through an escape
        body = text[start : len(text) - left_out]
        with suppress(ValueError):
            json.loads(f'{body}"')
            return f'{text[:start]}{body}{CUT_MARK}"{_closers(stack)}'
    return _cut_back(text, stack, safe)


def _cut_back(text: str, stack: list[str], safe: tuple[int, int] | None) -> str | None:
    if safe is None:
        return None
    end, depth = safe
    return text[:end] + _closers(stack[:depth])


def _closers(stack: list[str]) -> str:
    return "".join(_CLOSERS[opened] for opened in reversed(stack))
