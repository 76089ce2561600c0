"""What the real clients read equals what the scripted provider billed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_core.runnables import Runnable
from langchain_core.tools import tool

from agentkit.models.loop_clients import with_loop_clients
from tests.wire import (
    BilledRequest,
    Reply,
    ScriptedProvider,
    WireRequest,
    always_tool,
    answer,
    echo,
    steps,
)
from tests.wire.client import anthropic_client, openai_client

Client = Callable[..., BaseChatModel]
ROOT = Path(__file__).parents[2]
TEXT = "It is sunny in Oslo, and it will be warm until the evening."


@tool
def look(city: str) -> str:
    """Tell the weather in a city."""
    return f"sun in {city}"


def counts(message: object) -> tuple[int, int, int, int]:
    """Input, output, cache read and reasoning tokens as the client read them."""
    assert isinstance(message, AIMessage)
    usage = message.usage_metadata
    assert usage is not None
    read = usage.get("input_token_details", {}).get("cache_read") or 0
    reasoning = usage.get("output_token_details", {}).get("reasoning") or 0
    return usage["input_tokens"], usage["output_tokens"], read, reasoning


def billed(record: BilledRequest) -> tuple[int, int, int, int]:
    """The same counts as billed."""
    usage = record.usage
    parts = (usage.input_tokens, usage.output_tokens)
    return (*parts, usage.cache_read_tokens, usage.reasoning_tokens)


def gather(
    model: Runnable[LanguageModelInput, AIMessage], messages: list[BaseMessage]
) -> AIMessage:
    """The whole of a streamed answer."""
    whole: AIMessageChunk | None = None
    for chunk in model.stream(messages):
        assert isinstance(chunk, AIMessageChunk)
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    return whole


def test_answer_is_billed_as_read(any_client: Client) -> None:
    with ScriptedProvider(answer(TEXT)) as provider:
        message = any_client(provider).invoke("How is the weather?")
        assert message.text == TEXT
        assert counts(message) == billed(provider.bill.records[0])
        assert provider.bill.records[0].delivered_usage


def test_streamed_answer_is_billed_as_read(any_client: Client) -> None:
    with ScriptedProvider(answer(TEXT)) as provider:
        message = gather(any_client(provider), [HumanMessage("How is the weather?")])
        assert message.text == TEXT
        assert counts(message) == billed(provider.bill.records[0])
        assert provider.bill.records[0].delivered_usage


async def test_async_answer_is_billed_as_read(any_client: Client) -> None:
    with ScriptedProvider(answer(TEXT)) as provider:
        client = with_loop_clients(any_client(provider))
        message = await client.ainvoke("How is the weather?")
        assert counts(message) == billed(provider.bill.records[0])


async def test_async_stream_is_billed_as_read(any_client: Client) -> None:
    with ScriptedProvider(answer(TEXT)) as provider:
        client = with_loop_clients(any_client(provider))
        chunks = [chunk async for chunk in client.astream("How is the weather?")]
        told = [counts(chunk) for chunk in chunks if counts_known(chunk)]
        assert tuple(map(sum, zip(*told, strict=True))) == billed(provider.bill.records[0])


def counts_known(chunk: object) -> bool:
    """Whether a chunk carries usage."""
    return isinstance(chunk, AIMessage) and chunk.usage_metadata is not None


@pytest.mark.parametrize("streamed", [False, True])
def test_tool_call_and_its_result_make_a_conversation(any_client: Client, streamed: bool) -> None:
    script = steps([Reply(tool_calls=[("look", {"city": "Oslo"})]), Reply(text=TEXT)])
    with ScriptedProvider(script) as provider:
        model = any_client(provider).bind_tools([look])
        question = HumanMessage("How is the weather?")
        first = gather(model, [question]) if streamed else model.invoke([question])
        assert isinstance(first, AIMessage)
        assert [(call["name"], call["args"]) for call in first.tool_calls] == [
            ("look", {"city": "Oslo"})
        ]
        result = ToolMessage("sun", tool_call_id=first.tool_calls[0]["id"])
        last = model.invoke([question, first, result])
        assert last.text == TEXT
        assert [counts(first), counts(last)] == [billed(each) for each in provider.bill.records]


def test_several_calls_in_one_step(any_client: Client) -> None:
    reply = Reply(tool_calls=[("look", {"city": "Oslo"}), ("look", {"city": "Bergen"})])
    with ScriptedProvider(lambda _: reply) as provider:
        message = any_client(provider).bind_tools([look]).invoke("Weather?")
        assert [call["args"]["city"] for call in message.tool_calls] == ["Oslo", "Bergen"]
        assert len({call["id"] for call in message.tool_calls}) == 2


@pytest.mark.parametrize("streamed", [False, True])
def test_output_ends_at_max_tokens(client: Client, streamed: bool) -> None:
    with ScriptedProvider(answer(TEXT * 10)) as provider:
        model = client(provider, max_tokens=20)
        message = gather(model, [HumanMessage("Hi")]) if streamed else model.invoke("Hi")
        assert 0 < len(message.text) < 100
        assert (TEXT * 10).startswith(message.text)
        assert counts(message)[1] == 20 == provider.bill.records[0].usage.output_tokens
        metadata = message.response_metadata
        assert "length" in metadata.values() or "max_tokens" in metadata.values()


def test_reasoning_counts_within_max_tokens() -> None:
    with ScriptedProvider(answer(TEXT, reasoning_tokens=30)) as provider:
        message = openai_client(provider, max_tokens=30).invoke("Hi")
        assert message.text == ""
        assert counts(message) == (counts(message)[0], 30, 0, 30)


def test_cut_call_has_truncated_arguments(client: Client) -> None:
    script = always_tool("look", {"city": "Oslo and all the towns around it, one by one" * 9})
    with ScriptedProvider(script) as provider:
        model = client(provider, max_tokens=40).bind_tools([look])
        message = gather(model, [HumanMessage("Weather?")])
        assert counts(message)[1] == 40
        assert provider.bill.records[0].usage.output_tokens == 40
        assert all("one by one" * 9 not in str(call) for call in message.tool_calls)


def test_broken_arguments_reach_the_client_as_sent() -> None:
    reply = Reply(tool_calls=[("look", {})], raw_arguments='{"city": "Os')
    with ScriptedProvider(lambda _: reply) as provider:
        message = openai_client(provider).bind_tools([look]).invoke("Weather?")
        assert message.invalid_tool_calls[0]["args"] == '{"city": "Os'


def test_empty_answer_has_no_text(client: Client) -> None:
    with ScriptedProvider(lambda _: Reply(empty=True)) as provider:
        assert client(provider).invoke("Hi").text == ""


def test_runaway_answers_where_no_tool_is_offered(client: Client) -> None:
    with ScriptedProvider(always_tool("look", otherwise="done")) as provider:
        assert client(provider).invoke("Hi").text == "done"


def test_no_usage_in_an_openai_stream_unless_asked() -> None:
    with ScriptedProvider(answer(TEXT)) as provider:
        model = openai_client(provider, stream_usage=False)
        assert gather(model, [HumanMessage("Hi")]).usage_metadata is None
        assert not provider.bill.records[0].delivered_usage


def test_prices_are_the_list_prices() -> None:
    with ScriptedProvider(answer(TEXT), token_factor=1) as provider:
        for model in (openai_client(provider), anthropic_client(provider)):
            model.invoke("Hi")
        mini, haiku = provider.bill.records
        assert mini.cost_nusd == 250 * mini.usage.input_tokens + 2_000 * mini.usage.output_tokens
        assert haiku.cost_nusd == 1_000 * haiku.usage.input_tokens + 5_000 * (
            haiku.usage.output_tokens
        )


def test_tasks_are_billed_apart_under_load(client: Client) -> None:
    with ScriptedProvider(echo) as provider:

        def run(number: int) -> int:
            model = client(provider, default_headers={"x-task": f"task-{number % 5}"})
            return sum(counts(model.invoke("Hello " * (number + 1)))[:2])

        with ThreadPoolExecutor(16) as pool:
            read = sum(pool.map(run, range(40)))
        tasks = provider.bill.by_task()
        assert {task: total.requests for task, total in tasks.items()} == {
            f"task-{number}": 8 for number in range(5)
        }
        assert provider.bill.total().usage.total_tokens == read
        assert provider.bill.cost_nusd == sum(total.cost_nusd for total in tasks.values())


def test_attempt_and_step_tell_repeats_from_progress() -> None:
    seen: list[tuple[int, int]] = []

    def script(request: WireRequest) -> Reply:
        seen.append((request.attempt, request.step))
        return Reply(text="ok")

    with ScriptedProvider(script) as provider:
        for text in ("a", "a", "b"):
            openai_client(provider).invoke(text)
    assert seen == [(1, 0), (2, 0), (1, 1)]


def test_a_defect_of_the_script_is_raised_at_the_end(client: Client) -> None:
    def broken(request: WireRequest) -> Reply:
        raise LookupError(request.model)

    with (
        pytest.raises(LookupError, match=r"gpt|claude"),
        ScriptedProvider(broken) as provider,
        pytest.raises(Exception, match="script failed"),
    ):
        client(provider).invoke("Hi")


def test_process_form_serves_and_shows_its_bill() -> None:
    command = [sys.executable, "-m", "tests.wire", "--openai", "--script", "answer:yes", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            urls = json.loads(process.stdout.readline())
            headers = {"authorization": "Bearer secret-key"}
            body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hi"}]}
            url = f"{urls['openai_url']}/chat/completions"
            sent = httpx.post(url, json=body, headers=headers).json()
            bill = httpx.get(urls["bill_url"]).json()
            requests = httpx.get(f"{urls['anthropic_url']}/__requests").text
        finally:
            process.terminate()
    assert bill["total"]["usage"]["input_tokens"] == sent["usage"]["prompt_tokens"]
    assert "secret-key" not in requests
