"""How an agent's cascade is set: what judges its answers, and which ways are open to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path

from agentkit.budgets.money import nusd_from_usd
from agentkit.cascade.calibration import PRIOR, Calibration
from agentkit.cascade.signals import SIGNALS, Signal
from agentkit.errors import ConfigError

DEFAULT_QUALITY = 0.95
_LEAST_QUALITY = 0.5
_POCKET = "local:pocket"


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """When an answer of a cheaper tier is kept, and what is tried before the next tier is asked.

    `calibration` makes a chance of an answer's signals: one for all tiers, or one a tier by its
    label, like `{"local:pocket": Calibration.read("pocket.json")}`. A tier without one has that
    which comes with agentkit. `signals` are your own, beside those that come with it.

    `error_usd` is what a wrong answer costs you: then answers are turned down above what the
    agent's `quality` asks for, the more of them the more money is left. `retries` is how often a
    step's tier is shown its error, `second_sample` whether it is asked twice where agreement would
    settle it, `hint_tokens` how much a dearer tier may write for the cheaper to go on with, None
    for no hints. The chances are how often those help. After `sticky_after` escalations a task
    stays on the dearer tier; those are forgiven, as often, after which it called the very tools
    that the cheaper tier had named without fault.

    With `cut_babble` answers of hosted models are streamed, and cut where they go in circles, as
    those of local models always are; what is cut is charged at its worst case.
    """

    calibration: Calibration | Mapping[str, Calibration] | None = None
    signals: Mapping[str, Signal] = field(default_factory=dict[str, Signal])
    error_usd: Decimal | str | float | None = None
    retries: int = 1
    retry_chance: float = 0.3
    second_sample: bool = False
    hint_tokens: int | None = None
    hint_chance: float = 0.5
    sticky_after: int = 1
    cut_babble: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigError for settings that make no sense."""
        for name, least in (("retries", 0), ("sticky_after", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)}; use {least} or more")
        for name in ("retry_chance", "hint_chance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}; use a chance from 0 to 1")
        if self.hint_tokens is not None and self.hint_tokens < 1:
            raise ConfigError(f"hint_tokens={self.hint_tokens}; use 1 or more, or None for no hint")
        if self.error_nusd is not None and self.error_nusd < 0:
            raise ConfigError(f"error_usd={self.error_usd}; use 0 or more")
        given = self.calibration
        several = given.values() if isinstance(given, Mapping) else [given] if given else []
        for calibration in several:
            if not _is_calibration(calibration):
                raise ConfigError(
                    f"calibration={str(calibration)[:60]!r} is no Calibration; a file of one is "
                    "read by Calibration.read(path)"
                )
            self._require_known(calibration)

    @property
    def error_nusd(self) -> int | None:
        """What a wrong answer costs, in nano-USD."""
        return None if self.error_usd is None else nusd_from_usd(self.error_usd)

    @property
    def all_signals(self) -> Mapping[str, Signal]:
        """Those that come with agentkit, and your own."""
        return {**SIGNALS, **self.signals}

    def calibration_of(self, label: str) -> Calibration:
        """What judges the answers of the tier that is called so."""
        given = self.calibration
        if isinstance(given, Calibration):
            return given
        if given is not None and label in given:
            return given[label]
        return _shipped() if label == _POCKET else PRIOR

    def _require_known(self, calibration: Calibration) -> None:
        unknown = sorted(set(calibration.weights) - set(self.all_signals))
        if unknown:
            raise ConfigError(
                f"the calibration weighs signals that nobody gives: {', '.join(unknown)}; add them "
                "with Cascade(signals={...})"
            )


def checked_quality(quality: float | None) -> float:
    """The share of right answers that is asked for; raises ConfigError outside 0.5 to 1."""
    if quality is None:
        return DEFAULT_QUALITY
    if not _is_number(quality) or not _LEAST_QUALITY <= quality < 1:
        raise ConfigError(
            f"quality={quality!r}; use the share of answers that have to be right, from "
            f"{_LEAST_QUALITY} to below 1, like 0.95"
        )
    return float(quality)


def _is_calibration(value: object) -> bool:
    return isinstance(value, Calibration)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def read_cascade(path: Path) -> Cascade:
    """The cascade that a file of one calibration makes, for the tier that it names."""
    calibration = Calibration.read(path)
    return Cascade(
        calibration={calibration.model: calibration} if calibration.model else calibration
    )


@cache
def _shipped() -> Calibration:
    """Fitted on rows that did not train the pocket model (benchmarks/cascade.py)."""
    path = files("agentkit") / "pocket" / "calibration.json"
    return Calibration.read(Path(str(path)))
