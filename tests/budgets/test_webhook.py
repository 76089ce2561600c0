"""Budget events reach a real HTTP server: signed, tried again, and never in the way of a call."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agentkit.budgets import Amount, Budget, InvalidLimit, Ledger, Webhook

SECRET = "whsec_" + base64.b64encode(b"a secret of this test").decode()


class Receiver(ThreadingHTTPServer):
    """Keeps what it gets, and answers with `statuses` in turn, then with 204."""

    daemon_threads = True

    def __init__(self, statuses: list[int], delay_seconds: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses = statuses
        self.delay_seconds = delay_seconds

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/budget"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
        time.sleep(self.server.delay_seconds)
        status = self.server.statuses.pop(0) if self.server.statuses else 204
        self.send_response(status)
        if status == 302:
            self.send_header("location", "/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def receiver() -> Iterator[Callable[..., Receiver]]:
    servers: list[Receiver] = []

    def start(*statuses: int, delay_seconds: float = 0.0) -> Receiver:
        server = Receiver(list(statuses), delay_seconds)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _ledger(server: Receiver, **options: Any) -> Ledger:
    webhook = Webhook(server.url, secret=SECRET, first_wait_seconds=0.01, **options)
    return Ledger(webhook=webhook)


def _spend(ledger: Ledger) -> None:
    """Half of a limit, and a little more: one threshold."""
    task = ledger.open_task(
        scope="acme", task_id="t", budget=Budget(usd="0.0000001", thresholds=[0.5])
    )
    ledger.reserve("r", Amount(nusd=60), ["acme", task.path], lease_seconds=60)
    ledger.settle("r", Amount(nusd=60))


def _signed(headers: dict[str, str], body: bytes) -> str:
    """The signature by the specification, worked out anew."""
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def test_event_arrives_signed_and_holds_names_and_numbers_only(
    receiver: Callable[..., Receiver],
) -> None:
    server = receiver()
    ledger = _ledger(server)
    _spend(ledger)
    ledger.close()
    ((headers, body),) = server.got
    assert headers["webhook-signature"] == _signed(headers, body)
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    event = json.loads(body)
    assert event["type"] == "budget.threshold"
    assert event["data"] == {
        "kind": "threshold",
        "task_id": "t",
        "scope": "acme/~t",
        "dimension": "nusd",
        "limit": 100,
        "settled": 60,
        "held": 0,
        "asked": 0,
        "fraction": 0.5,
    }
    assert SECRET not in body.decode() + str(headers)


def test_refused_for_now_is_tried_again_under_the_same_id(
    receiver: Callable[..., Receiver],
) -> None:
    server = receiver(500, 429, 503)
    ledger = _ledger(server)
    _spend(ledger)
    ledger.close()
    assert len(server.got) == 4
    assert len({headers["webhook-id"] for headers, _ in server.got}) == 1
    assert all(h["webhook-signature"] == _signed(h, body) for h, body in server.got)


@pytest.mark.parametrize("status", [302, 400, 410])
def test_refused_for_good_is_told_once(
    status: int, receiver: Callable[..., Receiver], caplog: pytest.LogCaptureFixture
) -> None:
    server = receiver(status)
    ledger = _ledger(server)
    _spend(ledger)
    ledger.close()
    assert len(server.got) == 1
    assert f"the receiver answered {status}" in caplog.text


def test_receiver_that_never_takes_it_is_given_up(
    receiver: Callable[..., Receiver], caplog: pytest.LogCaptureFixture
) -> None:
    server = receiver(*[500] * 20)
    ledger = _ledger(server)
    _spend(ledger)
    ledger.close()
    assert len(server.got) == 6
    assert "no answer in 6 attempts" in caplog.text
    assert SECRET not in caplog.text


def test_slow_or_dead_receiver_stops_no_settlement(
    receiver: Callable[..., Receiver], caplog: pytest.LogCaptureFixture
) -> None:
    server = receiver(delay_seconds=2.0)
    ledger = _ledger(server)
    began = time.monotonic()
    _spend(ledger)
    assert time.monotonic() - began < 1.5
    assert ledger.account("acme").settled.nusd == 60
    dead = Ledger(webhook=Webhook("http://127.0.0.1:9/", secret="x", first_wait_seconds=0.001))
    _spend(dead)
    assert dead.account("acme").settled.nusd == 60
    dead.close()
    assert "was not sent" in caplog.text


def test_closing_gives_up_in_time(
    receiver: Callable[..., Receiver], caplog: pytest.LogCaptureFixture
) -> None:
    server = receiver(*[503] * 20)
    webhook = Webhook(server.url, secret=SECRET, first_wait_seconds=30.0)
    ledger = Ledger(webhook=webhook)
    _spend(ledger)
    began = time.monotonic()
    webhook.close(timeout_seconds=0.2)
    assert time.monotonic() - began < 10
    assert "1 budget events were not sent" in caplog.text


def test_more_than_can_wait_is_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    webhook = Webhook("http://127.0.0.1:9/", secret="x", first_wait_seconds=30.0)
    ledger = Ledger(webhook=webhook)
    _spend(ledger)
    for _ in range(1_100):
        ledger.announcer.landing("acme", Amount(nusd=1))
    assert "budget events dropped" in caplog.text
    webhook.close(timeout_seconds=0)


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("ftp://x/", "s"),
        ("budget", "s"),
        ("http://", "s"),
        ("http://x/", ""),
        ("http://x/", "whsec_!"),
    ],
)
def test_nonsense_is_refused(url: str, secret: str) -> None:
    with pytest.raises(InvalidLimit, match="webhook"):
        Webhook(url, secret=secret)
