"""OpenAI's webhooks about batches, as a handler of the user's takes them over HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from agentkit.batch import BatchJob, BatchLane, WebhookInvalid, take_webhook
from agentkit.budgets import Budget, Ledger
from agentkit.errors import ConfigError
from tests.agentkit.batch_world import CLIENTS, QUICK
from tests.wire import BatchRules, ScriptedProvider, echo

_SECRET = "whsec_" + base64.b64encode(b"an endpoint's own secret").decode()
_HOURLY = replace(QUICK, usual_seconds=60.0, poll_seconds=3600.0, longest_poll_seconds=3600.0)
_SOON = BatchRules(least_seconds=0.1, most_seconds=0.1)


def _signed(body: bytes, *, secret: str = _SECRET, at: float | None = None) -> dict[str, str]:
    """Headers as OpenAI sends them: Standard Webhooks, version 1."""
    sent_at = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"wh_1.{sent_at}.".encode() + body, hashlib.sha256).digest()
    return {
        "Webhook-Id": "wh_1",
        "Webhook-Timestamp": sent_at,
        "Webhook-Signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _event(batch: str | None, kind: str = "batch.completed") -> bytes:
    told = {"id": "evt_1", "object": "event", "created_at": 0, "type": kind, "data": {"id": batch}}
    return json.dumps(told).encode()


@contextmanager
def _handler(lane: BatchLane) -> Generator[str]:
    """The address of a user's own endpoint, as docs/batch.md shows it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                take_webhook(lane, body, dict(self.headers), secret=_SECRET)
                self.send_response(200)
            except WebhookInvalid:
                self.send_response(400)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def _sent(provider: ScriptedProvider, ledger: Ledger, wire: str = "openai") -> BatchJob:
    """A job whose one batch is at the provider, done there, and not looked at for an hour."""
    model = CLIENTS[wire](provider)
    job = BatchJob(
        wire, model=model, ledger=ledger, policy=_HOURLY, wait="2h", budget=Budget(usd="1")
    )
    for number in range(3):
        job.add(str(number), f"say {number}")
    job.lane.flush()
    time.sleep(0.3)
    job.lane.tick()
    assert job.lane.progress(job.task.task_id).sent == 3
    return job


def test_a_webhook_saves_the_wait_for_the_next_look() -> None:
    ledger = Ledger()
    with ScriptedProvider(echo, batches=_SOON) as provider:
        job = _sent(provider, ledger)
        (batch,) = job.lane.store.batches()
        body = _event(batch.provider_id)
        with _handler(job.lane) as address:
            assert httpx.post(address, content=body, headers=_signed(body)).status_code == 200
            assert job.lane.progress().answered == 3
            # A provider may tell the same twice.
            assert httpx.post(address, content=body, headers=_signed(body)).status_code == 200
        answers = {key: message.text for key, message in job.answers()}
        assert ledger.account("default").settled.nusd == provider.bill.cost_nusd
    assert answers == {str(number): f"say {number}" for number in range(3)}


def test_a_webhook_is_taken_in_a_process_that_sent_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it need clients for what waits elsewhere."""
    address = f"sqlite:///{tmp_path}/ledger.db"
    with ScriptedProvider(echo, batches=_SOON) as provider:
        job = _sent(provider, Ledger(address))
        (batch,) = job.lane.store.batches()
        _sent(provider, job.ledger, "anthropic")
        body = _event(batch.provider_id)
        monkeypatch.setenv("OPENAI_API_KEY", "test")
        monkeypatch.setenv("OPENAI_BASE_URL", provider.openai_url)
        monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", _SECRET)
        other = BatchLane(Ledger(address))
        found = take_webhook(other, body, _signed(body))
        assert found is not None and found.state == "processed"
        assert other.progress().answered == 3
        other.ledger.close()
        job.ledger.close()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (_event("batch_1"), _signed(_event("batch_1"), secret="whsec_" + "AAAA" * 8)),
        (_event("batch_1"), _signed(_event("batch_2"))),
        (_event("batch_1"), _signed(_event("batch_1"), at=time.time() - 3600)),
        (_event("batch_1"), {}),
        (_event("batch_1"), {**_signed(_event("batch_1")), "Webhook-Timestamp": "soon"}),
        (b"\xff", _signed(b"\xff")),
        (b"[" * 50_000, _signed(b"[" * 50_000)),
        (b" " * 100_000, _signed(b" " * 100_000)),
    ],
    ids=["secret", "body", "old", "bare", "time", "bytes", "nested", "long"],
)
def test_a_webhook_that_nobody_signed_is_refused(body: bytes, headers: dict[str, str]) -> None:
    lane = BatchLane(Ledger())
    with pytest.raises(WebhookInvalid):
        take_webhook(lane, body, headers, secret=_SECRET)
    with _handler(lane) as address:
        assert httpx.post(address, content=body, headers=headers).status_code == 400


@pytest.mark.parametrize(
    "body",
    [_event("batch_1"), _event(None), _event("resp_1", "response.completed"), b"[]", b"3"],
)
def test_what_is_not_about_an_open_batch_changes_nothing(body: bytes) -> None:
    assert take_webhook(BatchLane(Ledger()), body, _signed(body), secret=_SECRET) is None


def test_without_a_secret_no_webhook_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_WEBHOOK_SECRET", raising=False)
    body = _event("batch_1")
    with pytest.raises(ConfigError, match="OPENAI_WEBHOOK_SECRET"):
        take_webhook(BatchLane(Ledger()), body, _signed(body))
