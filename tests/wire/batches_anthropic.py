"""`/v1/messages/batches` in Anthropic's wire format."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.wire import body as read
from tests.wire.batches import CUSTOM_ID, BatchDesk, DeskBatch, DeskRequest, stamp
from tests.wire.refusal import Refusal
from tests.wire.transmission import Transmission, send_json

_MESSAGES = "/v1/messages"
_DAY_SECONDS = 86_400


def handle(
    desk: BatchDesk, method: str, path: str, query: Mapping[str, str], raw: bytes, url: str
) -> Transmission:
    """The response to a request below `/v1/messages/batches`; `url` is where the server is."""
    desk.catch_up()
    parts = path.removeprefix("/v1/messages/batches").strip("/").split("/")
    match method, parts:
        case "POST", [""]:
            return _create(desk, raw, url)
        case "GET", [""]:
            page, more = desk.page("anthropic", query.get("after_id"), int(query.get("limit", 20)))
            data = [_shown(batch, url) for batch in page]
            ids = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
            return send_json({"data": data, "has_more": more, **ids})
        case "GET", [batch_id]:
            return send_json(_shown(desk.batch(batch_id, "anthropic"), url))
        case "GET", [batch_id, "results"]:
            return _results(desk.batch(batch_id, "anthropic"))
        case "POST", [batch_id, "cancel"]:
            batch = desk.batch(batch_id, "anthropic")
            desk.cancel(batch)
            return send_json({**_shown(batch, url), "processing_status": "canceling"})
        case "DELETE", [batch_id]:
            desk.batch(batch_id, "anthropic").deleted = True
            return send_json({"id": batch_id, "type": "message_batch_deleted"})
        case _:
            raise Refusal(f"Invalid URL ({method} {path})", status=404)


def _create(desk: BatchDesk, raw: bytes, url: str) -> Transmission:
    if len(raw) > desk.rules.most_bytes_anthropic:
        raise Refusal("Request exceeds the maximum size", status=413)
    entries = read.optional_sequence(read.mapping(json.loads(raw), "body"), "requests")
    if not entries or len(entries) > desk.rules.most_requests_anthropic:
        raise Refusal(f"requests: {len(entries)} are not between 1 and the maximum", status=413)
    requests: list[DeskRequest] = []
    seen: set[str] = set()
    for at, entry in enumerate(entries):
        line = read.mapping(entry, f"requests.{at}")
        custom_id = read.text(line.get("custom_id"), f"requests.{at}.custom_id")
        if not CUSTOM_ID.match(custom_id) or custom_id in seen:
            raise Refusal(f"requests.{at}.custom_id: invalid or not unique")
        params = read.mapping(line.get("params"), f"requests.{at}.params")
        if params.get("stream"):
            raise Refusal(f"requests.{at}.params.stream: not allowed in a batch")
        seen.add(custom_id)
        requests.append(DeskRequest(custom_id=custom_id, path=_MESSAGES, body=params))
    trouble = desk.dice.trouble()
    if trouble == "refuse":
        wait = desk.rules.retry_after_seconds
        raise Refusal("rate limit", status=429, retry_after_seconds=wait)
    if trouble == "lose_before":
        return Transmission(ending="reset")
    if trouble == "lose_late":
        desk.accept_late(lambda: desk.accept(desk.new_batch("anthropic", _MESSAGES, requests)))
        return Transmission(ending="reset")
    batch = desk.new_batch("anthropic", _MESSAGES, requests)
    desk.accept(batch)
    if trouble == "lose_after":
        return Transmission(ending="reset")
    return send_json(_shown(batch, url))


def _shown(batch: DeskBatch, url: str) -> dict[str, object]:
    ended = batch.state == "ended"
    succeeded = batch.succeeded
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if ended else "in_progress",
        "request_counts": {
            "processing": 0 if ended else len(batch.requests),
            "succeeded": succeeded,
            "errored": batch.count("done") - succeeded,
            "canceled": batch.count("cancelled"),
            "expired": batch.count("expired"),
        },
        "created_at": stamp(batch.created_at),
        "expires_at": stamp(batch.created_at + _DAY_SECONDS),
        "ended_at": stamp(batch.ends_at) if ended else None,
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": f"{url}/v1/messages/batches/{batch.id}/results" if ended else None,
    }


def _results(batch: DeskBatch) -> Transmission:
    if batch.state != "ended":
        raise Refusal("The batch has not ended.", status=404)
    lines: list[bytes] = []
    for at in batch.order:
        request = batch.requests[at]
        result: dict[str, object]
        if request.fate == "done" and request.status == 200:
            result = {"type": "succeeded", "message": request.response}
        elif request.fate == "done":
            result = {"type": "errored", "error": request.response}
        else:
            result = {"type": "expired" if request.fate == "expired" else "canceled"}
        lines.append(json.dumps({"custom_id": request.custom_id, "result": result}).encode())
    data = b"\n".join(lines)
    return Transmission(
        headers={"content-type": "application/x-jsonl"}, parts=(data,), declared_length=len(data)
    )
