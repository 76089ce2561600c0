"""`agentkit eval`, killed in its middle and run again, against a server that counts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.agentkit.command_line import COMMAND, environment, write_project
from tests.wire import Reply, ScriptedProvider, WireRequest

CASES = 200
PARALLEL = 4


class Gate:
    """Repeats the last word; after `after` requests it holds all answers back until `open`."""

    def __init__(self, after: int) -> None:
        self.served: Counter[str] = Counter()
        self.held: list[str] = []
        self.is_full = threading.Event()
        self.open = threading.Event()
        self._after = after
        self._lock = threading.Lock()

    def __call__(self, request: WireRequest) -> Reply:
        with self._lock:
            self.served[request.last_text] += 1
            waits = self.served.total() > self._after and not self.open.is_set()
            if waits:
                self.held.append(request.last_text)
            if len(self.held) == PARALLEL:
                self.is_full.set()
        if waits:
            self.open.wait(60)
        return Reply(text=request.last_text.split()[-1])


def write_cases(folder: Path) -> Path:
    path = folder / "cases.jsonl"
    lines = [
        {"id": f"c{n}", "request": f"say {n}", "expected": str(n if n % 10 else "else")}
        for n in range(CASES)
    ]
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    return path


def command(*more: str) -> list[str]:
    return [
        COMMAND, "eval", "cases.jsonl", "--parallel", str(PARALLEL), "--budget-usd", "2", *more,
    ]  # fmt: skip


def test_a_killed_run_goes_on_and_pays_for_no_case_twice(tmp_path: Path) -> None:
    gate = Gate(after=CASES // 2)
    write_cases(tmp_path)
    env = environment(tmp_path, OPENAI_API_KEY="test", AGENTKIT_TRUST_CONFIG="1")
    with ScriptedProvider(gate) as provider:
        write_project(tmp_path, provider.openai_url)
        with subprocess.Popen(
            command(), cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as first:
            assert gate.is_full.wait(60), first.stderr and first.stderr.read()
            os.kill(first.pid, signal.SIGKILL)
            first.wait(10)
        gate.open.set()
        assert provider.wait_idle()
        done = subprocess.run(
            command("--json", "--html", "report.html"),
            cwd=tmp_path, env=env, capture_output=True, text=True, timeout=90,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        undelivered = [each for each in provider.bill.records if not each.delivered_usage]
        delivered_nusd = provider.bill.total(lambda each: each.delivered_usage).cost_nusd

    # Only what was under way when the process died was asked again: nobody had its answer.
    again = {text for text, count in gate.served.items() if count > 1}
    assert len(gate.served) == CASES
    assert again == set(gate.held)
    assert len(gate.held) == PARALLEL == len(undelivered)
    assert gate.served.total() == CASES + PARALLEL

    (figures,) = report["settings"]
    assert (figures["cases"], figures["passed"]) == (CASES, CASES * 9 // 10)
    assert figures["failures"] == {"wrong answer": CASES // 10}
    assert report["missing"] == 0
    confirmed = Decimal(figures["cost_usd"]) - _unconfirmed(tmp_path)
    assert confirmed == Decimal(delivered_nusd).scaleb(-9)
    assert "wrong answer" in (tmp_path / "report.html").read_text("utf-8")


def _unconfirmed(folder: Path) -> Decimal:
    done = subprocess.run(
        [COMMAND, "report", "--json"],
        cwd=folder, env=environment(folder, AGENTKIT_TRUST_CONFIG="1"), capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    rows = json.loads(done.stdout)
    return sum((Decimal(row["unconfirmed"]) for row in rows[:1]), Decimal(0))
