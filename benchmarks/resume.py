"""Calls paid twice when a process dies after the model answered and before its node returned.

    python benchmarks/resume.py [--json] [--calls N]

For each call of an N-call task a new process runs it and is killed right after that call was
settled (`os._exit`, no clean-up); another process resumes it from the SQLite checkpoint. The
scripted model writes every request that it serves into a file of its own: that file is the truth.
Contenders: the agent, a user's graph with three parallel branches on `metered` models, and the same
two on bare LangGraph, each with sync and async durability.
"""

from __future__ import annotations

import argparse
import json
import operator
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult

CONTENDERS = ("agent", "metered_branches", "bare_loop", "bare_branches")
DURABILITIES = ("sync", "async")
BRANCHES = ("a", "b", "c")
KILLED = 9
STARTED: list[int] = []
"""Requests that this process has sent."""


class Counting(BaseChatModel):
    """Calls a tool until `calls` were made; writes each request it serves into `served`."""

    served: str
    calls: int = 10

    @property
    def _llm_type(self) -> str:
        return "counting"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(**kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        STARTED.append(1)
        made = sum(isinstance(message, AIMessage) for message in messages)
        with open(self.served, "a", encoding="utf-8") as file:
            file.write(f"{messages[0].text} {made}\n")
        usage = {"input_tokens": 50, "output_tokens": 10, "total_tokens": 60}
        call = {"name": "look_up", "args": {"query": str(made)}, "id": f"call_{made}"}
        last = made + 1 >= self.calls
        message = AIMessage(
            "done" if last else "", tool_calls=[] if last else [call], usage_metadata=usage
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


class _Rounds(TypedDict):
    """The state of the branching graph."""

    round: int
    said: Annotated[list[str], operator.add]


def look_up(query: str) -> str:
    """Look something up."""
    return f"found {query}"


def worker(contender: str, durability: str, folder: Path, calls: int, die_at: int) -> None:
    """One process of a task; dies right after call `die_at` was settled, or answered where bare."""
    resumes = (folder / "checkpoints.db").exists()
    if contender == "agent":
        _agent(durability, folder, calls, die_at, resumes)
    elif contender == "metered_branches":
        _branches(durability, folder, calls, die_at, resumes, metered=True)
    elif contender == "bare_branches":
        _branches(durability, folder, calls, die_at, resumes, metered=False)
    else:
        _loop(durability, folder, calls, die_at, resumes)


def _agent(durability: str, folder: Path, calls: int, die_at: int, resumes: bool) -> None:
    from agentkit import Agent, Budget
    from agentkit.errors import NotResumable

    agent = Agent(
        [Counting(served=str(folder / "served"), calls=calls)],
        [look_up],
        budget=Budget(tokens=10**9),
        ledger=f"sqlite:///{folder / 'ledger.db'}",
        checkpoint=f"sqlite:///{folder / 'checkpoints.db'}",
        durability=durability,  # type: ignore[arg-type]  # one of the two
    )
    _die_after_settlements(agent.ledger, die_at)
    try:
        result = agent.resume("t") if resumes else agent.run("go", thread_id="t")
    except NotResumable:  # died before its first checkpoint was written: asked again
        result = agent.run("go", thread_id="t")
    assert result.answer == "done", result


def _die_after_settlements(ledger: Any, die_at: int) -> None:
    """The store has committed; nothing else of the process happens any more.

    Branches that were already asking the model are let through to their own settlements: an answer
    that was still on its way is lost with the process, and no journal can bring it back.
    """
    settle, settled = ledger.store.settle, []

    def dying(*arguments: Any, **named: Any) -> Any:
        settlement = settle(*arguments, **named)
        settled.append(1)
        if die_at and len(settled) >= die_at:
            while len(settled) < len(STARTED):
                time.sleep(0.001)
            os._exit(KILLED)
        return settlement

    ledger.store.settle = dying


def _branches(
    durability: str, folder: Path, calls: int, die_at: int, resumes: bool, *, metered: bool
) -> None:
    """A user's own graph: three parallel branches a round, each asking the model once."""
    from langgraph.graph import END, START, StateGraph

    from agentkit import metered as metered_model
    from agentkit.budgets import Ledger
    from agentkit.checkpoint import open_checkpointer

    model: Any = Counting(served=str(folder / "served"), calls=10**6)
    if metered:
        ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}")
        _die_after_settlements(ledger, die_at)
        model = metered_model(model, ledger.open_task(task_id="t", keep_responses=True))
    answered: list[int] = []
    graph: Any = StateGraph(_Rounds)

    def branch(name: str) -> Any:
        def node(state: Any) -> Any:
            model.invoke([HumanMessage(f"{name}{state['round']}")])
            answered.append(1)
            if not metered and len(answered) == die_at:
                os._exit(KILLED)
            return {"said": [name]}

        return node

    graph.add_node("next", lambda state: {"round": state["round"] + 1})
    graph.add_edge(START, "next")
    for name in BRANCHES:
        graph.add_node(name, branch(name))
        graph.add_edge("next", name)
    graph.add_node("join", lambda state: {})
    graph.add_edge(list(BRANCHES), "join")
    rounds = -(-calls // len(BRANCHES))
    graph.add_conditional_edges("join", lambda s: END if s["round"] >= rounds else "next")
    saver = open_checkpointer(f"sqlite:///{folder / 'checkpoints.db'}")
    compiled = graph.compile(checkpointer=saver)
    config = {"configurable": {"thread_id": "t"}, "recursion_limit": 10_000}
    inputs = None if resumes else {"round": 0, "said": []}
    final = compiled.invoke(inputs, config, durability=durability)
    assert final["round"] == rounds, final


def _loop(durability: str, folder: Path, calls: int, die_at: int, resumes: bool) -> None:
    from langgraph.graph import END, START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode

    from agentkit.checkpoint import open_checkpointer

    model = Counting(served=str(folder / "served"), calls=calls)
    answered: list[int] = []

    def think(state: Any) -> Any:
        message = model.invoke(state["messages"])
        answered.append(1)
        if len(answered) == die_at:
            os._exit(KILLED)
        return {"messages": [message]}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode([look_up]))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", lambda s: "tools" if s["messages"][-1].tool_calls else END)
    graph.add_edge("tools", "think")
    saver = open_checkpointer(f"sqlite:///{folder / 'checkpoints.db'}")
    config = {"configurable": {"thread_id": "t"}, "recursion_limit": 10_000}
    inputs = None if resumes else {"messages": [("user", "go")]}
    final = graph.compile(checkpointer=saver).invoke(inputs, config, durability=durability)
    assert final["messages"][-1].content == "done"


def trial(contender: str, durability: str, calls: int, die_at: int) -> tuple[int, bool]:
    """Requests served more than once over a killed and a resumed run, and whether it finished.

    A bare graph may come out of its resumption unfinished; agentkit may not, and that is an error.
    """
    finished = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common = [contender, "--durability", durability, "--folder", name, "--calls", str(calls)]
        for at in (die_at, 0):
            done = subprocess.run(
                [sys.executable, __file__, "--worker", *common, "--die-at", str(at)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 1 and not at and contender.startswith("bare"):
                finished = False
            elif done.returncode != (KILLED if at else 0):
                raise RuntimeError(f"{contender}/{durability}/{die_at}: {done.stderr[-2000:]}")
        served = Counter((folder / "served").read_text().splitlines())
    return sum(times - 1 for times in served.values()), finished


def measure(calls: int, contenders: Sequence[str] = CONTENDERS) -> dict[str, dict[str, int]]:
    """Per contender and durability: trials, those that paid twice, calls paid twice, unfinished."""
    rows: dict[str, dict[str, int]] = {}
    for contender in contenders:
        for durability in DURABILITIES:
            ends = [trial(contender, durability, calls, at) for at in range(1, calls + 1)]
            rows[f"{contender}_{durability}"] = {
                "trials": len(ends),
                "trials_paid_twice": sum(count > 0 for count, _ in ends),
                "double_paid_calls": sum(count for count, _ in ends),
                "unfinished": sum(not finished for _, finished in ends),
            }
    return rows


def main() -> None:
    """Print the table, or JSON; or be a worker."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--calls", type=int, default=10, help="calls a task (default 10)")
    parser.add_argument("--contender", action="append", choices=CONTENDERS)
    parser.add_argument("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--durability", choices=DURABILITIES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--die-at", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.durability, options.folder, options.calls, options.die_at)
        return
    rows = measure(options.calls, options.contender or CONTENDERS)
    if options.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
        return
    for name, row in rows.items():
        print(f"{name:<26}" + "".join(f"{key}: {value:<6}" for key, value in row.items()))


if __name__ == "__main__":
    main()
