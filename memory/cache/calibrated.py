"""The thresholds that ship, by embedding: `benchmarks/cache.py --calibrate` made them."""

from __future__ import annotations

from agentkit.memory.cache.threshold import NEVER

_SHIPPED: dict[str, dict[float, float]] = {
    "agentkit-static": {0.01: 1.194, 0.02: 1.069, 0.05: 0.903, 0.1: 0.751},
    "all-MiniLM-L6-v2": {0.01: 1.045, 0.02: 0.945, 0.05: 0.803, 0.1: 0.671},
}
"""By the beginning of an embedder's fingerprint, by the promised share of wrong hits."""


def shipped_threshold(fingerprint: str, max_wrong: float) -> float:
    """The least score that keeps to `max_wrong` with an embedding, or NEVER where none is known.

    A promise between two of the table keeps the stricter one's threshold.
    """
    for name, by_share in _SHIPPED.items():
        if fingerprint.startswith(name):
            kept = [share for share in by_share if share <= max_wrong]
            return by_share[max(kept)] if kept else NEVER
    return NEVER
