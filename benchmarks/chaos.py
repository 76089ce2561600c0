"""Workers that are killed while they spend from one budget, against a provider that keeps count.

Run `python benchmarks/chaos.py --store sqlite` for a table, `--json` for numbers. `--peer
check-then-increment` and `--peer litellm` (where litellm is installed) put the same load to others.
`utilisation` is what the provider billed of the limit; `violations` counts runs in which anything
was wrong. `--log FILE` keeps each run as a line of JSON: what was cut short goes on from there, and
`--runs 0` sums up what is done.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._chaos_provider import Provider
from benchmarks._chaos_runs import Run, in_processes, in_threads, warm_up
from benchmarks._chaos_spenders import Load, Peer
from benchmarks._chaos_stores import StoreKind, Stores

_MEAN_NUSD = 70
_SERVER_CRASHES = 0.1
_SHOWN = 5


def main() -> int:
    """Run the load; the exit status is 1 where agentkit broke a rule."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", choices=get_args(StoreKind), default="sqlite")
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--calls", type=int, default=400, help="that a run's limit is worth")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peer", choices=get_args(Peer)[1:], action="append", default=[])
    parser.add_argument("--log", type=Path, help="keep each run here, and go on where it ends")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if "litellm" in options.peer and options.store != "memory":
        parser.error("litellm's budget lives in one process: use --store memory")
    peers: list[Peer] = ["agentkit", *options.peer]
    figures: dict[Peer, dict[str, object]] = {
        peer: measure(
            options.store,
            peer,
            runs=options.runs,
            workers=options.workers,
            limit_nusd=options.calls * _MEAN_NUSD,
            seed=options.seed,
            log=options.log and options.log.resolve(),
        )
        for peer in peers
    }
    if options.json:
        print(json.dumps(figures if options.peer else figures["agentkit"], indent=2))
    else:
        _print_table(figures)
    return int(bool(figures["agentkit"]["violations"]))


def measure(
    kind: StoreKind,
    peer: Peer,
    *,
    runs: int,
    workers: int,
    limit_nusd: int,
    seed: int,
    log: Path | None = None,
) -> dict[str, object]:
    """What `runs` of this load showed, all together; those in `log` count."""
    case = f"{kind} {peer} {workers} {limit_nusd} {seed}"
    done = _logged(log, case)
    provider = Provider(seed + len(done))
    with Stores(kind) as stores:
        for number in range(len(done), runs):
            load = Load(
                run=f"{peer}.{number}",
                peer=peer,
                address=stores.fresh(),
                provider_port=provider.port,
                limit_nusd=limit_nusd,
            )
            run = _run(kind, load, provider, stores, workers, random.Random(f"{seed}.{number}"))
            done.append(run)
            if log is not None:
                with log.open("a") as lines:
                    lines.write(json.dumps({"case": case, **dataclasses.asdict(run)}) + "\n")
    provider.close()
    return _figures(done)


def _run(
    kind: StoreKind,
    load: Load,
    provider: Provider,
    stores: Stores,
    workers: int,
    chance: random.Random,
) -> Run:
    began = time.monotonic()
    server = _Server(stores, chance)
    start = chance.randrange(2**31)
    if kind == "memory":
        run = in_threads(load, provider, workers, start)
    else:
        run = in_processes(load, provider, workers, start, server.disturb)
    run.server_kills, run.seconds = server.crashes, round(time.monotonic() - began, 2)
    return run


def _logged(log: Path | None, case: str) -> list[Run]:
    """The runs of `case` that `log` holds; a line that was cut short is none."""
    if log is None or not log.exists():
        return []
    found: list[Run] = []
    for line in log.read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row.pop("case") == case:
            found.append(Run(**row))
    return found


class _Server:
    """The store's server, where it has one: now and then it is killed as well."""

    def __init__(self, stores: Stores, chance: random.Random) -> None:
        self.crashes = 0
        self._stores = stores
        self._chance = chance

    def disturb(self) -> None:
        """Kill it, or mostly not."""
        if self._chance.random() < _SERVER_CRASHES:
            self.crashes += self._stores.crash()


def _figures(done: list[Run]) -> dict[str, object]:
    faults = [f"run {n}: {fault}" for n, run in enumerate(done) for fault in run.faults]
    return {
        "runs": len(done),
        "kills": sum(run.kills for run in done),
        "server_kills": sum(run.server_kills for run in done),
        "calls": sum(run.calls for run in done),
        "overshoot_runs": sum(run.overshoot_nusd > 0 for run in done),
        "worst_overshoot": max(
            (round(run.billed_nusd / run.limit_nusd, 4) for run in done), default=0.0
        ),
        "violations": sum(bool(run.faults) for run in done),
        "undercount_nusd": sum(run.undercount_nusd for run in done),
        "utilisation": round(
            sum(run.billed_nusd for run in done) / max(1, sum(run.limit_nusd for run in done)), 4
        ),
        "stuck_leases": sum(run.stuck_leases for run in done),
        "seconds": round(sum(run.seconds for run in done), 1),
        "first_faults": faults[:_SHOWN],
    }


def _print_table(figures: dict[Peer, dict[str, object]]) -> None:
    print(f"{'':18}" + "".join(f"{peer:>24}" for peer in figures))
    for name in figures["agentkit"]:
        if name != "first_faults":
            print(f"{name:18}" + "".join(f"{row[name]!s:>24}" for row in figures.values()))
    for peer, row in figures.items():
        print(f"{peer}: {row['first_faults']}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="agentkit-") as folder:
        os.chdir(folder)  # a peer that keeps files where it stands keeps them here
        warm_up()
        sys.exit(main())
