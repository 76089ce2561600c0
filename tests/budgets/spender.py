"""Processes that spend from a shared ledger."""

from __future__ import annotations

import subprocess
import sys

_SPEND = """
import sys
from agentkit.budgets import Amount, BudgetExceeded, Ledger
ledger, name, made = Ledger(sys.argv[1]), sys.argv[2], 0
for number in range(60):
    try:
        ledger.reserve(f"{name}.{number}", Amount(nusd=10), ["acme"], lease_seconds=60.0)
    except BudgetExceeded:
        continue
    ledger.settle(f"{name}.{number}", Amount(nusd=9))
    made += 1
print(made)
"""


def start_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python process that runs `code`, its output to be read."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def start_spender(address: str, name: str) -> subprocess.Popen[str]:
    """Asks 60 times for 10 nano-USD of 'acme', takes 9, and prints how many calls were made."""
    return start_python(_SPEND, address, name)
