"""Values of the ledger as the Lua scripts pack them; `lua/common.lua` says how."""

from __future__ import annotations

import json
from functools import lru_cache
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
_SUMS = Struct("<9d")
_RECORD_BYTES = Struct("<14d").size
_NO_LIMIT = -1
_SETTLEMENT_BYTES = 2 + 3 * _FOUR.size
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
        thresholds=_thresholds(thresholds.encode()),
    )


def denial_of(worst: Amount, path: str, dimension: int, record: bytes) -> Denial:
    """Why `worst` does not fit."""
    settled, held, _, limits = _numbers(record)
    limit = limits[dimension] or 0
    sums = (settled[dimension], held[dimension])
    available = limit - sum(sums)
    return Denial(path, DIMENSIONS[dimension], worst[dimension], available, limit, *sums)


def settlement_of(reservation_id: str, answer: bytes) -> Settlement:
    """How a reservation ended, and the scopes with limits that it moved."""
    before, after = answer[:1], answer[1:2]
    charged, charged_before, worst = (amount_of_packed(answer[i : i + 32]) for i in (2, 34, 66))
    overrun = NOTHING if before == after else overrun_of(worst, charged)
    added = charged.minus(charged_before)
    changes: list[Change] = []
    start = _SETTLEMENT_BYTES
    while start < len(answer):
        path, record, start = _next_record(answer, start)
        settled, held, _, limits = _numbers(record)
        thresholds = _thresholds(record[record.rindex(b"\n") + 1 :])
        changes.append(Change(path, limits, thresholds, settled.minus(added), settled, held))
    return Settlement(
        reservation_id, _STATES[before], _STATES[after], charged, overrun, tuple(changes)
    )


def _next_record(answer: bytes, start: int) -> tuple[str, bytes, int]:
    """A path, its record, and where the next one starts."""
    first = answer.index(b"\n", start) + 1
    end = first + _RECORD_BYTES
    for _line in range(3):
        end = answer.index(b"\n", end) + 1
    return answer[start : first - 1].decode(), answer[first : end - 1], end


@lru_cache(maxsize=256)
def _thresholds(text: bytes) -> tuple[float, ...]:
    return tuple(json.loads(text))


def _numbers(record: bytes) -> tuple[Amount, Amount, int, Limits]:
    """Settled, held, unconfirmed nano-USD, limits."""
    s1, s2, s3, s4, h1, h2, h3, h4, unconfirmed = _SUMS.unpack_from(record)
    settled = Amount(int(s1), int(s2), int(s3), int(s4))
    held = Amount(int(h1), int(h2), int(h3), int(h4))
    return settled, held, int(unconfirmed), _limits(record[_RECORD_BYTES - 32 : _RECORD_BYTES])


@lru_cache(maxsize=256)
def _limits(raw: bytes) -> Limits:
    limits = Limits(*(None if limit == _NO_LIMIT else int(limit) for limit in _FOUR.unpack(raw)))
    return UNLIMITED if limits == UNLIMITED else limits


def _lines(record: bytes) -> list[str]:
    """Birth and window key, window and time zone, thresholds."""
    return record[_RECORD_BYTES:].decode().split("\n")
