"""Tools of MCP servers, over stdio and streamable HTTP, as tools of a catalogue."""

from agentkit.tools.mcp.server import HttpServer, McpServer, StdioServer
from agentkit.tools.mcp.servers import McpServers

__all__ = ["HttpServer", "McpServer", "McpServers", "StdioServer"]
