"""Where an MCP server is, and what its user says of its tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from agentkit.tools.errors import InvalidTool

if TYPE_CHECKING:
    from agentkit.tools.catalogue import CostClass, SideEffect

_STRICTNESS: dict[SideEffect, int] = {"read": 0, "write": 1, "spend": 2}


@dataclass(frozen=True, kw_only=True)
class ServerRules:
    """What a server's user knows of its tools; a server's own hints can only make it stricter.

    `side_effects` maps a tool's name or a pattern of names to what it does, the first that fits.
    Without an entry a tool counts as `side_effect`. With `trust_hints` a server's `readOnlyHint`
    counts as "read". `tools` names those to take (patterns too), all without it.
    """

    side_effect: SideEffect = "write"
    side_effects: Mapping[str, SideEffect] = field(default_factory=dict[str, "SideEffect"])
    trust_hints: bool = False
    tools: Sequence[str] = ("*",)
    tags: Sequence[str] = ()
    cost: CostClass = "free"
    timeout_seconds: float | None = None
    max_result_bytes: int | None = None
    connect_timeout_seconds: float = 30.0

    def takes(self, tool: str) -> bool:
        """Whether the server's tool is wanted."""
        return any(fnmatchcase(tool, pattern) for pattern in self.tools)

    def side_effect_of(self, tool: str, hints: Mapping[str, object]) -> SideEffect:
        """What the tool does, as far as its user or, where they are stricter, its hints say."""
        for pattern, declared in self.side_effects.items():
            if fnmatchcase(tool, pattern):
                return declared
        read_only = hints.get("readOnlyHint")
        if self.trust_hints and read_only is True:
            return "read"
        hinted: Literal["read", "write"] = (
            "write" if hints.get("destructiveHint") is True or read_only is False else "read"
        )
        return max(self.side_effect, hinted, key=_STRICTNESS.__getitem__)


@dataclass(frozen=True, kw_only=True)
class StdioServer(ServerRules):
    """A program that speaks MCP on its standard streams; it runs with your rights.

    It gets `env` and, of this process's environment, only what any program needs (PATH, HOME …).
    """

    command: str
    arguments: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    folder: Path | None = None


@dataclass(frozen=True, kw_only=True)
class HttpServer(ServerRules):
    """A server at an http or https address; `headers` carry what it asks for, and are never shown.

    Redirects are followed within the same origin only. Raises InvalidTool for other addresses.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    max_response_bytes: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise InvalidTool(
                f"an MCP server at {parts.scheme}://{parts.hostname or ''} cannot be used: give an "
                "http or https address without a user in it, and keys in headers={...}",
                tool=parts.hostname or "",
            )


McpServer = StdioServer | HttpServer
