"""Names of tools that every provider takes, and that stay apart where several servers meet."""

from __future__ import annotations

import hashlib
import re

from agentkit.tools.errors import InvalidTool

# What every provider accepts: OpenAI and Anthropic both allow these 64 characters.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_-]+")
_MOST_CHARS = 64
_GROUP_CHARS = 24
_SEPARATOR = "__"
_HASH_CHARS = 8


def check_name(name: str, origin: str) -> None:
    """Raises InvalidTool where a provider would refuse the name."""
    if not _NAME.fullmatch(name):
        raise InvalidTool(
            f"{name!r} ({origin}) is no name for a tool: 1 to 64 letters, digits, '_' or '-'; "
            "use ToolSpec.of(tool, name=...)",
            tool=name,
        )


def check_group(group: str) -> None:
    """Raises InvalidTool where a server's name cannot begin the names of its tools."""
    if not re.fullmatch(r"[A-Za-z0-9-]+(_[A-Za-z0-9-]+)*", group) or len(group) > _GROUP_CHARS:
        raise InvalidTool(
            f"{group!r} cannot begin the names of tools: 1 to {_GROUP_CHARS} letters, digits, '-' "
            "or single '_', the last neither first nor last",
            tool=group,
        )


def tool_name(group: str, name: str) -> str:
    """`group__name`, in 64 characters that every provider takes; equal input, equal name.

    A name that had to be changed ends in a hash of what it was, so that two never meet: no group
    holds "__", so the first one ends it.
    """
    wanted = f"{group}{_SEPARATOR}{name}"
    if name and _NAME.fullmatch(wanted):
        return wanted
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARS]
    room = _MOST_CHARS - len(group) - len(_SEPARATOR) - _HASH_CHARS - 1
    safe = _NOT_ALLOWED.sub("_", name)[:room].strip("_")
    return f"{group}{_SEPARATOR}{safe}-{digest}"
