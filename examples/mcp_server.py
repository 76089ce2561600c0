"""Tools of an MCP server: pinned, permitted, and run under a budget. Needs the extra `mcp`.

The server is this file itself, run with `serve`: a small shop that can look up and refund orders.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage

from agentkit import Agent, Approve, Budget, Permissions
from agentkit.tools.mcp import McpServers, StdioServer


def serve() -> None:
    """Speak MCP on the standard streams until they close."""
    from mcp.server import MCPServer

    server = MCPServer("shop")

    @server.tool()
    def find_order(order: str) -> str:
        """Look up one order."""
        return f"{order}: one lamp, 30 USD, delivered"

    @server.tool()
    def refund(order: str) -> str:
        """Refund one order in full."""
        return f"refunded {order}"

    server.run("stdio")


def main() -> None:
    """One task that looks up an order and asks before it refunds it."""
    folder = Path(tempfile.mkdtemp())
    shop = StdioServer(
        command=sys.executable,
        arguments=[__file__, "serve"],
        side_effects={"find_*": "read", "refund": "spend"},
    )
    order = {"order": "W1"}
    answers = [
        AIMessage("", tool_calls=[{"name": "shop__find_order", "args": order, "id": "1"}]),
        AIMessage("", tool_calls=[{"name": "shop__refund", "args": order, "id": "2"}]),
        AIMessage("Your lamp is refunded."),
    ]
    with McpServers({"shop": shop}, pins=folder / "tools.pins.json") as servers:
        agent = Agent(
            models=[FakeMessagesListChatModel(responses=answers)],  # put a real model here
            tools=[*servers],
            budget=Budget(calls=10, seconds=60),
            permissions=Permissions(ask=["side_effect:spend"]),
            checkpoint=f"sqlite:///{folder / 'checkpoints.db'}",
        )
        waiting = agent.run("Refund order W1", thread_id="w1")
        print(waiting.reason)
        question = agent.graph.get_state({"configurable": {"thread_id": "w1"}}).interrupts[0]
        print(question.value["calls"])
        result = agent.resume("w1", Approve())
        print(result.outcome, result.answer)
        assert result.outcome == "answered"


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
