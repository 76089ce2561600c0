"""Observations of one task, pruned as they are made; the tool `recall` comes when it pays.

What is pruned needs `recall` on offer. A definition that comes later makes the provider's cache
write the whole prefix anew, so at first observations are only put more tightly, with nothing left
out, until one of them saves more than that costs.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentkit.budgets.tokens import count_text
from agentkit.tools.errors import InvalidLimits
from agentkit.tools.prune.earlier import Earlier
from agentkit.tools.prune.pruned import Pruned
from agentkit.tools.prune.pruning import DEFAULT_TIME_BUDGET_SECONDS, Keep, prune
from agentkit.tools.sent_prefix import READ, WRITE, SentPrefix
from agentkit.tools.stepped_cache import SteppedCache

_SHORT_CHARS = 160
"""Nothing shorter is looked at: what could be saved is a few tokens."""
_ALL_TOKENS = 1_000_000
_CHARS_A_TOKEN = 4
_MOST_CHARS_A_TOKEN = 16
"""Of a text, to a token of what it is put more tightly in: JSON with nested escapes comes to it."""
_RECALL_TOKENS = 60
_FETCH_SHARE = 0.35
"""Of the price of one fetch, what must have been saved before something is left out: in a task of
three steps a fetch is a third of the bill."""
_COUNTED_CHARS = 16_384
_FOOTER_TOKENS = 48
"""What a pruned observation may fall short of its room."""


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """How an agent prunes observations: `max_tokens` of o200k each.

    A recall brings back `recall_tokens` about a query, or `range_tokens` of lines.

    Raises InvalidLimits where one is not above 0.
    """

    max_tokens: int = 200
    recall_tokens: int = 400
    range_tokens: int = 1_200
    time_budget_seconds: float = DEFAULT_TIME_BUDGET_SECONDS

    def __post_init__(self) -> None:
        for name in ("max_tokens", "recall_tokens", "range_tokens", "time_budget_seconds"):
            value = getattr(self, name)
            if not value > 0:
                raise InvalidLimits(f"{name} is {value!r}; give a number above 0")


class TaskPruner:
    """Prunes the observations of one task in order; `recalls` says that recall is on offer."""

    def __init__(self, pruning: Pruning, keep: Keep, *, recalls: bool = False) -> None:
        self.recalls = recalls
        self._pruning = pruning
        self._keep = keep
        self._earlier = Earlier()
        self._saved = 0.0
        self._cache = SteppedCache()

    def prune(self, text: str, *, query: str, sent: SentPrefix) -> Pruned | None:
        """The observation as it is sent; None where it is to be sent as it is."""
        if len(text) <= _SHORT_CHARS:
            return None
        self._cache.settle(sent)
        at_least = len(text) // _MOST_CHARS_A_TOKEN
        room = self._room(at_least, sent)
        if at_least > room and self._pays(at_least - room, sent):  # long however tightly it is put
            return self._shortened(text, query, room, at_least - room, sent)
        trial = self._earlier.copy()
        whole = self._told(text, query, _ALL_TOKENS, trial)
        tokens = count_text(whole.text)
        self._saved += (len(text) - len(whole.text)) / _CHARS_A_TOKEN * sent.each
        room, as_it_is = self._room(tokens, sent), self._tokens_of(text, sent)
        if (tokens > room or whole.was_pruned) and self._pays(tokens - room, sent):
            if self._cache.bears(as_it_is - room, of=as_it_is, sent=sent):
                return self._shortened(text, query, room, tokens - room, sent)
        self._earlier = trial
        if sent.is_cached_with(text, instead_of=tokens):
            return None
        if not self._cache.bears(as_it_is - tokens, of=as_it_is, sent=sent):
            return None
        self._cache.shortened(as_it_is - tokens)
        return whole

    def _shortened(self, text: str, query: str, room: int, spared: int, sent: SentPrefix) -> Pruned:
        found = self._told(text, query, room, self._earlier, keep=self._keep)
        self.recalls = self.recalls or found.handle is not None
        self._saved += spared * sent.each
        as_it_is = self._tokens_of(text, sent)
        self._cache.shortened(as_it_is - count_text(found.text))
        return found

    @staticmethod
    def _tokens_of(text: str, sent: SentPrefix) -> int:
        """Tokens of a text as it is, scaled from its beginning; 0 where no cache reads in steps."""
        if sent.step_tokens <= 1:
            return 0
        sample = text[:_COUNTED_CHARS]
        return round(count_text(sample) * len(text) / len(sample))

    def _told(
        self, text: str, query: str, max_tokens: int, earlier: Earlier, keep: Keep | None = None
    ) -> Pruned:
        return prune(
            text,
            query=query,
            max_tokens=max_tokens,
            time_budget_seconds=self._pruning.time_budget_seconds,
            keep=keep,
            earlier=earlier,
        )

    def _room(self, tokens: int, sent: SentPrefix) -> int:
        """The tokens for one observation of `tokens`: as many as make the prefix long enough to be
        cached, where sending them now costs less than sending fewer ones in full at each call.
        """
        least = self._pruning.max_tokens
        enough = sent.missing_tokens + _FOOTER_TOKENS
        if (
            sent.missing_tokens
            and least < enough <= tokens
            and sent.costs_less_cached(enough, instead_of=least)
        ):
            return enough
        return least

    def _pays(self, spared: int, sent: SentPrefix) -> bool:
        """Whether the saving pays for the offer, and with what was saved for a share of a fetch."""
        saving = spared * sent.each
        needed = 0.0
        if not self.recalls:
            broken = sent.tokens * (WRITE - READ) if sent.is_cached else 0.0
            needed += broken + _RECALL_TOKENS * sent.each
        fetch = sent.tokens * (READ if sent.is_cached else 1.0)
        fetch += self._pruning.recall_tokens * WRITE
        return saving > needed and self._saved + saving > needed + _FETCH_SHARE * fetch

    def remember(self, text: str) -> None:
        """Takes in an observation that was sent before this process took up the task."""
        if len(text) > _SHORT_CHARS:
            prune(text, max_tokens=_ALL_TOKENS, earlier=self._earlier)
