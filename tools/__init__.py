"""Tools: what a step may call, and how it is run."""

from agentkit.tools.call import Around, Call, Inject
from agentkit.tools.catalogue import SideEffect, ToolCatalogue, ToolSource, ToolSpec
from agentkit.tools.errors import DuplicateTool, InvalidLimits, InvalidTool, ToolError
from agentkit.tools.execution import arun_calls, calls_of, run_calls
from agentkit.tools.limits import ExecutionLimits
from agentkit.tools.observation import Cut, Observation, Status, cut
from agentkit.tools.observation_store import (
    KeepLimits,
    MemoryObservationStore,
    ObservationStore,
    ObservationStoreError,
    SqliteObservationStore,
)
from agentkit.tools.prune import Keep, Kind, Pruned, prune
from agentkit.tools.recall import recall, recall_tool

__all__ = [
    "Around",
    "Call",
    "Cut",
    "DuplicateTool",
    "ExecutionLimits",
    "Inject",
    "InvalidLimits",
    "InvalidTool",
    "Keep",
    "KeepLimits",
    "Kind",
    "MemoryObservationStore",
    "Observation",
    "ObservationStore",
    "ObservationStoreError",
    "Pruned",
    "SideEffect",
    "SqliteObservationStore",
    "Status",
    "ToolCatalogue",
    "ToolError",
    "ToolSource",
    "ToolSpec",
    "arun_calls",
    "calls_of",
    "cut",
    "prune",
    "recall",
    "recall_tool",
    "run_calls",
]
