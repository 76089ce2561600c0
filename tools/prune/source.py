"""Source code, diffs and stack traces: what names and changes things before what fills bodies."""

from __future__ import annotations

import re

from agentkit.tools.prune.outline import Ask, Outline
from agentkit.tools.prune.salience import is_trouble, salience

_SIGNATURE = re.compile(
    r"\s*(?:(?:async )?def \w|class \w|@\w|#define\b"
    r"|(?:export |default |pub(?:\(\w+\))? |public |private |protected |static |final |abstract "
    r"|async |unsafe |inline |virtual )*"
    r"(?:function|class|interface|enum|struct|impl|trait|fn|func|namespace|module|record|type)\b"
    r"|(?:[\w<>\[\],*&:]+ ){1,4}[\w:~]+\([^;]{0,200}\)\s*(?:const\s*)?\{)"
)
_IMPORT = re.compile(r"\s*(?:import|from|#include|use|using|require|package)\b")
_CONSTANT = re.compile(r"\s*(?:const |final |static |let |var )*[A-Z][A-Z0-9_]{2,}\b[^=(]{0,40}=")
_COMMENT = re.compile(r"\s*(?:#|//|/\*|\*|--|\"\"\"|''')")
_NOTE = re.compile(r"\b(?:TODO|FIXME|XXX|HACK|NOTE|BUG)\b")
_LIBRARY = re.compile(
    r"site-packages|dist-packages|/lib/python|lib/python\d|node_modules|node:internal|<frozen"
    r"|\bat (?:java|javax|jdk|sun|kotlin|scala|org\.(?:spring|apache|junit|hibernate)|com\.sun)\b"
    r"|/rustc/|/usr/local/go/|\.cargo/registry|\(internal/"
)
_FRAME = re.compile(r"\s+(?:File \"|at )|\s+\S+\.go:\d+|\s*\d+: ")
_ERROR_LINE = re.compile(
    r"\s{0,3}(?:[\w.]*(?:Error|Exception|Warning|Interrupt)\b|Caused by:|panic:|thread '|Traceback)"
)
_MAX_LINES = 20_000
_CHECK_EVERY = 256


def code_outline(text: str, ask: Ask) -> Outline:
    """Numbered lines: signatures, constants and notes first, then what the query asks for."""
    lines, outline = _lines(text)
    asked = _widened(ask.terms.hits(lines), len(lines), reach=4)
    blocks: list[tuple[int, int]] = []  # indentation and number of the signatures we are inside
    for number, line in enumerate(lines):
        if number % _CHECK_EVERY == 0:
            ask.deadline.check()
        body = line.strip()
        if not body:
            continue
        indent = len(line) - len(line.lstrip())
        while blocks and blocks[-1][0] >= indent:
            blocks.pop()
        signature = _SIGNATURE.match(line, 0, 400) is not None
        score = 30.0 * asked.get(number, 0.0) + 4.0 * min(1.0, salience(body)) - indent * 0.1
        score += 20.0 * signature + 22.0 * (_CONSTANT.match(line, 0, 200) is not None)
        score += 6.0 * (_NOTE.search(line, 0, 400) is not None) + 3.0 * is_trouble(body)
        score -= 3.0 * (_COMMENT.match(line) is not None) - (_IMPORT.match(line) is not None)
        parent = blocks[-1][1] if blocks else -1
        added = outline.add(f"{number + 1} {line.rstrip()}", score, parent)
        if signature:
            blocks.append((indent, added))
    return outline


def diff_outline(text: str, ask: Ask) -> Outline:
    """Changed lines under their file and hunk; unchanged ones last."""
    lines, outline = _lines(text)
    asked = ask.terms.hits(lines)
    file = hunk = -1
    for number, line in enumerate(lines):
        if number % _CHECK_EVERY == 0:
            ask.deadline.check()
        score = 20.0 * asked.get(number, 0.0)
        if line.startswith(("diff --git ", "Index: ")):
            file = hunk = outline.add(line, 40.0 + score)
        elif line.startswith("@@"):
            hunk = outline.add(line, 3.0 + score, file)
        elif line.startswith(("--- ", "+++ ")):
            outline.add(line, (30.0 if file < 0 else 12.0) + score, file)
        elif line.startswith(("+", "-")):
            outline.add(line, 14.0 + 6.0 * min(1.0, salience(line)) + score, hunk)
        elif line.strip():
            outline.add(line, 1.0 + score, hunk)
    return outline


def trace_outline(text: str, ask: Ask) -> Outline:
    """The error and its message, then frames of the user's own code, the innermost first."""
    lines, outline = _lines(text)
    asked = ask.terms.hits(lines)
    last = len(lines) - 1
    own = False
    for number, line in enumerate(lines):
        if number % _CHECK_EVERY == 0:
            ask.deadline.check()
        if not line.strip():
            continue
        score = 20.0 * asked.get(number, 0.0) + 4.0 * number / (last + 1)
        if _ERROR_LINE.match(line):
            score += 50.0
        elif _FRAME.match(line):
            own = _LIBRARY.search(line, 0, 1000) is None
            score += 20.0 if own else 2.0
        elif line.startswith(" "):
            score += 18.0 if own else 1.0  # the source line that a frame shows
        else:
            score += 30.0 if number in (0, last) else 8.0 + 8.0 * is_trouble(line)
        outline.add(line.rstrip(), score)
    return outline


def _lines(text: str) -> tuple[list[str], Outline]:
    """The first and last lines of a text of any length, and an outline that knows of the rest."""
    lines = text.split("\n")
    outline = Outline()
    if len(lines) > _MAX_LINES:
        outline.unseen = len(lines) - _MAX_LINES
        lines = lines[: _MAX_LINES * 3 // 4] + lines[-_MAX_LINES // 4 :]
    return lines, outline


def _widened(asked: dict[int, float], lines: int, *, reach: int) -> dict[int, float]:
    """Lines near those that are asked for count too, the less the farther."""
    found = dict(asked)
    for number, weight in asked.items():
        for distance in range(1, reach + 1):
            for near in (number - distance, number + distance):
                if 0 <= near < lines:
                    found[near] = max(found.get(near, 0.0), weight / (1.5 + distance))
    return found
