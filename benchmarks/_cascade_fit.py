"""Fits a calibration of the pocket model on rows that did not train it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from agentkit.cascade.calibration import Calibration, Weight
from agentkit.evals.fit import kept_above
from benchmarks._cascade_rows import Seen

SUM = ("surprise",)
"""The summed log-probability alone, on the scale on which it is nearly linear."""
PARTS = ("surprise", "name_logprob", "values_logprob", "least_margin", "covered", "arguments")
_STRENGTH = 1.0
_FOLDS = 5
_THRESHOLDS = (*(round(0.01 * step, 2) for step in range(1, 100)), 0.995)


def fit(seen: Sequence[Seen], names: Sequence[str] = SUM, *, made_of: str = "") -> Calibration:
    """A logistic model of `names`, and what its thresholds come to out of fold.

    What was refused goes to the next tier at any threshold, so it trains nothing. How wrong the
    kept ones are is reckoned by the chances, which are less noisy than so few outcomes.
    """
    judged = [each for each in seen if not each.refused]
    rows = np.array([[each.signals.get(name, 0.0) for name in names] for each in judged])
    right = np.array([each.right for each in judged])
    mean, scale = rows.mean(0), rows.std(0) + 1e-9
    spread = (rows - mean) / scale
    model = LogisticRegression(C=_STRENGTH)
    chances = cross_val_predict(model, spread, right, cv=_FOLDS, method="predict_proba")[:, 1]
    model.fit(spread, right)
    return Calibration(
        intercept=round(float(model.intercept_[0]), 6),
        weights={
            name: Weight(
                weight=round(float(model.coef_[0][at]), 6),
                mean=round(float(mean[at]), 6),
                scale=round(float(scale[at]), 6),
            )
            for at, name in enumerate(names)
        },
        kept=kept_above(_THRESHOLDS, chances, 1 - chances, len(seen)),
        rows=len(seen),
        model="local:pocket",
        made_of=made_of,
    )
