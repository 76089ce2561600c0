"""The scripted provider: both wire protocols on one loopback port, in threads of this process."""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl

from tests.wire import batches_anthropic, batches_openai
from tests.wire.batch_rules import BatchRules
from tests.wire.batches import BatchDesk
from tests.wire.bill import Bill
from tests.wire.exchange import Exchange, Settings, refuse
from tests.wire.fault import Faults
from tests.wire.model import DEFAULT_MODELS, WireModel
from tests.wire.refusal import Refusal
from tests.wire.script import Protocol, Script, echo
from tests.wire.tokens import Count, quarter_count
from tests.wire.transmission import Transmission, send_json

MOST_BODY_BYTES = 32 * 1024 * 1024
_MOST_BATCH_BYTES = 300 * 1024 * 1024
_BATCH_PATHS = ("/v1/files", "/v1/batches", "/v1/messages/batches")
_SECRET_HEADERS = frozenset(("authorization", "x-api-key", "cookie"))
_SEND_BUFFER_BYTES = 64 * 1024  # small, so that a client that leaves is noticed
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class RawRequest:
    """A request as it arrived, without its key."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


class ScriptedProvider:
    """A fake frontier provider that speaks the real OpenAI and Anthropic wire protocols.

    Use it as a context manager. `script` decides what the model says. Tokens are `count` of the
    text times `token_factor`, rounded up. `faults` spoils requests. `clock` drives the prompt
    caches. With `api_key` any other key is refused. `bill` is the truth about what was billed.
    Leaving the context raises what a script raised.

        with ScriptedProvider(answer("hello")) as provider:
            ChatOpenAI(model="gpt-5-mini", base_url=provider.openai_url, api_key="test")
    """

    def __init__(
        self,
        script: Script = echo,
        *,
        models: tuple[WireModel, ...] = DEFAULT_MODELS,
        count: Count = quarter_count,
        token_factor: Fraction | str | int = Fraction(6, 5),
        faults: Faults | None = None,
        clock: Callable[[], float] = time.monotonic,
        api_key: str | None = None,
        protocols: Collection[Protocol] = ("openai", "anthropic"),
        port: int = 0,
        keep_requests: int = 1_000,
        batches: BatchRules | None = None,
    ) -> None:
        self.bill = Bill()
        self.faults = faults if faults is not None else Faults()
        self.requests: deque[RawRequest] = deque(maxlen=keep_requests)
        self._exchange = Exchange(
            Settings(
                script=script,
                models=models,
                count=count,
                token_factor=token_factor,
                clock=clock,
                api_key=api_key,
                protocols=protocols,
            ),
            self.bill,
            self.faults,
        )
        self.desk = BatchDesk(self._exchange.process, batches or BatchRules())
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.provider = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._server.server_address[1])

    @property
    def openai_url(self) -> str:
        """`base_url` for OpenAI clients."""
        return f"{self.anthropic_url}/v1"

    @property
    def anthropic_url(self) -> str:
        """`base_url` for Anthropic clients."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections_made(self) -> int:
        """Connections that were accepted so far."""
        return self._server.connections_made

    @property
    def refusals(self) -> Counter[int]:
        """Error responses so far, by status."""
        return Counter(self._exchange.refusals)

    @property
    def errors(self) -> list[Exception]:
        """What scripts and the server itself raised."""
        return [*self._exchange.errors, *self._server.errors]

    def start(self) -> Self:
        """Starts to serve."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends all connections, also those that hang, and the server."""
        self._server.stopping.set()
        self._server.shutdown()
        self._server.end_connections()
        self.wait_idle()
        self._server.server_close()
        self._thread.join()

    def hurry(self) -> None:
        """From now on, and for what is in work, nothing is delayed."""
        self._server.stopping.set()

    def wait_idle(self, timeout_seconds: float = 5.0) -> bool:
        """Waits until no request is in work, so that `bill` is final; False if it took too long."""
        return self._server.wait_idle(timeout_seconds)

    def answer(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> Transmission:
        """The response to a request, which is kept in `requests`."""
        path, _, query = path.partition("?")
        if path.startswith(_BATCH_PATHS):
            return self._batch(method, path, dict(parse_qsl(query)), headers, raw)
        if method == "POST":
            shown = {name: text for name, text in headers.items() if name not in _SECRET_HEADERS}
            text = raw.decode(errors="replace")
            self.requests.append(RawRequest(method=method, path=path, headers=shown, body=text))
            return self._exchange.post(path, headers, raw)
        if path == "/v1/models":
            return self._exchange.models(headers)
        if path == "/__bill":
            return send_json({**self.bill.to_dict(), "faults": dict(self.faults.counts)})
        if path == "/__requests":
            return send_json({"requests": [asdict(request) for request in list(self.requests)]})
        return send_json({"error": {"message": f"Invalid URL ({method} {path})"}}, status=404)

    def _batch(
        self, method: str, path: str, query: dict[str, str], headers: dict[str, str], raw: bytes
    ) -> Transmission:
        anthropic = path.startswith("/v1/messages")
        protocol: Protocol = "anthropic" if anthropic else "openai"
        try:
            self._exchange.check_key(protocol, headers)
            if anthropic:
                url = self.anthropic_url
                return batches_anthropic.handle(self.desk, method, path, query, raw, url)
            return batches_openai.handle(self.desk, method, path, query, headers, raw)
        except Refusal as refusal:
            return refuse(refusal, protocol, "batch")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if error is None and self.errors:
            raise self.errors[0]


class _Server(ThreadingHTTPServer):
    """Knows its connections and how many requests are in work."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 512
    allow_reuse_address = True
    provider: ScriptedProvider

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.stopping = threading.Event()
        self.errors: list[Exception] = []
        self._idle = threading.Condition()
        self._in_work = 0
        self.connections_made = 0
        self._connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def enter(self, connection: socket.socket) -> None:
        """Notes a new connection."""
        with self._idle:
            self.connections_made += 1
            self._connections.add(connection)

    def leave(self, connection: socket.socket) -> None:
        """Forgets a connection."""
        with self._idle:
            self._connections.discard(connection)

    def work(self, more: int) -> None:
        """Notes that a request has begun (1) or ended (-1)."""
        with self._idle:
            self._in_work += more
            self._idle.notify_all()

    def wait_idle(self, timeout_seconds: float) -> bool:
        """Waits until no request is in work."""
        with self._idle:
            return self._idle.wait_for(lambda: self._in_work == 0, timeout_seconds)

    def end_connections(self) -> None:
        """Wakes every thread that reads or writes."""
        with self._idle:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - inherited
        """Keeps an error of the server for its owner, except that a client has gone."""
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    """One connection: reads requests and writes transmissions."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]  # narrowed on purpose

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        super().setup()
        self.server.enter(self.connection)

    def finish(self) -> None:
        self.server.leave(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def version_string(self) -> str:
        return "scripted-provider"

    def _handle(self, method: str) -> None:
        self.server.work(1)
        try:
            length = int(self.headers.get("content-length") or 0)
            in_batch = self.path.startswith(_BATCH_PATHS)
            if length > (_MOST_BATCH_BYTES if in_batch else MOST_BODY_BYTES):
                self.close_connection = True
                error = {"type": "request_too_large", "message": "Request exceeds the maximum size"}
                self._send(send_json({"type": "error", "error": error}, status=413))
                return
            raw = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._send(self.server.provider.answer(method, self.path, headers, raw))
        finally:
            self.server.work(-1)

    def _send(self, sent: Transmission) -> None:
        if sent.delay_seconds:
            self.server.stopping.wait(sent.delay_seconds)
        sent.begin()
        try:
            if sent.parts:
                self._write_head(sent)
                self._write_parts(sent)
            self._end(sent)
        except OSError:
            self.close_connection = True
            if sent.billed_id is not None:
                self.server.provider.bill.mark_undelivered(sent.billed_id)

    def _write_head(self, sent: Transmission) -> None:
        self.send_response(sent.status)
        for name, value in sent.headers.items():
            self.send_header(name, value)
        if sent.declared_length is None:
            self.send_header("transfer-encoding", "chunked")
        else:
            self.send_header("content-length", str(sent.declared_length))
        if sent.ending != "complete":
            self.close_connection = True
        self.end_headers()

    def _write_parts(self, sent: Transmission) -> None:
        for number, part in enumerate(sent.parts):
            if number and sent.pause_seconds:
                self.server.stopping.wait(sent.pause_seconds)
            chunked = sent.declared_length is None
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
        if sent.declared_length is None and sent.ending == "complete":
            self.wfile.write(b"0\r\n\r\n")

    def _end(self, sent: Transmission) -> None:
        if sent.ending == "complete":
            return
        self.close_connection = True
        if sent.ending == "hang":
            self._await_departure()
        if sent.ending == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.rfile.close()
            self.connection.close()

    def _await_departure(self) -> None:
        """Blocks until the client closes or the server stops."""
        try:
            self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return
