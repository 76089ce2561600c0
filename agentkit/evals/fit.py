"""Fits how likely an answer is right from its signals, and says how good that is on held-out rows.

A quarter of the requests is held out by a hash of their names, and touched by nothing but the last
score. On the rest each method is judged by cross-validation, grouped by request. What is written is
fitted to all rows by the method that won.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from agentkit.cascade.calibration import Calibration, Kept, Weight
from agentkit.errors import ConfigError, ExtraMissing
from agentkit.evals.fit_rows import FitRow
from agentkit.evals.interval import Z90_BELOW, wilson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Method = Literal["sum", "signals", "isotonic"]
METHODS: tuple[Method, ...] = ("sum", "isotonic", "signals")
LEAST_ROWS = 60
LEAST_OF_EACH = 12
_SUMS = ("surprise", "sum_logprob")
"""The summed log-probability of an answer, the better scale first."""
_FALLING = {"surprise": -1.0}
"""Signals that fall where answers are better."""
_FOLDS = 5
_HELD_OUT = 4
_BINS = 10
_SPREAD = 8.0
_SELDOM = 0.02
_STRENGTH = 0.3
_MOST_POINTS = 60
_THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(1, 100))


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """How good chances are: Brier and log loss (less is better), the expected calibration error
    over ten bins of equal size, and the AUROC, None where all rows are right or all wrong."""

    rows: int
    right: float
    brier: float
    log_loss: float
    ece: float
    auroc: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """`calibration` is fitted to all rows. `held_out` scores the same method fitted without the
    rows held out; `cross_validated` is what the choice was made by. `base` scores the constant that
    says the share of right answers for every row."""

    method: Method
    calibration: Calibration
    held_out: Scores
    base: Scores
    cross_validated: dict[Method, Scores]
    why: str


def fit(
    rows: Sequence[FitRow], *, model: str, method: Method | None = None, made_of: str = ""
) -> Fit:
    """A calibration from rows; the best method, or the one named.

    Signals have to beat the summed log-probability by more than chance, else the sum stays. Raises
    ConfigError with what is missing where there are too few rows, and ExtraMissing.
    """
    _require_enough(rows)
    with _one_thread():
        return _fit(rows, model, method, made_of)


def _fit(rows: Sequence[FitRow], model: str, method: Method | None, made_of: str) -> Fit:
    kept, held = _parted(rows)
    chances: dict[Method, Floats] = {}
    for each in METHODS if method is None else (method,):
        if each == "signals" or _sum_of(rows) is not None:
            chances[each] = _out_of_fold(kept, each)
    if not chances:
        raise ConfigError(f"method {method!r} needs log-probabilities, which these rows lack")
    chosen, why = (method, "it was asked for") if method else _chosen(chances, kept)
    trained = _fitted(kept, chosen)
    predicted = _predicted(trained, held)
    share = sum(row.right for row in kept) / len(kept)
    final = _fitted(rows, chosen)
    oof = _out_of_fold(rows, chosen)
    return Fit(
        method=chosen,
        calibration=replace(
            final,
            kept=kept_above(_THRESHOLDS, oof, 1 - _right(rows), len(rows)),
            rows=len(rows),
            model=model,
            made_of=made_of[:1_000],
        ),
        held_out=scores_of(predicted, held),
        base=scores_of([share] * len(held), held),
        cross_validated={each: scores_of(found, kept) for each, found in chances.items()},
        why=why,
    )


def kept_above(
    thresholds: Sequence[float], chances: Floats, wrong: Floats, count: int
) -> tuple[Kept, ...]:
    """What each threshold comes to on `count` answers, of which `chances` are those that could be
    kept and `wrong` how wrong each of them is expected to be, from 0 to 1.

    The quality is the lower bound of 90 %: of so few rows, the share itself is passed by every
    other sample only.
    """
    found: list[Kept] = []
    for threshold in thresholds:
        kept = chances >= threshold
        right = count - float(wrong[kept].sum())
        found.append(
            Kept(
                threshold=threshold,
                share=round(float(kept.sum()) / count, 4),
                quality=round(wilson(right, count, z=Z90_BELOW)[0], 4),
            )
        )
    return tuple(found)


def scores_of(chances: Sequence[float] | Floats, rows: Sequence[FitRow]) -> Scores:
    """How good `chances` are for what came of `rows`."""
    import numpy as np

    metrics = _sklearn("metrics")

    right = _right(rows)
    found = np.clip(np.asarray(chances, np.float64), 1e-6, 1 - 1e-6)
    bins = np.array_split(np.argsort(found, kind="stable"), min(_BINS, len(rows)))
    gaps = [len(part) * abs(float(found[part].mean() - right[part].mean())) for part in bins]
    return Scores(
        rows=len(rows),
        right=float(right.mean()),
        brier=float(metrics.brier_score_loss(right, found)),
        log_loss=float(metrics.log_loss(right, found, labels=[0, 1])),
        ece=sum(gaps) / len(rows),
        auroc=float(metrics.roc_auc_score(right, found)) if 0 < right.mean() < 1 else None,
    )


def _chosen(chances: dict[Method, Floats], rows: Sequence[FitRow]) -> tuple[Method, str]:
    """The better of the two ways to use the sum, unless signals are better by a standard error."""
    losses = {method: _losses(found, rows) for method, found in chances.items()}
    sums: list[Method] = [each for each in METHODS if each in losses and each != "signals"]
    if not sums:
        return "signals", "there is no summed log-probability to hold it against"
    best = min(sums, key=lambda each: float(losses[each].mean()))
    gain = losses[best] - losses["signals"]
    error = float(gain.std(ddof=1)) / len(rows) ** 0.5
    mean = float(gain.mean())
    told = f"its log loss is {mean:+.4f} ± {error:.4f} a row better than that of {best!r}"
    if mean > error:
        return "signals", told
    return best, f"signals are no better by more than chance ({mean:+.4f} ± {error:.4f} a row)"


def _losses(chances: Floats, rows: Sequence[FitRow]) -> Floats:
    import numpy as np

    right = _right(rows)
    found = np.clip(chances, 1e-6, 1 - 1e-6)
    losses: Floats = -(right * np.log(found) + (1 - right) * np.log(1 - found))
    return losses


def _fitted(rows: Sequence[FitRow], method: Method) -> Calibration:
    summed = _sum_of(rows)
    if method == "signals" or summed is None:
        return _logistic(rows, _names(rows))
    return _isotonic(rows, summed) if method == "isotonic" else _logistic(rows, [summed])


def _logistic(rows: Sequence[FitRow], names: Sequence[str]) -> Calibration:
    """A logistic model of standardised signals; where one is often silent, that speaks too."""
    import numpy as np

    columns: list[Floats] = []
    facts: list[tuple[str, float, float, int, int | None]] = []
    for name in names:
        known = np.array([name in row.signals for row in rows])
        values = np.array([row.signals.get(name, 0.0) for row in rows], np.float64)
        mean = float(values[known].mean())
        scale = float(values[known].std()) or 1.0
        spread = np.clip((values - mean) / scale, -_SPREAD, _SPREAD) * known
        place, silent = len(columns), None
        columns.append(spread)
        if _SELDOM < 1 - known.mean() < 1 - _SELDOM:
            silent = len(columns)
            columns.append((~known).astype(np.float64))
        facts.append((name, mean, scale, place, silent))
    model = _sklearn("linear_model").LogisticRegression(C=_STRENGTH, max_iter=2_000)
    model.fit(np.column_stack(columns), _right(rows))
    found = [float(each) for each in model.coef_[0]]
    weights = {
        name: Weight(
            weight=round(found[place], 6),
            mean=round(mean, 6),
            scale=max(round(scale, 9), 1e-9),
            missing=0.0 if silent is None else round(found[silent], 6),
        )
        for name, mean, scale, place, silent in facts
    }
    return Calibration(intercept=round(float(model.intercept_[0]), 6), weights=weights)


def _isotonic(rows: Sequence[FitRow], name: str) -> Calibration:
    """A rising curve over one signal; a row where it is silent has the least score."""
    import numpy as np

    known = np.array([row.signals[name] for row in rows if name in row.signals], np.float64)
    weight = Weight(
        weight=_FALLING.get(name, 1.0),
        mean=round(float(known.mean()), 6),
        scale=max(round(float(known.std()), 9), 1e-9),
        missing=-_SPREAD,
    )
    scores = np.array([weight.part(row.signals.get(name)) for row in rows], np.float64)
    model = _sklearn("isotonic").IsotonicRegression(y_min=0.01, y_max=0.99)
    model.fit(scores, _right(rows))
    curve: list[tuple[float, float]] = []
    for x, y in zip(model.X_thresholds_, model.y_thresholds_, strict=True):
        score = round(float(x), 6)
        if not curve or score > curve[-1][0]:
            curve.append((score, round(float(y), 6)))
    return Calibration(intercept=0.0, weights={name: weight}, curve=tuple(_thinned(curve)))


def _thinned(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(curve) <= _MOST_POINTS:
        return curve
    step = -(-len(curve) // _MOST_POINTS)
    return [*curve[:-1:step], curve[-1]]


def _names(rows: Sequence[FitRow]) -> list[str]:
    """Signals that at least a tenth of the rows have, and that are not the same in all of them."""
    seen: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.signals.items():
            seen.setdefault(name, []).append(value)
    return sorted(
        name
        for name, values in seen.items()
        if len(values) >= len(rows) / 10 and len(set(values)) > 1
    )


def _out_of_fold(rows: Sequence[FitRow], method: Method) -> Floats:
    """The chance of each row by a model that has not seen its request."""
    import numpy as np

    right = _right(rows)
    found = np.zeros(len(rows))
    parts = _sklearn("model_selection")
    folds = parts.StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    groups = [row.group for row in rows]
    splits: Any = folds.split(np.zeros(len(rows)), right, groups)
    for train, test in splits:
        model = _fitted(_at(rows, train), method)
        found[test] = _predicted(model, _at(rows, test))
    return found


def _at(rows: Sequence[FitRow], places: Sequence[int]) -> list[FitRow]:
    return [rows[place] for place in places]


def _predicted(calibration: Calibration, rows: Sequence[FitRow]) -> Floats:
    """By the very arithmetic that an agent uses."""
    import numpy as np

    return np.array([calibration.probability(row.signals) for row in rows], np.float64)


def _parted(rows: Sequence[FitRow]) -> tuple[list[FitRow], list[FitRow]]:
    """Three quarters to fit on and a quarter to score on, by a hash of the request's name."""

    def is_held(row: FitRow) -> bool:
        digest = hashlib.sha256(row.group.encode("utf-8", "replace")).digest()
        return digest[0] % _HELD_OUT == 0

    kept = [row for row in rows if not is_held(row)]
    held = [row for row in rows if is_held(row)]
    for part, what in ((kept, "fit on"), (held, "hold out")):
        count = sum(row.right for row in part)
        if min(count, len(part) - count) < (_FOLDS if part is kept else 1):
            raise ConfigError(
                f"of {len(rows)} rows, too few are left to {what} ({count} right and "
                f"{len(part) - count} wrong); add cases"
            )
    return kept, held


