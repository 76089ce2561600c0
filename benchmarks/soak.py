"""Agents that work for half an hour: memory, file descriptors and leases must stay flat.

    python benchmarks/soak.py [--minutes 30] [--store sqlite] [--json]

Rounds of tasks through the real OpenAI client, against a provider in a process of its own that
spoils one request in ten: whole runs, streams that are read, closed early or cancelled, subtasks in
a thread pool, tasks that land. Resident memory and open files are sampled every few seconds; the
slope is a straight line through the samples after the first third. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from agentkit import Agent, Budget, carry, chat_model, current_task, metered, spending
from agentkit.budgets import Ledger
from benchmarks._chaos_stores import StoreKind, Stores

_ROOT = Path(__file__).resolve().parent.parent
MOST_MB_AN_HOUR = 1.0
_WARM_UP = 1 / 3
_SAMPLES = 120
_SCRIPT = 'tool:look_up:{"query": "x"}'
_FAULTS = ("reset_billed", "cut_stream", "no_usage", "rate_limited", "server_error")


@dataclass(kw_only=True, slots=True)
class Sample:
    """What the process held at one moment."""

    seconds: float
    resident_bytes: int
    descriptors: int
    leases: int


@dataclass(kw_only=True, slots=True)
class Work:
    """One agent and all that is asked of it in a round."""

    agent: Agent
    model: Any
    ledger: Ledger
    loop: asyncio.Runner
    tasks: int = 0
    failures: dict[str, int] = field(default_factory=dict[str, int])

    def round(self) -> None:
        """Each way of using an agent once; what a spoilt request raises is part of it."""
        for what in (self._run, self._stream, self._leave, self._share, self._on_a_loop):
            try:
                what()
            except Exception as error:  # noqa: BLE001  faults of the provider reach metered models
                name = type(error).__name__
                self.failures[name] = self.failures.get(name, 0) + 1

    def _run(self) -> None:
        self.tasks += 1
        self.agent.run("look it up", scope="acme/run")

    def _stream(self) -> None:
        self.tasks += 1
        for _ in self.agent.stream("look it up", scope="acme/stream"):
            pass

    def _leave(self) -> None:
        self.tasks += 1
        with closing(self.agent.stream("look it up", scope="acme/leave")) as parts:  # type: ignore[type-var]  # a generator
            next(parts)

    def _share(self) -> None:
        self.tasks += 1
        task = self.ledger.open_task(scope="acme/share", budget=Budget(usd="0.05", calls=9))
        try:
            with spending(task), ThreadPoolExecutor(3) as pool:
                list(pool.map(carry(self._part), range(3)))
        finally:
            task.close("answered")

    def _part(self, number: int) -> None:
        part = current_task().subtask(budget=Budget(usd="0.01", calls=2))
        try:
            with spending(part):
                metered(self.model).invoke(f"part {number}")
        finally:
            part.close("answered")

    def _on_a_loop(self) -> None:
        self.loop.run(self._together())

    async def _together(self) -> None:
        self.tasks += 3
        running = asyncio.create_task(self.agent.arun("look it up", scope="acme/arun"))
        cancelled = asyncio.create_task(self.agent.arun("look it up", scope="acme/cancelled"))
        async with aclosing(self.agent.astream("look it up", scope="acme/astream")) as parts:  # type: ignore[type-var]  # as above
            async for _ in parts:
                break
        cancelled.cancel()
        with suppress(asyncio.CancelledError):
            await cancelled
        await running


def soak(kind: StoreKind, seconds: float, written: Path | None = None) -> dict[str, object]:
    """Work for `seconds`; what was held all the while, and what is still held at the end."""
    with _Provider() as url, Stores(kind) as stores:
        ledger = Ledger(stores.fresh())
        model: Any = chat_model("openai:gpt-5-mini", base_url=url, api_key="soak", max_tokens=200)
        agent = Agent(
            [model],
            [look_up],
            budget=Budget(usd="0.05", calls=6),
            ledger=ledger,
            no_progress_after=2,
        )
        with asyncio.Runner() as loop:
            work = Work(agent=agent, model=model, ledger=ledger, loop=loop)
            samples = _sampled(work.round, seconds, lambda: len(ledger.store.held()))
            loop.run(model.root_async_client.close())
        stuck = _stuck(ledger)
        ledger.close()
    if written is not None:
        written.write_text(json.dumps([asdict(sample) for sample in samples]))
    return _figures(samples, work, stuck)


def look_up(query: str) -> str:
    """Look something up."""
    return f"found {query}"


def _sampled(round_: Callable[[], None], seconds: float, leases: Callable[[], int]) -> list[Sample]:
    samples: list[Sample] = []
    began = time.monotonic()
    every = seconds / _SAMPLES
    while (now := time.monotonic() - began) < seconds:
        round_()
        if now >= len(samples) * every:
            gc.collect()
            samples.append(
                Sample(
                    seconds=time.monotonic() - began,
                    resident_bytes=_resident_bytes(),
                    descriptors=len(os.listdir("/proc/self/fd")),
                    leases=leases(),
                )
            )
    return samples


def _stuck(ledger: Ledger) -> int:
    """Leases that are held though every task has ended; and money that is, without one."""
    held = len(ledger.store.held())
    return max(held, int(any(ledger.account("acme").held)))


def _figures(samples: list[Sample], work: Work, stuck: int) -> dict[str, object]:
    warm = samples[int(len(samples) * _WARM_UP) :]
    slope = _slope([s.seconds for s in warm], [float(s.resident_bytes) for s in warm])
    return {
        "minutes": round(samples[-1].seconds / 60, 1),
        "tasks": work.tasks,
        "failures": work.failures,
        "memory_mb": round(samples[-1].resident_bytes / 2**20, 1),
        "memory_mb_an_hour": round(slope * 3600 / 2**20, 2),
        "descriptors_first": warm[0].descriptors,
        "descriptors_most": max(sample.descriptors for sample in warm),
        "descriptors_last": warm[-1].descriptors,
        "leases_most": max(sample.leases for sample in samples),
        "stuck_leases": stuck,
    }


def _slope(x: list[float], y: list[float]) -> float:
    """Least squares."""
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((each - middle_x) ** 2 for each in x)
    joint = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True))
    return joint / spread if spread else 0.0


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class _Provider:
    """The scripted provider as a process of its own, whose memory is not ours."""

    def __enter__(self) -> str:
        faults = [word for kind in _FAULTS for word in ("--fault", kind)]
        command = [sys.executable, "-m", "tests.wire", "--openai", "--json", "--script", _SCRIPT]
        self._process = subprocess.Popen(
            [*command, "--fault-rate", "0.1", *faults], cwd=_ROOT, stdout=subprocess.PIPE, text=True
        )
        if self._process.stdout is None:
            raise RuntimeError("the provider has no output")
        return str(json.loads(self._process.stdout.readline())["openai_url"])

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


def main() -> int:
    """Soak; the exit status is 1 where something grew or stayed behind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--store", choices=get_args(StoreKind), default="sqlite")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--samples", type=Path, help="also write every sample there, as JSON")
    options = parser.parse_args()
    figures = soak(options.store, options.minutes * 60, options.samples)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, value in figures.items():
            print(f"{name:22}{value!s}")
    grew = float(str(figures["memory_mb_an_hour"])) > MOST_MB_AN_HOUR
    return int(grew or bool(figures["stuck_leases"]))


if __name__ == "__main__":
    sys.exit(main())
