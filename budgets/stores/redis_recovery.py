"""Noticing that the server has lost an org, or was put back in time, and making it whole again.

Whoever notices closes the org: nothing is granted in it by anybody. Every process that spends
there brings back what it remembers, once; when the longest lease is over, the first to ask opens it
again.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

from agentkit.budgets.amount import NOTHING
from agentkit.budgets.errors import BudgetStateLost, StoreError
from agentkit.budgets.loss import OnLoss, StateLoss
from agentkit.budgets.stores.redis_connection import Runs
from agentkit.budgets.stores.redis_memory import OrgMemory
from agentkit.budgets.stores.redis_record import amount_of_packed
from agentkit.budgets.stores.redis_script import (
    OPENED,
    ORGS,
    TROUBLE,
    Argument,
    Commands,
    Script,
    Steps,
    key,
    one,
)

_log = logging.getLogger("agentkit.budgets")

_PART = 500
_BEFORE: dict[bytes, Literal["closed", "open", "missing"]] = {
    b"REOPENED": "closed",
    b"OPEN": "open",
    b"CREATED": "missing",
}
_ROUNDS = 8


class _Examined(NamedTuple):
    """An org as the server has it: `left_ms` until it may open again, -1 where it is open."""

    status: bytes
    head: bytes
    lineage: bytes
    left_ms: int
    found: int


class Connection(Protocol):
    """What is known of the server."""

    @property
    def runs(self) -> Runs:
        """Which run of it this process talks to."""
        ...

    @property
    def waits(self) -> bool:
        """True where an org is closed for a while after each start of it."""
        ...


class Recovery:
    """Compares an org with what this process remembers of it, and brings back what is missing."""

    def __init__(
        self,
        connection: Connection,
        *,
        wait_seconds: float,
        now: Callable[[], str],
    ) -> None:
        self.on_loss: OnLoss | None = None
        self._connection = connection
        self._wait_ms = int(wait_seconds * 1000)
        self._now = now

    def compare(
        self, memory: OrgMemory, *, granting: bool = False, doubt: bool = False
    ) -> Steps[bool]:
        """Until this process may go on in the org; False where there is no such org.

        `granting` raises BudgetStateLost while the org is closed. `doubt` says that a script found
        something missing which an earlier look did not.
        """
        for _ in range(_ROUNDS):
            generation = self._connection.runs.generation
            answer = yield from self._examine(memory, doubt)
            if answer is None:
                continue
            status, head, lineage, left_ms, found = answer
            doubt = False
            if status == b"MISSING":
                return False
            if status in (b"LOST", b"REPLAY"):
                yield from self._bring_back(memory, answer, generation)
                if granting:
                    continue
                return True
            recovered = memory.recovering and left_ms < 0
            memory.adopt(head, lineage, generation, recovering=left_ms >= 0)
            if recovered:
                yield from self._refresh(memory)
            if left_ms < 0 or (left_ms == 0 and (yield from self.reopen(memory, found))):
                return True
            if granting:
                raise BudgetStateLost(
                    org=memory.org,
                    seq_seen=int(memory.seq),
                    seq_found=found,
                    reopens_in_seconds=left_ms / 1000 if left_ms else None,
                )
            return True
        raise StoreError(f"the ledger of {memory.org!r} is lost again and again; try again")

    def reopen(
        self, memory: OrgMemory, found: int = 0, *, by_hand: bool = False
    ) -> Steps[StateLoss | None]:
        """Open an org again; None where it has to stay closed."""
        fresh = secrets.token_hex(8)
        answer = yield Script("reopen", memory.org, (self._now(), int(by_hand), memory.org, fresh))
        if answer == TROUBLE or answer[0] in (b"EMPTY", b"CLOSED"):
            return None
        if answer[0] == b"CREATED":
            yield Commands((("SADD", ORGS, memory.org), ("SADD", OPENED, memory.org)))
            memory.adopt(answer[1], fresh.encode() * 2, self._connection.runs.generation)
        elif answer[0] == b"REOPENED":
            lineage = fresh.encode() + memory.lineage
            memory.adopt(answer[1], lineage, self._connection.runs.generation)
            yield from self._refresh(memory)
        orphaned = amount_of_packed(answer[2]) if answer[0] == b"REOPENED" else NOTHING
        loss = StateLoss(
            kind="reopened",
            org=memory.org,
            seq_seen=int(memory.seq),
            seq_found=found,
            orphaned=orphaned,
            before=_BEFORE[answer[0]],
        )
        if answer[0] != b"OPEN":
            self._tell(loss)
        return loss

    def _examine(self, memory: OrgMemory, doubt: bool) -> Steps[_Examined | None]:
        """What the server says of the org; None where it was restarted meanwhile."""
        known = 0 if memory.seen else (yield from one("SISMEMBER", OPENED, memory.org))
        lineage = memory.lineage if memory.seen else b""
        told = (self._now(), lineage, int(memory.seq), secrets.token_hex(8), known)
        ways = (self._wait_ms, int(doubt), int(self._connection.waits))
        answer: Any = yield Script("examine", memory.org, (*told, *ways))
        if answer == TROUBLE:
            return None
        if answer[0] == b"MISSING":
            return _Examined(b"MISSING", b"", b"", -1, 0)
        status, head, lineage, left_ms, found = answer
        return _Examined(status, head, lineage, int(left_ms), int(found))

    def _bring_back(self, memory: OrgMemory, found: _Examined, generation: int) -> Steps[None]:
        """Bring back what this process remembers, and take over the epoch that follows."""
        _, head, lineage, left_ms, seq_found = found
        seen, scopes, holds = int(memory.seq), 0, 0
        for count, rows in memory.parts(_PART) if memory.seen else ():
            told = (memory.lineage, seen, memory.longest_lease_ms)
            answer = yield Script("replay", memory.org, (self._now(), *told, count, *rows))
            if answer == TROUBLE:  # lost once more meanwhile
                return
            _, head, taken, restored = answer
            scopes, holds = scopes + taken, holds + restored
        for name, packed in list(memory.pending.items()):
            answer = yield Script("settle", memory.org, _ending(head, name, packed))
            if answer == TROUBLE:
                return
        memory.adopt(head, lineage, generation, recovering=left_ms >= 0)
        if left_ms < 0:
            yield from self._refresh(memory)
        self._tell(
            StateLoss(
                kind="lost",
                org=memory.org,
                seq_seen=seen,
                seq_found=seq_found,
                scopes=scopes,
                reservations=holds,
            )
        )

    def _refresh(self, memory: OrgMemory) -> Steps[None]:
        """Remember the scopes as they are once everybody has brought back theirs."""
        paths = list(memory.scopes)
        for start in range(0, len(paths), _PART):
            part = paths[start : start + _PART]
            *records, meta = yield from one("HMGET", key(memory.org, "scopes"), *part, "")
            if meta is not None:
                memory.refresh(list(zip(part, records, strict=True)), meta)

    def _tell(self, loss: StateLoss) -> None:
        if loss.kind == "lost":
            _log.error(
                "the ledger of %r was lost in part or put back in time: change %d where %d was "
                "seen; this process brought back %d scopes and %d reservations",
                *(loss.org, loss.seq_found, loss.seq_seen, loss.scopes, loss.reservations),
            )
        else:
            _log.warning(
                "the ledger of %r is open again; for reservations that nobody remembers %s is "
                "charged",
                *(loss.org, loss.orphaned),
            )
        if self.on_loss is not None:
            self.on_loss(loss)


def _ending(head: bytes, reservation_id: str, packed: bytes) -> tuple[Argument, ...]:
    """What ends a reservation as it is packed; a settlement at nothing stands for a release."""
    state = "f" if packed[:1] == b"f" else "s"
    return head, reservation_id, packed[34:66], state, "", "", ""