def _right(rows: Sequence[FitRow]) -> Floats:
    import numpy as np

    return np.array([row.right for row in rows], np.float64)


def _sum_of(rows: Sequence[FitRow]) -> str | None:
    """The summed log-probability by the name that most rows know it by."""
    for name in _SUMS:
        known = [row.signals[name] for row in rows if name in row.signals]
        if len(set(known)) > 1 and len(known) >= len(rows) / 2:
            return name
    return None


def _require_enough(rows: Sequence[FitRow]) -> None:
    right = sum(row.right for row in rows)
    wrong = len(rows) - right
    if len(rows) >= LEAST_ROWS and min(right, wrong) >= LEAST_OF_EACH:
        return
    raise ConfigError(
        f"{len(rows)} answers, {right} right and {wrong} wrong: a calibration needs at least "
        f"{LEAST_ROWS}, and {LEAST_OF_EACH} of each; try more cases, and harder ones"
    )


def _sklearn(module: str) -> Any:
    """A part of scikit-learn, which has no types."""
    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        raise ExtraMissing(what="agentkit calibrate", extra="eval") from error


def _one_thread() -> Any:
    """Tables this small gain nothing from threads, which wait for each other on a busy machine."""
    try:
        pools: Any = import_module("threadpoolctl")
    except ImportError as error:
        raise ExtraMissing(what="agentkit calibrate", extra="eval") from error
    return pools.threadpool_limits(1)
