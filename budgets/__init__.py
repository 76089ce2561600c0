"""Usage, money, prices, limits and the ledger that holds them: no model, no LangChain.

>>> from agentkit.budgets import Budget, Ledger
>>> task = Ledger("memory://").open_task(budget=Budget(usd="0.05", tokens=40_000))
>>> task.room().tokens
40000
"""

from agentkit.budgets.amount import Amount, Limits
from agentkit.budgets.budget import Budget
from agentkit.budgets.context import carry, current_task, spending
from agentkit.budgets.errors import (
    BudgetError,
    BudgetExceeded,
    BudgetStateLost,
    BudgetTooSmall,
    CallLost,
    DeadlineExceeded,
    InvalidLimit,
    PriceUnknown,
    ReservationConflict,
    ReservationUnknown,
    ScopeMissing,
    StoreError,
    TaskMissing,
)
from agentkit.budgets.event import Ask, BudgetEvent, Decision, Extend, Land, Stop
from agentkit.budgets.journal import CallRecord, EventRecord, Outcome, TaskRecord
from agentkit.budgets.ledger import Ledger
from agentkit.budgets.loss import StateLoss
from agentkit.budgets.price import Price, PriceBook
from agentkit.budgets.price_file import read_price_file
from agentkit.budgets.scope import Scope
from agentkit.budgets.store import Account, Store
from agentkit.budgets.stores import open_store
from agentkit.budgets.task import Task
from agentkit.budgets.usage import Usage
from agentkit.budgets.webhook import Webhook

__all__ = [
    "Account",
    "Amount",
    "Ask",
    "Budget",
    "BudgetError",
    "BudgetEvent",
    "BudgetExceeded",
    "BudgetStateLost",
    "BudgetTooSmall",
    "CallLost",
    "CallRecord",
    "DeadlineExceeded",
    "Decision",
    "EventRecord",
    "Extend",
    "InvalidLimit",
    "Land",
    "Ledger",
    "Limits",
    "Outcome",
    "Price",
    "PriceBook",
    "PriceUnknown",
    "ReservationConflict",
    "ReservationUnknown",
    "Scope",
    "ScopeMissing",
    "StateLoss",
    "Stop",
    "Store",
    "StoreError",
    "Task",
    "TaskMissing",
    "TaskRecord",
    "Usage",
    "Webhook",
    "carry",
    "current_task",
    "open_store",
    "read_price_file",
    "spending",
]
