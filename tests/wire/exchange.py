"""One request's way from bytes to a response: key, validation, fault, script, bill."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from tests.wire import body as read
from tests.wire.bill import Bill, BilledRequest
from tests.wire.cache import AutomaticCache, BreakpointCache, Prompt
from tests.wire.chat_completions import ChatCompletions
from tests.wire.endpoint import Answer, Endpoint, Office
from tests.wire.fault import UNBILLED_KINDS, Fault, Faults
from tests.wire.generation import generate
from tests.wire.messages import Messages
from tests.wire.messages_body import read_request
from tests.wire.model import WireModel, find_model
from tests.wire.refusal import Refusal, refusal_of
from tests.wire.responses import Responses
from tests.wire.script import Json, Protocol, Reply, Script, WireRequest
from tests.wire.tokens import Count, Meter
from tests.wire.transmission import Transmission, deliver, send_json

_ENDPOINTS: Mapping[str, Endpoint] = {
    each.path: each for each in (ChatCompletions(), Responses(), Messages())
}
_COUNT_PATH = "/v1/messages/count_tokens"
TASK_HEADER = "x-task"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How the provider behaves; see `ScriptedProvider`."""

    script: Script
    models: tuple[WireModel, ...]
    count: Count
    token_factor: str | int | Fraction
    clock: Callable[[], float]
    api_key: str | None
    protocols: Collection[Protocol]


