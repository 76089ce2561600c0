"""`agentkit doctor`."""

from __future__ import annotations


def doctor() -> int:
    """To come."""
    return 0
