"""Prompt caching by the providers' rules."""

from __future__ import annotations

import httpx
import pytest

from tests.wire import ScriptedProvider, WireUsage, answer

Body = dict[str, object]
MARK: Body = {"type": "ephemeral"}
MARK_1H: Body = {"type": "ephemeral", "ttl": "1h"}
LONG = "word " * 1_200  # 1501 tokens as counted, 1802 as billed
TOOL: Body = {"name": "look", "input_schema": {"type": "object"}}


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def text(content: str, mark: Body | None = None) -> Body:
    """A text block, perhaps with a breakpoint."""
    block: Body = {"type": "text", "text": content}
    return block if mark is None else {**block, "cache_control": mark}


def claude(provider: ScriptedProvider, **fields: object) -> WireUsage:
    """The usage of one message request, checked against what the response says."""
    defaults: Body = {"model": "claude-sonnet-4-5", "max_tokens": 50}
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    url = f"{provider.openai_url}/messages"
    told = httpx.post(url, json={**defaults, **fields}, headers=headers).json()["usage"]
    usage = provider.bill.records[-1].usage
    written = told["cache_creation"]
    assert told["input_tokens"] == usage.plain_input_tokens
    assert told["cache_read_input_tokens"] == usage.cache_read_tokens
    assert written["ephemeral_5m_input_tokens"] == usage.cache_write_5m_tokens
    assert written["ephemeral_1h_input_tokens"] == usage.cache_write_1h_tokens
    return usage


