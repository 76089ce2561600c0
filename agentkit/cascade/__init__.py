"""Is a cheap answer good enough, or must a dearer tier be asked?"""

from agentkit.cascade.calibration import Calibration, Kept, Weight
from agentkit.cascade.decision import Action, Situation, Verdict, decide
from agentkit.cascade.evidence import Evidence, TokenFigures
from agentkit.cascade.review import review
from agentkit.cascade.settings import Cascade
from agentkit.cascade.signals import Signal, signals_of

__all__ = [
    "Action",
    "Calibration",
    "Cascade",
    "Evidence",
    "Kept",
    "Signal",
    "Situation",
    "TokenFigures",
    "Verdict",
    "Weight",
    "decide",
    "review",
    "signals_of",
]
