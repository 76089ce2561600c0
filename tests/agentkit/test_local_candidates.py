"""Where greedy generation was unsure, other answers are tried and the likeliest one is given."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentkit.models.local import LocalChatModel
from agentkit.models.local.candidates import likeliest
from agentkit.models.local.engine import Cancelled, LlamaEngine
from agentkit.models.local.generation import Constraint, Generated, Request, generate
from agentkit.models.local.grammar import literal
from tests.gguf_factory import random_model

GRAMMAR = Constraint(grammar="root ::= [!-~] [!-~]")
PROMPTS = [f"prompt number {number}" for number in range(24)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> LlamaEngine:
    path = random_model(tmp_path_factory.mktemp("candidates") / "random.gguf")
    return LocalChatModel(model_path=str(path), kv_tokens=2048).engine


def request(engine: LlamaEngine, prompt: str) -> Request:
    return Request(
        prompt=tuple(engine.tokenize(prompt, special=False)), max_tokens=8, constraint=GRAMMAR
    )


def whole(engine: LlamaEngine, asked: Request) -> Generated:
    *_, result = generate(engine, asked, cancelled=lambda: False)
    assert isinstance(result, Generated)
    return result


def logprob_of(engine: LlamaEngine, asked: Request, answer: str) -> float:
    """By a grammar that permits nothing else."""
    only = Constraint(grammar=f"root ::= {literal(answer)}")
    return whole(engine, replace(asked, constraint=only)).logprob


def test_it_finds_answers_likelier_than_the_greedy_one(engine: LlamaEngine) -> None:
    gained = 0
    for prompt in PROMPTS:
        asked = request(engine, prompt)
        greedy = whole(engine, asked)
        best = likeliest(engine, asked, tries=2, cancelled=lambda: False)
        assert best.logprob == pytest.approx(
            logprob_of(engine, asked, best.constrained_text), abs=0.02
        )
        assert best.logprob >= greedy.logprob - 0.02
        assert best.finish_reason == "stop"
        gained += best.logprob > greedy.logprob + 0.02
    assert gained > 0


def test_without_tries_it_is_the_greedy_answer(engine: LlamaEngine) -> None:
    for prompt in PROMPTS[:6]:
        asked = request(engine, prompt)
        best = likeliest(engine, asked, tries=0, cancelled=lambda: False)
        assert best.constrained_text == whole(engine, asked).constrained_text


def test_an_answer_less_likely_than_asked_is_given_up(engine: LlamaEngine) -> None:
    given_up = whole(engine, replace(request(engine, PROMPTS[0]), give_up_below=-0.001))
    assert given_up.finish_reason == "length"
    assert len(given_up.choices) == 1


def test_it_ends_when_the_caller_gives_up(engine: LlamaEngine) -> None:
    with pytest.raises(Cancelled):
        likeliest(engine, request(engine, PROMPTS[0]), tries=2, cancelled=lambda: True)
