"""`/v1/files` and `/v1/batches` in OpenAI's wire format."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from email import message_from_bytes
from typing import cast

from tests.wire import body as read
from tests.wire.batches import CUSTOM_ID, BatchDesk, DeskBatch, DeskRequest, read_lines
from tests.wire.refusal import Refusal
from tests.wire.script import Json
from tests.wire.transmission import Transmission, send_json

_ENDPOINTS = ("/v1/chat/completions", "/v1/responses")


def handle(
    desk: BatchDesk,
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    raw: bytes,
) -> Transmission:
    """The response to a request below `/v1/files` or `/v1/batches`."""
    desk.catch_up()
    parts = path.strip("/").split("/")[1:]
    match method, parts:
        case "POST", ["files"]:
            return _upload(desk, headers, raw)
        case "GET", ["files", file_id]:
            return send_json(_file(desk, file_id))
        case "GET", ["files", file_id, "content"]:
            data = _known(desk, file_id)[1]
            return Transmission(parts=(data,), declared_length=len(data))
        case "DELETE", ["files", file_id]:
            _known(desk, file_id)
            desk.deleted[file_id] = desk.files.pop(file_id)
            return send_json({"id": file_id, "object": "file", "deleted": True})
        case "POST", ["batches"]:
            return _create(desk, read.mapping(json.loads(raw), "body"))
        case "GET", ["batches"]:
            limit = int(query.get("limit", "20"))
            page, more = desk.page("openai", query.get("after"), limit)
            data = [_shown(desk, batch) for batch in page]
            last = data[-1]["id"] if data else None
            return send_json({"object": "list", "data": data, "last_id": last, "has_more": more})
        case "GET", ["batches", batch_id]:
            return send_json(_shown(desk, desk.batch(batch_id, "openai")))
        case "POST", ["batches", batch_id, "cancel"]:
            batch = desk.batch(batch_id, "openai")
            desk.cancel(batch)
            return send_json({**_shown(desk, batch), "status": "cancelling"})
        case _:
            raise Refusal(f"Invalid URL ({method} {path})", status=404)


def _upload(desk: BatchDesk, headers: Mapping[str, str], raw: bytes) -> Transmission:
    head = f"Content-Type: {headers.get('content-type', '')}\r\n\r\n".encode()
    message = message_from_bytes(head + raw)
    fields: dict[str, tuple[str, bytes]] = {}
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str):
            payload = cast("bytes", part.get_payload(decode=True))
            fields[name] = (part.get_filename() or "", payload)
    if fields.get("purpose", ("", b""))[1] != b"batch" or "file" not in fields:
        raise Refusal("a file with the purpose 'batch' is required", param="purpose")
    name, content = fields["file"]
    if len(content) > desk.rules.most_bytes_openai:
        raise Refusal("The file is too large.", status=413)
    return send_json(_file(desk, desk.keep_file(name, content)))


def _known(desk: BatchDesk, file_id: str) -> tuple[str, bytes]:
    if file_id not in desk.files:
        raise Refusal(f"No such File object: {file_id}", status=404)
    return desk.files[file_id]


def _file(desk: BatchDesk, file_id: str) -> dict[str, object]:
    name, content = _known(desk, file_id)
    return {
        "id": file_id, "object": "file", "bytes": len(content), "created_at": int(time.time()),
        "filename": name, "purpose": "batch", "status": "processed",
    }  # fmt: skip


def _create(desk: BatchDesk, body: Json) -> Transmission:
    endpoint = read.text(read.required(body, "endpoint"), "endpoint")
    if endpoint not in _ENDPOINTS or body.get("completion_window") != "24h":
        raise Refusal("Invalid endpoint or completion_window.", param="endpoint")
    file_id = read.text(read.required(body, "input_file_id"), "input_file_id")
    _known(desk, file_id)
    metadata = read.optional_mapping(body, "metadata")
    marks = {key: read.text(value, key) for key, value in metadata.items()}
    trouble = desk.dice.trouble()
    if trouble == "refuse":
        wait = desk.rules.retry_after_seconds
        raise Refusal("Rate limit reached.", status=429, retry_after_seconds=wait)
    if trouble == "lose_before":
        return Transmission(ending="reset")
    if trouble == "lose_late":
        desk.accept_late(lambda: _accept(desk, endpoint, file_id, marks))
        return Transmission(ending="reset")
    batch = _accept(desk, endpoint, file_id, marks)
    return (
        Transmission(ending="reset") if trouble == "lose_after" else send_json(_shown(desk, batch))
    )


def _accept(desk: BatchDesk, endpoint: str, file_id: str, marks: dict[str, str]) -> DeskBatch:
    """Take a batch; what is wrong with its file, or that there is none, fails it afterwards."""
    batch = desk.new_batch("openai", endpoint, [])
    batch.input_file = file_id
    batch.metadata = marks
    try:
        kept = desk.deleted.get(file_id) if desk.rules.forgets_nothing else None
        content = (kept or _known(desk, file_id))[1]
        batch.requests = _requests(desk, endpoint, content)
    except Refusal as refusal:
        line = refusal.param
        batch.state = "failed"
        batch.errors = [
            {"code": refusal.code, "message": refusal.message, "line": int(line) if line else None}
        ]
    desk.accept(batch)
    return batch


def _requests(desk: BatchDesk, endpoint: str, content: bytes) -> list[DeskRequest]:
    """The lines of a file, as they are validated after a batch was accepted."""
    lines = read_lines(content)
    if not lines or len(lines) > desk.rules.most_requests_openai:
        raise Refusal(f"{len(lines)} requests", code="invalid_request_count")
    seen: set[str] = set()
    models: set[str] = set()
    requests: list[DeskRequest] = []
    for number, line in enumerate(lines, start=1):
        custom_id, body = line.get("custom_id"), line.get("body")
        if not isinstance(custom_id, str) or not CUSTOM_ID.match(custom_id):
            raise Refusal("custom_id is invalid", code="invalid_custom_id", param=str(number))
        if custom_id in seen:
            raise Refusal("custom_id is not unique", code="duplicate_custom_id", param=str(number))
        if line.get("method") != "POST" or line.get("url") != endpoint:
            raise Refusal("url or method is wrong", code="invalid_url", param=str(number))
        body = read.mapping(body, "body")
        models.add(str(body.get("model")))
        if len(models) > 1:
            raise Refusal("one model a batch", code="mismatched_model", param=str(number))
        if body.get("stream"):
            raise Refusal("no streams in a batch", code="invalid_body", param=str(number))
        seen.add(custom_id)
        requests.append(DeskRequest(custom_id=custom_id, path=endpoint, body=body))
    return requests


def _shown(desk: BatchDesk, batch: DeskBatch) -> dict[str, object]:
    status: str = {"working": "in_progress", "failed": "failed"}.get(batch.state, "completed")
    if batch.state == "ended":
        status = "cancelled" if batch.cancelled else "expired" if batch.expired else "completed"
    shown: dict[str, object] = {
        "id": batch.id, "object": "batch", "endpoint": batch.endpoint, "status": status,
        "input_file_id": batch.input_file, "completion_window": "24h",
        "created_at": int(batch.created_at), "metadata": batch.metadata,
        "request_counts": {
            "total": len(batch.requests), "completed": batch.succeeded,
            "failed": batch.count("done") - batch.succeeded,
        },
    }  # fmt: skip
    if batch.errors:
        shown["errors"] = {"object": "list", "data": batch.errors}
    if batch.state == "ended":
        for name, answered in (("output_file_id", True), ("error_file_id", False)):
            file_id = f"file-{batch.id}-{'output' if answered else 'error'}"
            if file_id not in desk.files and file_id not in desk.deleted:
                content = _result_lines(batch, answered=answered)
                if not content:
                    continue
                desk.files[file_id] = (f"{file_id}.jsonl", content)
            shown[name] = file_id
    return shown


def _result_lines(batch: DeskBatch, *, answered: bool) -> bytes:
    lines: list[bytes] = []
    for at in batch.order:
        request = batch.requests[at]
        if (request.status == 200) != answered or request.fate == "cancelled":
            continue
        line: dict[str, object] = {"id": f"batch_req_{at}", "custom_id": request.custom_id}
        if request.fate == "expired":
            message = "This request could not be executed before the completion window expired."
            line |= {"response": None, "error": {"code": "batch_expired", "message": message}}
        else:
            response = {
                "status_code": request.status, "request_id": f"req_{at}", "body": request.response,
            }  # fmt: skip
            line |= {"response": response, "error": None}
        lines.append(json.dumps(line).encode())
    return b"\n".join(lines)
