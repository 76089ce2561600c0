"""Values of the ledger as the Lua scripts pack them; `lua/prelude.lua` says how."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from struct import Struct
from typing import Any

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

_FOUR = Struct("<4q")
_EIGHT = Struct("<8q")
_SUMS = Struct("<9q")
_ENDED = Struct("<12q")
_RECORD = Struct("<15q")
_RECORD_BYTES = _RECORD.size
_LIMITS_AT = 10 * 8
_NO_LIMIT = -1
_HEAD_BYTES = 1 + 24
_STATES_AT = _HEAD_BYTES
_LINES_AT = _HEAD_BYTES + 2 + 3 * _FOUR.size
NO_CHARGE = bytes(_FOUR.size)
_STATES: dict[bytes, ReservationState] = {
    b"h": "held",
    b"s": "settled",
    b"r": "released",
    b"f": "forfeited",
}
_CURRENT = ord("c")
_made: Any = getattr(tuple, "__new__")  # noqa: B009  its type follows from its argument
"""Makes a named tuple in a third of the time of its constructor."""
_WINDOWS: dict[str, Window] = {"total": "total", "day": "day", "month": "month"}


def packed(amount: Amount) -> bytes:
    """Four numbers."""
    return _FOUR.pack(*amount)


def packed_limits(limits: Limits) -> bytes:
    """Four limits, -1 where there is none."""
    return _FOUR.pack(*(_NO_LIMIT if limit is None else limit for limit in limits))


def amount_of_packed(raw: bytes) -> Amount:
    """The amount in 32 bytes."""
    return Amount(*_FOUR.unpack(raw))


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


def settlement_of(reservation_id: str, answer: bytes) -> tuple[Settlement, Sequence[str]]:
    """How a reservation ended, and the paths whose current window it moved."""
    before, after = answer[_STATES_AT : _STATES_AT + 1], answer[_STATES_AT + 1 : _STATES_AT + 2]
    numbers = _ENDED.unpack_from(answer, _STATES_AT + 2)
    charged = Amount(*numbers[:4])
    overrun = NOTHING if before == after else overrun_of(Amount(*numbers[8:]), charged)
    c1, c2, c3, c4 = charged.minus(Amount(*numbers[4:8]))
    changes: list[Change] = []
    paths, flags, rows = _moved_by(answer)
    for path, (start, end) in zip(paths, rows, strict=True):
        if start == end:
            continue
        limits, thresholds = _rules(answer[start + _LIMITS_AT : end])
        if limits is not UNLIMITED:
            s1, s2, s3, s4, *held = _EIGHT.unpack_from(answer, start)
            earlier = _made(Amount, (s1 - c1, s2 - c2, s3 - c3, s4 - c4))
            now = _made(Amount, (s1, s2, s3, s4))
            change = (path, limits, thresholds, earlier, now, _made(Amount, held))
            changes.append(_made(Change, change))
    settlement = Settlement(
        reservation_id, _STATES[before], _STATES[after], charged, overrun, tuple(changes)
    )
    return settlement, paths if flags == b"c" * len(paths) else _current(paths, flags)


def rows_of(answer: bytes, paths: Sequence[str] | None) -> Iterator[tuple[str, bytes]]:
    """The paths and records that an answer shows, of windows that have not ended."""
    if paths is None:
        moved, flags, rows = _moved_by(answer)
        current = set(_current(moved, flags))
        for path, (start, end) in zip(moved, rows, strict=True):
            if path in current:
                yield path, answer[start:end]
        return
    start = _HEAD_BYTES
    if answer[:1] == b"G":
        start = answer.index(b"\n\n", _HEAD_BYTES) + 2
    for path in paths:
        end = _end_of_record(answer, start)
        yield path, answer[start:end]
        start = end + 1


def _moved_by(answer: bytes) -> tuple[tuple[str, ...], bytes, list[tuple[int, int]]]:
    """The scopes of a settlement: paths, a flag for each, and where their records are."""
    stop = answer.find(b"\n\n", _LINES_AT)
    if stop < 0:
        return (), b"", []
    paths = _paths(answer[_LINES_AT:stop])
    flags_at, count = stop + 2, len(paths)
    at = flags_at + 5 * count
    rows = [(at, at := at + size) for size in _sizes(count).unpack_from(answer, flags_at + count)]
    return paths, answer[flags_at : flags_at + count], rows


def _current(paths: Sequence[str], flags: bytes) -> list[str]:
    """Those of `paths` whose window has not ended."""
    return [path for path, flag in zip(paths, flags, strict=True) if flag == _CURRENT]


@lru_cache(maxsize=1024)
def _paths(lines: bytes) -> tuple[str, ...]:
    """The paths in the lines of a hold."""
    return tuple(line.partition("\t")[0] for line in lines.decode().split("\n"))


@cache
def _sizes(count: int) -> Struct:
    return Struct(f"<{count}I")


def _end_of_record(answer: bytes, first: int) -> int:
    """Where the newline behind a record's three lines is."""
    end = answer.index(b"\n", first + _RECORD_BYTES) + 1
    end = answer.index(b"\n", end) + 1
    return answer.index(b"\n", end)


@lru_cache(maxsize=256)
def _thresholds(text: bytes) -> tuple[float, ...]:
    return tuple(json.loads(text))


@lru_cache(maxsize=4096)
def _rules(rest: bytes) -> tuple[Limits, tuple[float, ...]]:
    """The limits and thresholds in a record from its limits on."""
    return _limits(_FOUR.unpack_from(rest)), _thresholds(rest.rpartition(b"\n")[2])


def _numbers(record: bytes) -> tuple[Amount, Amount, int, Limits]:
    """Settled, held, unconfirmed nano-USD, limits."""
    sums = _SUMS.unpack_from(record)
    limits = _limits(_FOUR.unpack_from(record, _LIMITS_AT))
    return Amount(*sums[:4]), Amount(*sums[4:8]), sums[8], limits


@lru_cache(maxsize=1024)
def _limits(numbers: tuple[int, ...]) -> Limits:
    limits = Limits(*(None if limit == _NO_LIMIT else limit for limit in numbers))
    return UNLIMITED if limits == UNLIMITED else limits


def _lines(record: bytes) -> list[str]:
    """Birth and window key, window and time zone, thresholds."""
    return record[_RECORD_BYTES:].decode().split("\n")
