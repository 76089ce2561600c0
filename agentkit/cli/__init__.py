"""The `agentkit` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status, as `agentkit.cli.app` says.

    `statusline` is answered without the rest of the command line where that can be: a shell's
    prompt waits for it.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["statusline"]:
        from agentkit.cli.statusline import quick_line

        line = quick_line(given[1:])
        if line is not None:
            sys.stdout.write(line + "\n")
            return 0
    from agentkit.cli.app import main as run

    return run(given)


__all__ = ["main"]
