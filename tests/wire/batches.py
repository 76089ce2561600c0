"""The batch desk: files and batches of OpenAI, message batches of Anthropic, and what is billed.

A batch is worked on when its time has come: each request once, billed at half the price. What was
accepted, and how often, is kept, so that a test can tell whether anything was sent twice.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from tests.wire.batch_rules import BatchRules, Dice
from tests.wire.refusal import Refusal
from tests.wire.script import Json, Protocol

CUSTOM_ID = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
Begin = Callable[[], None]
Process = Callable[[str, Json, str], tuple[int, dict[str, object], Begin]]
"""Carries out one request: its path, its body, its custom id; gives status, response, and what
writes its prefix into the cache."""
State = Literal["working", "cancelling", "ended", "failed"]


@dataclass(kw_only=True, slots=True)
class DeskRequest:
    """One request of a batch, and its result once there is one."""

    custom_id: str
    path: str
    body: Json
    status: int | None = None
    response: dict[str, object] | None = None
    fate: Literal["done", "expired", "cancelled"] | None = None


@dataclass(kw_only=True, slots=True)
class DeskBatch:
    """A batch as the provider keeps it."""

    id: str
    protocol: Protocol
    endpoint: str
    requests: list[DeskRequest]
    created_at: float
    ends_at: float
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    input_file: str = ""
    state: State = "working"
    expired: bool = False
    cancelled: bool = False
    errors: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    order: list[int] = field(default_factory=list[int])
    deleted: bool = False

    def count(self, *fates: str) -> int:
        """How many requests came to one of these ends."""
        return sum(1 for request in self.requests if request.fate in fates)

    @property
    def succeeded(self) -> int:
        """How many were answered."""
        return sum(1 for each in self.requests if each.fate == "done" and each.status == 200)


class BatchDesk:
    """Files and batches of both protocols; safe to call from many threads."""

    def __init__(self, process: Process, rules: BatchRules) -> None:
        self.rules = rules
        self.dice = Dice(rules)
        self.files: dict[str, tuple[str, bytes]] = {}
        self.deleted: dict[str, tuple[str, bytes]] = {}
        self.batches: dict[str, DeskBatch] = {}
        self.accepted: Counter[str] = Counter()
        self._process = process
        self._late: list[tuple[float, Callable[[], None]]] = []
        self._ids = itertools.count(1)
        self._lock = threading.RLock()

    # What both protocols share.

    def accept(self, batch: DeskBatch) -> None:
        """Take a batch; from now on it will be worked on and billed."""
        with self._lock:
            self.batches[batch.id] = batch
            self.accepted.update(request.custom_id for request in batch.requests)

    def accept_late(self, accept: Callable[[], None]) -> None:
        """Carry a submission out once its time has come, whoever has given it up meanwhile."""
        with self._lock:
            self._late.append((time.time() + self.rules.late_seconds, accept))

    def catch_up(self) -> None:
        """Take what has arrived by now."""
        with self._lock:
            now = time.time()
            due = [accept for at, accept in self._late if at <= now]
            self._late = [(at, accept) for at, accept in self._late if at > now]
            for accept in due:
                accept()

    def batch(self, batch_id: str, protocol: Protocol) -> DeskBatch:
        """A batch as it stands now."""
        with self._lock:
            batch = self.batches.get(batch_id)
            if batch is None or batch.protocol != protocol or batch.deleted:
                raise Refusal(f"No batch found with id '{batch_id}'.", status=404)
            self._bring_up_to_date(batch)
            return batch

    def page(
        self, protocol: Protocol, after: str | None, limit: int
    ) -> tuple[list[DeskBatch], bool]:
        """The latest batches first, from the one after `after`; and whether there are more."""
        with self._lock:
            known = [b for b in self.batches.values() if b.protocol == protocol and not b.deleted]
            known.reverse()
            names = [batch.id for batch in known]
            start = names.index(after) + 1 if after in names else 0
            page = known[start : start + limit]
            for batch in page:
                self._bring_up_to_date(batch)
            return page, start + limit < len(known)

    def cancel(self, batch: DeskBatch) -> None:
        """End a batch early: what is done by now stays done, and is billed."""
        with self._lock:
            if batch.state != "working":
                raise Refusal("The batch has ended already.", status=409)
            whole = max(batch.ends_at - batch.created_at, 1e-9)
            share = min(1.0, (time.time() - batch.created_at) / whole)
            batch.cancelled = True
            self._work(batch, share, rest="cancelled")

    def new_batch(
        self, protocol: Protocol, endpoint: str, requests: list[DeskRequest]
    ) -> DeskBatch:
        """A batch that was not accepted yet."""
        now = time.time()
        prefix = "batch_" if protocol == "openai" else "msgbatch_"
        return DeskBatch(
            id=f"{prefix}{next(self._ids):012x}",
            protocol=protocol,
            endpoint=endpoint,
            requests=requests,
            created_at=now,
            ends_at=now + self.dice.seconds(),
        )

    def keep_file(self, name: str, content: bytes) -> str:
        """Keep an uploaded file."""
        with self._lock:
            file_id = f"file-{next(self._ids):012x}"
            self.files[file_id] = (name, content)
            return file_id

    def _bring_up_to_date(self, batch: DeskBatch) -> None:
        if batch.state != "working" or time.time() < batch.ends_at:
            return
        share = self.dice.done_share()
        batch.expired = share < 1.0
        self._work(batch, share, rest="expired")

    def _work(
        self, batch: DeskBatch, share: float, *, rest: Literal["expired", "cancelled"]
    ) -> None:
        """Carry out a share of the requests, in any order; the others come to `rest`."""
        batch.order = list(range(len(batch.requests)))
        self.dice.shuffle(batch.order)
        done = round(share * len(batch.order))
        begins: list[Begin] = []
        for place, at in enumerate(batch.order):
            request = batch.requests[at]
            if place >= done:
                request.fate = rest
                continue
            request.fate = "done"
            trouble = self.dice.request_error()
            if trouble is not None:
                request.status = 500 if trouble == "server" else 400
                kind = "server_error" if trouble == "server" else "invalid_request_error"
                refusal = Refusal("It failed.", status=request.status, kind=kind)
                request.response = refusal.body(batch.protocol, "req_batch")
                continue
            request.status, request.response, begin = self._process(
                request.path, request.body, request.custom_id
            )
            if self.rules.concurrent:
                begins.append(begin)
            else:
                begin()
        for begin in begins:
            begin()
        batch.state = "ended"

    def to_dict(self) -> dict[str, object]:
        """What was accepted, for JSON."""
        with self._lock:
            return {
                "batches": len(self.batches),
                "accepted": dict(self.accepted),
                "trouble": dict(self.dice.counts),
            }


def stamp(seconds: float) -> str:
    """A moment in Anthropic's manner."""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat()


def read_lines(content: bytes) -> list[dict[str, object]]:
    """The objects of a JSONL file; refuses what is none."""
    lines: list[dict[str, object]] = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            value: object = json.loads(line)
        except ValueError as error:
            raise Refusal(f"line {number} is not valid JSON", code="invalid_json_line") from error
        if not isinstance(value, dict):
            raise Refusal(f"line {number} is no object", code="invalid_json_line")
        lines.append(value)
    return lines
