"""Cases through every model and the cascade: quality, cost, and the cheapest that is enough."""

from agentkit.evals.case import Case, CasesInvalid, read_cases
from agentkit.evals.grade import Grade, Grader, MadeCall, Sample
from agentkit.evals.grader import GraderParts, grader_of
from agentkit.evals.report import Report, SettingFigures

__all__ = [
    "Case",
    "CasesInvalid",
    "Grade",
    "Grader",
    "GraderParts",
    "MadeCall",
    "Report",
    "Sample",
    "SettingFigures",
    "grader_of",
    "read_cases",
]
