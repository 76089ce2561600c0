"""Which calibration says how likely a model's answers are right."""

from __future__ import annotations

from collections.abc import Mapping

from agentkit.cascade.calibration import PRIOR, Calibration


def calibration_of(label: str, own: Mapping[str, Calibration]) -> Calibration:
    """The calibration of the model that is called so: one of `own`, or the prior."""
    return own.get(label) or own.get("") or PRIOR
