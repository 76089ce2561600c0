"""Values of the ledger as the Lua scripts pack them; `lua/common.lua` says how."""

from __future__ import annotations

import json
from collections.abc import Sequence
from struct import Struct

from agentkit.budgets.amount import DIMENSIONS, NOTHING, UNLIMITED, Amount, Limits
from agentkit.budgets.scope import Scope, Window
from agentkit.budgets.store import (
    Account,
    Change,
    Denial,
    ReservationState,
    Settlement,
    overrun_of,
)

_FOUR = Struct("<4d")
_RECORD = Struct("<14d")
_NO_LIMIT = -1
_STATES: dict[bytes, ReservationState] = {
    b"h": "held",
    b"s": "settled",
    b"r": "released",
    b"f": "forfeited",
}
_WINDOWS: dict[str, Window] = {"total": "total", "day": "day", "month": "month"}


def packed(amount: Amount) -> bytes:
    """Four numbers."""
    return _FOUR.pack(*amount)


def packed_limits(limits: Limits) -> bytes:
    """Four limits, -1 where there is none."""
    return _FOUR.pack(*(_NO_LIMIT if limit is None else limit for limit in limits))


def amount_of_packed(raw: bytes) -> Amount:
    """The amount in 32 bytes."""
    nusd, tokens, fresh_tokens, calls = _FOUR.unpack(raw)
    return Amount(int(nusd), int(tokens), int(fresh_tokens), int(calls))


def state_of(raw: bytes) -> ReservationState:
    """The state behind its letter."""
    return _STATES[raw]


def account_of(path: str, record: bytes) -> Account:
    """A scope's sums in its current window."""
    settled, held, unconfirmed, limits = _numbers(record)
    _, _, key = _lines(record)[0].partition(" ")
    return Account(path, key, limits, settled, held, unconfirmed)


def scope_of(path: str, record: bytes) -> Scope:
    """A scope's rules."""
    _, window, thresholds = _lines(record)
    kind, _, timezone = window.partition(" ")
    return Scope(
        path=path,
        limits=_numbers(record)[3],
        window=_WINDOWS[kind],
        timezone=timezone,
        thresholds=tuple(json.loads(thresholds)),
    )


def denial_of(worst: Amount, path: str, dimension: int, record: bytes) -> Denial:
    """Why `worst` does not fit."""
    settled, held, _, limits = _numbers(record)
    limit = limits[dimension] or 0
    sums = (settled[dimension], held[dimension])
    available = limit - sum(sums)
    return Denial(path, DIMENSIONS[dimension], worst[dimension], available, limit, *sums)


def settlement_of(answer: Sequence[bytes]) -> Settlement:
    """How a reservation ended, and the scopes with limits that it moved."""
    name, before, after, charged, charged_before, worst, *moved = answer
    charge = amount_of_packed(charged)
    added = charge.minus(amount_of_packed(charged_before))
    pairs = zip(moved[::2], moved[1::2], strict=True)
    return Settlement(
        name.decode(),
        _STATES[before],
        _STATES[after],
        charge,
        NOTHING if before == after else overrun_of(amount_of_packed(worst), charge),
        tuple(_change(path.decode(), record, added) for path, record in pairs),
    )


def _change(path: str, record: bytes, added: Amount) -> Change:
    settled, held, _, limits = _numbers(record)
    thresholds = tuple(json.loads(_lines(record)[2]))
    return Change(path, limits, thresholds, settled.minus(added), settled, held)


def _numbers(record: bytes) -> tuple[Amount, Amount, int, Limits]:
    """Settled, held, unconfirmed nano-USD, limits."""
    numbers = [int(number) for number in _RECORD.unpack_from(record)]
    limits = Limits(*(None if limit == _NO_LIMIT else limit for limit in numbers[10:]))
    if limits == UNLIMITED:
        limits = UNLIMITED
    return Amount(*numbers[:4]), Amount(*numbers[4:8]), numbers[8], limits


def _lines(record: bytes) -> list[str]:
    """Birth and window key, window and time zone, thresholds."""
    return record[_RECORD.size :].decode().split("\n")
