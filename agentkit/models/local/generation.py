"""Tokens become text until the model, a stop string, a limit or the caller ends it."""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from agentkit.models.babble import Babble
from agentkit.models.local.engine import LlamaEngine
from agentkit.models.local.sampling import GREEDY, Choice, Grammar, Sampler, Sampling

if TYPE_CHECKING:
    from agentkit.models.local.sampling import Logits

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Constraint:
    """A grammar for a part of the answer.

    It begins with one of `triggers`, anywhere in the answer or (`at_start`) only at its beginning;
    without triggers it holds from the first token. The grammar includes the trigger.
    """

    grammar: str
    triggers: tuple[str, ...] = ()
    at_start: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to generate. Tokens of `once` may come a single time, those of `banned` never.

    `begun` are choices of the answer that were made before. Choices less likely than
    `runner_up_below` come with their runner-up, and an answer whose summed log-probability falls
    below `give_up_below` is given up.
    With `cut_babble` an answer that goes in circles ends there, as at its limit.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    stop: tuple[str, ...] = ()
    sampling: Sampling = GREEDY
    conversation: str | None = None
    constraint: Constraint | None = None
    once: frozenset[int] = frozenset()
    banned: frozenset[int] = frozenset()
    begun: tuple[Choice, ...] = ()
    runner_up_below: float | None = None
    give_up_below: float = -math.inf
    cut_babble: bool = True


@dataclass(kw_only=True, slots=True)
class Generated:
    """What came of a request: plain text, then text under the grammar, and each token's figures.

    `lengths` has the characters of each token's text, those of a cut character at its last token.
    `babbled` tells that it was cut because it went in circles.
    """

    text: str = ""
    constrained_text: str = ""
    finish_reason: FinishReason = "length"
    babbled: bool = False
    reused_tokens: int = 0
    choices: list[Choice] = field(default_factory=list[Choice])
    lengths: list[int] = field(default_factory=list[int])

    @property
    def logprob(self) -> float:
        """The log-probability of the whole answer."""
        return sum(choice.logprob for choice in self.choices)


def generate(
    engine: LlamaEngine, request: Request, *, cancelled: Callable[[], bool]
) -> Iterator[str | Generated]:
    """Pieces of plain text as they become certain; the last item is the whole result.

    Raises engine.Cancelled as soon as `cancelled` says so. Closing the iterator ends the work.
    """
    writer = _Writer(engine, request)
    known = (*request.prompt, *(choice.token for choice in request.begun))
    try:
        with engine.lease(
            known,
            reserve_tokens=len(request.prompt) + request.max_tokens,
            conversation=request.conversation,
            cancelled=cancelled,
        ) as lease:
            writer.result.reused_tokens = lease.reused_tokens
            pending = list(known[lease.reused_tokens :])
            for earlier in request.begun:
                yield from writer.take_again(earlier)
            for _ in range(request.max_tokens - len(request.begun)):
                if writer.finished:
                    break
                logits = engine.evaluate(lease.slot, pending, cancelled=cancelled)
                choice = writer.choose(logits)
                if choice is None:
                    break
                yield from writer.take(choice)
                pending = [choice.token]
        yield from writer.finish()
        yield writer.result
    finally:
        writer.close()


