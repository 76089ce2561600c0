"""Budget events sent to an address: signed, tried again, and never in the way of a call.

The format is that of Standard Webhooks (https://www.standardwebhooks.com, specification of 2023),
so that any of its libraries checks the signature. An event holds names and numbers, no contents.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import queue
import secrets
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agentkit.budgets.errors import InvalidLimit
from agentkit.budgets.event import BudgetEvent, facts

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger("agentkit.budgets")

_ATTEMPTS = 6
_LONGEST_WAIT_SECONDS = 30.0
_MOST_WAITING = 1_000
_CLOSE_SECONDS = 5.0
_SECRET_PREFIX = "whsec_"  # noqa: S105  how such secrets begin, and none itself


class Webhook:
    """Posts each event to `url` from a thread of its own.

    An answer that is not 2xx is tried again up to six times, over about a minute; a client error
    (4xx but 408 and 429) is not. While the receiver is away up to 1,000 events wait; further ones
    are dropped and counted in the log. `secret` signs them: any text, or `whsec_` and base64.
    Raises InvalidLimit for an address that is not http or https.

    >>> from agentkit.budgets import Ledger, Webhook
    >>> ledger = Ledger(webhook=Webhook("https://example.com/budget", secret="whsec_c2VjcmV0"))
    >>> ledger.close()
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str,
        timeout_seconds: float = 5.0,
        first_wait_seconds: float = 1.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidLimit("a webhook's address is http://... or https://...")
        if not secret:
            raise InvalidLimit("a webhook without a secret: nobody could tell who sends its events")
        self._url = url
        self._key = _key_of(secret)
        self._timeout_seconds = timeout_seconds
        self._first_wait_seconds = first_wait_seconds
        self._waiting: queue.Queue[BudgetEvent] = queue.Queue(_MOST_WAITING)
        self._dropped = 0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def __call__(self, event: BudgetEvent) -> None:
        """Send `event` soon; returns at once."""
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._dropped += 1
            _log.error("a webhook's receiver is away: %d budget events dropped", self._dropped)
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._send_all, name="agentkit-webhook", daemon=True
                )
                self._thread.start()

    def close(self, timeout_seconds: float = _CLOSE_SECONDS) -> None:
        """Wait for what is still to be sent, so long; then give it up."""
        thread = self._thread
        if thread is not None:
            until = time.monotonic() + timeout_seconds
            while self._waiting.unfinished_tasks and time.monotonic() < until:
                time.sleep(0.01)
            if self._waiting.unfinished_tasks:
                _log.error("%d budget events were not sent", self._waiting.unfinished_tasks)
            self._closing.set()
            thread.join(self._timeout_seconds)

    def _send_all(self) -> None:
        import httpx  # loads slowly: where there is something to send

        with httpx.Client(timeout=self._timeout_seconds, follow_redirects=False) as client:
            while not self._closing.is_set():
                try:
                    event = self._waiting.get(timeout=1.0)
                except queue.Empty:
                    continue
                try:
                    self._send(client, event)
                except Exception:  # noqa: BLE001  whatever a client raises: later events are sent
                    _log.exception("a budget %s event was not sent", event.kind)
                finally:
                    self._waiting.task_done()

    def _send(self, client: httpx.Client, event: BudgetEvent) -> None:
        from tenacity import (
            RetryError,
            Retrying,
            retry_if_result,
            stop_after_attempt,
            wait_exponential_jitter,
        )

        body = json.dumps(body_of(event)).encode()
        identity = f"msg_{secrets.token_hex(12)}"  # the same each time it is tried
        attempts = Retrying(
            retry=retry_if_result(lambda failure: failure == "later"),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential_jitter(
                multiplier=self._first_wait_seconds,
                max=_LONGEST_WAIT_SECONDS,
                jitter=self._first_wait_seconds,
            ),
            sleep=self._pause,
        )
        try:
            failure = attempts(self._post, client, identity, body)
        except RetryError:
            failure = f"no answer in {_ATTEMPTS} attempts"
        if failure is not None:
            _log.error("a budget %s event was not sent: %s", event.kind, failure)

    def _pause(self, seconds: float) -> None:
        self._closing.wait(seconds)

    def _post(self, client: httpx.Client, identity: str, body: bytes) -> str | None:
        """None where it was taken, "later" where it may be tried again, else what is wrong."""
        import httpx

        if self._closing.is_set():
            return "the ledger was closed"
        sent_at = str(int(time.time()))
        try:
            answer = client.post(
                self._url,
                content=body,
                headers={
                    "content-type": "application/json",
                    "webhook-id": identity,
                    "webhook-timestamp": sent_at,
                    "webhook-signature": f"v1,{_signature(self._key, identity, sent_at, body)}",
                },
            )
        except httpx.HTTPError:
            return "later"
        if answer.is_success:
            return None
        refused = 300 <= answer.status_code < 500 and answer.status_code not in (408, 429)
        return f"the receiver answered {answer.status_code}" if refused else "later"


def body_of(event: BudgetEvent) -> dict[str, object]:
    """An event as its receiver reads it."""
    return {
        "type": f"budget.{event.kind}",
        "timestamp": datetime.fromtimestamp(event.at_seconds, UTC).isoformat(),
        "data": {"kind": event.kind, "task_id": event.task_id, **facts(event)},
    }


def _key_of(secret: str) -> bytes:
    if not secret.startswith(_SECRET_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except ValueError as error:  # binascii.Error is one
        raise InvalidLimit("what follows whsec_ in a webhook's secret is not base64") from error


def _signature(key: bytes, identity: str, sent_at: str, body: bytes) -> str:
    signed = b".".join((identity.encode(), sent_at.encode(), body))
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
