"""The providers' prompt caches: what part of a request is read, written, or plain input."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.wire.bill import WireUsage
from tests.wire.tokens import Meter

Ttl = Literal["5m", "30m", "1h"]
TTL_SECONDS: dict[Ttl, float] = {"5m": 300.0, "30m": 1800.0, "1h": 3600.0}
LOOK_BACK_POSITIONS = 20

_OPENAI_LEAST_TOKENS = 1024
_OPENAI_STEP_TOKENS = 128
_OPENAI_IDLE_SECONDS = 300.0
_SEGMENT_CHARACTERS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One cacheable position of a request: a tool, a system block or a message block.

    `content` is all that must be equal for the prefix to match; `counted_tokens` is before the
    provider's factor, `fixed_tokens` is added as it is; `breakpoint` is the lifetime of a
    `cache_control` set here.
    """

    content: str
    counted_tokens: int
    fixed_tokens: int = 0
    breakpoint: Ttl | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """The input side of one request: its usage, and how to make its prefixes readable."""

    usage: WireUsage
    begin: Callable[[], None]
    """To be called when the response begins: only from then on the written prefixes are read."""


def nothing() -> None:
    """Begins a response that writes no cache."""


def cumulative_tokens(units: Sequence[Unit], meter: Meter) -> list[int]:
    """Billed tokens up to and including each unit."""
    totals: list[int] = []
    counted = fixed = 0
    for unit in units:
        counted, fixed = counted + unit.counted_tokens, fixed + unit.fixed_tokens
        totals.append(meter.billed(counted) + fixed)
    return totals


class AutomaticCache:
    """OpenAI's: the longest exact prefix from 1024 tokens, in steps of 128; writes are free.

    An entry lives until nobody has used it for five minutes. At least the last token of a request
    is always computed.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._used_at: dict[bytes, float] = {}

    def look_up(self, model: str, units: Sequence[Unit], meter: Meter) -> Prompt:
        """The usage of a request made of `units`."""
        totals = cumulative_tokens(units, meter)
        total = totals[-1] if totals else 0
        marks = _segment_hashes(model, units)
        with self._lock:
            fresh = self._clock() - _OPENAI_IDLE_SECONDS
            matched = _leading(marks, lambda mark: self._used_at.get(mark, fresh - 1) >= fresh)
        prefix = min(_tokens_up_to(units, totals, matched), total - 1)
        cached = prefix - prefix % _OPENAI_STEP_TOKENS
        if cached < _OPENAI_LEAST_TOKENS:
            cached = 0

        def begin() -> None:
            with self._lock:
                now = self._clock()
                self._used_at.update((mark, now) for mark in marks)

        usage = WireUsage(input_tokens=total, cache_read_tokens=cached)
        return Prompt(usage=usage, begin=begin if total >= _OPENAI_LEAST_TOKENS else nothing)


class BreakpointCache:
    """Anthropic's: entries at `cache_control` breakpoints, each looking back 20 positions.

    An entry lives 5 minutes or an hour from its last use. A prefix below the model's minimum is
    neither written nor read.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[bytes, tuple[float, Ttl]] = {}

    def look_up(
        self,
        model: str,
        units: Sequence[Unit],
        meter: Meter,
        least_tokens: int,
        extra_tokens: int,
        look_back: int = LOOK_BACK_POSITIONS,
    ) -> Prompt:
        """The usage of a request made of `units` and `extra_tokens` after all breakpoints.

        OpenAI's breakpoints look back to none but themselves: `look_back` is 1.
        """
        totals = cumulative_tokens(units, meter)
        marks = _unit_hashes(model, units)
        points = [
            at for at, unit in enumerate(units) if unit.breakpoint and totals[at] >= least_tokens
        ]
        read_at = self._longest_read(points, marks, totals, least_tokens, look_back)
        read = totals[read_at] if read_at is not None else 0
        written: dict[Ttl, int] = {"5m": 0, "30m": 0, "1h": 0}
        covered = read
        for at in points:
            lifetime = units[at].breakpoint
            if lifetime is not None and totals[at] > covered:
                written[lifetime] += totals[at] - covered
                covered = totals[at]

        def begin() -> None:
            with self._lock:
                now = self._clock()
                for at in points if read_at is None else {read_at, *points}:
                    self._use(marks[at], now)
                for at in points:
                    if read_at is None or at > read_at:
                        self._write(marks[at], units[at].breakpoint or "5m", now)

        usage = WireUsage(
            input_tokens=(totals[-1] if totals else 0) + extra_tokens,
            cache_read_tokens=read,
            cache_write_5m_tokens=written["5m"] + written["30m"],
            cache_write_1h_tokens=written["1h"],
        )
        return Prompt(usage=usage, begin=begin)

    def _longest_read(
        self,
        points: list[int],
        marks: list[bytes],
        totals: list[int],
        least_tokens: int,
        look_back: int,
    ) -> int | None:
        with self._lock:
            now = self._clock()
            for point in reversed(points):
                for at in range(point, max(point - look_back, -1), -1):
                    expires_at, _ = self._entries.get(marks[at], (now, "5m"))
                    if expires_at > now and totals[at] >= least_tokens:
                        return at
        return None

    def _write(self, mark: bytes, lifetime: Ttl, now: float) -> None:
        self._entries.setdefault(mark, (now + TTL_SECONDS[lifetime], lifetime))

    def _use(self, mark: bytes, now: float) -> None:
        """Refreshes a living entry and forgets a dead one."""
        expires_at, lifetime = self._entries.pop(mark, (now, "5m"))
        if expires_at > now:
            self._entries[mark] = (now + TTL_SECONDS[lifetime], lifetime)


def _unit_hashes(model: str, units: Sequence[Unit]) -> list[bytes]:
    marks: list[bytes] = []
    mark = model.encode()
    for unit in units:
        mark = hashlib.sha256(mark + b"\0" + unit.content.encode()).digest()
        marks.append(mark)
    return marks


def _segment_hashes(model: str, units: Sequence[Unit]) -> list[bytes]:
    marks: list[bytes] = []
    mark = model.encode()
    for unit in units:
        for segment in _segments(unit):
            mark = hashlib.sha256(mark + b"\0" + segment.encode()).digest()
            marks.append(mark)
    return marks


def _segments(unit: Unit) -> list[str]:
    size = _SEGMENT_CHARACTERS
    return [unit.content[at : at + size] for at in range(0, len(unit.content), size)] or [""]


def _leading(marks: Sequence[bytes], holds: Callable[[bytes], bool]) -> int:
    for count, mark in enumerate(marks):
        if not holds(mark):
            return count
    return len(marks)


def _tokens_up_to(units: Sequence[Unit], totals: list[int], segments: int) -> int:
    """Tokens in the first `segments` segments, in proportion within a unit."""
    before = 0
    for unit, total in zip(units, totals, strict=True):
        own = len(_segments(unit))
        if segments < own:
            return before + (total - before) * segments // own
        segments -= own
        before = total
    return before