def gpt(provider: ScriptedProvider, *contents: str) -> WireUsage:
    """The usage of one chat completion."""
    messages = [{"role": "user", "content": content} for content in contents]
    body = {"model": "gpt-5.1", "messages": messages}
    headers = {"authorization": "Bearer k"}
    told = httpx.post(f"{provider.openai_url}/chat/completions", json=body, headers=headers).json()
    usage = provider.bill.records[-1].usage
    cached = told["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached == usage.cache_read_tokens
    return usage


def user(*blocks: Body) -> list[Body]:
    """One user message."""
    return [{"role": "user", "content": list(blocks)}]


def test_openai_reads_the_common_prefix_in_steps_of_128() -> None:
    with ScriptedProvider(answer("ok")) as provider:
        first, second = gpt(provider, LONG, "one"), gpt(provider, LONG, "two")
        assert first.cache_read_tokens == 0
        assert second.cache_read_tokens % 128 == 0
        assert second.input_tokens - 256 < second.cache_read_tokens < second.input_tokens


def test_openai_caches_nothing_below_1024_tokens() -> None:
    with ScriptedProvider(answer("ok"), token_factor=1) as provider:
        gpt(provider, "word " * 780)
        assert gpt(provider, "word " * 780).cache_read_tokens == 0


def test_openai_reads_only_up_to_the_first_change() -> None:
    with ScriptedProvider(answer("ok")) as provider:
        gpt(provider, LONG, "middle", LONG)
        changed = gpt(provider, LONG, "MIDDLE", LONG)
        assert 1_024 <= changed.cache_read_tokens <= 1_810
        assert gpt(provider, "x" + LONG, LONG).cache_read_tokens == 0


def test_openai_forgets_after_five_idle_minutes(clock: Clock) -> None:
    with ScriptedProvider(answer("ok"), clock=clock) as provider:
        gpt(provider, LONG)
        clock.seconds += 299
        assert gpt(provider, LONG).cache_read_tokens > 0
        clock.seconds += 301
        assert gpt(provider, LONG).cache_read_tokens == 0


def test_anthropic_writes_at_a_breakpoint_and_reads_it() -> None:
    with ScriptedProvider(answer("ok")) as provider:
        first = claude(provider, messages=user(text(LONG, MARK), text("one")))
        second = claude(provider, messages=user(text(LONG, MARK), text("two")))
        assert first.cache_write_5m_tokens > 1_024
        assert first.cache_read_tokens == 0
        assert second.cache_read_tokens == first.cache_write_5m_tokens
        assert second.cache_write_5m_tokens == 0


def test_anthropic_caches_nothing_without_a_breakpoint() -> None:
    with ScriptedProvider(answer("ok")) as provider:
        claude(provider, messages=user(text(LONG)))
        usage = claude(provider, messages=user(text(LONG)))
        assert usage.plain_input_tokens == usage.input_tokens


def test_anthropic_ignores_a_prefix_below_the_models_minimum() -> None:
    with ScriptedProvider(answer("ok")) as provider:
        for _ in range(2):
            usage = claude(provider, model="claude-haiku-4-5", messages=user(text(LONG, MARK)))
            assert usage.plain_input_tokens == usage.input_tokens


def test_anthropic_writes_only_what_was_added() -> None:
    with ScriptedProvider(answer("ok")) as provider:
        first = claude(provider, messages=user(text(LONG, MARK)))
        grown = claude(provider, messages=user(text(LONG), text("more " * 50, MARK)))
        assert grown.cache_read_tokens == first.cache_write_5m_tokens
        assert 0 < grown.cache_write_5m_tokens < 100


@pytest.mark.parametrize(("added", "found"), [(19, True), (20, False)])
def test_anthropic_looks_back_20_positions(added: int, found: bool) -> None:
    with ScriptedProvider(answer("ok")) as provider:
        claude(provider, messages=user(text(LONG, MARK)))
        more = [text(f"block {at}") for at in range(added - 1)]
        usage = claude(provider, messages=user(text(LONG), *more, text("end", MARK)))
        assert (usage.cache_read_tokens > 0) is found


def test_anthropic_read_refreshes_five_minutes(clock: Clock) -> None:
    with ScriptedProvider(answer("ok"), clock=clock) as provider:
        reads: list[bool] = []
        for wait in (0, 299, 299, 301):
            clock.seconds += wait
            usage = claude(provider, messages=user(text(LONG, MARK)))
            reads.append(usage.cache_read_tokens > 0)
        assert reads == [False, True, True, False]


def test_anthropic_hour_comes_first_and_lasts(clock: Clock) -> None:
    with ScriptedProvider(answer("ok"), clock=clock) as provider:
        fields: Body = {"system": [text(LONG, MARK_1H)], "messages": user(text(LONG, MARK))}
        first = claude(provider, **fields)
        assert min(first.cache_write_1h_tokens, first.cache_write_5m_tokens) > 1_024
        clock.seconds += 3_599
        second = claude(provider, **fields)
        assert second.cache_read_tokens == first.cache_write_1h_tokens
        assert second.cache_write_5m_tokens == first.cache_write_5m_tokens


def test_anthropic_changed_tool_breaks_all_and_tool_choice_only_messages() -> None:
    with ScriptedProvider(answer("ok"), token_factor=1) as provider:
        fields: Body = {"system": [text(LONG, MARK)], "messages": user(text(LONG, MARK))}
        first = claude(provider, tools=[TOOL], **fields)
        none = claude(provider, tools=[TOOL], tool_choice={"type": "none"}, **fields)
        assert 0 < none.cache_read_tokens < first.cache_write_5m_tokens
        assert none.cache_write_5m_tokens > 0
        other = claude(provider, tools=[{**TOOL, "description": "Look."}], **fields)
        assert other.cache_read_tokens == 0


def test_anthropic_cached_classes_have_their_own_prices() -> None:
    with ScriptedProvider(answer("ok")) as provider:
        for _ in range(2):
            claude(provider, messages=user(text(LONG, MARK)))
        written, read = provider.bill.records
        usage = written.usage
        assert written.cost_nusd == (
            3_000 * usage.plain_input_tokens
            + 3_750 * usage.cache_write_5m_tokens
            + 15_000 * usage.output_tokens
        )
        usage = read.usage
        assert read.cost_nusd == (
            3_000 * usage.plain_input_tokens
            + 300 * usage.cache_read_tokens
            + 15_000 * usage.output_tokens
        )
