"""What can be seen of a request that may make it hard, as numbers.

Every pattern takes time in proportion to the text, and at most 20,000 characters are read.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

_MOST_CHARS = 20_000
_MOST_OPTIONS = 10
_RARE_PIECE = 8_000
"""Word pieces are numbered by how common they are: the later, the rarer."""
_LONG_WORD_CHARS = 9

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"\w+")
_LETTERED = re.compile(r"[A-Za-z][\w'-]*")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
_OPTION = re.compile(r"^\(?[A-J][.)] ?(.*)$", re.MULTILINE)
_ROMAN = re.compile(r"\b(?:I|II|III|IV)\b(?: only| and |\.|,)")
_ALL_OF = re.compile(r"\b(?:all|none|both) of\b|\bneither\b", re.IGNORECASE)
_word = partial(re.compile, flags=re.IGNORECASE)
_CUES: Mapping[str, re.Pattern[str]] = {
    "negation": _word(
        r"\b(?:not|except|never|least|false|incorrect|neither|nor|without|no|unlikely)\b|n't\b"
    ),
    "which": _word(r"\bwhich\b"),
    "how_many": _word(r"\bhow (?:many|much)\b"),
    "why": _word(r"\b(?:why|because|reason|cause)\b"),
    "what": _word(r"\b(?:what|who|where|when)\b"),
    "best": _word(r"\b(?:best|most likely|most|likely|primarily|main)\b"),
    "condition": _word(r"\b(?:if|when|unless|suppose|assume|given|let)\b"),
    "claim": _word(r"\b(?:statement|statements|following|true|all of|none of|both)\b"),
    "rate": _word(r"\b(?:each|per|every|average|rate|total|altogether|combined|remaining|left)\b"),
    "fraction": _word(
        r"%|\b(?:percent|half|third|quarter|twice|double|triple|times|fraction|ratio)\b"
    ),
    "comparison": _word(
        r"\b(?:more|less|fewer|than|as (?:many|much|old)|older|younger|greater"
        r"|increase\w*|decrease\w*)\b"
    ),
    "person": _word(r"\b(?:he|she|his|her|they|man|woman|patient|defendant|plaintiff)\b"),
    "quote": _word('["\u201c\u201d]'),
    "formula": _word(r"[=+*/^<>∈∑∃∀∨~⊃≡•\\|]"),
    "blank": _word(r"_{2,}"),
    "number_word": _word(
        r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|dozen|first|second|third|another"
        r"|both)\b"
    ),
}


class Pieces(Protocol):
    """An embedding of word pieces, like `StaticEmbedding.shipped()`."""

    def piece_ids(self, text: str) -> list[int]:
        """The numbers of the pieces of a text."""
        ...

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One row of length 1 a text."""
        ...


def features_of(text: str, pieces: Pieces) -> dict[str, float]:
    """The features of a request by name; those of options are 0 where it offers none."""
    text = text[:_MOST_CHARS]
    options = [match[1] for match in _OPTION.finditer(text)][:_MOST_OPTIONS]
    if len(options) < 2:
        options = []
    question = text[: _first_option(text)] if options else text
    return {
        "length": math.log1p(len(text)),
        **_of_words(text, question, pieces),
        **_of_cues(text, question),
        **_of_numbers(text, question),
        **_of_options(options, question, pieces),
    }


def _first_option(text: str) -> int:
    match = _OPTION.search(text)
    return len(text) if match is None else match.start()


