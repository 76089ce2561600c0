"""Tools: what a step may call, and how it is run."""

from agentkit.tools.call import Around, Call, Inject
from agentkit.tools.catalogue import SideEffect, ToolCatalogue, ToolSource, ToolSpec
from agentkit.tools.errors import DuplicateTool, InvalidLimits, InvalidTool, ToolError
from agentkit.tools.execution import arun_calls, calls_of, run_calls
from agentkit.tools.limits import ExecutionLimits
from agentkit.tools.observation import Cut, Observation, Status, cut

__all__ = [
    "Around",
    "Call",
    "Cut",
    "DuplicateTool",
    "ExecutionLimits",
    "Inject",
    "InvalidLimits",
    "InvalidTool",
    "Observation",
    "SideEffect",
    "Status",
    "ToolCatalogue",
    "ToolError",
    "ToolSource",
    "ToolSpec",
    "arun_calls",
    "calls_of",
    "cut",
    "run_calls",
]
