"""Step for step, what a model is sent of a task's transcript, and when history is rewritten.

The engine decides and remembers; it calls no model and spends nothing. Whoever does tells it what
was sent and what the provider reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage

from agentkit.budgets.price import Price, PriceBook
from agentkit.budgets.tokens import text_counter
from agentkit.budgets.usage import Usage
from agentkit.memory.breakpoints import Placement, marked
from agentkit.memory.cache_rules import CacheRules, cache_rules
from agentkit.memory.context import (
    Condensed,
    Context,
    ContextPlan,
    LeftOut,
    Rewrite,
    RewriteReason,
)
from agentkit.memory.misses import Miss
from agentkit.memory.prefix_price import PrefixPrice
from agentkit.memory.repair import takes_empty_results
from agentkit.memory.request import Frame, Requests, View
from agentkit.memory.rewriting import NO_SAVINGS, RewriteCase, Savings
from agentkit.memory.spending import PromptSpending, SentPrompt
from agentkit.memory.summary import Summary, checked, extracted, used_later
from agentkit.memory.tokens import MessageCounter

_MOST_NEEDED = 60
_LEAST_SUMMARY_TOKENS = 48
_FULL_SHARE = 0.9
"""A window is nearly full while all that is to be summarized can still be sent to be read."""
_AS_SENT = Condensed()
_NOTHING_BESIDE = Frame()

SummaryPrice = Callable[[int, int, int], float]
"""Nano-USD of a summary at most: of how many tokens, of them how many cached, in how many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """When a rewriting is considered: after how many calls, at what time, with what saved so far.

    `forced` is asked about a rewriting that the rule is against.
    """

    calls: int
    now: float
    savings: Savings = NO_SAVINGS
    summary_nusd: SummaryPrice | None = None
    forced: Callable[[Rewrite], bool] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """Where a rewriting would cut: the turns before `at` go, but for the messages of `stays`."""

    at: int
    stays: Sequence[BaseMessage]
    dropped_tokens: int
    summary_tokens: int


