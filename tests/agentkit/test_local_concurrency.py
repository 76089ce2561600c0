"""Many tasks on one model at once: each gets its own answer and keeps its own prefix."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from agentkit.models.local import (
    GenerationFailed,
    LocalChatModel,
    ModelSettingsInvalid,
    local_model,
)
from agentkit.models.local.engine import Cancelled
from agentkit.models.local.loaded import close_engines
from tests.gguf_factory import random_model

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CITIES = ["Paris", "Rome", "Oslo", "Boston", "Tokyo", "Lima", "Cairo", "Delhi"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("many") / "random.gguf")


def test_threads_get_each_their_own_answer() -> None:
    model = local_model("pocket", sequences=3).bind_tools([TOOL])

    def ask(city: str) -> str:
        message = model.invoke(f"what is the weather in {city}", conversation=city)
        return str(message.tool_calls[0]["args"]["city"])

    asked = CITIES * 5
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, asked)) == asked


async def test_tasks_of_an_event_loop_get_each_their_own_answer() -> None:
    model = local_model("pocket", sequences=3).bind_tools([TOOL])
    asked = CITIES * 5
    answers = await asyncio.gather(
        *(model.ainvoke(f"what is the weather in {city}", conversation=city) for city in asked)
    )
    assert [answer.tool_calls[0]["args"]["city"] for answer in answers] == asked


def test_interleaved_conversations_each_keep_their_prefix(path: Path) -> None:
    model = LocalChatModel(model_path=str(path), max_tokens=4)
    prompts = {who: [HumanMessage(f"{who} " * 60)] for who in ("left", "right")}
    for who, messages in prompts.items():
        model.invoke(messages, conversation=who)
    for _ in range(3):
        for who, messages in prompts.items():
            before = model.count_tokens(messages)
            messages.append(HumanMessage("more"))
            usage = model.invoke(messages, conversation=who).usage_metadata
            assert usage is not None
            read = usage["input_token_details"]["cache_read"]
            assert read > before - 25  # all but the opening of the answer
            assert usage["input_tokens"] - read < 50


def test_conversations_that_begin_alike_share_the_beginning(path: Path) -> None:
    model = LocalChatModel(model_path=str(path), max_tokens=2, sequences=5)
    common = "the same long instructions " * 20
    model.invoke([HumanMessage(common), HumanMessage("one")], conversation="one")
    usage = model.invoke(
        [HumanMessage(common), HumanMessage("two")], conversation="two"
    ).usage_metadata
    assert usage is not None
    assert usage["input_token_details"]["cache_read"] > len(common)


def test_more_conversations_than_fit_still_all_answer(path: Path) -> None:
    model = LocalChatModel(
        model_path=str(path), n_ctx=512, kv_tokens=768, sequences=2, max_tokens=8
    )
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda n: model.invoke(f"{n} " * 100, conversation=f"c{n}"),
                [n % 6 for n in range(24)],
            )
        )
    by_number = {n: {a.text for a in answers[n::6]} for n in range(6)}
    assert all(len(texts) <= 2 for texts in by_number.values())
    assert len(model.engine.resident()) <= 2


def test_a_waiting_caller_can_give_up(path: Path) -> None:
    model = LocalChatModel(model_path=str(path), sequences=1)
    engine = model.engine
    given_up = threading.Event()
    with engine.lease([1, 2], reserve_tokens=4, conversation="a", cancelled=lambda: False):
        threading.Timer(0.05, given_up.set).start()
        with (
            pytest.raises(Cancelled),
            engine.lease([3], reserve_tokens=4, conversation="b", cancelled=given_up.is_set),
        ):
            pass


def test_a_request_that_never_fits_is_refused_at_once(path: Path) -> None:
    engine = LocalChatModel(model_path=str(path), sequences=1).engine
    with (
        pytest.raises(ModelSettingsInvalid, match="raise kv_tokens"),
        engine.lease([1], reserve_tokens=10**6, conversation=None, cancelled=lambda: False),
    ):
        pass


def test_equal_settings_share_one_engine_and_others_do_not(path: Path) -> None:
    first = LocalChatModel(model_path=str(path))
    assert LocalChatModel(model_path=str(path), temperature=1).engine is first.engine
    assert LocalChatModel(model_path=str(path), sequences=2).engine is not first.engine


def test_a_replaced_file_is_loaded_anew(tmp_path: Path, path: Path) -> None:
    place = tmp_path / "model.gguf"
    place.write_bytes(path.read_bytes())
    before = LocalChatModel(model_path=str(place)).engine
    replacement = tmp_path / "other.gguf"
    random_model(replacement, context=1024)
    replacement.replace(place)
    assert LocalChatModel(model_path=str(place)).engine is not before


def test_a_closed_model_fails_in_words_and_loads_again(path: Path) -> None:
    model = LocalChatModel(model_path=str(path), max_tokens=200, sequences=4)
    stream = model.stream("hi")
    next(stream)
    close_engines()
    with pytest.raises(GenerationFailed, match="was closed"):
        list(stream)
    assert model.invoke("hi", max_tokens=1).usage_metadata is not None
