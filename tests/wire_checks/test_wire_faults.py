"""Each fault shows the real clients what it shows in life, and is billed as in life."""

from __future__ import annotations

import time
from collections.abc import Callable

import anthropic
import openai
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage

from tests.wire import (
    EVERY_KIND,
    UNBILLED_KINDS,
    Fault,
    FaultKind,
    Faults,
    Reply,
    ScriptedProvider,
    answer,
)
from tests.wire.client import anthropic_client, openai_client

Client = Callable[..., BaseChatModel]
TEXT = "A sentence that is long enough to be sent in several pieces, one after another."
STATUS_ERRORS = (openai.APIStatusError, anthropic.APIStatusError)


def spoilt(*kinds: FaultKind | Fault | None) -> ScriptedProvider:
    """A provider whose first requests meet these faults."""
    return ScriptedProvider(answer(TEXT, reasoning_tokens=5), faults=Faults(sequence=kinds))


@pytest.mark.parametrize(
    ("kind", "openai_status", "anthropic_status"),
    [("rate_limited", 429, 429), ("server_error", 500, 500), ("overloaded", 503, 529)],
)
def test_error_status_is_not_billed(
    client: Client, kind: FaultKind, openai_status: int, anthropic_status: int
) -> None:
    with spoilt(kind) as provider:
        with pytest.raises(STATUS_ERRORS) as caught:
            client(provider).invoke("Hi")
        expected = openai_status if client is openai_client else anthropic_status
        assert caught.value.status_code == expected
        assert provider.bill.records == ()
        assert client(provider).invoke("Hi").text == TEXT
        assert len(provider.bill.records) == 1


def test_rate_limit_says_when_to_come_back(client: Client) -> None:
    with spoilt(Fault(kind="rate_limited", retry_after_seconds=7)) as provider:
        with pytest.raises(STATUS_ERRORS) as caught:
            client(provider).invoke("Hi")
        assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", ["reset_unread", "reset_billed", "cut_stream", "wrong_length"])
def test_broken_connection(client: Client, kind: FaultKind, streamed: bool) -> None:
    with spoilt(kind) as provider:
        model = client(provider)
        with pytest.raises(Exception, match=r"(?i)connect|closed|reset|incomplete|peer"):
            _ = list(model.stream("Hi")) if streamed else model.invoke("Hi")
        assert provider.wait_idle()
        assert [record.fault for record in provider.bill.records] == (
            [] if kind in UNBILLED_KINDS else [kind]
        )
        assert not any(record.delivered_usage for record in provider.bill.records)


def test_cut_stream_is_billed_up_to_what_was_sent(client: Client) -> None:
    with spoilt(None, "cut_stream") as provider:
        model, received = client(provider), list[str]()
        assert list(model.stream("Hi"))
        with pytest.raises(Exception, match=r"(?i)connect|closed|reset|incomplete|peer"):
            received.extend(chunk.text for chunk in model.stream("Hi"))
        whole, cut = (record.usage for record in provider.bill.records)
        assert TEXT.startswith("".join(received))
        assert 0 < len("".join(received)) < len(TEXT)
        assert cut.input_tokens == whole.input_tokens
        assert 0 < cut.output_tokens < whole.output_tokens


@pytest.mark.parametrize("streamed", [False, True])
def test_invalid_json_is_billed_but_cannot_be_read(client: Client, streamed: bool) -> None:
    with spoilt("invalid_json") as provider:
        model = client(provider)
        with pytest.raises(Exception, match=r"(?i)json|expecting|unterminated|parse"):
            _ = list(model.stream("Hi")) if streamed else model.invoke("Hi")
        assert [record.delivered_usage for record in provider.bill.records] == [False]


def test_answer_without_usage_is_billed() -> None:
    with spoilt("no_usage", "no_usage") as provider:
        message = openai_client(provider).invoke("Hi")
        assert isinstance(message, AIMessage)
        assert message.text == TEXT
        assert message.usage_metadata is None
        told = [getattr(c, "usage_metadata", None) for c in openai_client(provider).stream("Hi")]
        assert not any(told)
        assert [record.delivered_usage for record in provider.bill.records] == [False, False]


def test_slow_answer_is_an_answer(client: Client) -> None:
    with spoilt(Fault(kind="slow", delay_seconds=0.15)) as provider:
        before = time.monotonic()
        assert client(provider).invoke("Hi").text == TEXT
        assert time.monotonic() - before >= 0.15
        assert provider.bill.records[0].delivered_usage


def test_hang_ends_by_the_clients_timeout_and_is_billed(client: Client) -> None:
    with spoilt("hang") as provider:
        with pytest.raises(Exception, match=r"(?i)timed? ?out"):
            client(provider, timeout=0.2).invoke("Hi")
        assert provider.wait_idle()
        assert provider.bill.records[0].fault == "hang"


def test_stop_ends_hanging_requests() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        with spoilt("hang") as provider:
            asked = pool.submit(openai_client(provider).invoke, "Hi")
            while not provider.bill.records:
                time.sleep(0.01)
        with pytest.raises(Exception, match=r"(?i)connection"):
            asked.result(timeout=3)


def test_a_client_that_leaves_is_billed_without_usage(client: Client) -> None:
    script = answer(TEXT * 100_000)  # 8 MB: more than the buffers between server and client hold
    with ScriptedProvider(script, count=lambda text: len(text) // 1_000 + 1) as provider:
        chunks = client(provider, max_tokens=60_000).stream("Hi")
        next(iter(chunks))
        chunks.close()  # type: ignore[attr-defined]  # a stream is a generator
        assert provider.wait_idle()
        assert not provider.bill.records[0].delivered_usage
        assert provider.bill.records[0].usage.output_tokens > 9_000


def test_script_can_ask_for_a_fault(client: Client) -> None:
    with ScriptedProvider(lambda _: Reply(fault=Fault(kind="server_error"))) as provider:
        with pytest.raises(STATUS_ERRORS):
            client(provider).invoke("Hi")
        assert provider.faults.counts == {"server_error": 1}


def test_same_seed_same_faults_for_a_task_whatever_its_neighbours_do() -> None:
    alone, among = Faults(rate=0.5, seed=3), Faults(rate=0.5, seed=3)
    first = [alone.draw("a") for _ in range(30)]
    second: list[Fault | None] = []
    for _ in range(30):
        among.draw("b")
        second.append(among.draw("a"))
    assert first == second
    assert None in first
    assert any(first)


def test_rate_and_counts_agree() -> None:
    faults = Faults(rate=0.25, kinds=EVERY_KIND, seed=1)
    given = [fault for fault in (faults.draw(str(at)) for at in range(2_000)) if fault]
    assert 400 < len(given) < 600
    assert faults.counts.total() == len(given)
    assert set(faults.counts) == EVERY_KIND


def test_most_bounds_the_faults() -> None:
    faults = Faults(rate=1.0, most=3)
    assert [faults.draw("a") is not None for _ in range(5)] == [True, True, True, False, False]


def test_anthropic_answer_without_usage_reads_as_zero_tokens() -> None:
    """The client library turns missing usage into zeros: they must not be taken for a price."""
    with spoilt("no_usage") as provider:
        message = anthropic_client(provider).invoke("Hi")
        assert message.text == TEXT
        assert message.usage_metadata is not None
        assert message.usage_metadata["total_tokens"] == 0
        assert not provider.bill.records[0].delivered_usage
