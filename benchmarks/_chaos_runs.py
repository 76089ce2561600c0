"""One chaos run: workers that are killed at random points, and what is found when all is quiet.

Processes are killed twice over: by themselves, at a step that hurts, and by their parent, at any
moment, in the middle of a transaction too. Threads cannot be killed; they are abandoned at a step.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks._chaos_litellm import LitellmSpender
from benchmarks._chaos_provider import Provider
from benchmarks._chaos_spenders import LEASE_SECONDS, LedgerSpender, Load, Spender, TallySpender

_DIES = 0.003
"""Probability that a worker dies at one of its steps."""
_KILLED_EVERY_SECONDS = 0.12
_KILLS_A_WORKER = 2
"""Kills by the parent, for each worker of a run: a slow machine must not be killed to a halt."""
_LONGEST_SECONDS = 600.0
"""Whoever takes longer hangs: a run is done in a second, or in minutes on a busy machine."""


@dataclass(kw_only=True, slots=True)
class Run:
    """What one run showed."""

    limit_nusd: int
    kills: int = 0
    server_kills: int = 0
    seconds: float = 0.0
    calls: int = 0
    billed_nusd: int = 0
    charged_nusd: int = 0
    stuck_leases: int = 0
    faults: list[str] = field(default_factory=list[str])

    @property
    def overshoot_nusd(self) -> int:
        """What the provider billed beyond the limit."""
        return max(0, self.billed_nusd - self.limit_nusd)

    @property
    def undercount_nusd(self) -> int:
        """What the provider billed and the budget does not know of."""
        return max(0, self.billed_nusd - self.charged_nusd)


class Abandoned(BaseException):
    """A thread stops here, as if it had never been; nothing may catch it."""


def in_processes(
    load: Load, provider: Provider, workers: int, seed: int, disturb: Callable[[], None]
) -> Run:
    """Workers as processes; `disturb` is called now and then, to hurt the store itself."""
    context = multiprocessing.get_context("forkserver")
    spender = _open_spender(load)
    spender.set_up()
    run = Run(limit_nusd=load.limit_nusd)
    chance = random.Random(seed)
    living: list[BaseProcess] = []
    started = 0
    finished = False
    kills_left = _KILLS_A_WORKER * workers
    until = time.monotonic() + _LONGEST_SECONDS
    killed_next = time.monotonic() + chance.expovariate(1 / _KILLED_EVERY_SECONDS)
    while (living or not finished) and time.monotonic() < until:
        while len(living) < workers and not finished:
            started += 1
            worker = context.Process(target=_work, args=(load, f"w{started}", seed + started))
            worker.start()
            living.append(worker)
        time.sleep(0.005)
        if time.monotonic() >= killed_next and not finished and kills_left:
            kills_left -= 1
            killed_next = time.monotonic() + chance.expovariate(1 / _KILLED_EVERY_SECONDS)
            chance.choice(living).kill()
            disturb()
        for dead in [each for each in living if not each.is_alive()]:
            living.remove(dead)
            run.kills += dead.exitcode == -signal.SIGKILL
            finished = finished or dead.exitcode == 0
            if dead.exitcode not in (0, -signal.SIGKILL):
                run.faults.append(f"a worker ended with status {dead.exitcode}")
                finished = True
            dead.close()
    for late in living:
        run.faults.append("a worker did not come to an end")
        late.kill()
        late.join()
    _take_stock(run, load, provider, spender)
    return run


def in_threads(load: Load, provider: Provider, workers: int, seed: int) -> Run:
    """Workers as threads of this process, on one spender."""
    spender = _open_spender(load)
    spender.set_up()
    run = Run(limit_nusd=load.limit_nusd)
    lock = threading.Lock()
    names = iter(range(1, 1_000_000))

    def work() -> None:
        """Spend until the budget is used up, as another worker after each death."""
        while True:
            with lock:
                number = next(names)
            try:
                spender.spend(f"w{number}", _dying(seed + number, _abandon))
            except Abandoned:
                with lock:
                    run.kills += 1
                continue
            except Exception as error:  # noqa: BLE001  # whatever it is, it is a finding
                with lock:
                    run.faults.append(f"a worker ended: {type(error).__name__}: {error}")
            return

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + _LONGEST_SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        run.faults.append("a worker did not come to an end")
    _take_stock(run, load, provider, spender)
    return run


def warm_up() -> None:
    """Have new workers forked from a process that has imported what they need."""
    root = str(Path(__file__).resolve().parent.parent)
    others = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{root}{os.pathsep}{others}" if others else root
    stores = ["agentkit.budgets.stores.sqlite", "agentkit.budgets.stores.redis"]
    multiprocessing.get_context("forkserver").set_forkserver_preload(
        [__name__, "benchmarks._chaos_stores", *stores]
    )


def _take_stock(run: Run, load: Load, provider: Provider, spender: Spender) -> None:
    time.sleep(LEASE_SECONDS / 4)  # what a killed worker had sent still arrives
    finding = spender.find()
    spender.close()
    bills = provider.billed(load.run)
    run.calls, run.billed_nusd = len(bills), sum(bills.values())
    run.charged_nusd, run.stuck_leases = finding.charged_nusd, finding.stuck_leases
    run.faults += finding.faults
    for what, amount in (
        ("over the limit", run.overshoot_nusd),
        ("billed and not charged", run.undercount_nusd),
        ("charged over the limit", max(0, run.charged_nusd - run.limit_nusd)),
        ("leases stuck", run.stuck_leases),
    ):
        if amount:
            run.faults.append(f"{what}: {amount}")


def _work(load: Load, name: str, seed: int) -> None:
    """A worker process."""
    spender = _open_spender(load)
    spender.spend(name, _dying(seed, _kill_myself))
    with contextlib.suppress(OSError):
        spender.close()


def _dying(seed: int, die: Callable[[], None]) -> Callable[[], None]:
    chance = random.Random(seed)

    def step() -> None:
        if chance.random() < _DIES:
            die()

    return step


def _kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _abandon() -> None:
    raise Abandoned


def _open_spender(load: Load) -> Spender:
    """The spender of `load.peer`."""
    if load.peer == "agentkit":
        return LedgerSpender(load)
    if load.peer == "litellm":
        return LitellmSpender(load)
    return TallySpender(load)
