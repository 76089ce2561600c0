"""Is a cheap answer good enough, or must a dearer tier be asked?"""

from agentkit.cascade.calibration import Calibration, Kept, Weight
from agentkit.cascade.evidence import Evidence, TokenFigures
from agentkit.cascade.review import review
from agentkit.cascade.signals import Signal, signals_of

__all__ = [
    "Calibration",
    "Evidence",
    "Kept",
    "Signal",
    "TokenFigures",
    "Weight",
    "review",
    "signals_of",
]
