"""Values of the ledger as the Lua scripts pack them; `lua/common.lua` says how."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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
_TAKEN = Struct("<8d")
_CURRENT = ord("c")
_RECORD = Struct("<15d")
_RECORD_BYTES = _RECORD.size
_LIMITS_AT = 10 * 8
_NO_LIMIT = -1
_HEAD_BYTES = 1 + 24
_STATES_AT = _HEAD_BYTES
_SETTLEMENT_BYTES = _HEAD_BYTES + 2 + 3 * _FOUR.size
NO_CHARGE = bytes(_FOUR.size)
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


def hold_of_grant(answer: bytes, worst: bytes, fingerprint: str, *, dispatched: bool) -> bytes:
    """The reservation that a grant has made, as the server keeps it."""
    lines = answer[_HEAD_BYTES : answer.index(b"\n\n", _HEAD_BYTES) + 2]
    sent = b"h1" if dispatched else b"h0"
    return b"".join((sent, worst, NO_CHARGE, lines, fingerprint.encode()))


def charged_of(answer: bytes) -> tuple[bytes, bytes]:
    """The state after a settlement, and what was charged, packed."""
    return (
        answer[_STATES_AT + 1 : _STATES_AT + 2],
        answer[_STATES_AT + 2 : _STATES_AT + 2 + _FOUR.size],
    )


def settlement_of(reservation_id: str, answer: bytes) -> tuple[Settlement, list[str]]:
    """How a reservation ended, and the paths whose current window it moved."""
    before, after = answer[_STATES_AT : _STATES_AT + 1], answer[_STATES_AT + 1 : _STATES_AT + 2]
    charged, charged_before, worst = (
        amount_of_packed(answer[i : i + 32])
        for i in range(_STATES_AT + 2, _SETTLEMENT_BYTES, _FOUR.size)
    )
    overrun = NOTHING if before == after else overrun_of(worst, charged)
    added = charged.minus(charged_before)
    changes: list[Change] = []
    moved: list[str] = []
    start, size = _SETTLEMENT_BYTES, len(answer)
    while start < size:
        first = answer.index(b"\n", start) + 1
        path = answer[start + 1 : first - 1].decode()
        end = _end_of_record(answer, first)
        if answer[start] == _CURRENT:
            moved.append(path)
        limits = _limits(answer[first + _LIMITS_AT : first + _LIMITS_AT + 32])
        if limits is not UNLIMITED:
            settled, held = _taken(answer, first)
            tail = answer[answer.rindex(b"\n", first, end) + 1 : end]
            changes.append(
                Change(path, limits, _thresholds(tail), settled.minus(added), settled, held)
            )
        start = end + 1
    settlement = Settlement(
        reservation_id, _STATES[before], _STATES[after], charged, overrun, tuple(changes)
    )
    return settlement, moved


def rows_of(answer: bytes, paths: Sequence[str] | None) -> Iterator[tuple[str, bytes]]:
    """The paths and records that an answer shows, of windows that have not ended."""
    if paths is None:
        start = _SETTLEMENT_BYTES
        while start < len(answer):
            first = answer.index(b"\n", start) + 1
            end = _end_of_record(answer, first)
            if answer[start] == _CURRENT:
                yield answer[start + 1 : first - 1].decode(), answer[first:end]
            start = end + 1
        return
    start = _HEAD_BYTES
    if answer[:1] == b"G":
        start = answer.index(b"\n\n", _HEAD_BYTES) + 2
    for path in paths:
        end = _end_of_record(answer, start)
        yield path, answer[start:end]
        start = end + 1


def _end_of_record(answer: bytes, first: int) -> int:
    """Where the newline behind a record's three lines is."""
    end = answer.index(b"\n", first + _RECORD_BYTES) + 1
    end = answer.index(b"\n", end) + 1
    return answer.index(b"\n", end)


def _taken(answer: bytes, first: int) -> tuple[Amount, Amount]:
    """Settled and held of the record that begins at `first`."""
    s1, s2, s3, s4, h1, h2, h3, h4 = map(int, _TAKEN.unpack_from(answer, first))
    return Amount(s1, s2, s3, s4), Amount(h1, h2, h3, h4)


@lru_cache(maxsize=256)
def _thresholds(text: bytes) -> tuple[float, ...]:
    return tuple(json.loads(text))


def _numbers(record: bytes) -> tuple[Amount, Amount, int, Limits]:
    """Settled, held, unconfirmed nano-USD, limits."""
    s1, s2, s3, s4, h1, h2, h3, h4, unconfirmed = _SUMS.unpack_from(record)
    settled = Amount(int(s1), int(s2), int(s3), int(s4))
    held = Amount(int(h1), int(h2), int(h3), int(h4))
    return settled, held, int(unconfirmed), _limits(record[_LIMITS_AT : _LIMITS_AT + 32])


@lru_cache(maxsize=256)
def _limits(raw: bytes) -> Limits:
    limits = Limits(*(None if limit == _NO_LIMIT else int(limit) for limit in _FOUR.unpack(raw)))
    return UNLIMITED if limits == UNLIMITED else limits


def _lines(record: bytes) -> list[str]:
    """Birth and window key, window and time zone, thresholds."""
    return record[_RECORD_BYTES:].decode().split("\n")
