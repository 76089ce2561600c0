"""Which kind of observation a text is, from its beginning and a sample of its lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agentkit.tools.prune.pruned import Kind

_PROBE_CHARS = 20_000
_MAX_LINES = 60
_MAX_LINE_CHARS = 500

_JSON_START = re.compile(r"\s*(?:\{\s*(?:\"|\}|$)|\[\s*(?:[\[{\"\]\d-]|true|false|null|$))")
_HTML = re.compile(
    r"\s*(?:<!--.{0,500}?-->\s*)?<(?:!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
_TAG = re.compile(
    r"</?(?:a|body|div|form|h[1-6]|head|html|input|li|meta|p|script|section|span|table|td|tr|ul)\b",
    re.IGNORECASE,
)
_TRACE = re.compile(
    r"^Traceback \(most recent call last\):"
    r"|^[ \t]+at [^\n]{1,300}[:(]\d+[^\n]{0,40}$"
    r"|^goroutine \d+ \["
    r"|^thread '[^'\n]{1,100}' panicked at",
    re.MULTILINE,
)
_DIFF = re.compile(r"^(?:diff --git |@@ -\d+(?:,\d+)? \+\d+)", re.MULTILINE)
_LOG = re.compile(
    r"\W{0,3}(?:\d{4}[-/.]\d\d[-/.]\d\d|\d\d[-/.]\d\d[-/.]\d{2,4}|\d{6} \d{6}|\d{9,13}\b"
    r"|\d\d:\d\d:\d\d|[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d|[A-Z][a-z]{2} [A-Z][a-z]{2} +\d)"
    r"|.{0,60}\b(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL)\b"
    r"|.{0,60}\d\d:\d\d:\d\d[.,\s\]]|.{0,40}\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d"
    r"|.{0,80}\b(?:level|lvl|severity)=",
)
_SEARCH = re.compile(
    r"(?:[\w.\-~]*[/\\])*[\w.\-]+[:-]\d+[:-]|(?:\d+[.)] )?(?:title|url|link): ", re.IGNORECASE
)
_LISTING = re.compile(
    r"[d\-lbcps][r-][w-][xsS-][rwxsStT-]{6}[.+@]?\s"  # ls -l
    r"|[ \t│├└─|`+\\-]++[\w.][\w.\- ]*+/?$"  # tree
    r"|(?:\[(?:DIR|FILE)\] .+)$"
    r"|(?:\.{0,2}/|[A-Za-z]:\\)?(?:[\w.@+\- ]+[/\\])*[\w.@+\-]+(?:[/\\]|\.\w{1,8})$"
    r"|total \d+$"
)
_CODE = re.compile(
    r"\s*(?:(?:async )?def \w+\(|class \w+|from [\w.]+ import |import [\w{*\"']|#include [<\"]"
    r"|(?:export |default |pub(?:\(\w+\))? |public |private |protected |static |final |abstract )*"
    r"(?:function|class|interface|enum|struct|impl|trait|fn|func|namespace|module|package|const|let"
    r"|var|void|int|type)\b[^.]{0,200}[({=;:]"
    r"|@\w+|return\b|(?:if|for|while|switch)\b.{0,200}[:{]$|[)}\]]+[;,]?$|.{1,200}[;{]$)"
)
_DELIMITERS = ("\t", "|", ";", ",")


def kind_of(text: str) -> Kind:
    """The kind of a text whose escapes have been undone."""
    probe = text[:_PROBE_CHARS]
    start = probe.lstrip()[:1]
    if start in ("{", "[") and _looks_like_json(probe):
        return "json"
    if _HTML.match(probe) or len(_TAG.findall(probe)) > max(5, len(probe) // 200):
        return "html"
    if _DIFF.search(probe):
        return "diff"
    lines = [line[:_MAX_LINE_CHARS] for line in probe.split("\n") if line.strip()][:_MAX_LINES]
    if not lines:
        return "text"
    logged = _share(_LOG, lines)
    if _TRACE.search(probe) and logged < 0.5:
        return "trace"
    if logged >= 0.6 and len(lines) > 2:
        return "log"
    if _share(_SEARCH, lines) >= 0.3 and len(lines) > 2:
        return "search"
    if delimiter_of(lines):
        return "table"
    if _share(_LISTING, lines) >= 0.7 and len(lines) > 2:
        return "listing"
    if _share(_CODE, lines) >= 0.35 and len(lines) > 3:
        return "code"
    return "text"


def delimiter_of(lines: Sequence[str]) -> str | None:
    """The character that cuts at least three lines into equally many cells; None without one."""
    sample = [line for line in lines[:30] if line.strip()]
    if len(sample) < 3:
        return None
    for delimiter in _DELIMITERS:
        counts = [line.count(delimiter) for line in sample]
        usual = max(set(counts), key=counts.count)
        wide_enough = usual >= (2 if delimiter == "," else 1)
        if wide_enough and counts.count(usual) >= 0.8 * len(counts) and counts[0]:
            return delimiter
    return None


def _looks_like_json(probe: str) -> bool:
    """Whether what follows the first bracket is what may follow it; parsing decides later."""
    return _JSON_START.match(probe) is not None


def _share(pattern: re.Pattern[str], lines: Sequence[str]) -> float:
    return sum(pattern.match(line) is not None for line in lines) / len(lines)
