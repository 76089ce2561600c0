"""The budget of one task, as its author writes it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

from agentkit.budgets.amount import Limits, check_limits
from agentkit.budgets.errors import InvalidLimit
from agentkit.budgets.money import Money, nusd_from_usd, usd_from_nusd

DEFAULT_THRESHOLDS = (0.5, 0.8, 1.0)
LONGEST_SECONDS = 366 * 86_400.0


class Budget(BaseModel):
    """Limits of one task; a limit that is left out does not bind.

    `usd` is the main limit. `tokens` counts every token unless `count_cached=False`, which leaves
    out those that the provider read from its prompt cache. `seconds` is wall-clock time.
    `thresholds` are the shares of a limit at which a BudgetEvent is sent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: Decimal | None = None
    tokens: int | None = None
    calls: int | None = None
    seconds: float | None = None
    count_cached: bool = True
    thresholds: tuple[float, ...] = DEFAULT_THRESHOLDS
    unknown_price: Literal["refuse", "allow"] = "refuse"

    def __init__(
        self,
        *,
        usd: Money | None = None,
        tokens: int | None = None,
        calls: int | None = None,
        seconds: float | None = None,
        count_cached: bool = True,
        thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
        unknown_price: Literal["refuse", "allow"] = "refuse",
    ) -> None:
        """A checked budget.

        Raises InvalidLimit for negative, absurd or unreadable limits; pydantic's ValidationError
        for values of the wrong type.
        """
        super().__init__(
            usd=None if usd is None else usd_from_nusd(nusd_from_usd(usd)),
            tokens=tokens,
            calls=calls,
            seconds=seconds,
            count_cached=count_cached,
            thresholds=check_thresholds(thresholds),
            unknown_price=unknown_price,
        )
        check_limits(self.limits)
        if self.calls == 0:
            raise InvalidLimit("a budget of 0 calls cannot answer; use 1 or more")
        if self.seconds is not None and not 0 < self.seconds <= LONGEST_SECONDS:
            raise InvalidLimit(
                f"a limit of {self.seconds!r} seconds; use more than 0, up to a year"
            )

    @property
    def limits(self) -> Limits:
        """The bounds that the ledger holds for the task's scope; seconds are the task's own."""
        return Limits(
            nusd=None if self.usd is None else nusd_from_usd(self.usd),
            tokens=self.tokens if self.count_cached else None,
            fresh_tokens=None if self.count_cached else self.tokens,
            calls=self.calls,
        )

    @property
    def limits_money(self) -> bool:
        """True where an unknown price must refuse."""
        return self.usd is not None and self.unknown_price == "refuse"


def check_thresholds(thresholds: Sequence[float]) -> tuple[float, ...]:
    """`thresholds` in order, each once; raises InvalidLimit for what is no share of a limit."""
    for threshold in thresholds:
        if not 0 < threshold <= 1:
            raise InvalidLimit(f"a threshold of {threshold!r}; use shares above 0, up to 1")
    return tuple(sorted(set(thresholds)))
