"""`agentkit tools pins` and `agentkit tools accept`: what tool servers changed, and taking it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import options
from agentkit.cli.screen import emit, note, one_line, printable, say
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.tools.mcp import McpServers
    from agentkit.tools.pins import Change

_MOST_DIFF_LINES = 60

Reference = Annotated[
    str, typer.Argument(metavar="MODULE:NAME", help="Where the McpServers are, like shop:servers.")
]


def pins(reference: Reference, json: options.Json = False) -> int:
    """Start tool servers and show what is not as it was pinned.

    A server that was never pinned is pinned now. Exit status: 0 all as pinned, 1 something changed.
    """
    servers = _servers(reference)
    with servers:
        changes, left = servers.changes, servers.left_out
    if json:
        emit(
            {
                "pins": None if servers.pins.file is None else str(servers.pins.file),
                "changes": [_facts(change) for change in changes],
                "left_out": [
                    {"server": item.server, "tool": item.tool, "reason": item.reason}
                    for item in left
                ],
            }
        )
    else:
        _show(changes)
        say("all as pinned" if not changes else _how_to_accept(reference))
    return 1 if changes else 0


def accept(
    reference: Reference,
    tool: Annotated[
        list[str] | None,
        typer.Option(metavar="SERVER__TOOL", help="Only this one, as offered. Repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: options.Json = False,
) -> int:
    """Pin tools as their servers describe them now, after showing what changed."""
    servers = _servers(reference)
    with servers:
        if servers.pins.file is None:
            raise ConfigError(f"{reference} keeps no pins; give it McpServers(..., pins='FILE')")
        changes = _wanted(servers.changes, tool or ())
        if not json:
            _show(changes)
        if not changes:
            return _done(json, changes, "nothing to accept: all as pinned")
        if not yes and not _agrees(json, len(changes)):
            return _done(json, (), "nothing was accepted")
        for server in dict.fromkeys(change.server for change in changes):
            only = [change.tool for change in changes if change.server == server]
            servers.accept(server, only=only)
    return _done(json, changes, f"accepted in {servers.pins.file}")


def _servers(reference: str) -> McpServers:
    from agentkit.cli.tool_reference import resolved
    from agentkit.tools.mcp import McpServers

    value = resolved(reference, Path.cwd())
    if not isinstance(value, McpServers):
        raise ConfigError(
            f"{reference} is {type(value).__name__}, not McpServers; name the servers themselves"
        )
    return value


def _wanted(changes: Sequence[Change], tools: Sequence[str]) -> tuple[Change, ...]:
    from agentkit.tools.naming import tool_name

    if not tools:
        return tuple(changes)
    names = {tool_name(change.server, change.tool): change for change in changes}
    unknown = [name for name in tools if name not in names]
    if unknown:
        changed = ", ".join(names) or "none"
        raise ConfigError(f"{unknown[0]!r} has not changed; changed: {changed}")
    return tuple(names[name] for name in dict.fromkeys(tools))


def _agrees(json: bool, count: int) -> bool:
    if json or not sys.stdin.isatty():
        raise ConfigError("nothing was accepted: add --yes, once you have read the changes")
    return typer.confirm(f"accept {count} change{'s' if count > 1 else ''}?", err=True)


def _done(json: bool, accepted: Sequence[Change], text: str) -> int:
    if json:
        emit({"accepted": [_facts(change) for change in accepted]})
    else:
        note(text)
    return 0


def _show(changes: Sequence[Change]) -> None:
    for change in changes:
        say(f"{change.server} {one_line(change.tool)}: {change.kind}")
        lines = change.diff.splitlines()
        for line in lines[:_MOST_DIFF_LINES]:
            say(f"    {printable(line[:2_000])}")
        if len(lines) > _MOST_DIFF_LINES:
            say(f"    … {len(lines) - _MOST_DIFF_LINES} lines more (--json has them)")


def _how_to_accept(reference: str) -> str:
    return f"take them with: agentkit tools accept {reference}"


def _facts(change: Change) -> dict[str, str]:
    return {
        "server": change.server,
        "tool": change.tool,
        "kind": change.kind,
        "diff": change.diff,
    }
