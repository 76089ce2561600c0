"""Windows as Redis keeps them: a key, and the milliseconds between which it holds.

Lua knows no time zones. So the scope keeps its current span, the script compares it with the
server's own time, and only when it is over asks the caller for the span that holds at that time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from agentkit.budgets.scope import Scope, Window


def span_at(window: str, now_ms: int) -> str:
    """The span of `window` ("day Europe/Berlin") at `now_ms`: first and next millisecond, key."""
    kind, timezone = _read(window)
    scope = Scope(path="span", window=kind, timezone=timezone)
    key = scope.window_key(now_ms / 1000)
    zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
    today = datetime.fromtimestamp(now_ms / 1000, zone).date()
    first = today if kind == "day" else today.replace(day=1)
    after = first + timedelta(days=1 if kind == "day" else 32)
    after = after if kind == "day" else after.replace(day=1)
    starts = [
        int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)
        for day in (first, after)
    ]
    return f"{starts[0]} {starts[1]} {key}"


def _read(window: str) -> tuple[Window, str]:
    kind, _, timezone = window.partition(" ")
    return ("day" if kind == "day" else "month"), timezone
