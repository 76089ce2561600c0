"""Tasks that a ledger remembers, found by the beginning of an id."""

from __future__ import annotations

from agentkit.budgets.journal import TaskRecord
from agentkit.budgets.ledger import Ledger
from agentkit.cli.assembly import is_absent
from agentkit.cli.screen import printable
from agentkit.cli.settings import Settings
from agentkit.errors import ConfigError, NotResumable

_LOOKED_THROUGH = 10_000
_SHOWN = 5


def require_ledger(settings: Settings) -> None:
    """Raises ConfigError where the ledger does not exist yet, rather than make an empty one."""
    if is_absent(settings):
        raise ConfigError(
            f"there is no ledger at {settings.ledger}; run something first, or name another with "
            "--ledger sqlite:///file.db"
        )
    if settings.ledger.startswith("memory://"):
        raise ConfigError(
            "a memory:// ledger ends with its process; use --ledger sqlite:///file.db"
        )


def find_task(ledger: Ledger, wanted: str) -> TaskRecord:
    """The task whose id, or whose thread, begins with `wanted`; raises NotResumable."""
    exact = ledger.store.task(wanted)
    if exact is not None:
        return exact
    tasks = ledger.store.tasks(limit=_LOOKED_THROUGH)
    threads = [task for task in tasks if task.thread_id == wanted]
    if threads:
        return threads[0]
    found = [task for task in tasks if wanted and _begins(task, wanted)]
    if len({task.thread_id for task in found}) == 1:
        return found[0]
    if not found:
        raise NotResumable(
            f"no task or thread begins with {printable(wanted)!r}; `agentkit tasks` lists them"
        )
    ids = ", ".join(task.task_id for task in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise NotResumable(f"{printable(wanted)!r} could be {ids}{more}; write more of the id")


def _begins(task: TaskRecord, wanted: str) -> bool:
    return task.task_id.startswith(wanted) or (task.thread_id or "").startswith(wanted)