class Exchange:
    """Answers requests, bills them and keeps the caches; safe to call from many threads."""

    def __init__(self, settings: Settings, bill: Bill, faults: Faults) -> None:
        self._settings = settings
        self._bill = bill
        self._faults = faults
        self._office = Office(
            meter=Meter(settings.count, settings.token_factor),
            automatic=AutomaticCache(settings.clock),
            breakpoints=BreakpointCache(settings.clock),
        )
        self._seen = _Seen()
        self._ids = itertools.count(1)
        self.refusals: Counter[int] = Counter()
        self.errors: list[Exception] = []

    def post(self, path: str, headers: Mapping[str, str], raw: bytes) -> Transmission:
        """The response to a POST; `headers` have lower-case names."""
        protocol: Protocol = "anthropic" if path.startswith("/v1/messages") else "openai"
        request_id = f"{next(self._ids):024x}"
        try:
            self._admit(protocol, path, headers)
            body = _parse(raw)
            if path == _COUNT_PATH:
                return self._count(body)
            return self._generate(_ENDPOINTS[path], body, headers, request_id)
        except Refusal as refusal:
            self.refusals[refusal.status] += 1
            return refuse(refusal, protocol, request_id)
        except Exception as error:  # noqa: BLE001 - a defect of a script, shown at the end
            self.errors.append(error)
            return refuse(Refusal("The script failed.", status=500), protocol, request_id)

    def models(self, headers: Mapping[str, str]) -> Transmission:
        """The response to `GET /v1/models`, Anthropic's if it names a version of that."""
        protocol: Protocol = "anthropic" if "anthropic-version" in headers else "openai"
        try:
            self._check_key(protocol, headers)
        except Refusal as refusal:
            return refuse(refusal, protocol, "")
        names = [each.snapshot for each in self._settings.models if each.protocol == protocol]
        if protocol == "openai":
            entries = [{"id": name, "object": "model", "owned_by": "scripted"} for name in names]
            return send_json({"object": "list", "data": entries})
        entries = [{"type": "model", "id": name, "display_name": name} for name in names]
        return send_json({"data": entries, "has_more": False})

    def process(
        self, path: str, body: Json, custom_id: str
    ) -> tuple[int, dict[str, object], Callable[[], None]]:
        """The status and response of one request of a batch, billed at half the price."""
        endpoint = _ENDPOINTS[path]
        request_id = f"{next(self._ids):024x}"
        try:
            model = self._model(endpoint, endpoint.model_name(body))
            request = endpoint.read(body, model)
            prompt = endpoint.measure(request, model, self._office)
            _check_window(request, model, prompt)
            attempt, step = self._seen.note(request, shown=True)
            reply = self._settings.script(replace(request, attempt=attempt, step=step))
        except Refusal as refusal:
            self.refusals[refusal.status] += 1
            return refusal.status, refusal.body(endpoint.protocol, f"req_{request_id}"), _nothing
        except Exception as error:  # noqa: BLE001 - a defect of a script, shown at the end
            self.errors.append(error)
            told = Refusal("The script failed.", status=500).body(endpoint.protocol, "")
            return 500, told, _nothing
        answer = self._made(request, model, prompt, reply, request_id)
        record = BilledRequest(
            id=request_id,
            path=path,
            model=model.name,
            task=request.task,
            usage=answer.usage,
            cost_nusd=model.cost_nusd(answer.usage, in_batch=True),
            delivered_usage=True,
            custom_id=custom_id,
        )
        self._bill.add(record)
        return 200, endpoint.whole(answer), prompt.begin

    def check_key(self, protocol: Protocol, headers: Mapping[str, str]) -> None:
        """Refuse a request without the right key."""
        self._check_key(protocol, headers)

    def _admit(self, protocol: Protocol, path: str, headers: Mapping[str, str]) -> None:
        if protocol not in self._settings.protocols or path not in (*_ENDPOINTS, _COUNT_PATH):
            raise Refusal(f"Invalid URL (POST {path})", status=404)
        self._check_key(protocol, headers)
        if protocol == "anthropic" and "anthropic-version" not in headers:
            raise Refusal("anthropic-version: header is required")

    def _check_key(self, protocol: Protocol, headers: Mapping[str, str]) -> None:
        key = headers.get("authorization", "").removeprefix("Bearer").strip()
        missing, wrong = "You didn't provide an API key.", "Incorrect API key provided."
        if protocol == "anthropic":
            key = headers.get("x-api-key") or key
            missing, wrong = "x-api-key header is required", "invalid x-api-key"
        if not key:
            raise Refusal(missing, status=401)
        if self._settings.api_key not in (None, key):
            raise Refusal(wrong, status=401, code="invalid_api_key")

    def _model(self, endpoint: Endpoint, name: str) -> WireModel:
        model = find_model(self._settings.models, endpoint.protocol, name)
        if model is None:
            anthropic = endpoint.protocol == "anthropic"
            words = f"The model `{name}` does not exist or you do not have access to it."
            message = f"model: {name}" if anthropic else words
            raise Refusal(message, status=404, code="model_not_found")
        return model

    def _generate(
        self, endpoint: Endpoint, body: Json, headers: Mapping[str, str], request_id: str
    ) -> Transmission:
        model = self._model(endpoint, endpoint.model_name(body))
        request = endpoint.read(body, model)
        request = replace(request, task=headers.get(TASK_HEADER) or request.task)
        prompt = endpoint.measure(request, model, self._office)
        _check_window(request, model, prompt)
        fault = self._faults.draw(request.task)
        attempt, step = self._seen.note(request, shown=_reaches_model(fault))
        reply = Reply()
        if _reaches_model(fault):
            reply = self._settings.script(replace(request, attempt=attempt, step=step))
        if fault is None and reply.fault is not None:
            fault = reply.fault
            self._faults.note(fault)
        if fault is not None and fault.kind in UNBILLED_KINDS:
            refusal = refusal_of(fault, endpoint.protocol, model.name)
            if refusal is not None:
                raise refusal
            return Transmission(ending="reset")
        return self._answer(endpoint, request, model, prompt, reply, fault, request_id)

    def _answer(
        self,
        endpoint: Endpoint,
        request: WireRequest,
        model: WireModel,
        prompt: Prompt,
        reply: Reply,
        fault: Fault | None,
        request_id: str,
    ) -> Transmission:
        """Bills what the model produced and hands over the response."""
        answer = self._made(request, model, prompt, reply, request_id)
        kind = None if fault is None else fault.kind
        delivery = deliver(endpoint, answer, kind)
        record = BilledRequest(
            id=request_id,
            path=request.path,
            model=model.name,
            task=request.task,
            usage=delivery.usage,
            cost_nusd=model.cost_nusd(delivery.usage),
            delivered_usage=delivery.delivered_usage,
            fault=kind,
        )
        self._bill.add(record)
        slow = fault.delay_seconds if fault is not None and fault.kind == "slow" else 0.0
        return replace(
            delivery.transmission,
            headers={**delivery.transmission.headers, **_id_headers(request.protocol, request_id)},
            delay_seconds=reply.delay_seconds + slow,
            pause_seconds=reply.pause_seconds,
            begin=prompt.begin,
            billed_id=request_id,
        )

    def _made(
        self, request: WireRequest, model: WireModel, prompt: Prompt, reply: Reply, request_id: str
    ) -> Answer:
        limit = request.max_tokens or model.most_output_tokens
        generation = generate(reply, request, self._office.meter, limit)
        return Answer(
            id=request_id,
            request=request,
            model=model,
            generation=generation,
            usage=replace(
                prompt.usage,
                output_tokens=generation.output_tokens,
                reasoning_tokens=generation.reasoning_tokens,
            ),
            created_at=int(time.time()),
        )

    def _count(self, body: Json) -> Transmission:
        endpoint = _ENDPOINTS["/v1/messages"]
        model = self._model(endpoint, endpoint.model_name(body))
        request = read_request(body, model, _COUNT_PATH, counting=True)
        prompt = endpoint.measure(request, model, self._office)
        return send_json({"input_tokens": prompt.usage.input_tokens})