class ContextEngine:
    """Keeps one task's context for one model. Not for use from several threads at once.

    >>> from langchain_core.messages import AIMessage, HumanMessage
    >>> engine = engine_for("claude-sonnet-4-5", "anthropic")
    >>> [message.content for message in engine.plan([HumanMessage("hi"), AIMessage("")]).messages]
    ['hi']
    """

    def __init__(
        self,
        *,
        counter: MessageCounter,
        policy: Context,
        rules: CacheRules,
        price: Price,
        empty_results: bool = False,
    ) -> None:
        """`empty_results` says that the provider takes observations that say nothing."""
        self.policy = policy
        self.rules = rules
        self._requests = Requests(
            counter, policy.allocation.observation, empty_results=empty_results
        )
        self._spending = PromptSpending(rules=rules, price=price, risk=policy.risk)

    def plan(
        self,
        messages: Sequence[BaseMessage],
        condensed: Condensed = _AS_SENT,
        frame: Frame = _NOTHING_BESIDE,
        *,
        now: float | None = None,
    ) -> ContextPlan:
        """The request for the next call: it fits, and every provider takes it.

        `now` (Unix seconds) lets an hour's lifetime be chosen where pauses are long.
        Raises WindowTooSmall where `frame.limit_tokens` is below the shortest form of it, and
        AllotmentExceeded where system texts or tools take more than is allotted to them.
        """
        self._requests.transcript.update(messages)
        view = self._requests.view(condensed, frame)
        self.policy.allocation.require("system", self._requests.counter.messages(view.system))
        self.policy.allocation.require("tools", frame.tools_tokens)
        request = self._requests.request(view, frame)
        reused = self._spending.reused(request.messages, frame.tools_key)
        ttl = self._spending.ttl(request.tokens, now=now)
        placement = Placement(
            messages=request.messages,
            fixed=request.fixed,
            reused=reused,
            input_tokens=request.tokens,
            rules=self.rules,
            ttl=ttl,
        )
        return ContextPlan(
            messages=request.messages,
            breakpoints=self.policy.place(placement) if self.policy.caching else (),
            ttl=ttl,
            input_tokens=request.tokens,
            replay_tokens=self._requests.replay_tokens(request, frame),
            shortened=request.shortened,
            components=request.components,
            left_out=(*_told(condensed), *request.left_out),
            tools_key=frame.tools_key,
        )

    def tokens(self, messages: Sequence[BaseMessage], condensed: Condensed, frame: Frame) -> int:
        """Our count of the whole input if nothing had to be made to fit."""
        self._requests.transcript.update(messages)
        return self._requests.tokens(self._requests.view(condensed, frame), frame)

    def rewriting(
        self,
        messages: Sequence[BaseMessage],
        condensed: Condensed,
        frame: Frame,
        moment: Moment,
    ) -> Rewrite | None:
        """The rewriting that should be done before the next call, or None."""
        self._requests.transcript.update(messages)
        view = self._requests.view(condensed, frame)
        sent = self._requests.tokens(view, frame)
        limit = frame.limit_tokens
        must = limit is not None and sent > limit * _FULL_SHARE
        if self.policy.summaries == "off" and not must:
            return None
        cut = self._cut_of(view, frame)
        if cut is None:
            return None
        warm = self._spending.warm_tokens(sent, calls=moment.calls, now=moment.now)
        case = self._case(view, frame, cut, moment, sent, warm)
        if must:
            return self._rewrite(view, frame, cut, "is nearly full", case)
        why: RewriteReason = "saves money" if case.price_nusd > 0 else "the cache has expired"
        if self.policy.rewrite(case):
            return self._rewrite(view, frame, cut, why, case)
        if moment.forced is not None:
            rewrite = self._rewrite(view, frame, cut, why, case)
            return rewrite if moment.forced(rewrite) else None
        return None

    def condensed(
        self, rewrite: Rewrite, before: Condensed, written: Summary | None = None, goal: str = ""
    ) -> Condensed:
        """What `rewrite` leads to, with the summary that a model wrote or an extracted one."""
        text = ""
        if self.policy.summaries != "off":
            earlier = Summary.read(before.summary)
            summary = written or extracted(rewrite.dropped, previous=earlier, goal=goal)
            text = checked(
                summary,
                rewrite.needed,
                count=self._requests.counter.text,
                limit_tokens=rewrite.summary_tokens,
            )
        return Condensed(
            start=rewrite.start,
            summary=text,
            messages=before.messages + len(rewrite.dropped),
            tokens=before.tokens + rewrite.dropped_tokens,
            reason=rewrite.reason,
        )

    def settled(self, plan: ContextPlan, usage: Usage, *, at: float) -> tuple[Savings, Miss | None]:
        """Take in what the provider reported of `plan`, sent at `at` (Unix seconds).

        Gives what the input cost and what replaying everything would have, and a cache miss.
        """
        sent = SentPrompt(
            messages=plan.messages,
            tools_key=plan.tools_key,
            tokens=plan.input_tokens,
            replay_tokens=plan.replay_tokens,
            ttl=plan.ttl,
            at=at,
        )
        saved, miss = self._spending.settled(sent, usage)
        return saved, miss if self.policy.caching else None

    def prices(self, input_tokens: int) -> PrefixPrice:
        """What a token of an input of `input_tokens` costs, by what of it is cached."""
        return self._spending.prices(input_tokens)

    def marked(self, plan: ContextPlan) -> list[BaseMessage]:
        """The messages of `plan` with its breakpoints, for LangChain's class of the provider."""
        return marked(plan.messages, plan.breakpoints, self.rules.mark)

    def _cut_of(self, view: View, frame: Frame) -> Cut | None:
        """All turns but the latest; None where a summary of them would not be shorter."""
        requests, turns = self._requests, self._requests.transcript
        room = requests.room(frame, view)
        at = turns.first_within(self.policy.allocation.recent_tokens(room), view.first)
        if at <= view.first:
            return None
        stays = () if view.pinned else requests.pinned(at, frame)
        dropped = turns.tokens(view.first, at) - requests.counter.messages(stays)
        replaced = dropped + requests.counter.messages(view.summary)
        most = min(self.policy.allocation.summary_tokens(room), replaced // 2)
        if most < _LEAST_SUMMARY_TOKENS:
            return None
        return Cut(at=at, stays=stays, dropped_tokens=dropped, summary_tokens=most)

    def _rewrite(
        self, view: View, frame: Frame, cut: Cut, reason: RewriteReason, case: RewriteCase
    ) -> Rewrite:
        turns = self._requests.transcript
        dropped = [
            message
            for message in turns.messages(view.first, cut.at)
            if not any(message is each for each in cut.stays)
        ]
        kept = turns.messages(cut.at)
        pinned = self._requests.pinned(cut.at, frame)
        needed = used_later([*view.summary, *dropped], [*pinned, *kept])
        return Rewrite(
            start=turns.turns[cut.at].first,
            reason=reason,
            dropped=dropped,
            kept=kept,
            dropped_tokens=cut.dropped_tokens,
            summary_tokens=cut.summary_tokens,
            sent_tokens=case.sent_tokens,
            warm_tokens=case.warm_tokens,
            case=case,
            needed=tuple(needed[:_MOST_NEEDED]),
        )

    def _case(
        self, view: View, frame: Frame, cut: Cut, moment: Moment, sent: int, warm: int
    ) -> RewriteCase:
        requests, spending = self._requests, self._spending
        pinned = requests.counter.messages(requests.pinned(len(requests.transcript.turns), frame))
        in_front = bool(view.pinned) or requests.opens_with_request(view, frame)
        around = requests.around(frame) + requests.counter.messages(view.system)
        write = moment.summary_nusd
        return RewriteCase(
            price=spending.prices(sent, spending.ttl(sent, now=moment.now)),
            replay_price=spending.prices(sent),
            sent_tokens=sent,
            warm_tokens=warm,
            fixed_tokens=around + (pinned if in_front else 0),
            summary_tokens=cut.summary_tokens,
            kept_tokens=requests.transcript.tokens(cut.at) + (0 if in_front else pinned),
            summary_nusd=0.0 if write is None else write(sent, warm, cut.summary_tokens),
            calls_left=self.policy.calls_left(moment.calls),
            savings=moment.savings,
            risk=self.policy.risk,
        )


def engine_for(
    model: str,
    provider: str,
    policy: Context | None = None,
    *,
    counter: MessageCounter | None = None,
    price: Price | None = None,
) -> ContextEngine:
    """An engine for `model` as the price book names it, with its cache rules and today's price."""
    return ContextEngine(
        counter=counter or MessageCounter(text_counter(model, provider)),
        policy=policy or Context(),
        rules=cache_rules(model, provider),
        price=price or PriceBook().price(model, provider),
        empty_results=takes_empty_results(provider),
    )


def _told(condensed: Condensed) -> tuple[LeftOut, ...]:
    if not condensed.messages:
        return ()
    told = LeftOut(
        what="earlier turns, summarized" if condensed.summary else "earlier turns",
        messages=condensed.messages,
        tokens=condensed.tokens,
        why=condensed.reason,
    )
    return (told,)
