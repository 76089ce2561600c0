"""Text as it was meant: wrappers taken off, escapes undone, encoded blobs and repeats described.

Nothing that a reader could use is lost here, only what stands there twice or cannot be read.
"""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator
from contextlib import suppress

_WRAPPED = re.compile(
    r"\b(?:TextContent|TextBlock)\(type='text', text="
    r"('(?:[^'\\]++|\\.)*+'|\"(?:[^\"\\]++|\\.)*+\")",
    re.DOTALL,
)
_OPENED = re.compile(r"\b(?:TextContent|TextBlock)\(type='text', text=(['\"])")
_LONGEST_ESCAPE_CHARS = 10
_MAX_CUT_CHARS = 1_000_000
_MAX_WRAPPERS = 100
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|\r?\n[ \t]*(?:\\ )?|(.))", re.DOTALL)
_PLAIN = {"n": "\n", "t": "\t", "r": "", "b": "", "f": "\n", "0": ""}
_MAX_LAYERS = 4
_MIN_ESCAPED_NEWLINES = 3
_YAML_FOLD = re.compile(r"\\\n[ ]*+(?:\\(?= ))?")
_WINDOWS_PATH = re.compile(r"(?<![A-Za-z])[A-Za-z]:\\(?!\\)")

_BLOB = re.compile(
    r"(?:data:([\w.+-]{1,40}/[\w.+-]{1,60})[\w;=.-]{0,60},)?"
    r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{200,}+={0,2}"
)
_HIGHLIGHT = re.compile(r"</?(?:span|em|mark|b|strong|i)(?: [^<>]{0,120})?>", re.IGNORECASE)
_MIN_REPEATS = 2
_MAX_PERIOD = 8


def unwrapped(text: str) -> str:
    """The text inside the repr of MCP or LangChain text blocks; other text as it is."""
    if "type='text', text=" not in text:
        return text
    parts: list[str] = []
    for number, match in enumerate(_WRAPPED.finditer(text)):
        if number >= _MAX_WRAPPERS:
            return text
        try:
            parts.append(str(ast.literal_eval(match.group(1))))
        except (SyntaxError, ValueError, MemoryError):
            return text
    return "\n".join(parts) or _unwrapped_cut(text)


def _unwrapped_cut(text: str) -> str:
    """What is left of the one block whose end was cut off."""
    opened = _OPENED.search(text)
    if opened is None or len(text) > _MAX_CUT_CHARS:
        return text
    quote, body = opened.group(1), text[opened.end() :]
    for left_out in range(_LONGEST_ESCAPE_CHARS):  # the cut may have gone through an escape
        with suppress(SyntaxError, ValueError, MemoryError):
            return str(ast.literal_eval(f"{quote}{body[: len(body) - left_out]}{quote}"))
    return text


def unescaped(text: str) -> str:
    """Text whose line breaks are written as `\\n`, with its escapes undone, layer by layer.

    Where real line breaks prevail, single lines that hold several escaped ones are undone. Text
    with paths of Windows stays as it is.
    """
    for _ in range(_MAX_LAYERS):
        escaped = text.count("\\n")
        if escaped < _MIN_ESCAPED_NEWLINES or _WINDOWS_PATH.search(text):
            break
        if escaped < 2 * text.count("\n"):
            return _unescaped_lines(text)
        text = _ESCAPE.sub(_meant, text)
    return text


def _unescaped_lines(text: str) -> str:
    """Lines that YAML folded are joined; those with several escaped breaks are broken there."""
    if text.count("\\\n") >= _MIN_ESCAPED_NEWLINES:
        text = _YAML_FOLD.sub("", text)
    return "\n".join(
        _ESCAPE.sub(_meant, line) if line.count("\\n") >= _MIN_ESCAPED_NEWLINES else line
        for line in text.split("\n")
    )


def _meant(match: re.Match[str]) -> str:
    code, plain = match.group(1), match.group(2)
    if code:
        char = chr(int(code, 16))
        return match.group() if "\ud800" <= char <= "\udfff" else char
    return _PLAIN.get(plain, plain) if plain else " "


def unmarked(text: str) -> str:
    """Text without the inline tags that search engines set around what they found."""
    if "</" not in text or not _HIGHLIGHT.search(text):
        return text
    return html.unescape(_HIGHLIGHT.sub("", text))


def without_blobs(text: str) -> str:
    """Base64 of 200 characters or more, described by its size and type."""
    return _BLOB.sub(_described, text)


def _described(match: re.Match[str]) -> str:
    blob = match.group()
    probe = blob[-400:]
    mixed = any(c.isdigit() for c in probe) and any(c.isupper() for c in probe)
    if not (mixed and any(c.islower() for c in probe)):
        return blob
    kind = f" {match.group(1)}" if match.group(1) else ""
    return f"<base64{kind}, {len(blob):,} characters; not shown>"


def without_repeats(lines: list[str]) -> list[str]:
    """Lines with runs of the same line, or of the same few lines, shown once with their count."""
    return list(_folded(lines))


def _folded(lines: list[str]) -> Iterator[str]:
    number = 0
    last = len(lines)
    while number < last:
        period, repeats = _run_at(lines, number)
        if repeats < _MIN_REPEATS:
            yield lines[number]
            number += 1
            continue
        block = lines[number : number + period]
        yield from block
        if any(line.strip() for line in block):
            what = "line above" if period == 1 else f"{period} lines above"
            yield f"[{what} ×{repeats}]"
        number += period * repeats


def _run_at(lines: list[str], start: int) -> tuple[int, int]:
    """The period of the run that begins here, and how often it stands there; (1, 1) for none."""
    line = lines[start]
    for period in range(1, _MAX_PERIOD + 1):
        end = start + period
        if end >= len(lines) or lines[end] != line:
            continue
        block = lines[start:end]
        repeats = 1
        while lines[end : end + period] == block:
            repeats += 1
            end += period
        # A marker takes a line itself: what stands there twice must be longer to be worth it.
        if repeats > _MIN_REPEATS or (repeats == _MIN_REPEATS and not line.strip()):
            return period, repeats
        if repeats == _MIN_REPEATS and sum(map(len, block)) > 60:
            return period, repeats
    return 1, 1
