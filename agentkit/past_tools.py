"""Which tools a tenant's earlier tasks used together, out of the ledger's journal.

The journal names the tools that each call asked for, and nothing else of a task counts: no text,
least of all that of an observation. It outlasts the process, and belongs to the scope's tenant.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakKeyDictionary

from agentkit.budgets.ledger import Ledger
from agentkit.effects import Blocking, Work
from agentkit.run import Run
from agentkit.tools.provision.together import Together
from agentkit.tools.provision.toolbox import Toolbox

MOST_TASKS = 200
"""Of a tenant the latest tasks count."""
_MOST_TENANTS = 256
_FRESH_SECONDS = 60.0
_COUNTED = frozenset({"resolved", "answered"})

_lock = threading.Lock()
_known: WeakKeyDictionary[Ledger, OrderedDict[str, _Tenant]] = WeakKeyDictionary()


@dataclass(slots=True)
class _Tenant:
    """What was read of a tenant's tasks; an ended task is read once."""

    tools: OrderedDict[str, tuple[str, ...]] = field(
        default_factory=OrderedDict[str, "tuple[str, ...]"]
    )
    together: Together = field(default_factory=partial(Together.of, ()))
    read_at: float = float("-inf")

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self.read_at < _FRESH_SECONDS


def past_tools(run: Run, toolbox: Toolbox) -> Work[Together | None]:
    """What the tenant's tasks used together; None where no search for tools is made."""
    if toolbox.offers_all or not toolbox.provisioning.together:
        return None
    ledger, scope = run.task.ledger, run.task.scope
    known = _tenant_of(ledger, scope)
    if known.is_fresh:
        return known.together
    read: Together = yield Blocking(partial(tools_together, ledger, scope), ledger.store.blocking)
    return read


def tools_together(ledger: Ledger, scope: str) -> Together:
    """What the latest tasks of the scope's tenant that ended well used together.

    A minute old at most.
    """
    known = _tenant_of(ledger, scope)
    with _lock:
        if known.is_fresh:
            return known.together
        known.read_at = time.monotonic()
    tools: OrderedDict[str, tuple[str, ...]] = OrderedDict()
    for task in ledger.store.tasks(limit=MOST_TASKS, scope=_tenant(scope)):
        if task.outcome not in _COUNTED:
            continue
        names = known.tools.get(task.task_id)
        tools[task.task_id] = _called(ledger, task.task_id) if names is None else names
    together = Together.of(names for names in tools.values() if names)
    with _lock:
        known.tools, known.together = tools, together
    return together


def _tenant(scope: str) -> str:
    return scope.partition("/")[0]


def _tenant_of(ledger: Ledger, scope: str) -> _Tenant:
    with _lock:
        tenants = _known.setdefault(ledger, OrderedDict())
        known = tenants.setdefault(_tenant(scope), _Tenant())
        tenants.move_to_end(_tenant(scope))
        while len(tenants) > _MOST_TENANTS:
            tenants.popitem(last=False)
        return known


def _called(ledger: Ledger, task_id: str) -> tuple[str, ...]:
    """The tools that a task's model asked for, in the order in which it first did."""
    calls = ledger.store.calls(task_id)
    return tuple(dict.fromkeys(name for call in calls for name in call.tools_called))
