"""`agent.map` over 10,000 tasks: memory, a kill half-way, and speed beside the bare LangGraph loop.

    python benchmarks/fanout.py [--json] [--tasks N] [--concurrency N] [--runs N] [--case NAME]

Memory and kill: a process maps the tasks under a name, with a SQLite ledger and checkpoints, and
kills itself (SIGKILL) after half of the answers; another takes the run up. The scripted model
writes each request that it serves into a file of its own, which is the truth. A request that is
served again is paid twice, unless it was under way when the process died (its reservation was held
then): no client can know the answer to that.

Speed: tasks a second at the same concurrency beside a bare LangGraph loop with the same model and
tool in as many threads, in turns, the best of N runs each. `instant` is a model that takes no time;
`kept` is both with the same SQLite checkpointer, which keeps
each step when the process dies (synchronous=NORMAL). The length is in tool calls before the answer.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import END, START, MessagesState, StateGraph

_SAMPLES = 20
_WARM_UP_TASKS = 64


class Scripted(BaseChatModel):
    """Calls the tool `steps` times, then says the request back; takes `seconds` a call."""

    steps: int = 1
    seconds: float = 0.0
    served: str | None = None

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(**kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self.seconds:
            time.sleep(self.seconds)
        made = sum(isinstance(message, AIMessage) for message in messages)
        if self.served is not None:
            _append(self.served, f"{messages[0].text}\t{made}\n")
        call = {"name": "look_up", "args": {"query": f"x{made}"}, "id": f"call_{made}"}
        message = AIMessage(
            messages[0].text if made >= self.steps else "",
            tool_calls=[] if made >= self.steps else [call],
            usage_metadata={"input_tokens": 100, "output_tokens": 10, "total_tokens": 110},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


def look_up(query: str) -> str:
    """Look something up."""
    return f"a short observation about {query}"


def _append(path: str, line: str) -> None:
    """One write system call a line, so that a kill loses none and cuts none."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def requests(count: int, what: str = "question") -> Iterator[str]:
    """Made as they are read."""
    return (f"{what} {number}" for number in range(count))


