"""What the ledger and a batch server's own books say of one run, however often it was killed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from agentkit.budgets import Ledger
from tests.wire import ScriptedProvider


@dataclass(frozen=True, kw_only=True, slots=True)
class Books:
    """`sent_twice` are requests of which the provider accepted the same attempt twice,
    `billed_twice` those that it billed more than once, `bills` how many it billed in all."""

    sent_twice: int
    billed_twice: int
    bills: int
    settled_calls: int
    held_nusd: int
    unconfirmed_nusd: int
    ledger_nusd: int
    billed_nusd: int
    batches: int
    troubles: dict[str, int]

    @property
    def agree(self) -> bool:
        """Whether each bill was charged once, to the nano-dollar, and nothing was sent twice."""
        return (
            self.ledger_nusd == self.billed_nusd
            and self.settled_calls == self.bills
            and not (self.sent_twice or self.billed_twice or self.held_nusd)
        )


def books_of(provider: ScriptedProvider, ledger: str, scope: str) -> Books:
    """The books after a run whose ledger is at the address `ledger`."""
    opened = Ledger(ledger)
    account = opened.account(scope)
    opened.close()
    records = provider.bill.records
    billed = Counter(str(record.custom_id).rpartition("-")[0] for record in records)
    return Books(
        sent_twice=sum(count > 1 for count in provider.desk.accepted.values()),
        billed_twice=sum(count > 1 for count in billed.values()),
        bills=len(records),
        settled_calls=account.settled.calls,
        held_nusd=account.held.nusd,
        unconfirmed_nusd=account.unconfirmed_nusd,
        ledger_nusd=account.settled.nusd,
        billed_nusd=provider.bill.cost_nusd,
        batches=len(provider.desk.batches),
        troubles=dict(provider.desk.dice.counts),
    )
