"""`agentkit statusline`: today's spend in one line, for a prompt or a bar, in milliseconds.

Imports nothing but the standard library and reads the SQLite ledger by itself: loading the rest of
the package takes longer than the answer may. What it cannot answer so, `agentkit.cli.status` does.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence

_SCHEMA_VERSION = 3
_DAY = 86_400
_TODAY = (
    "SELECT SUM(cost_nusd), SUM(input_tokens), SUM(cache_read_tokens) FROM fact WHERE at_ms >= ?"
)
_LAST = (
    "SELECT outcome, json_extract(record, '$.cost_nusd') FROM task "
    "ORDER BY started_at DESC LIMIT 20"
)
_BUDGET = (
    "SELECT s.path, s.limit_nusd, COALESCE(a.settled_nusd + a.held_nusd, 0) "
    "FROM scope s LEFT JOIN account a ON a.path = s.path AND a.window_key = ? "
    "WHERE s.window = 'day' AND s.timezone = 'UTC' AND s.limit_nusd > 0 "
    "ORDER BY 1.0 * COALESCE(a.settled_nusd + a.held_nusd, 0) / s.limit_nusd DESC LIMIT 1"
)


def quick_line(arguments: Sequence[str]) -> str | None:
    """The line; None where the whole command line is needed to find or to read the ledger."""
    path = _ledger(arguments)
    if path is None or not os.path.exists(path):  # pathlib takes ten milliseconds
        return None
    now = time.time()
    try:
        db = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, timeout=1.0)
        try:
            if db.execute("PRAGMA user_version").fetchone()[0] != _SCHEMA_VERSION:
                return None
            midnight = int(now // _DAY) * _DAY * 1000
            today = db.execute(_TODAY, (midnight,)).fetchone()
            tasks = db.execute(_LAST).fetchall()
            budget = db.execute(_BUDGET, (time.strftime("%Y-%m-%d", time.gmtime(now)),)).fetchone()
        finally:
            db.close()
    except sqlite3.Error:
        return None
    return line_of(
        spent_nusd=today[0] or 0,
        input_tokens=today[1] or 0,
        cached_tokens=today[2] or 0,
        budget=budget,
        tasks=tasks,
    )


def line_of(
    *,
    spent_nusd: int,
    input_tokens: int,
    cached_tokens: int,
    budget: tuple[str, int, int] | None,
    tasks: Sequence[tuple[str | None, int]],
) -> str:
    """Like `$1.20 today (24% of acme's $5) · 71% cached · last $0.0132 resolved · 2 running`.

    `budget` is the fullest scope with a limit for a day, its limit and what is used of it; `tasks`
    are the latest, with outcome and cost. Days are UTC's.
    """
    parts = [f"{_usd(spent_nusd)} today"]
    if budget is not None:
        path, limit, used = budget
        parts[0] += f" ({used / limit:.0%} of {path}'s {_usd(limit)})"
    if input_tokens:
        parts.append(f"{cached_tokens / input_tokens:.0%} cached")
    ended = [task for task in tasks if task[0] is not None]
    if ended:
        parts.append(f"last {_usd(ended[0][1])} {ended[0][0]}")
    if len(tasks) > len(ended):
        parts.append(f"{len(tasks) - len(ended)} running")
    return " · ".join(parts)


def _ledger(arguments: Sequence[str]) -> str | None:
    """The ledger's file: named, or the default where no project file could name another."""
    if len(arguments) == 2 and arguments[0] == "--ledger":
        address = arguments[1]
        plain = address.startswith("sqlite:///") and "?" not in address
        return address.removeprefix("sqlite:///") if plain else None
    if arguments:
        return None
    here = os.getcwd()  # as above
    folder = here
    while True:
        if os.path.exists(os.path.join(folder, "agentkit.toml")):  # as above
            return None
        parent = os.path.dirname(folder)  # as above
        if parent == folder:
            return os.path.join(here, ".agentkit", "ledger.db")  # as above
        folder = parent


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _usd(nusd: int) -> str:
    return f"${nusd / 1e9:,.2f}" if nusd >= 10**9 or not nusd else f"${nusd / 1e9:.4f}"
