"""What each lever saved, as billed: the calls' cost without it, less what they did cost."""

from __future__ import annotations

from dataclasses import dataclass

from agentkit.budgets.journal import Lever
from agentkit.budgets.journal_query import EVERYTHING, LEVERS, JournalFilter
from agentkit.budgets.store import Store
from agentkit.reports.rollup import total

HOW: dict[Lever, str] = {
    "prompt_cache": "the same tokens, all at the plain input price: no reads, and no dearer writes",
    "routing": "the same tokens on the dearest tier, those of the step before read from its cache; "
    "a cheap answer that was turned down only cost",
    "semantic_cache": "the call that was not made, at the cost of the one it was answered from",
    "pruning": "what was cut from observations, sent with every later call of the task",
    "provisioning": "the tools that were not offered, in every call",
    "summary": "the messages that were condensed, sent in full; summaries and the prefix written "
    "anew are charged against it",
    "batch": "the same calls at the full price",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Saving:
    """`saved_nusd` is below 0 where the lever cost more than it saved. `without_nusd` is the bill
    had there been all levers but this one."""

    lever: Lever
    saved_nusd: int
    without_nusd: int
    how: str


def savings(store: Store, where: JournalFilter = EVERYTHING) -> list[Saving]:
    """The levers that moved the bill, the largest saving first, losses last."""
    sums = total(store, where)
    saved: dict[Lever, int] = {
        lever: int(sums[sums._fields.index(f"saved_{lever}")]) for lever in LEVERS
    }
    return [
        Saving(
            lever=lever, saved_nusd=nusd, without_nusd=sums.cost_nusd + nusd, how=HOW[lever]
        )
        for lever, nusd in sorted(saved.items(), key=lambda item: -item[1])
        if nusd
    ]  # fmt: skip
