"""One live connection to an MCP server: opened when needed, opened again after the server ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, TextIO, cast

from agentkit.tools.errors import ServerUnavailable
from agentkit.tools.mcp.server import HttpServer, McpServer
from agentkit.tools.mcp.stderr import ErrorOutput
from agentkit.tools.pins import Definition

if TYPE_CHECKING:
    from anyio import CancelScope
    from mcp import Client
    from mcp.client import Transport
    from mcp.types import CallToolResult, Tool

_CLOSED = -32000  # the SDK's own code where a connection has ended under a request
_SESSION_GONE = "Session terminated"
_MOST_PAGES = 1_000
_MOST_TOOLS = 10_000
_LISTED_AGAIN_SECONDS = 60.0
_CLOSE_SECONDS = 8.0
_SHOWN_LOG_CHARS = 400


class Connection:
    """Lives on one event loop; every method is called there."""

    def __init__(self, name: str, server: McpServer) -> None:
        self.name = name
        self.server = server
        self._opening = asyncio.Lock()
        self._client: Client | None = None
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._written: ErrorOutput | None = None
        self._scope: CancelScope | None = None
        self._definitions: dict[str, Definition] = {}
        self._listed_at = 0.0
        self._is_stale = False

    async def definitions(self) -> tuple[Definition, ...]:
        """What the server says of its tools now; raises ServerUnavailable."""
        await self._list(await self._connected())
        return tuple(self._definitions.values())

    async def call(
        self, expected: Definition, arguments: Mapping[str, object]
    ) -> CallToolResult | str:
        """The result, or why the tool was not called: its definition is not the `expected` one.

        Raises ServerUnavailable where the server has ended, or ends meanwhile.
        """
        from mcp import MCPError

        client = await self._connected()
        try:
            if self._is_stale or time.monotonic() - self._listed_at > _LISTED_AGAIN_SECONDS:
                await self._list(client)
            now = self._definitions.get(expected.name)
            if now is None:
                return "the server no longer offers it"
            if now.fingerprint != expected.fingerprint:
                return "its definition has changed since it was accepted"
            return await client.call_tool(expected.name, dict(arguments))
        except MCPError as error:
            if error.code != _CLOSED and error.message != _SESSION_GONE:
                raise
            self._drop(client)
            raise ServerUnavailable(
                f"the server {self.name!r} ended during the call, which may have been carried out",
                server=self.name,
            ) from error

    async def close(self) -> None:
        """Ends the connection and the server's process, by force where it does not."""
        self._ended.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)
            self._task.cancel()
        self._client = None

    async def _connected(self) -> Client:
        async with self._opening:
            ended = self._written is not None and self._written.has_ended
            if ended and self._client is not None:
                self._drop(self._client)
            if self._client is None or self._task is None or self._task.done():
                await self._connect()
            return cast("Client", self._client)

    async def _connect(self) -> None:
        ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        written = ErrorOutput()
        self._written = None if isinstance(self.server, HttpServer) else written
        # A task of its own, for the SDK's scopes must be left where they were entered.
        self._task = asyncio.create_task(self._live(ready, self._ended, written))
        try:
            async with asyncio.timeout(self.server.connect_timeout_seconds):
                client = await asyncio.shield(ready)
                await self._list(client)
            self._client = client
        except Exception as error:
            await self._give_up()
            why = self._failure(error, written.last(_SHOWN_LOG_CHARS))
            raise ServerUnavailable(why, server=self.name) from error
        except BaseException:
            self._cancel_opening()
            raise

    async def _give_up(self) -> None:
        """Ends a connection that never came to be: the server's program too."""
        self._cancel_opening()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)

    def _cancel_opening(self) -> None:
        """By a scope of anyio, which lets the SDK end the program; a task's cancel would not."""
        self._client = None
        self._ended.set()
        if self._scope is not None:
            self._scope.cancel()

    async def _live(
        self, ready: asyncio.Future[Client], ended: asyncio.Event, written: ErrorOutput
    ) -> None:
        import anyio
        from mcp import Client

        self._scope = anyio.CancelScope()
        try:
            with self._scope:
                async with (
                    _transport(self.server, written) as transport,
                    Client(transport, message_handler=self._hear, cache=None) as client,
                ):
                    written.handed_over()
                    if not ready.done():
                        ready.set_result(client)
                    await ended.wait()
        except BaseException as error:
            if not ready.done():
                ready.set_exception(_first(error))
                ready.exception()  # seen: nobody may wait for it any more
            if not isinstance(error, Exception):
                raise
        finally:
            written.handed_over()

    async def _hear(self, message: object) -> None:
        if type(message).__name__ == "ToolListChangedNotification":
            self._is_stale = True

    async def _list(self, client: Client) -> None:
        found: dict[str, Definition] = {}
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = await client.list_tools(cursor=cursor)
            for tool in page.tools:
                found.setdefault(tool.name, _definition(tool))
            cursor = page.next_cursor
            if cursor is None or len(found) > _MOST_TOOLS:
                break
        self._definitions = found
        self._listed_at, self._is_stale = time.monotonic(), False

    def _drop(self, client: Client) -> None:
        if self._client is client:
            self._client = None
            self._ended.set()

    def _failure(self, error: BaseException, said: str) -> str:
        seconds = self.server.connect_timeout_seconds
        why = f"no answer in {seconds:g} s" if isinstance(error, TimeoutError) else _shown(error)
        place = self.server.url if isinstance(self.server, HttpServer) else self.server.command
        return f"the MCP server {self.name!r} ({place}) cannot be used: {why}" + (
            f"; it wrote: {said}" if said else ""
        )


@contextlib.asynccontextmanager
async def _transport(server: McpServer, written: ErrorOutput) -> AsyncGenerator[Transport]:
    """The SDK's transport to a server, not yet entered."""
    if isinstance(server, HttpServer):
        from mcp.client.streamable_http import streamable_http_client

        from agentkit.tools.mcp.bound import bounded_client

        async with bounded_client(dict(server.headers), server.max_response_bytes) as client:
            yield streamable_http_client(server.url, http_client=client)
        return
    from mcp import StdioServerParameters, stdio_client

    parameters = StdioServerParameters(
        command=server.command,
        args=list(server.arguments),
        env=dict(server.env),
        cwd=server.folder,
    )
    yield stdio_client(parameters, errlog=cast("TextIO", written.target))


def _definition(tool: Tool) -> Definition:
    hints: dict[str, object] = {}
    if tool.annotations is not None:
        hints = tool.annotations.model_dump(by_alias=True, exclude_none=True)
    if tool.title:
        hints["name shown"] = tool.title
    return Definition(
        name=tool.name, description=tool.description or "", schema=tool.input_schema, hints=hints
    )


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def _shown(error: BaseException) -> str:
    error = _first(error)
    text = (str(error).splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
