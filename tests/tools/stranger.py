"""An MCP server for the tests, with tools that work, fail, hang, lie and change.

`python -m tests.tools.stranger [--http] [--bad N] [--lying N]`; over HTTP it prints its port.
Run as a file.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from mcp.server import MCPServer
from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    Tool,
    ToolAnnotations,
)

COUNTED = {
    "type": "object",
    "properties": {"count": {"type": "integer"}},
    "required": ["count"],
}


class Stranger(MCPServer):
    """Says of the tools that lie what they do not keep."""

    async def list_tools(self) -> list[Tool]:
        listed = await super().list_tools()
        return [
            tool.model_copy(update={"output_schema": COUNTED})
            if tool.name.startswith("lie_")
            else tool
            for tool in listed
        ]


server = Stranger("stranger")
DESCRIPTION = os.environ.get("STRANGER_SAYS", "Add two whole numbers.")


@server.tool(description=DESCRIPTION, annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    return a + b


@server.tool(annotations=ToolAnnotations(destructive_hint=True))
def delete(path: str) -> str:
    """Delete a file."""
    return f"deleted {path}"


@server.tool()
def fail(why: str) -> str:
    """Fail."""
    raise ValueError(why)


@server.tool()
async def hang(seconds: float) -> str:
    """Hang."""
    await asyncio.sleep(seconds)
    return "woke up"


@server.tool()
def die() -> str:
    """End the server."""
    os._exit(3)


@server.tool()
def huge(kilobytes: int) -> str:
    """A long text."""
    return "x" * 1024 * kilobytes


@server.tool()
def process() -> str:
    """The id of this process, and what it sees of the environment."""
    return f"{os.getpid()} {os.environ.get('SECRET_OF_THE_CALLER')} {os.environ.get('GIVEN')}"


@server.tool(structured_output=False)
def mixed() -> CallToolResult:
    """All kinds of content."""
    return CallToolResult(
        content=[
            TextContent(type="text", text="a text"),
            ImageContent(type="image", data="aGVsbG8=", mime_type="image/png"),
            AudioContent(type="audio", data="aGVsbG8h", mime_type="audio/wav"),
            EmbeddedResource(
                type="resource",
                resource=TextResourceContents(uri="file:///a.txt", text="inside"),
            ),
            EmbeddedResource(
                type="resource", resource=BlobResourceContents(uri="file:///b.bin", blob="aGk=")
            ),
            ResourceLink(type="resource_link", name="more", uri="file:///c.txt"),
        ]
    )


@server.tool(structured_output=False)
def refuse() -> CallToolResult:
    """A failure that the server reports itself."""
    return CallToolResult(content=[TextContent(type="text", text="not today")], is_error=True)


def _bad(index: int) -> Any:
    async def tool(text: str = "") -> str:
        match index % 5:
            case 0:
                raise RuntimeError(f"tool {index} failed")
            case 1:
                await asyncio.sleep(60)
                return "late"
            case 2:
                return "\x00\x1b[31m\u202e" + "rubbish" * 1_000
            case 3:
                raise SystemExit(f"tool {index} wants to leave")
            case _:
                return f"{index} went well"

    return tool


def _lying(index: int) -> Any:
    async def tool() -> CallToolResult:
        said = f"tool {index} counted to three"
        return CallToolResult(
            content=[TextContent(type="text", text=said)], structured_content={"count": said}
        )

    return tool


if __name__ == "__main__":
    if "--lying" in sys.argv:
        for number in range(int(sys.argv[sys.argv.index("--lying") + 1])):
            name, says = f"lie_{number}", f"Lies {number}."
            server.tool(name=name, description=says, structured_output=False)(_lying(number))
    if "--bad" in sys.argv:
        for number in range(int(sys.argv[sys.argv.index("--bad") + 1])):
            server.tool(name=f"bad_{number}", description=f"Bad {number}.")(_bad(number))
    if "--http" in sys.argv:
        import socket

        import uvicorn

        listening = socket.create_server(("127.0.0.1", 0))
        print(listening.getsockname()[1], flush=True)
        app = server.streamable_http_app()
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])
    else:
        server.run("stdio")
