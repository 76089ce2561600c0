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
_IDENTITY = re.compile(
    r"(?:^|[_.-]|(?<=[a-z]))(?:[Nn]ame|[Ii]ds?|[Uu]r[li]|[Ll]inks?|[Hh]ref|[Pp]ath|[Ff]ile(?:name)?"
    r"|[Kk]ey|[Cc]ode|[Tt]itle|[Ss]ymbol|[Tt]icker|[Ss]lug|[Hh]andle|[Ee]mail|[Nn]umber|[Dd]ate"
    r"|[Ll]at(?:itude)?|[Ll]on(?:gitude)?|[Ll]ng|[Rr]ef)$"
)


def salience(line: str) -> float:
    """Marks of identifiers in the first 240 characters, per character; 0 to about 1."""
    probe = line[:_PROBE_CHARS]
    if not probe:
        return 0.0
    return len(_MARKS.findall(probe)) * 4 / (len(probe) + 12)


def names_something(field: str) -> bool:
    """Whether a field's name says that its value names, numbers or locates a thing."""
    return _IDENTITY.search(field) is not None


def is_trouble(line: str) -> bool:
    """Whether the first 240 characters speak of an error or a warning."""
    probe = line[:_PROBE_CHARS].lower()
    return any(word in probe for word in _TROUBLE)