def _of_words(text: str, question: str, pieces: Pieces) -> dict[str, float]:
    words = _WORD.findall(text)
    count = max(len(words), 1)
    lettered = _LETTERED.findall(question)
    ids = pieces.piece_ids(text)
    seen = Counter(ids)
    shares = [times / len(ids) for times in seen.values()]
    sentences = max(1, len(_SENTENCE_END.findall(question)))
    return {
        "sentences": math.log1p(len(_SENTENCE_END.findall(text))),
        "words_a_sentence": math.log1p(len(question.split()) / sentences),
        "clauses": math.log1p(sum(text.count(mark) for mark in ",;:")),
        "capitals": sum(word[:1].isupper() for word in words) / count,
        "names": sum(word[0].isupper() for word in lettered[1:]) / max(len(lettered), 1),
        "chars_a_word": sum(map(len, words)) / count,
        "long_words": sum(len(word) > _LONG_WORD_CHARS for word in words) / count,
        "pieces_a_word": len(ids) / count,
        "rare_pieces": sum(number > _RARE_PIECE for number in ids) / max(len(ids), 1),
        "variety": len({word.lower() for word in words}) / count**0.75,
        "entropy": -sum(share * math.log(share) for share in shares),
        "asks": float(question.rstrip().endswith("?")),
        "roman": float(bool(_ROMAN.search(text))),
    }


def _of_cues(text: str, question: str) -> dict[str, float]:
    count = max(len(_WORD.findall(text)), 1)
    there = ("why", "which", "how_many", "negation", "what", "best")
    dense = ("formula", "blank")
    counted = (
        "fraction", "comparison", "condition", "rate", "person", "claim", "quote", "number_word",
    )  # fmt: skip
    return {
        **{name: float(bool(_CUES[name].search(question))) for name in there},
        **{name: len(_CUES[name].findall(text)) / count for name in dense},
        **{name: math.log1p(len(_CUES[name].findall(text))) for name in counted},
    }


def _of_numbers(text: str, question: str) -> dict[str, float]:
    numbers = _NUMBER.findall(text)
    sentences = max(1, len(_SENTENCE_END.findall(question)))
    return {
        "numbers": len(numbers) / max(len(_WORD.findall(text)), 1),
        "distinct_numbers": math.log1p(len({number.replace(",", "") for number in numbers})),
        "decimals": float(sum("." in number for number in numbers)),
        "numbers_a_sentence": len(_NUMBER.findall(question)) / sentences,
    }


def _of_options(options: Sequence[str], question: str, pieces: Pieces) -> dict[str, float]:
    """How alike the offered answers are: what tells them apart is what has to be known."""
    names = (
        "options_alike", "options_most_alike", "options_least_alike", "options_shared_words",
        "options_uneven", "options_numeric", "options_words", "options_single_word",
        "options_echo", "options_near_question", "options_spread", "options_all_of",
    )  # fmt: skip
    if not options:
        return dict.fromkeys(names, 0.0)
    alike, near = _cosines(options, question, pieces)
    sets = [frozenset(_WORD.findall(option.lower())) for option in options]
    asked = frozenset(_WORD.findall(question.lower()))
    shared = [_overlap(a, b) for at, a in enumerate(sets) for b in sets[:at]]
    lengths = [len(option) for option in options]
    mean = sum(lengths) / len(lengths)
    spread = math.sqrt(sum((length - mean) ** 2 for length in lengths) / len(lengths))
    values = (
        sum(alike) / len(alike),
        max(alike),
        min(alike),
        sum(shared) / len(shared),
        spread / (mean + 1),
        sum(bool(_NUMBER.search(option)) for option in options) / len(options),
        math.log1p(sum(len(option.split()) for option in options) / len(options)),
        sum(len(option.split()) == 1 for option in options) / len(options),
        sum(len(words & asked) / max(len(words), 1) for words in sets) / len(sets),
        sum(near) / len(near),
        max(near) - min(near),
        float(bool(_ALL_OF.search(" ".join(options)))),
    )
    return dict(zip(names, values, strict=True))


def _cosines(
    options: Sequence[str], question: str, pieces: Pieces
) -> tuple[list[float], list[float]]:
    """Each pair of options, and each option with the question."""
    *rows, asked = [list(map(float, row)) for row in pieces.embed([*options, question])]
    pairs = [_dot(a, b) for at, a in enumerate(rows) for b in rows[:at]]
    return pairs, [_dot(row, asked) for row in rows]


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _overlap(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / max(len(a | b), 1)