def worker(folder: Path, tasks: int, concurrency: int, die_after: int) -> None:
    """Map the tasks, and die after `die_after` answers; prints what was seen, as JSON."""
    from agentkit import Agent, Budget

    agent = Agent(
        [Scripted(served=str(folder / "served"))],
        [look_up],
        budget=Budget(tokens=10_000),
        ledger=f"sqlite:///{folder / 'ledger.db'}?synchronous=NORMAL",
        checkpoint=f"sqlite:///{folder / 'checkpoints.db'}?synchronous=NORMAL",
    )
    list(agent.map(requests(_WARM_UP_TASKS, "warm"), concurrency=concurrency, scope="warm"))
    gc.collect()
    start, samples = _resident_bytes(), []
    origins: Counter[str] = Counter()
    answered: set[int] = set()
    began = time.perf_counter()
    every = max(1, tasks // _SAMPLES)
    for each in agent.map(requests(tasks), name="run", concurrency=concurrency):
        if each.result is None or each.result.answer != f"question {each.index}":
            raise RuntimeError(f"{each.index}: {each}")
        answered.add(each.index)
        origins[each.origin] += 1
        if len(answered) % every == 0:
            samples.append(_resident_bytes() - start)
        if die_after and len(answered) >= die_after:
            print(json.dumps({"samples": samples}), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    told = {
        "samples": samples,
        "answered": len(answered),
        "origins": origins,
        "settled_calls": agent.ledger.account("default/run").settled.calls,
        "held": len(agent.ledger.store.held()),
        "seconds": time.perf_counter() - began,
    }
    print(json.dumps(told))


def killed_and_resumed(tasks: int, concurrency: int) -> dict[str, object]:
    """What a run that is killed half-way, and the one that takes it up, come to together."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = _worker(folder, tasks, concurrency, die_after=tasks // 2)
        under_way = _under_way(folder)
        second = _worker(folder, tasks, concurrency, die_after=0)
        served = Counter((folder / "served").read_text("utf-8").splitlines())
    run = {line: count for line, count in served.items() if not line.startswith("warm")}
    again = sum(run.values()) - len(run)
    return {
        "tasks": tasks,
        "answered": second["answered"],
        "lost": tasks - int(second["answered"]),
        "known": int(second["origins"].get("known", 0)),
        "resumed": int(second["origins"].get("resumed", 0)),
        "calls_under_way_at_the_kill": under_way,
        "served_again": again,
        "paid_twice": max(0, again - under_way),
        "served_and_not_in_the_ledger": max(0, sum(run.values()) - int(second["settled_calls"])),
        "stuck_leases": second["held"],
        "memory_mb_over_start": round(max(*first["samples"], *second["samples"]) / 2**20, 1),
        "memory_mb_second_half": round(_growth(first["samples"]) / 2**20, 1),
    }


def _under_way(folder: Path) -> int:
    """Calls that were reserved and not settled when the process died."""
    from agentkit.budgets import Ledger

    ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}")
    held = [name for name, _, _ in ledger.store.held() if ".landing" not in name]
    ledger.close()
    return len(held)


def _worker(folder: Path, tasks: int, concurrency: int, *, die_after: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--worker", str(folder), "--tasks", str(tasks)]
    command += ["--concurrency", str(concurrency), "--die-after", str(die_after)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != (-signal.SIGKILL if die_after else 0):
        raise RuntimeError(done.stderr[-2000:])
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _growth(samples: Sequence[int]) -> int:
    """From the middle of a run to its end."""
    return samples[-1] - samples[len(samples) // 2]


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# Speed.

Run = Callable[[int], None]


def agentkit_map(model: Scripted, concurrency: int, folder: Path | None) -> Run:
    """`agent.map`; with a folder under a name, kept in SQLite."""
    from agentkit import Agent, Budget

    places: dict[str, Any] = {}
    if folder is not None:
        places["ledger"] = f"sqlite:///{folder / 'ledger.db'}?synchronous=NORMAL"
        places["checkpoint"] = f"sqlite:///{folder / 'agentkit.db'}?synchronous=NORMAL"
    agent = Agent([model], [look_up], budget=Budget(tokens=10**6), **places)
    numbers = iter(range(10**6))

    def run(count: int) -> None:
        name = None if folder is None else f"run{next(numbers)}"
        results = agent.map(requests(count), concurrency=concurrency, name=name)
        assert sum(each.ok for each in results) == count

    return run


def bare_loop(model: Scripted, concurrency: int, folder: Path | None) -> Run:
    """The least graph that does the same work, in as many threads, without a budget."""
    from langgraph.prebuilt import ToolNode

    from agentkit.checkpoint import open_checkpointer

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
    saver = None
    if folder is not None:
        saver = open_checkpointer(f"sqlite:///{folder / 'bare.db'}?synchronous=NORMAL")
    compiled: Any = graph.compile(checkpointer=saver)
    numbers = iter(range(10**9))
    lock = threading.Lock()

    def one(request: str) -> None:
        with lock:
            thread = f"t{next(numbers)}"
        config = {"configurable": {"thread_id": thread}}
        durability = None if saver is None else "sync"
        final = compiled.invoke({"messages": [("user", request)]}, config, durability=durability)
        assert final["messages"][-1].content == request

    def run(count: int) -> None:
        with ThreadPoolExecutor(concurrency) as pool:
            for _ in pool.map(one, requests(count)):
                pass

    return run


CASES: dict[str, tuple[int, float, bool]] = {
    "instant_0_tools": (0, 0.0, False),
    "instant_1_tool": (1, 0.0, False),
    "instant_3_tools": (3, 0.0, False),
    "20ms_3_tools": (3, 0.02, False),
    "kept_1_tool": (1, 0.0, True),
    "kept_3_tools": (3, 0.0, True),
}
"""Tool calls before the answer, seconds a call, and whether each step is kept in SQLite."""


def throughput(
    cases: Sequence[str], concurrency: int, runs: int, seconds: float
) -> dict[str, dict[str, float]]:
    """Tasks a second of both, by case, and their ratio."""
    rows: dict[str, dict[str, float]] = {}
    for case in cases:
        steps, latency, kept = CASES[case]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) if kept else None
            model = Scripted(steps=steps, seconds=latency)
            contenders = {
                "agentkit": agentkit_map(model, concurrency, folder),
                "langgraph": bare_loop(model, concurrency, folder),
            }
            rows[case] = _rates(contenders, runs, seconds)
    return rows


def _rates(contenders: dict[str, Run], runs: int, seconds: float) -> dict[str, float]:
    best = dict.fromkeys(contenders, 0.0)
    counts: dict[str, int] = {}
    for name, run in contenders.items():
        began = time.perf_counter()
        run(_WARM_UP_TASKS)
        counts[name] = max(_WARM_UP_TASKS, int(seconds / (time.perf_counter() - began) * 64))
    for _ in range(runs):
        for name, run in contenders.items():
            gc.collect()
            began = time.perf_counter()
            run(counts[name])
            best[name] = max(best[name], counts[name] / (time.perf_counter() - began))
    ratio = best["agentkit"] / best["langgraph"]
    return {name: round(rate, 1) for name, rate in best.items()} | {"ratio": round(ratio, 3)}


def main() -> None:
    """Print the table, or JSON; or be a worker."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--runs", type=int, default=3, help="runs of each contender")
    parser.add_argument("--seconds", type=float, default=4.0, help="about so long a run")
    parser.add_argument("--case", action="append", choices=CASES, help="only this one's speed")
    parser.add_argument("--without-speed", action="store_true")
    parser.add_argument("--without-kill", action="store_true")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--die-after", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.tasks, options.concurrency, options.die_after)
        return
    report: dict[str, Any] = {}
    if not options.without_kill:
        report["killed_and_resumed"] = killed_and_resumed(options.tasks, options.concurrency)
    if not options.without_speed:
        report["tasks_a_second"] = throughput(
            options.case or list(CASES), options.concurrency, options.runs, options.seconds
        )
    if options.json:
        json.dump(report, sys.stdout, indent=2)
        print()
        return
    for name, value in report.get("killed_and_resumed", {}).items():
        print(f"{name:<24}{value}")
    for case, row in report.get("tasks_a_second", {}).items():
        print(f"{case:<18}" + "".join(f"{name}: {value:<10}" for name, value in row.items()))


if __name__ == "__main__":
    main()
