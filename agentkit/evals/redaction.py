"""Takes what names or unlocks somebody out of texts: the same value gets the same mark.

A redacted text still teaches which value goes where. No pattern finds everything: look at the
files before they leave your hands.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from agentkit.errors import ConfigError
from agentkit.evals.graders import check_pattern, pattern_engine

_PATTERN_SECONDS = 0.5  # of processor time
_MOST_CHARS = 1_000_000
_LEAST_DIGITS, _MOST_DIGITS = 9, 15

_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]{0,8000}?-----END [A-Z ]{0,30}PRIVATE KEY-----"
    r"|\beyJ[\w-]{8,2000}\.[\w-]{8,4000}\.[\w-]{8,2000}"
    r"|\b(?:sk|pk|rk|xox[abprs]|gh[pousr]|glpat|hf|AIza|npm|pypi)[-_][\w-]{16,200}"
    r"|\bAIza[\w-]{30,60}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|(?i:\bbearer\s{1,3})[\w.~+/-]{16,400}=*"
)
_EMAIL = re.compile(r"[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}")
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
_PHONE = re.compile(r"(?<![\w.-])(?:\+|00|\()?\d(?:[ ()./-]{0,2}\d){8,15}(?![\w-])")


class Redactor:
    """Redacts one example after another; `counts` tells how often each kind was found.

    `patterns` are the user's own, untrusted in that they may take for ever. Raises ConfigError for
    one that is none.
    """

    def __init__(self, patterns: Sequence[str] = (), *, builtin: bool = True) -> None:
        self.counts: Counter[str] = Counter()
        engine = pattern_engine() if patterns else None
        self._own: list[Any] = [
            cast("Any", engine).compile(check_pattern(pattern)) for pattern in patterns
        ]
        self._builtin = builtin
        self._marks: dict[str, str] = {}
        self._numbers: Counter[str] = Counter()

    def begin(self) -> None:
        """A new example: marks are counted from 1 again."""
        self._marks.clear()
        self._numbers.clear()

    def text(self, text: str) -> str:
        """`text` with marks like `[EMAIL_1]`. Raises ConfigError where a pattern takes too long."""
        if len(text) > _MOST_CHARS:
            raise ConfigError(f"a text of {len(text):,} characters is too long to be redacted")
        for pattern in self._own:
            try:
                text = pattern.sub(self._marked("PRIVATE"), text, timeout=_PATTERN_SECONDS)
            except TimeoutError as error:
                told = str(pattern.pattern)[:60]
                raise ConfigError(f"--redact {told!r} takes too long; write it simpler") from error
        if not self._builtin:
            return text
        text = _KEY.sub(self._marked("KEY"), text)
        text = _EMAIL.sub(self._marked("EMAIL"), text)
        text = _CARD.sub(self._marked("CARD", _is_card), text)
        return _PHONE.sub(self._marked("PHONE", _is_phone), text)

    def value(self, value: Any) -> Any:
        """JSON with every text in it redacted; numbers that look like phones or cards too."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int) and not isinstance(value, bool):
            redacted = self.text(str(value)) if value >= 10**_LEAST_DIGITS else str(value)
            return value if redacted == str(value) else redacted
        if isinstance(value, dict):
            return {key: self.value(item) for key, item in cast("Mapping[str, Any]", value).items()}
        if isinstance(value, list):
            return [self.value(item) for item in cast("Sequence[Any]", value)]
        return value

    def _marked(self, kind: str, means: Callable[[str], bool] | None = None) -> Any:
        def mark(match: Any) -> str:
            found = str(match[0])
            if not found or (means is not None and not means(found)):
                return found
            self.counts[kind.lower()] += 1
            known = self._marks.get(found)
            if known is None:
                self._numbers[kind] += 1
                known = self._marks[found] = f"[{kind}_{self._numbers[kind]}]"
            return known

        return mark


def _is_card(text: str) -> bool:
    """Luhn's check (ISO/IEC 7812), so that order numbers stay."""
    digits = [int(char) for char in text if char.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_phone(text: str) -> bool:
    """With a plus, zeros or brackets before it, or separated into groups: else it is a number."""
    digits = sum(char.isdigit() for char in text)
    if not _LEAST_DIGITS <= digits <= _MOST_DIGITS:
        return False
    if re.fullmatch(r"\d+\.\d+", text):
        return False  # a fraction
    grouped = len(re.findall(r"\d[ ()./-]{1,2}(?=\d)", text)) > 1
    is_date = re.match(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}", text) is not None
    return not is_date and (text[0] in "+(" or text.startswith("0") or grouped)
