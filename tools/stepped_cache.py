"""What shorter observations come to at a provider that reads its prompt cache in steps.

OpenAI reads a prefix in steps of 128 tokens. A prompt that is 70 tokens shorter may so read a step
less than the longer one would have, and cost more; on the average it does not, but a task has few
calls. So an account is kept of what was saved, call by call, and nothing is shortened that it could
not bear.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.tools.sent_prefix import READ, SentPrefix

_UNLUCKY_CALLS = 2
"""That must be covered beyond the next two calls, which are known. Of 20,000 made-up tasks 9 then
cost more than without pruning, 1.5 % at most; without the rule 156 did, 7.7 % at most; with 1, 18
(`tests/tools/test_stepped_cache.py` makes the same tasks)."""


class SteppedCache:
    """Follows the calls of one task beside those of the same task without pruning.

    `spared` is how many tokens less are sent, `saved` what that came to so far, in tokens at the
    price of input.
    """

    def __init__(self) -> None:
        self.spared = 0
        self.saved = 0.0
        self._billed: Sequence[int] = ()
        self._settled = 0
        self._last = self._last_whole = 0

    def settle(self, sent: SentPrefix) -> None:
        """Take in the calls that were made since the last observation."""
        if sent.billed is not self._billed:
            self._billed, self._settled = sent.billed, 0
            self._last, self._last_whole, self.saved = 0, 0, 0.0
        for tokens in sent.billed[self._settled :]:
            whole = tokens + self.spared
            self.saved += self.spared - self._read_less(sent, self._last_whole, self._last)
            self._last, self._last_whole = tokens, whole
        self._settled = len(sent.billed)

    def bears(self, spared: int, *, of: int, sent: SentPrefix) -> bool:
        """Whether an observation `of` so many tokens may be put in `spared` fewer.

        What the next call costs is known, and what the one after it reads; after that each may read
        a step less. Without steps, or where what is sent is too short to be read, it always may.
        """
        if sent.step_tokens <= 1 or sent.least_cached_tokens is None:
            return True
        after = self.spared + spared
        whole = sent.tokens + self.spared + of
        if not sent.read_tokens(whole - after):
            return True
        saved = self.saved + after - self._read_less(sent, self._last_whole, self._last)
        saved += after - self._read_less(sent, whole, whole - after)
        lost = _most_lost(after, sent.step_tokens)
        return saved >= _UNLUCKY_CALLS * lost or lost <= _most_lost(self.spared, sent.step_tokens)

    def shortened(self, spared: int) -> None:
        """An observation is sent in `spared` fewer tokens."""
        self.spared += spared

    def _read_less(self, sent: SentPrefix, whole: int, shorter: int) -> float:
        """What reading the shorter prefix spares less than reading the whole one.

        0 where it is too short to be read: `SentPrefix.costs_less_cached` weighs that.
        """
        if not sent.read_tokens(shorter):
            return 0.0
        return (1 - READ) * (sent.read_tokens(whole) - sent.read_tokens(shorter))


def _most_lost(spared: int, step_tokens: int) -> float:
    """The most that a call costs more for a prompt that is `spared` tokens shorter."""
    steps = -(-spared // step_tokens)
    return max(0.0, (1 - READ) * steps * step_tokens - spared)
