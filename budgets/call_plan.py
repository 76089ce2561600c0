"""A model call before it is sent: what it may take, and what is held for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from agentkit.budgets.amount import Amount, Limits
from agentkit.budgets.journal import CallRecord, CallStatus, Component, Lever, Purpose
from agentkit.budgets.price import CacheWrite, Price

LEASE_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CallPlan:
    """A model call about to be made, as the ledger needs to know it.

    `input_tokens` is a true bound (margin included), `counted_input_tokens` our own count.
    `wanted_output_tokens` is clamped to what the limits allow, but not below
    `least_output_tokens`: then the call is denied. `dearest` is the price of the dearest tier that
    the call could have gone to, which says what routing saves; `spared` are the input tokens that
    each lever left out. `live` is the price at which a call that goes by batch would be billed at
    once. `holds_media` says that the input holds images, schemas or what cannot be counted, taken
    at the most, so that nothing can be learned from it about text.
    """

    price: Price
    counted_input_tokens: int
    input_tokens: int
    wanted_output_tokens: int
    least_output_tokens: int = 1
    cache_write: CacheWrite = "none"
    purpose: Purpose = "step"
    step: int = 0
    tier: int = 0
    attempt: int = 1
    tools_offered: tuple[str, ...] = ()
    components: Mapping[Component, int] = field(default_factory=dict[Component, int])
    prefix: str = ""
    escalation: str | None = None
    dearest: Price | None = None
    spared: Mapping[Lever, int] = field(default_factory=dict[Lever, int])
    live: Price | None = None
    holds_media: bool = False
    lease_seconds: float = LEASE_SECONDS
    fingerprint: str = ""

    def worst(self, output_tokens: int) -> Amount:
        """The most that the call can take with its output clamped to `output_tokens`."""
        tokens = self.input_tokens + output_tokens
        nusd = self.price.worst_nusd(self.input_tokens, output_tokens, self.cache_write)
        return Amount(nusd, tokens, tokens, 1)

    def affordable_output(self, room: Limits) -> int | None:
        """Most output tokens that fit in `room`; None where nothing binds."""
        bounds = [
            None if room.nusd is None else self._for_money(room.nusd),
            None if room.tokens is None else room.tokens - self.input_tokens,
            None if room.fresh_tokens is None else room.fresh_tokens - self.input_tokens,
            -1 if room.calls is not None and room.calls < 1 else None,
        ]
        binding = [bound for bound in bounds if bound is not None]
        return min(binding) if binding else None

    def _for_money(self, nusd: int) -> int | None:
        return self.price.affordable_output_tokens(nusd, self.input_tokens, self.cache_write)


@dataclass(frozen=True, kw_only=True, slots=True, weakref_slot=True)
class HeldCall:
    """A call whose worst case is held: send it with `max_output_tokens`, then end it once.

    Keep it while the call is under way: its lease is renewed as long as it exists.
    """

    call_id: str
    index: int
    plan: CallPlan
    worst: Amount
    max_output_tokens: int
    started_at: float
    started_clock: float

    def record(
        self,
        *,
        task_id: str,
        scope: str,
        tags: Mapping[str, str],
        status: CallStatus,
        error: str | None,
    ) -> CallRecord:
        """The record of the call as it ends now, before what it used is known."""
        plan = self.plan
        return CallRecord(
            call_id=self.call_id,
            task_id=task_id,
            scope=scope,
            step=plan.step,
            index=self.index,
            attempt=plan.attempt,
            purpose=plan.purpose,
            tier=plan.tier,
            model=plan.price.model,
            provider=plan.price.provider,
            status=status,
            error=error,
            started_at=self.started_at,
            latency_seconds=time.perf_counter() - self.started_clock,
            estimated_input_tokens=plan.counted_input_tokens,
            max_output_tokens=self.max_output_tokens,
            cost_source=plan.price.source,
            priced_on=str(plan.price.priced_on) if plan.price.priced_on else None,
            tools_offered=plan.tools_offered,
            escalation=plan.escalation,
            prefix=plan.prefix,
            components=plan.components,
            tags=tags,
        )