class _Seen:
    """Counts a task's requests: how often each body came, and how many were shown to the model."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attempts: Counter[tuple[str | None, bytes]] = Counter()
        self._steps: dict[str | None, dict[bytes, int]] = {}

    def note(self, request: WireRequest, shown: bool) -> tuple[int, int]:
        """The attempt, from 1, and the step, from 0, that `request` is."""
        content = json.dumps([request.path, request.body]).encode()
        digest = hashlib.blake2b(content, digest_size=16).digest()
        with self._lock:
            self._attempts[request.task, digest] += 1
            known = self._steps.setdefault(request.task, {})
            step = known.setdefault(digest, len(known)) if shown else len(known)
            return self._attempts[request.task, digest], step


def _reaches_model(fault: Fault | None) -> bool:
    return fault is None or fault.kind not in UNBILLED_KINDS


def _parse(raw: bytes) -> dict[str, object]:
    try:
        body: object = json.loads(raw)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refusal("We could not parse the JSON body of your request.") from error
    return read.mapping(body, "body")


def _check_window(request: WireRequest, model: WireModel, prompt: Prompt) -> None:
    tokens = prompt.usage.input_tokens
    if tokens <= model.context_tokens:
        return
    if request.protocol == "anthropic":
        raise Refusal(f"prompt is too long: {tokens} tokens > {model.context_tokens} maximum")
    raise Refusal(
        f"This model's maximum context length is {model.context_tokens} tokens. "
        f"However, your messages resulted in {tokens} tokens.",
        param="messages",
        code="context_length_exceeded",
    )


def refuse(refusal: Refusal, protocol: Protocol, request_id: str) -> Transmission:
    """An error as it goes over the wire."""
    headers = _id_headers(protocol, request_id)
    if refusal.retry_after_seconds is not None:
        headers["retry-after"] = f"{refusal.retry_after_seconds:g}"
    return send_json(refusal.body(protocol, f"req_{request_id}"), refusal.status, headers)


def _id_headers(protocol: Protocol, request_id: str) -> dict[str, str]:
    name = "request-id" if protocol == "anthropic" else "x-request-id"
    return {name: f"req_{request_id}"}


def _nothing() -> None:
    """A refused request writes no cache."""
