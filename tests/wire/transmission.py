"""What goes over the wire for a billed answer, whole or spoilt by a fault."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from tests.wire.bill import WireUsage
from tests.wire.cache import nothing
from tests.wire.endpoint import Answer, Endpoint, Event
from tests.wire.fault import FaultKind
from tests.wire.script import Json

Ending = Literal["complete", "close", "reset", "hang"]
_MISSING_BYTES = 64
_BROKEN_EVENT = '{"id": "broken'
_SPOILT: frozenset[FaultKind] = frozenset(
    ("reset_billed", "cut_stream", "hang", "invalid_json", "no_usage", "wrong_length")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Transmission:
    """A response: `parts` are written one by one, then the connection ends as `ending` says.

    `pause_seconds` lie between the parts.

    `declared_length` is the content-length, None for a chunked stream. `begin` is called after the
    delay, before the first byte. `billed_id` names the record to correct if the client has gone.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    parts: tuple[bytes, ...] = ()
    declared_length: int | None = None
    ending: Ending = "complete"
    delay_seconds: float = 0.0
    pause_seconds: float = 0.0
    begin: Callable[[], None] = nothing
    billed_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A transmission, with the usage to bill and whether the client gets to know it."""

    transmission: Transmission
    usage: WireUsage
    delivered_usage: bool


def send_json(
    body: Json, status: int = 200, headers: Mapping[str, str] | None = None
) -> Transmission:
    """A whole JSON response."""
    data = json.dumps(body).encode()
    kind = {"content-type": "application/json", **(headers or {})}
    return Transmission(status=status, headers=kind, parts=(data,), declared_length=len(data))


def deliver(endpoint: Endpoint, answer: Answer, fault: FaultKind | None) -> Delivery:
    """The response to `answer`, spoilt by `fault`."""
    if fault in ("reset_billed", "hang"):
        ending: Ending = "hang" if fault == "hang" else "reset"
        return _lost(answer, Transmission(ending=ending))
    if answer.request.stream:
        return _deliver_stream(endpoint.events(answer), answer, fault)
    whole = endpoint.whole(answer)
    sent = send_json(_without_usage(whole) if fault == "no_usage" else whole)
    data, length = sent.parts[0], sent.declared_length or 0
    half = data[: len(data) // 2]
    if fault == "cut_stream":
        sent = replace(sent, parts=(half,), ending="reset")
    elif fault == "invalid_json":
        sent = replace(sent, parts=(half,), declared_length=len(half))
    elif fault == "wrong_length":
        sent = replace(sent, declared_length=length + _MISSING_BYTES, ending="close")
    return Delivery(transmission=sent, usage=answer.usage, delivered_usage=fault not in _SPOILT)


def _deliver_stream(events: Sequence[Event], answer: Answer, fault: FaultKind | None) -> Delivery:
    usage = answer.usage
    ending: Ending = "complete"
    last_words = next((at for at, event in enumerate(events) if event.usage), len(events))
    if fault == "cut_stream":
        events = events[: max(last_words // 2, 1)]
        usage = replace(usage, output_tokens=events[-1].output_tokens)
        ending = "reset"
    elif fault == "wrong_length":
        events, ending = events[:last_words], "close"
    elif fault == "no_usage":
        events = [_stripped(event) for event in events if event.name or not event.usage]
    elif fault == "invalid_json":
        events = list(events)
        events[last_words // 2] = replace(events[last_words // 2], data=_BROKEN_EVENT)
    parts = tuple(event.encode() for event in events)
    length = sum(map(len, parts)) + _MISSING_BYTES if fault == "wrong_length" else None
    sent = Transmission(
        headers={"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"},
        parts=parts,
        declared_length=length,
        ending=ending,
    )
    told = any(event.usage for event in events) and fault not in _SPOILT
    return Delivery(transmission=sent, usage=usage, delivered_usage=told)


def _lost(answer: Answer, transmission: Transmission) -> Delivery:
    return Delivery(transmission=transmission, usage=answer.usage, delivered_usage=False)


def _stripped(event: Event) -> Event:
    if isinstance(event.data, str):
        return event
    return replace(event, data=_without_usage(event.data))


def _without_usage(data: Json) -> dict[str, object]:
    """`data` without its usage, also inside the message or response that it wraps."""
    kept = {key: value for key, value in data.items() if key != "usage"}
    for key in ("message", "response"):
        inner = kept.get(key)
        if isinstance(inner, dict):
            kept[key] = _without_usage(cast("Json", inner))
    return kept
