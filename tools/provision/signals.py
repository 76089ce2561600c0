"""Whether a tool fits a request at all: signals of one pair, and the chance they come to."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from agentkit.tools.provision.embedding import StaticEmbedding, Vectors
from agentkit.tools.provision.words import content_words, spoken

if TYPE_CHECKING:
    from agentkit.tools.provision.index import ToolCard

_NUMBER = re.compile(r"\d")
_NUMBERS = frozenset({"number", "integer"})
_NUMBER_SAID = 0.8
_UNKNOWN = 0.5
_MAX_ARGUMENTS = 10
_MAX_WORDS = 60
_REMEMBERED = 16_384


@dataclass(frozen=True, kw_only=True)
class Signals:
    """How one tool fits one request; all but `length` are between 0 and 1, cosines from -1.

    `semantic` and `intent` are cosines with the whole request and its best part, `covered` the
    share of the request's words that the tool has, `echoed` how much of the tool's name the request
    says in like words, `grounded` how much of its required arguments, `length` the logarithm of the
    number of words.
    """

    semantic: float
    intent: float
    covered: float
    echoed: float
    grounded: float
    length: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A logistic model of a tool's chance to fit; under `floor` nothing is offered."""

    bias: float
    semantic: float
    intent: float
    covered: float
    echoed: float
    grounded: float
    length: float
    floor: float

    @classmethod
    def fitted(cls, embedding: Literal["shipped", "minilm"]) -> Calibration:
        """The one that `packaging/fit_calibration.py` made for an embedding."""
        return cls(**_fitted()[embedding])

    def chance(self, signals: Signals) -> float:
        """The chance, 0 to 1, that a request with these signals calls for the tool."""
        logit = (
            self.bias
            + self.semantic * signals.semantic
            + self.intent * signals.intent
            + self.covered * signals.covered
            + self.echoed * signals.echoed
            + self.grounded * signals.grounded
            + self.length * signals.length
        )
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, logit))))

    def holds_back(self, chances: Iterable[float]) -> bool:
        """Whether it is too unlikely that any of a request's best tools fits."""
        return 1 - math.prod(1 - chance for chance in chances) < self.floor


class Request:
    """A request's words, ready to be compared with tools."""

    def __init__(self, text: str) -> None:
        self._lowered = text.lower()
        self._has_number = _NUMBER.search(text) is not None
        self._words, _ = _vectors(" ".join(content_words(text)[:_MAX_WORDS]))

    def echo(self, name: str) -> float:
        """How much of a name the request says, in the same or in like words: 0 to 1."""
        words, weights = _vectors(spoken(name))
        if not len(words) or not len(self._words):
            return 0.0
        nearest = np.clip((words @ self._words.T).max(axis=1), 0, 1)
        return float(nearest @ weights / (weights.sum() + 1e-9))

    def grounding(self, card: ToolCard) -> float:
        """How much of the arguments that a tool requires the request seems to give: 0 to 1."""
        properties = card.schema.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            return _UNKNOWN
        known = cast("Mapping[str, object]", properties)
        required = card.schema.get("required")
        names = cast("list[str]", required) if isinstance(required, list) and required else known
        said = [self._grounded(str(name), known.get(name)) for name in list(names)[:_MAX_ARGUMENTS]]
        return sum(said) / len(said)

    def _grounded(self, name: str, argument: object) -> float:
        said = self.echo(name)
        if not isinstance(argument, Mapping):
            return said
        schema = cast("Mapping[str, object]", argument)
        kind, values = schema.get("type"), schema.get("enum")
        if isinstance(kind, str) and kind in _NUMBERS and self._has_number:
            said = max(said, _NUMBER_SAID)
        if isinstance(values, list) and any(
            str(value).lower() in self._lowered for value in cast("list[object]", values) if value
        ):
            said = 1.0
        return said


@lru_cache(_REMEMBERED)
def _vectors(text: str) -> tuple[Vectors, Vectors]:
    """A row of length 1 for each word of a text, and the weight of each."""
    words = content_words(text)
    rows = StaticEmbedding.shipped().sums(words)
    weights = np.linalg.norm(rows, axis=1)
    return np.asarray(rows / np.maximum(weights, 1e-9)[:, None], np.float32), weights


@lru_cache(1)
def _fitted() -> Mapping[str, Mapping[str, float]]:
    text = files("agentkit.tools.provision").joinpath("calibration.json").read_text("utf-8")
    return cast("Mapping[str, Mapping[str, float]]", json.loads(text))
