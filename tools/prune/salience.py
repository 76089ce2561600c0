"""How likely a later call copies something from a line: identifiers, numbers, paths, errors."""

from __future__ import annotations

import re

_MARKS = re.compile(
    r"\d+(?:[.,:/-]\d+)*"  # numbers, dates, times
    r"|://|@|[a-z][A-Z]|_|\\|/"  # addresses, paths, names of code
    r"|\"[^\"\n]{1,80}\"|'[^'\n]{1,80}'|`[^`\n]{1,80}`"
    r"|\b[A-Z][\w-]{1,40}"  # names
)
_TROUBLE = (
    "error", "fail", "fatal", "exception", "traceback", "panic", "critical", "denied", "refused",
    "invalid", "not found", "timeout", "timed out", "abort", "corrupt", "unable", "cannot", "warn",
)  # fmt: skip
_PROBE_CHARS = 240
_FIELD_WORDS = re.compile(r"[_.\-\s]+|(?<=[a-z])(?=[A-Z])")
_NAMING = frozenset(
    "name id ids uid uuid guid url uri link links href path file filename key code title symbol "
    "ticker slug handle email number no date lat latitude lon lng longitude ref reference doi isbn "
    "sku address cursor".split()
)


def salience(line: str) -> float:
    """Marks of identifiers in the first 240 characters, per character; 0 to about 1."""
    probe = line[:_PROBE_CHARS]
    if not probe:
        return 0.0
    return len(_MARKS.findall(probe)) * 4 / (len(probe) + 12)


def names_something(field: str) -> bool:
    """Whether a field's name says that its value names, numbers or locates a thing."""
    return _FIELD_WORDS.split(field.strip())[-1].lower() in _NAMING


def is_trouble(line: str) -> bool:
    """Whether the first 240 characters speak of an error or a warning."""
    probe = line[:_PROBE_CHARS].lower()
    return any(word in probe for word in _TROUBLE)
