"""MCP servers as a source of tools: connected, pinned, named apart, and usable without async."""

from __future__ import annotations

import importlib.util
import logging
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from langchain_core.messages import ToolMessage
from langchain_core.tools import StructuredTool

from agentkit.tools.catalogue import ToolSpec
from agentkit.tools.errors import InvalidTool, ServerUnavailable, ToolExtraMissing
from agentkit.tools.mcp.connection import Connection
from agentkit.tools.mcp.content import text_of
from agentkit.tools.mcp.loop import BackgroundLoop
from agentkit.tools.mcp.server import McpServer
from agentkit.tools.naming import check_group, tool_name
from agentkit.tools.pins import Change, Definition, Pins
from agentkit.tools.schemas import shown_text, stranger_schema

_log = logging.getLogger("agentkit.tools.mcp")


@dataclass(frozen=True, kw_only=True)
class Left:
    """A tool of a server, or a whole server (`tool` is empty), that is not offered, and why."""

    server: str
    tool: str
    reason: str


class McpServers:
    """The tools of MCP servers, named `server__tool`; iterate over it, or give it to a catalogue.

    With `pins`, a file for version control, a server is pinned when it is first seen; from then on
    a tool that changed or is new stays out until it is accepted (`accept`, or `agentkit tools
    accept`). Without it the definitions of the first connection hold while this lives.

    >>> servers = McpServers({"time": StdioServer(command="mcp-server-time")})  # doctest: +SKIP
    >>> with servers:  # doctest: +SKIP
    ...     agent = Agent(models=["local:pocket"], tools=[*servers])
    """

    def __init__(
        self,
        servers: Mapping[str, McpServer],
        *,
        pins: str | Path | None = None,
        skip_unavailable: bool = False,
    ) -> None:
        """Nothing is started yet. With `skip_unavailable` a server that cannot be reached is left
        out (`left_out` says why) instead of an error.

        Raises InvalidTool for a name that cannot begin those of tools, ToolExtraMissing or
        InvalidPins.
        """
        if importlib.util.find_spec("mcp") is None:
            raise ToolExtraMissing(what="a tool server", extra="mcp")
        for name in servers:
            check_group(name)
        self._servers = dict(servers)
        self._skips = skip_unavailable
        self.pins = Pins(None if pins is None else Path(pins))
        self._state: _State | None = None
        self._specs: tuple[ToolSpec, ...] | None = None
        self._found: dict[str, tuple[Definition, ...]] = {}
        self.changes: tuple[Change, ...] = ()
        self.left_out: tuple[Left, ...] = ()

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools that may be offered; connects at the first use. Raises ServerUnavailable."""
        if self._specs is None:
            self._specs = tuple(self._read())
        return self._specs

    def definitions(self, server: str) -> tuple[Definition, ...]:
        """What a server says of its tools, as read at the first use."""
        self.specs()
        return self._found.get(server, ())

    def accept(self, server: str, *, only: Iterable[str] | None = None) -> None:
        """Pins a server's tools as they are now, or those in `only`; they are usable at once."""
        self.pins.accept(server, self.definitions(server), only=only)
        self._specs = None

    def close(self) -> None:
        """Ends the connections and the servers' programs; a later use starts them again."""
        state, self._state = self._state, None
        self._specs = None
        if state is not None:
            state.close()

    def __iter__(self) -> Iterator[ToolSpec]:
        return iter(self.specs())

    def __len__(self) -> int:
        return len(self.specs())

    def __enter__(self) -> McpServers:
        self.specs()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> Iterator[ToolSpec]:
        state = self._live()
        changes: list[Change] = []
        left: list[Left] = []
        for name, server in self._servers.items():
            try:
                found = state.definitions(name)
            except ServerUnavailable as error:
                if not self._skips:
                    self.close()
                    raise
                left.append(Left(server=name, tool="", reason=str(error)))
                continue
            wanted = tuple(definition for definition in found if server.takes(definition.name))
            self._found[name] = wanted
            if not self.pins.knows(name):
                self.pins.accept(name, wanted)
            verdict = self.pins.verdict(name, wanted)
            changes += verdict.changes
            for definition in verdict.usable:
                try:
                    yield _spec(name, server, definition, state)
                except InvalidTool as error:
                    left.append(Left(server=name, tool=definition.name[:64], reason=str(error)))
        left += (
            Left(server=c.server, tool=c.tool[:64], reason=f"it is {c.kind}, and not yet accepted")
            for c in changes
            if c.kind != "gone"
        )
        self.changes, self.left_out = tuple(changes), tuple(left)
        for item in left:
            _log.warning("not offered: %s %s: %s", item.server, item.tool, item.reason)

    def _live(self) -> _State:
        if self._state is None or not self._state.loop.is_running:
            self._state = _State(self._servers)
        return self._state


class _State:
    """What runs: a loop and its connections, closed with the process if not before."""

    def __init__(self, servers: Mapping[str, McpServer]) -> None:
        self.loop = BackgroundLoop()
        self.connections = {name: Connection(name, server) for name, server in servers.items()}
        self._finalizer = weakref.finalize(self, _end, self.loop, tuple(self.connections.values()))

    def definitions(self, name: str) -> tuple[Definition, ...]:
        return self.loop.wait_for(self.connections[name].definitions())

    def close(self) -> None:
        self._finalizer()


def _end(loop: BackgroundLoop, connections: Sequence[Connection]) -> None:
    if not loop.is_running:
        return
    for connection in connections:
        loop.wait_for(connection.close())
    loop.stop()


def _spec(name: str, server: McpServer, definition: Definition, state: _State) -> ToolSpec:
    full = tool_name(name, definition.name)
    connection, loop = state.connections[name], state.loop

    async def call(**arguments: object) -> object:
        if not loop.is_running:
            raise ServerUnavailable(f"the servers of {full} have been closed", server=name)
        result = await loop.result_of(connection.call(definition, arguments))
        if isinstance(result, str):
            return _failed(f"{full} was not called: {result}; a person has to accept it first")
        text = text_of(result)
        return _failed(text) if result.is_error else text

    tool = StructuredTool(
        name=full,
        description=shown_text(
            definition.description or definition.hints.get("name shown"),
            otherwise=definition.name.replace("_", " "),
        ),
        args_schema=stranger_schema(definition.schema, tool=full),
        coroutine=call,
    )
    side_effect = server.side_effect_of(definition.name, definition.hints)
    return ToolSpec.of(
        tool,
        side_effect=side_effect,
        tags=server.tags,
        cost=server.cost,
        group=name,
        timeout_seconds=server.timeout_seconds,
        max_result_bytes=server.max_result_bytes,
        max_attempts=2 if side_effect == "read" else 1,  # the second on a new connection
    )


def _failed(text: str) -> ToolMessage:
    return ToolMessage(text, tool_call_id="", status="error")
