"""What the exchange needs of an endpoint, whichever protocol it speaks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.wire import script
from tests.wire.bill import WireUsage
from tests.wire.cache import AutomaticCache, BreakpointCache, Prompt
from tests.wire.generation import Generation
from tests.wire.model import WireModel
from tests.wire.script import Json, WireRequest
from tests.wire.tokens import Meter


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A billed response about to be written in an endpoint's manner."""

    id: str
    request: WireRequest
    model: WireModel
    generation: Generation
    usage: WireUsage
    created_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One server-sent event; `output_tokens` is all that was produced up to it.

    `usage` marks the events that carry final usage; `name` is None where the protocol has no names.
    """

    data: Json | str
    output_tokens: int
    name: str | None = None
    usage: bool = False

    def encode(self) -> bytes:
        """The event as it goes over the wire."""
        data = self.data if isinstance(self.data, str) else json.dumps(self.data)
        head = "" if self.name is None else f"event: {self.name}\n"
        return f"{head}data: {data}\n\n".encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Office:
    """What endpoints count and cache with."""

    meter: Meter
    automatic: AutomaticCache
    breakpoints: BreakpointCache


class Endpoint(Protocol):
    """One generating endpoint."""

    path: str
    protocol: script.Protocol

    def model_name(self, body: Json) -> str:
        """The model asked for; refuses where there is none."""
        ...

    def read(self, body: Json, model: WireModel) -> WireRequest:
        """The request in normal form; refuses what the provider refuses."""
        ...

    def measure(self, request: WireRequest, model: WireModel, office: Office) -> Prompt:
        """The billed input of a valid request."""
        ...

    def whole(self, answer: Answer) -> dict[str, object]:
        """The JSON response."""
        ...

    def events(self, answer: Answer) -> Sequence[Event]:
        """The streamed response."""
        ...
