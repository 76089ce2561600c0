"""Charts of a report as SVG: each is text, and every name in it is escaped."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 520, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 22, 36
_TICKS = 4
_ASIDE = 9
_COLOURS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One setting in the plane of cost and quality; `low` and `high` bound the quality."""

    name: str
    x: float
    y: float
    low: float
    high: float


Told = Callable[[float], str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """From `least` to `most`, its values told by `told`; nothing lies between two of `unit`."""

    least: float
    most: float
    told: Told
    unit: float = 0.0

    def share(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1."""
        width = self.most - self.least
        return 0.5 if width <= 0 else min(1.0, max(0.0, (value - self.least) / width))

    def ticks(self) -> list[float]:
        """Round values within the ends."""
        width = self.most - self.least
        if width <= 0 or not math.isfinite(width):
            return [self.least]
        rough = width / _TICKS
        tenth = 10.0 ** math.floor(math.log10(rough))
        step = next(tenth * n for n in (1, 2, 2.5, 5, 10) if tenth * n >= rough * 0.999)
        step = max(step, self.unit)
        first = math.ceil(self.least / step - 1e-9)
        last = math.floor(self.most / step + 1e-9)
        return [n * step for n in range(first, last + 1)]


def axis_around(
    values: Sequence[float], told: Told, *, floor: float | None = None, unit: float = 0.0
) -> Axis:
    """An axis with some room around `values`, which never goes below `floor`."""
    least, most = min(values), max(values)
    room = (most - least) * 0.08 or abs(most) * 0.1 or 0.05
    low = least - room if floor is None else max(floor, least - room)
    return Axis(least=low, most=most + room, told=told, unit=unit)


def plane(marks: Sequence[Mark], x: Axis, y: Axis, *, asked: float, label: str) -> str:
    """Each setting's quality, with its interval, over its cost; a line at the quality asked."""
    parts = [*_frame(x, y), _across(y, asked, "asked")]
    for place, mark in enumerate(marks):
        at, up = _x(x, mark.x), _y(y, mark.y)
        tip = f"{mark.name}: {y.told(mark.y)} for {x.told(mark.x)}"
        side, aside = ("end", -_ASIDE) if at > _WIDTH / 2 else ("", _ASIDE)  # off its whisker
        beside = up + (-8 if place % 2 else 17)  # names of neighbours do not meet
        parts.append(
            f'<line class="whisker" x1="{at:.1f}" x2="{at:.1f}" y1="{_y(y, mark.low):.1f}" '
            f'y2="{_y(y, mark.high):.1f}"/>'
            f'<circle cx="{at:.1f}" cy="{up:.1f}" r="6" fill="var(--m{place % _COLOURS})">'
            f"<title>{escape(tip)}</title></circle>"
            f'<text class="label {side}" x="{at + aside:.1f}" y="{beside:.1f}">'
            f"{escape(_cut(mark.name))}</text>"
        )
    return _chart(parts, label)


def line(
    points: Sequence[tuple[float, float]],
    x: Axis,
    y: Axis,
    *,
    label: str,
    kind: str = "",
    asked: float | None = None,
    chosen: float | None = None,
) -> str:
    """A curve that stays level until its next point; lines at what was asked and chosen."""
    parts = _frame(x, y)
    if asked is not None:
        parts.append(_across(y, asked, "asked"))
    if chosen is not None:
        at = _x(x, chosen)
        parts.append(
            f'<line class="chosen" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" '
            f'y2="{_HEIGHT - _BOTTOM}"/>'
        )
    steps: list[str] = []
    for place, (value, height) in enumerate(points):
        at, up = _x(x, value), _y(y, height)
        steps.append(f"M{at:.1f} {up:.1f}" if place == 0 else f"H{at:.1f}V{up:.1f}")
    parts.append(f'<path class="curve {escape(kind)}" d="{"".join(steps)}"/>')
    for value, height in points if len(points) <= 40 else ():
        tip = f"{x.told(value)}: {y.told(height)}"
        parts.append(
            f'<circle class="dot" cx="{_x(x, value):.1f}" cy="{_y(y, height):.1f}" r="3.5">'
            f"<title>{escape(tip)}</title></circle>"
        )
    return _chart(parts, label)


def bars(counts: Mapping[str, Mapping[str, int]], label: str) -> str:
    """One bar a setting, its parts the kinds of failure; `counts` are by kind, then by setting."""
    settings = list(dict.fromkeys(name for kind in counts.values() for name in kind))
    most = max((sum(kind.get(name, 0) for kind in counts.values()) for name in settings), default=1)
    height = 34
    parts: list[str] = []
    for row, name in enumerate(settings):
        top = row * height
        at = 0.0
        parts.append(f'<text class="label" x="0" y="{top + 11}">{escape(_cut(name, 60))}</text>')
        for place, (kind, by_setting) in enumerate(counts.items()):
            count = by_setting.get(name, 0)
            width = count / most * (_WIDTH - 40)
            if count:
                parts.append(
                    f'<rect x="{at:.1f}" y="{top + 16}" width="{max(1.0, width - 1):.1f}" '
                    f'height="11" rx="2" fill="var(--m{place % _COLOURS})">'
                    f"<title>{escape(f'{name}: {count} {kind}')}</title></rect>"
                )
            at += width
        total = sum(kind.get(name, 0) for kind in counts.values())
        parts.append(f'<text x="{at + 6:.1f}" y="{top + 26}">{total}</text>')
    return _chart(parts, label, height=max(height, len(settings) * height))


def _frame(x: Axis, y: Axis) -> list[str]:
    parts: list[str] = []
    for value in y.ticks():
        up = _y(y, value)
        parts.append(
            f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up:.1f}" y2="{up:.1f}"/>'
            f'<text class="end" x="{_LEFT - 8}" y="{up + 4:.1f}">{escape(y.told(value))}</text>'
        )
    below = _HEIGHT - _BOTTOM + 18
    parts += [
        f'<text class="middle" x="{_x(x, value):.1f}" y="{below}">{escape(x.told(value))}</text>'
        for value in x.ticks()
    ]
    return parts


def _across(y: Axis, value: float, kind: str) -> str:
    up = _y(y, value)
    return (
        f'<line class="{kind}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up:.1f}" y2="{up:.1f}">'
        f"<title>{escape(y.told(value))} asked</title></line>"
    )


def _chart(parts: Sequence[str], label: str, *, height: int = _HEIGHT) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.share(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(axis: Axis, value: float) -> float:
    return _HEIGHT - _BOTTOM - axis.share(value) * (_HEIGHT - _TOP - _BOTTOM)


def _cut(name: str, most: int = 34) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
