"""Values of the ledger as the Lua scripts pack them; `lua/common.lua` says how."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
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
_ENDED = Struct("<12d")
_RECORD_BYTES = Struct("<15d").size
_LIMITS_AT = 10 * 8
_NO_LIMIT = -1
_HEAD_BYTES = 1 + 24
_STATES_AT = _HEAD_BYTES
_SETTLEMENT_BYTES = _HEAD_BYTES + 2 + 3 * _FOUR.size + 1
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
    c1, c2, c3, c4, b1, b2, b3, b4, *worst = map(int, _ENDED.unpack_from(answer, _STATES_AT + 2))
    charged = Amount(c1, c2, c3, c4)
    overrun = NOTHING if before == after else overrun_of(Amount(*worst), charged)
    c1, c2, c3, c4 = c1 - b1, c2 - b2, c3 - b3, c4 - b4
    changes: list[Change] = []
    moved: list[str] = []
    numbers, texts = _scopes_of_end(answer)
    for at in range(0, len(texts) - 1, 4):
        place = texts[at].decode()
        path = place[1:]
        if place[0] == "c":
            moved.append(path)
        first = at // 4 * 15
        limits = _limits(numbers[first + 10 : first + 14])
        if limits is not UNLIMITED:
            s1, s2, s3, s4, h1, h2, h3, h4 = map(int, numbers[first : first + 8])
            thresholds = _thresholds(texts[at + 3])
            earlier = Amount(s1 - c1, s2 - c2, s3 - c3, s4 - c4)
            now = Amount(s1, s2, s3, s4)
            changes.append(Change(path, limits, thresholds, earlier, now, Amount(h1, h2, h3, h4)))
    settlement = Settlement(
        reservation_id, _STATES[before], _STATES[after], charged, overrun, tuple(changes)
    )
    return settlement, moved


def rows_of(answer: bytes, paths: Sequence[str] | None) -> Iterator[tuple[str, bytes]]:
    """The paths and records that an answer shows, of windows that have not ended."""
    if paths is None:
        _, texts = _scopes_of_end(answer)
        for number, at in enumerate(range(0, len(texts) - 1, 4)):
            if texts[at][:1] == b"c":
                first = _SETTLEMENT_BYTES + number * _RECORD_BYTES
                lines = b"\n".join(texts[at + 1 : at + 4])
                yield texts[at][1:].decode(), answer[first : first + _RECORD_BYTES] + lines
        return
    start = _HEAD_BYTES
    if answer[:1] == b"G":
        start = answer.index(b"\n\n", _HEAD_BYTES) + 2
    for path in paths:
        end = _end_of_record(answer, start)
        yield path, answer[start:end]
        start = end + 1


def _scopes_of_end(answer: bytes) -> tuple[tuple[float, ...], list[bytes]]:
    """The numbers of all scopes in an answer to a settlement, and four texts for each."""
    count = answer[_SETTLEMENT_BYTES - 1]
    texts = answer[_SETTLEMENT_BYTES + count * _RECORD_BYTES :].split(b"\n")
    return _records(count).unpack_from(answer, _SETTLEMENT_BYTES), texts


@cache
def _records(count: int) -> Struct:
    return Struct(f"<{15 * count}d")


def _end_of_record(answer: bytes, first: int) -> int:
    """Where the newline behind a record's three lines is."""
    end = answer.index(b"\n", first + _RECORD_BYTES) + 1
    end = answer.index(b"\n", end) + 1
    return answer.index(b"\n", end)


@lru_cache(maxsize=256)
def _thresholds(text: bytes) -> tuple[float, ...]:
    return tuple(json.loads(text))


def _numbers(record: bytes) -> tuple[Amount, Amount, int, Limits]:
    """Settled, held, unconfirmed nano-USD, limits."""
    s1, s2, s3, s4, h1, h2, h3, h4, unconfirmed = _SUMS.unpack_from(record)
    settled = Amount(int(s1), int(s2), int(s3), int(s4))
    held = Amount(int(h1), int(h2), int(h3), int(h4))
    return settled, held, int(unconfirmed), _limits(_FOUR.unpack_from(record, _LIMITS_AT))


@lru_cache(maxsize=1024)
def _limits(numbers: tuple[float, ...]) -> Limits:
    limits = Limits(*(None if limit == _NO_LIMIT else int(limit) for limit in numbers))
    return UNLIMITED if limits == UNLIMITED else limits


def _lines(record: bytes) -> list[str]:
    """Birth and window key, window and time zone, thresholds."""
    return record[_RECORD_BYTES:].decode().split("\n")
