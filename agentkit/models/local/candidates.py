"""Other answers, tried where greedy generation was unsure: the likeliest whole answer wins.

Greedy generation takes the likelier token at each place and may end in an unlikely answer. Where a
choice was close, the answer is written again from there with the runner-up, and given up as soon as
it is less likely than the best one so far. A sure answer leaves nothing to try and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from agentkit.models.local.engine import LlamaEngine
from agentkit.models.local.generation import Generated, Request, generate
from agentkit.models.local.sampling import Choice

_UNSURE_BELOW = -0.05


def likeliest(
    engine: LlamaEngine, request: Request, *, tries: int, cancelled: Callable[[], bool]
) -> Generated:
    """The best of the greedy answer and up to `tries` others, by the model's own probability.

    For requests whose constraint holds from the first token and that are sampled greedily.
    """
    request = replace(request, runner_up_below=_UNSURE_BELOW)
    best = _whole(engine, request, cancelled)
    reused = best.reused_tokens
    for begun in _branches(best.choices, tries):
        if sum(choice.logprob for choice in begun) <= best.logprob:
            continue
        other = _whole(engine, replace(request, begun=begun, give_up_below=best.logprob), cancelled)
        if other.finish_reason == "stop" and other.logprob > best.logprob:
            best = other
    best.reused_tokens = reused
    return best


def _whole(engine: LlamaEngine, request: Request, cancelled: Callable[[], bool]) -> Generated:
    *_, result = generate(engine, request, cancelled=cancelled)
    if isinstance(result, str):
        raise TypeError("a generation ends with its result")
    return result


def _branches(choices: list[Choice], count: int) -> list[tuple[Choice, ...]]:
    """Beginnings that take a runner-up instead, the closest call first."""
    close = sorted(
        (choice.logprob - choice.runner_up[1], index)
        for index, choice in enumerate(choices)
        if choice.runner_up is not None
    )
    return [_turned(choices, index) for _, index in close[:count]]


def _turned(choices: list[Choice], index: int) -> tuple[Choice, ...]:
    before, choice = choices[:index], choices[index]
    if choice.runner_up is None:
        raise ValueError("nothing to turn to")
    token, logprob = choice.runner_up
    return (*before, Choice(token=token, logprob=logprob, margin=logprob - choice.logprob))
