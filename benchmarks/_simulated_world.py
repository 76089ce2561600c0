"""A world in one thread: its own time, a network that loses and repeats, processes that crash."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime

from agentkit.budgets.amount import Amount
from agentkit.budgets.store import Denial, Grant, Settlement

_START = datetime(2026, 11, 21, 23, 58, 30, tzinfo=UTC).timestamp()
_ATTEMPTS = 3
_PATIENCE_SECONDS = 2.0

Answer = Grant | Denial | Settlement | bool | BaseException | None
Verb = Callable[[], Answer]


@dataclass(frozen=True, kw_only=True, slots=True)
class Faults:
    """How bad a seed's world is: probabilities of each fault, each time it can happen."""

    drop: float
    duplicate: float
    slow: float
    """A message takes up to half a minute, so that later ones overtake it."""
    crash: float
    cut: float
    """The provider serves the call, and its answer is lost."""
    refuse: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Carry out a verb at the ledger; the answer comes back, or None after some attempts."""

    verb: Verb


@dataclass(frozen=True, slots=True)
class Tell:
    """Carry out a verb at the ledger; nobody waits for the answer."""

    verb: Verb


@dataclass(frozen=True, slots=True)
class Call:
    """Send a request to the provider: the amount billed, False where it was refused, or None."""

    reservation_id: str
    worst: Amount
    late: Callable[[Amount], Program]
    """What the process does when the answer comes after it gave up."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for some seconds."""

    seconds: float


Request = Ask | Tell | Call | Pause
Reply = Answer | Amount
Program = Generator[Request, Reply, None]


class World:
    """Time, messages and faults, all from one seed."""

    def __init__(
        self,
        seed: int,
        execute: Callable[[Verb], Answer],
        bill: Callable[[str, Amount], None],
    ) -> None:
        self.random = random.Random(seed)
        self.faults = _faults(self.random)
        self.counts: Counter[str] = Counter()
        self.skew_seconds = 0.0
        self._now = _START
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._entered = 0
        self._execute = execute
        self._bill = bill

    def clock(self) -> float:
        """Unix time as the ledger's machine believes it to be; it may be set back.

        In eighths of a second: whole milliseconds, exact as a float, the same to every store.
        """
        return math.floor((self._now + self.skew_seconds) * 8) / 8

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do `action` in `seconds`."""
        self._entered += 1
        heapq.heappush(self._agenda, (self._now + seconds, self._entered, action))

    def run(self) -> None:
        """Let time pass until nothing is left to happen."""
        while self._agenda:
            self._now, _, action = heapq.heappop(self._agenda)
            action()

    def happens(self, probability: float, what: str) -> bool:
        """True with `probability`; counted as `what`."""
        if self.random.random() >= probability:
            return False
        self.counts[what] += 1
        return True

    def ask_ledger(self, verb: Verb, answered: Callable[[Answer], None]) -> None:
        """Send a verb; it may be lost, arrive twice or late, and so may each answer."""
        copies = 2 if self.happens(self.faults.duplicate, "duplicates") else 1
        for _ in range(copies):
            if not self.happens(self.faults.drop, "drops"):
                self.later(self._delay(), lambda: self._arrive(verb, answered))

    def call_provider(self, call: Call, answered: Callable[[Amount | bool], None]) -> None:
        """Send a request to the provider, which bills on arrival what it likes up to the worst."""
        if self.happens(self.faults.refuse, "refusals"):
            self.later(self._delay(), lambda: answered(False))
        elif not self.happens(self.faults.drop, "drops"):
            self.later(self._delay(), lambda: self._serve(call, answered))

    def _serve(self, call: Call, answered: Callable[[Amount | bool], None]) -> None:
        nusd, tokens, fresh, calls = call.worst
        share = self.random.choice((0.1, 0.6, 1.0))
        actual = Amount(int(nusd * share), int(tokens * share), int(fresh * share), calls)
        self.counts["calls"] += 1
        self._bill(call.reservation_id, actual)
        if not self.happens(self.faults.cut, "cuts"):
            self.later(self._delay(), lambda: answered(actual))

    def _arrive(self, verb: Verb, answered: Callable[[Answer], None]) -> None:
        self.counts["verbs"] += 1
        answer = self._execute(verb)
        if not self.happens(self.faults.drop, "drops"):
            self.later(self._delay(), lambda: answered(answer))

    def _delay(self) -> float:
        if self.happens(self.faults.slow, "slow messages"):
            return self.random.uniform(1.0, 30.0)
        return self.random.uniform(0.001, 0.1)


class Process:
    """Runs one program, a request at a time, until it ends or crashes at one of its steps."""

    def __init__(self, world: World, program: Program, crashed: Callable[[], None]) -> None:
        self._world = world
        self._program = program
        self._crashed = crashed
        self._alive = True
        self._waiting = 0
        world.later(world.random.uniform(0.0, 5.0), lambda: self._step(self._program, None))

    def _step(self, program: Program, reply: Reply) -> None:
        if not self._alive:
            return
        if self._world.happens(self._world.faults.crash, "crashes"):
            self._alive = False
            self._crashed()
            return
        try:
            request = program.send(reply)
        except StopIteration:
            return
        match request:
            case Ask():
                self._ask(program, request.verb)
            case Tell():
                self._world.ask_ledger(request.verb, lambda _: None)
                self._step(program, None)
            case Call():
                self._call(program, request)
            case Pause():
                self._world.later(request.seconds, lambda: self._step(program, None))

    def _ask(self, program: Program, verb: Verb) -> None:
        """Ask again where no answer comes: the verbs are made for it."""
        waiting = self._wait(program)
        for attempt in range(_ATTEMPTS):
            self._world.later(attempt * _PATIENCE_SECONDS, lambda: self._send(verb, waiting))
        self._world.later(_ATTEMPTS * _PATIENCE_SECONDS, lambda: waiting(None))

    def _send(self, verb: Verb, waiting: _Waiting) -> None:
        if self._alive and waiting.open:
            self._world.ask_ledger(verb, waiting)

    def _call(self, program: Program, call: Call) -> None:
        waiting = self._wait(program)

        def answered(actual: Amount | bool) -> None:
            if waiting.open:
                waiting(actual)
            elif isinstance(actual, Amount):
                self._step(call.late(actual), None)

        self._world.call_provider(call, answered)
        self._world.later(4 * _PATIENCE_SECONDS, lambda: waiting(None))

    def _wait(self, program: Program) -> _Waiting:
        return _Waiting(lambda reply: self._step(program, reply))


class _Waiting:
    """Takes the first reply; the later ones find nobody."""

    def __init__(self, go_on: Callable[[Reply], None]) -> None:
        self.open = True
        self._go_on = go_on

    def __call__(self, reply: Reply) -> None:
        if self.open:
            self.open = False
            self._go_on(reply)


def _faults(random: random.Random) -> Faults:
    """A quarter of the worlds is calm; the others have some faults and not others."""
    worst = {"drop": 0.2, "duplicate": 0.3, "slow": 0.2, "crash": 0.05, "cut": 0.3, "refuse": 0.2}
    bad = 0.0 if random.random() < 0.25 else 1.0
    return Faults(**{name: bad * random.choice((0.0, p / 4, p)) for name, p in worst.items()})
