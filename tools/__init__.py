"""Tools: what a step may call, and how it is run."""

from agentkit.tools.call import Around, Call, Inject
from agentkit.tools.catalogue import CostClass, SideEffect, ToolCatalogue, ToolSpec
from agentkit.tools.consent import Consent
from agentkit.tools.errors import (
    DuplicateTool,
    InvalidLimits,
    InvalidPermissions,
    InvalidPins,
    InvalidTool,
    ServerUnavailable,
    ToolError,
    ToolExtraMissing,
)
from agentkit.tools.execution import arun_calls, calls_of, run_calls
from agentkit.tools.functions import ToolSource
from agentkit.tools.limits import ExecutionLimits
from agentkit.tools.observation import Cut, Observation, Status, cut
from agentkit.tools.observation_store import (
    KeepLimits,
    MemoryObservationStore,
    ObservationStore,
    ObservationStoreError,
    SqliteObservationStore,
)
from agentkit.tools.permissions import Permission, Permissions
from agentkit.tools.prune import Earlier, Keep, Kind, Pruned, prune
from agentkit.tools.recall import recall, recall_tool

__all__ = [
    "Around",
    "Call",
    "Consent",
    "CostClass",
    "Cut",
    "DuplicateTool",
    "Earlier",
    "ExecutionLimits",
    "Inject",
    "InvalidLimits",
    "InvalidPermissions",
    "InvalidPins",
    "InvalidTool",
    "Keep",
    "KeepLimits",
    "Kind",
    "MemoryObservationStore",
    "Observation",
    "ObservationStore",
    "ObservationStoreError",
    "Permission",
    "Permissions",
    "Pruned",
    "ServerUnavailable",
    "SideEffect",
    "SqliteObservationStore",
    "Status",
    "ToolCatalogue",
    "ToolError",
    "ToolExtraMissing",
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
