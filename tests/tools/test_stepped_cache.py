"""Shortening never makes a task dearer where the provider reads its cache in steps."""

import random
from collections.abc import Callable, Iterator

from agentkit.tools.sent_prefix import SentPrefix
from agentkit.tools.stepped_cache import SteppedCache

LEAST, STEP, READ = 1_024, 128, 0.1
TASKS = 4_000
Step = tuple[int, int]
"""Tokens that come before a call, and how many fewer an observation among them could take."""


def bill(prompts: list[int]) -> float:
    """The price of prompts that each begin with the one before, in tokens of plain input."""
    total, before = 0.0, 0
    for tokens in prompts:
        read = before // STEP * STEP if before >= LEAST else 0
        total += tokens - read + READ * read
        before = tokens
    return total


def task(rng: random.Random) -> list[Step]:
    """A conversation: people say something, or a tool does, which could be put more tightly."""
    steps: list[Step] = [(rng.randint(1_000, 1_700), 0)]
    for _ in range(rng.randint(2, 14)):
        if rng.random() < 0.5:
            steps.append((rng.randint(30, 160), 0))
        else:
            tokens = rng.randint(60, 700)
            steps.append((tokens, int(tokens * rng.uniform(0.1, 0.7))))
    return steps


def prompts(steps: list[Step], may: Callable[[SteppedCache, Step, SentPrefix], bool]) -> list[int]:
    """The prompts of a task whose observations are shortened where `may` says so."""
    cache, billed, sent = SteppedCache(), list[int](), 0
    for tokens, spared in steps:
        before = SentPrefix(
            tokens=sent,
            calls=len(billed),
            least_cached_tokens=LEAST,
            step_tokens=STEP,
            billed=billed,
        )
        cache.settle(before)
        sent += tokens
        if spared and may(cache, (tokens, spared), before):
            cache.shortened(spared)
            sent -= spared
        billed.append(sent)
    return billed


def bears(cache: SteppedCache, step: Step, before: SentPrefix) -> bool:
    return cache.bears(step[1], of=step[0], sent=before)


def ratios(may: Callable[[SteppedCache, Step, SentPrefix], bool]) -> Iterator[float]:
    """The bill of each task over that of the same task without shortening."""
    rng = random.Random(4)
    for _ in range(TASKS):
        steps = task(rng)
        yield bill(prompts(steps, may)) / bill(prompts(steps, lambda *_: False))


def test_a_task_hardly_ever_costs_more_for_what_was_shortened() -> None:
    always, borne = list(ratios(lambda *_: True)), list(ratios(bears))
    above = [sum(ratio > 1 for ratio in each) for each in (always, borne)]
    assert above[0] >= 20
    assert above[1] <= 4
    assert max(borne) < 1.02 < max(always)
    assert sum(borne) / TASKS < 0.89


def test_without_steps_everything_may_be_shortened() -> None:
    before = SentPrefix(tokens=5_000, calls=3, least_cached_tokens=LEAST, billed=[4_000, 5_000])
    cache = SteppedCache()
    cache.settle(before)
    assert cache.bears(3, of=9, sent=before)


def test_a_little_is_not_shortened_where_the_next_call_would_read_a_step_less() -> None:
    before = SentPrefix(
        tokens=1_408, calls=2, least_cached_tokens=LEAST, step_tokens=STEP, billed=[1_300, 1_400]
    )
    cache = SteppedCache()
    cache.settle(before)
    assert not cache.bears(40, of=140, sent=before)
    assert cache.bears(128, of=140, sent=before)


def test_another_model_begins_a_new_account() -> None:
    billed = [1_300]
    cache = SteppedCache()
    first = SentPrefix(tokens=1_300, calls=1, step_tokens=STEP, billed=billed)
    cache.settle(first)
    cache.shortened(300)
    billed += [1_500, 1_600]
    cache.settle(first)
    assert 0 < cache.saved < 300
    cache.settle(SentPrefix(tokens=1_600, calls=4, step_tokens=STEP, billed=[1_700]))
    assert cache.saved == 300
