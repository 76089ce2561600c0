"""Milliseconds a step that agentkit adds, with a model that answers at once.

    python benchmarks/overhead.py [--json] [--runs N]

Beside it in the same run: the bare LangGraph loop (a model node and a ToolNode), and LangChain's
`create_agent` with summarization, context-editing and call-limit middleware. One step is one model
call and one tool call. Each figure is the least of N runs, taken in turns, for a shared machine
only ever adds time. SQLite ledgers (synchronous NORMAL and FULL) have columns of their own.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import END, START, MessagesState, StateGraph

LENGTHS = (20, 100, 400)


class Instant(BaseChatModel):
    """Calls the tool `steps` times, then answers; reports its usage; takes no time."""

    steps: int
    made: int = 0

    @property
    def _llm_type(self) -> str:
        return "instant"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(**kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.made += 1
        usage = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
        call = {"name": "look_up", "args": {"query": f"x{self.made}"}, "id": f"call_{self.made}"}
        message = AIMessage(
            "" if self.made <= self.steps else "done",
            tool_calls=[call] if self.made <= self.steps else [],
            usage_metadata=usage,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


def look_up(query: str) -> str:
    """Look something up."""
    return f"a short observation about {query}"


def agentkit_task(ledger: str) -> Callable[[int], None]:
    """A whole task with a token budget on the ledger at `ledger`."""

    def run(steps: int) -> None:
        from agentkit import Agent, Budget

        agent = Agent([Instant(steps=steps)], [look_up], budget=Budget(tokens=10**9), ledger=ledger)
        result = agent.run("go")
        assert (result.outcome, result.calls) == ("answered", steps + 1), result.reason
        agent.ledger.close()

    return run


def langgraph_loop(steps: int) -> None:
    """The least graph that does the same work, with no budget."""
    from langgraph.prebuilt import ToolNode

    model = Instant(steps=steps)

    def think(state: MessagesState) -> dict[str, list[BaseMessage]]:
        return {"messages": [model.invoke(state["messages"])]}

    def after(state: MessagesState) -> str:
        last = state["messages"][-1]
        return "tools" if isinstance(last, AIMessage) and last.tool_calls else END

    graph = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode([look_up]))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", after)
    graph.add_edge("tools", "think")
    final = graph.compile().invoke(_request(), {"recursion_limit": 4 * steps + 10})
    assert final["messages"][-1].content == "done"


def create_agent_task(steps: int) -> None:
    """LangChain's agent with the middleware that is nearest to what agentkit does."""
    from langchain.agents import create_agent
    from langchain.agents.middleware import (
        ContextEditingMiddleware,
        ModelCallLimitMiddleware,
        SummarizationMiddleware,
        ToolCallLimitMiddleware,
    )

    model = Instant(steps=steps)
    agent = create_agent(
        model,
        [look_up],
        middleware=[
            SummarizationMiddleware(Instant(steps=0), trigger=("tokens", 10**9)),
            ContextEditingMiddleware(),
            ModelCallLimitMiddleware(run_limit=10**6),
            ToolCallLimitMiddleware(run_limit=10**6),
        ],
    )
    final = agent.invoke(_request(), {"recursion_limit": 20 * steps + 100})
    assert final["messages"][-1].content == "done"


def _request() -> Any:
    return {"messages": [("user", "go")]}


def measure(runs: int) -> dict[str, dict[str, float]]:
    """The least milliseconds a step of each contender at each length."""
    with tempfile.TemporaryDirectory() as folder:
        contenders: dict[str, Callable[[int], None]] = {
            "agentkit_ms": agentkit_task("memory://"),
            "langgraph_ms": langgraph_loop,
            "create_agent_ms": create_agent_task,
            "agentkit_sqlite_normal_ms": agentkit_task(
                f"sqlite:///{Path(folder) / 'normal.db'}?synchronous=NORMAL"
            ),
            "agentkit_sqlite_full_ms": agentkit_task(f"sqlite:///{Path(folder) / 'full.db'}"),
        }
        for run in contenders.values():
            run(5)
        return {str(steps): _row(contenders, steps, runs) for steps in LENGTHS}


def _row(contenders: dict[str, Callable[[int], None]], steps: int, runs: int) -> dict[str, float]:
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(runs):
        for name, run in contenders.items():
            gc.collect()
            began = time.perf_counter()
            run(steps)
            best[name] = min(best[name], (time.perf_counter() - began) / steps * 1000)
    return {name: round(value, 3) for name, value in best.items()}


def summary(rows: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The ratios that the targets are about."""
    first, last = rows[str(LENGTHS[0])], rows[str(LENGTHS[-1])]
    return {
        "ratio_to_langgraph": {
            steps: round(row["agentkit_ms"] / row["langgraph_ms"], 2) for steps, row in rows.items()
        },
        "growth_400_over_20": round(last["agentkit_ms"] / first["agentkit_ms"], 2),
        "create_agent_over_agentkit_at_400": round(
            last["create_agent_ms"] / last["agentkit_ms"], 2
        ),
    }


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--runs", type=int, default=5, help="runs of each (default 5)")
    options = parser.parse_args()
    rows = measure(options.runs)
    if options.json:
        json.dump({"steps": rows, **summary(rows)}, sys.stdout, indent=2)
        print()
        return
    names = list(rows[str(LENGTHS[0])])
    print("ms a step".ljust(28) + "".join(f"{steps:>10}" for steps in LENGTHS))
    for name in names:
        print(name.ljust(28) + "".join(f"{rows[str(s)][name]:>10.3f}" for s in LENGTHS))
    for name, value in summary(rows).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
