"""`agentkit doctor`: what works here, what is missing, and how to get it."""

from __future__ import annotations

import sys

from agentkit.cli import options
from agentkit.cli.screen import cell, console, emit, printable
from agentkit.cli.settings import Flags

_MARKS = {"ok": "ok", "absent": "--", "broken": "!!"}


def doctor(
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    json: options.Json = False,
) -> int:
    """Check what works here; exit status 1 where something is broken, not where it is absent."""
    from agentkit.cli.checks import run_checks

    checks = list(run_checks(Flags(config=config, ledger=ledger)))
    broken = any(check.state == "broken" for check in checks)
    if json:
        emit({"ok": not broken, "checks": [check.to_dict() for check in checks]})
        return int(broken)
    from rich.text import Text

    out = console()
    width = max(len(check.name) for check in checks)
    style = {"ok": "green", "absent": "yellow", "broken": "bold red"}
    for check in checks:
        line = Text(f"{_MARKS[check.state]}  ", style=style[check.state])
        line.append(f"{check.name:<{width}}  {printable(check.detail)}", style="default")
        out.print(line, soft_wrap=True)
        if check.advice and check.state != "ok":
            out.print(cell(f"{'':<{width + 6}}{check.advice}"), soft_wrap=True)
    sys.stdout.flush()
    return int(broken)