class _Writer:
    """Turns tokens into text, holding back what may still become a stop string or a trigger."""

    def __init__(self, engine: LlamaEngine, request: Request) -> None:
        self.result = Generated()
        self.finished = False
        self._engine = engine
        self._request = request
        self._sampler = Sampler(
            engine.library, request.sampling, runner_up_below=request.runner_up_below
        )
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._babble = Babble() if request.cut_babble else None
        self._held = ""
        self._emitted = ""
        self._used = set(request.banned)
        self._grammar: Grammar | None = None
        constraint = request.constraint
        self._engaged = constraint is not None and not constraint.triggers
        if self._engaged:
            self._grammar = self._make_grammar()

    def choose(self, logits: Logits) -> Choice | None:
        choice = self._sampler.choose(logits, grammar=self._grammar, banned=self._used)
        if choice is None:
            self.result.finish_reason = "stop"
        return choice

    def take_again(self, choice: Choice) -> Iterator[str]:
        """Take a choice that was made before; the grammar must permit it."""
        if self._grammar is not None:
            self._grammar.accept(choice.token)
        yield from self.take(choice)

    def take(self, choice: Choice) -> Iterator[str]:
        self.result.choices.append(choice)
        if self.result.logprob < self._request.give_up_below:
            self.finished = True
        if choice.token in self._request.once:
            self._used.add(choice.token)
        if self._engine.ends(choice.token):
            self.result.lengths.append(0)
            self._stop()
            return
        text = self._decoder.decode(self._engine.piece(choice.token))
        self.result.lengths.append(len(text))
        if self._babble is not None and self._babble.feed(text):
            self.finished = self.result.babbled = True
        if self._engaged:
            self.result.constrained_text += text
            return
        self._held += text
        yield from self._release(self._watch())

    def finish(self) -> Iterator[str]:
        """Give out what was held back for a stop string or trigger that never came."""
        tail = self._decoder.decode(b"", True)
        if self._engaged:
            self.result.constrained_text += tail
            return
        self._held += tail
        yield from self._release(len(self._held))

    def close(self) -> None:
        self._sampler.close()
        if self._grammar is not None:
            self._grammar.close()
            self._grammar = None

    def _watch(self) -> int:
        """How many held characters are certain to be plain text; acts on stops and triggers."""
        stop_at = _first(self._held, self._request.stop)
        trigger_at = self._trigger_at()
        if trigger_at is not None and (stop_at is None or trigger_at <= stop_at):
            self._engage(trigger_at)
            return len(self._held)
        if stop_at is not None:
            self._held = self._held[:stop_at]
            self._stop()
            return stop_at
        return len(self._held) - self._uncertain()

    def _trigger_at(self) -> int | None:
        constraint = self._request.constraint
        if constraint is None:
            return None
        if constraint.at_start:
            start = len(self._held) - len(self._held.lstrip())
            begins = not self._emitted.strip() and self._held[start:].startswith(
                constraint.triggers
            )
            return start if begins else None
        return _first(self._held, constraint.triggers)

    def _engage(self, start: int) -> None:
        """The text from `start` on belongs to the grammar, which takes over where it fits."""
        self._engaged = True
        begun, self._held = self._held[start:], self._held[:start]
        self.result.constrained_text = begun
        grammar = self._make_grammar()
        for token in self._engine.tokenize(begun, special=True):
            if not grammar.permits(token):
                grammar.close()  # what stands there fits no tool: let it end freely
                return
            grammar.accept(token)
        self._grammar = grammar

    def _make_grammar(self) -> Grammar:
        constraint = self._request.constraint
        if constraint is None:
            raise ValueError("no constraint")
        return Grammar(self._engine.library, self._engine.vocab, constraint.grammar)

    def _uncertain(self) -> int:
        watched = list(self._request.stop)
        constraint = self._request.constraint
        if constraint is not None and not (constraint.at_start and self._emitted.strip()):
            watched += constraint.triggers
        longest = max(map(len, watched), default=1) - 1
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(text.startswith(self._held[-size:]) for text in watched):
                return size
        return 0

    def _release(self, count: int) -> Iterator[str]:
        certain, self._held = self._held[:count], self._held[count:]
        if certain:
            self._emitted += certain
            self.result.text += certain
            yield certain

    def _stop(self) -> None:
        self.finished = True
        self.result.finish_reason = "stop"


def _first(text: str, wanted: tuple[str, ...]) -> int | None:
    found = [at for at in map(text.find, wanted) if at >= 0]
    return min(found, default=None)
