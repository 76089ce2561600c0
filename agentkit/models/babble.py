"""Notices while a text is written that its model has begun to go in circles."""

from __future__ import annotations

import re
from collections import Counter, deque

_GRAM_WORDS = 4
_WINDOWS = ((120, 0.15), (400, 0.25))
"""(runs of four words looked back on, the share of different ones at or below which it circles)."""
_LEAST_ROUNDS = 6
_LEAST_CIRCLED_CHARS = 240
_LONGEST_ROUND_CHARS = 400
_LOOK_EVERY_CHARS = 32
_LONGEST_WORD_CHARS = 200
_WORD = re.compile(r"\w+", re.UNICODE)


class Babble:
    """Follows one text; `feed` is true once it goes in circles.

    Two signs: the end of the text is one piece, six times and more over 240 characters and more; or
    of its last 120 (400) runs of four words only 15 % (25 %) are different. Both are far from what
    tables, lists and code look like, whose rows differ in their values.
    """

    def __init__(self) -> None:
        self._tail = ""
        self._unread = ""
        self._since = 0
        self._last: deque[str] = deque(maxlen=_GRAM_WORDS)
        self._seen = [_Window(size, share) for size, share in _WINDOWS]

    def feed(self, text: str) -> bool:
        """Take in what was written next."""
        if not text:
            return False
        keep = _LONGEST_ROUND_CHARS * _LEAST_ROUNDS
        self._tail = (self._tail + text)[-keep:]
        self._since += len(text)
        if self._by_words(text):
            return True
        if self._since < _LOOK_EVERY_CHARS:
            return False
        self._since = 0
        return _circles(self._tail)

    def _by_words(self, text: str) -> bool:
        self._unread += text
        found = list(_WORD.finditer(self._unread))
        whole = found if found and found[-1].end() < len(self._unread) else found[:-1]
        circles = False
        for match in whole:
            self._last.append(match[0].casefold())
            if len(self._last) == _GRAM_WORDS:
                gram = tuple(self._last)
                noticed = [window.add(gram) for window in self._seen]  # each takes it in
                circles = circles or True in noticed
        start = whole[-1].end() if whole else -_LONGEST_WORD_CHARS
        self._unread = self._unread[start:]
        return circles


class _Window:
    """The last runs of words, and how many different ones are among them."""

    def __init__(self, size: int, least_share: float) -> None:
        self._size = size
        self._least = least_share * size
        self._grams: deque[tuple[str, ...]] = deque()
        self._counts: Counter[tuple[str, ...]] = Counter()

    def add(self, gram: tuple[str, ...]) -> bool:
        self._grams.append(gram)
        self._counts[gram] += 1
        if len(self._grams) <= self._size:
            return len(self._grams) == self._size and len(self._counts) <= self._least
        old = self._grams.popleft()
        self._counts[old] -= 1
        if not self._counts[old]:
            del self._counts[old]
        return len(self._counts) <= self._least


def _circles(text: str) -> bool:
    """Whether `text` ends in one piece over and over."""
    if len(text) < _LEAST_CIRCLED_CHARS:
        return False
    end = text[-_LOOK_EVERY_CHARS:]
    at = text.rfind(end, 0, len(text) - 1)
    if at < 0:
        return False
    period = len(text) - _LOOK_EVERY_CHARS - at
    covered = max(_LEAST_CIRCLED_CHARS, period * _LEAST_ROUNDS)
    if period > _LONGEST_ROUND_CHARS or covered > len(text):
        return False
    return text[-covered + period :] == text[-covered:-period]
