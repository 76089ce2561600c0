"""What an exception means to the person at the command line: an exit status and a sentence."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import typer

from agentkit.errors import AgentError

_FAILED, _WRONG_USE, _USED_UP = 1, 2, 3
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]  # UsageError has no public name
_FAILED_NAMES = frozenset(("PullFailed", "ChecksumMismatch"))
_USED_UP_NAMES = frozenset(("BudgetExceeded", "DeadlineExceeded"))
_FAMILIES = (
    ("agentkit.budgets.errors", "BudgetError"),
    ("agentkit.tools.errors", "ToolError"),
    ("agentkit.memory.cache.store", "CacheError"),
    ("agentkit.models.local.errors", "LocalModelError"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """`kind` is the exception's name; `status` the exit status."""

    kind: str
    message: str
    status: int


def fault_of(error: Exception) -> Fault:
    """The fault that `error` is: our own errors say what to do, others are named."""
    kind = type(error).__name__
    if isinstance(error, _USAGE_ERROR):
        return Fault(kind="UsageError", message=_usage(error), status=_WRONG_USE)
    if isinstance(error, typer.Abort):
        return Fault(kind="Aborted", message="nothing was done", status=_FAILED)
    if kind in _USED_UP_NAMES and _is_ours(error):
        return Fault(kind=kind, message=str(error), status=_USED_UP)
    if kind in _FAILED_NAMES and _is_ours(error):
        return Fault(kind=kind, message=str(error), status=_FAILED)
    if _is_ours(error):
        return Fault(kind=kind, message=str(error), status=_WRONG_USE)
    first = (str(error).splitlines() or [""])[0][:300]
    message = f"{kind}: {first}; AGENTKIT_DEBUG=1 shows where it came from"
    return Fault(kind=kind, message=message, status=_FAILED)


def _is_ours(error: Exception) -> bool:
    """True for the errors of our packages, without importing those that were not needed."""
    families: list[type[BaseException]] = [AgentError]
    for module, name in _FAMILIES:
        family = getattr(sys.modules.get(module), name, None)
        if isinstance(family, type) and issubclass(family, BaseException):
            families.append(family)
    return isinstance(error, tuple(families))


def _usage(error: Exception) -> str:
    format_message = getattr(error, "format_message", None)
    told = str(format_message()) if callable(format_message) else str(error)
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "agentkit")
    return f"{told.rstrip('.')}; `{path} --help` lists what it takes"
