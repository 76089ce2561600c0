"""From signals to the chance that an answer is right: a small model that is stored as JSON.

    score  = intercept + sum of weight * (signal - mean) / scale    (`missing` where it is silent)
    chance = curve(score), linear between its points, or 1 / (1 + exp(-score)) without a curve

So one format holds a logistic model, an isotonic curve over one signal, and an isotonic curve over
a weighted sum. Fitting needs scikit-learn (`agentkit calibrate`); applying needs nothing.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentkit.errors import ConfigError

_LARGEST_FILE_BYTES = 1_000_000
_MOST_LOGIT = 30.0
_MOST_SPREAD = 8.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """How one signal speaks: `weight` per `scale` above `mean`; `missing` where it is silent."""

    weight: float
    mean: float = 0.0
    scale: float = 1.0
    missing: float = 0.0

    def part(self, value: float | None) -> float:
        """What the signal adds to the score; at most 8 scales from the mean count."""
        if value is None or not math.isfinite(value):
            return self.missing
        spread = (value - self.mean) / self.scale
        return self.weight * max(-_MOST_SPREAD, min(_MOST_SPREAD, spread))


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What keeping the answers above a threshold comes to, by the rows of the fit.

    `share` of all answers are kept; with those below put right, at least `quality` of all are right
    with a confidence of 90 %.
    """

    threshold: float
    share: float
    quality: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """A model of the chance that an answer is right.

    `curve` are (score, chance), both rising. `kept` are thresholds from low to high with what they
    came to; `rows` says on how many it was fitted, 0 for a prior. `model` names the tier it was
    fitted for, like "local:pocket"; "" for any.
    """

    intercept: float
    weights: Mapping[str, Weight]
    curve: tuple[tuple[float, float], ...] = ()
    kept: tuple[Kept, ...] = ()
    rows: int = 0
    model: str = ""
    made_of: str = ""

    def score(self, signals: Mapping[str, float | None]) -> float:
        """The weighted sum."""
        return self.intercept + sum(
            weight.part(signals.get(name)) for name, weight in self.weights.items()
        )

    def probability(self, signals: Mapping[str, float | None]) -> float:
        """The chance, 0 to 1, that an answer with these signals is right."""
        score = self.score(signals)
        if not self.curve:
            return 1 / (1 + math.exp(-max(-_MOST_LOGIT, min(_MOST_LOGIT, score))))
        scores = [point[0] for point in self.curve]
        above = bisect_right(scores, score)
        if above == 0:
            return self.curve[0][1]
        if above == len(scores):
            return self.curve[-1][1]
        (x0, y0), (x1, y1) = self.curve[above - 1], self.curve[above]
        return y0 + (y1 - y0) * (score - x0) / (x1 - x0)

    def threshold(self, quality: float) -> float:
        """The lowest chance to be kept so that `quality` of all answers can be promised.

        Without rows to say so it is `quality` itself: then every answer kept is that likely.
        """
        enough = [point.threshold for point in self.kept if point.quality >= quality]
        return min([*enough, quality])

    def parts(self, signals: Mapping[str, float | None]) -> dict[str, float]:
        """What each signal added to the score, that which pulled it down most first."""
        parts = {name: weight.part(signals.get(name)) for name, weight in self.weights.items()}
        return dict(sorted(parts.items(), key=lambda item: item[1]))

    def as_json(self) -> dict[str, Any]:
        """The model as JSON types."""
        return {
            "format": "agentkit-calibration",
            "version": 1,
            "model": self.model,
            "made_of": self.made_of,
            "rows": self.rows,
            "intercept": self.intercept,
            "weights": {
                name: {
                    "weight": each.weight,
                    "mean": each.mean,
                    "scale": each.scale,
                    "missing": each.missing,
                }
                for name, each in self.weights.items()
            },
            "curve": [list(point) for point in self.curve],
            "kept": [[each.threshold, each.share, each.quality] for each in self.kept],
        }

    @classmethod
    def from_json(cls, data: object) -> Self:
        """A stored model; raises ConfigError that says what is wrong with it."""
        try:
            stored = _Stored.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise ConfigError(f"not a calibration: {where}: {first['msg']}") from error
        _require_rising("curve", [point[0] for point in stored.curve], strictly=True)
        _require_rising("curve", [point[1] for point in stored.curve])
        _require_rising("kept", [point[0] for point in stored.kept])
        return cls(
            intercept=stored.intercept,
            weights={
                name: Weight(
                    weight=each.weight, mean=each.mean, scale=each.scale, missing=each.missing
                )
                for name, each in stored.weights.items()
            },
            curve=tuple(stored.curve),
            kept=tuple(Kept(threshold=t, share=s, quality=q) for t, s, q in stored.kept),
            rows=stored.rows,
            model=stored.model,
            made_of=stored.made_of,
        )

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The model in a file of JSON; raises ConfigError where it is not one."""
        path = Path(path)
        try:
            if path.stat().st_size > _LARGEST_FILE_BYTES:
                raise ConfigError(f"{path} is over 1 MB, and a calibration is a few kB")
            data: object = json.loads(path.read_text("utf-8"), parse_constant=_no_constant)
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        try:
            return cls.from_json(data)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    def write(self, path: str | Path) -> None:
        """Keep the model in a file."""
        Path(path).write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")


_Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
_Share = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1)]
_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class _StoredWeight(BaseModel):
    model_config = ConfigDict(extra="forbid")

    weight: _Finite
    mean: _Finite = 0.0
    scale: Annotated[_Finite, Field(gt=0)] = 1.0
    missing: _Finite = 0.0


class _Stored(BaseModel):
    """The file as it may be: it can come from anywhere, so all of it has bounds."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["agentkit-calibration"]
    version: Literal[1]
    model: str = Field(default="", max_length=200)
    made_of: str = Field(default="", max_length=1_000)
    rows: int = Field(default=0, ge=0, le=2**53)
    intercept: _Finite
    weights: dict[_Name, _StoredWeight] = Field(max_length=64)
    curve: list[tuple[_Finite, _Share]] = Field(default=[], max_length=1_000)
    kept: list[tuple[_Share, _Share, _Share]] = Field(default=[], max_length=1_000)


def _require_rising(what: str, values: list[float], *, strictly: bool = False) -> None:
    for before, after in pairwise(values):
        if after < before or (strictly and after == before):
            raise ConfigError(f"not a calibration: {what} does not rise from {before} to {after}")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


PRIOR = Calibration(
    intercept=4.0,
    weights={
        "fits_schema": Weight(weight=4.0, mean=1.0),
        "grounded": Weight(weight=3.0, mean=1.0),
        "mean_logprob": Weight(weight=2.0, mean=-0.2, scale=0.4),
        "name_logprob": Weight(weight=0.5, mean=-0.1),
        "values_min_logprob": Weight(weight=0.5, mean=-0.5),
        "agreement": Weight(weight=3.0, mean=0.5),
        "repetition": Weight(weight=-8.0, mean=0.05),
        "hedging": Weight(weight=-4.0),
        "check": Weight(weight=4.0, mean=0.5),
    },
    made_of="chosen by hand, before there is data",
)
"""Used until a calibration is fitted: the signs point the right way, the sizes are a guess. An
answer that nothing speaks against is taken for right in 98 of 100 cases."""
