"""OpenAPI documents as tools, against a real HTTP server on loopback."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from langchain_core.messages import ToolCall

from agentkit.tools import InvalidTool, Observation, ToolCatalogue, run_calls
from agentkit.tools.network import is_public
from agentkit.tools.openapi import OpenApi

STRING = {"type": "string"}


def _parameter(name: str, place: str = "query", **fields: Any) -> dict[str, Any]:
    return {"name": name, "in": place, "schema": STRING, **fields}


DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Shop", "version": "1"},
    "servers": [{"url": "https://shop.example/v1"}],
    "components": {
        "schemas": {
            "Order": {
                "type": "object",
                "properties": {
                    "id": {"type": "string", "nullable": True},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Order"}},
                },
                "required": ["parts"],
            }
        },
        "parameters": {"Limit": _parameter("limit", schema={"type": "integer", "maximum": 50})},
    },
    "paths": {
        "/orders/{id}": {
            "parameters": [_parameter("id", "path", required=True)],
            "get": {
                "operationId": "get_order",
                "summary": "One order.",
                "parameters": [
                    _parameter("fields", schema={"type": "array", "items": STRING}),
                    _parameter("kinds", schema={"type": "array", "items": STRING}, explode=False),
                    _parameter("filter", style="deepObject", schema={"type": "object"}),
                    {"$ref": "#/components/parameters/Limit"},
                    _parameter("X-Trace", "header"),
                    _parameter("Authorization", "header"),
                    _parameter("id", "query"),
                    _parameter("session", "cookie"),
                ],
            },
            "delete": {"operationId": "delete_order", "summary": "Delete it."},
        },
        "/orders": {
            "post": {
                "summary": "Make an order.",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Order"}}
                    },
                },
            },
            "put": {
                "operationId": "form",
                "requestBody": {
                    "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}
                },
            },
        },
        "/upload": {
            "post": {
                "operationId": "upload",
                "requestBody": {"content": {"multipart/form-data": {}}},
            }
        },
        "/odd/{name}": {"get": {"operationId": "odd", "parameters": [_parameter("name", "path")]}},
        "/broken": {"get": {"parameters": [{"$ref": "#/components/parameters/Gone"}]}},
    },
}


class Handler(BaseHTTPRequestHandler):
    """Answers with what it was sent, or as the path says."""

    server: Any

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        parts = urlsplit(self.path)
        seen = {
            "method": self.command,
            "path": parts.path,
            "query": parse_qs(parts.query),
            "headers": {key.lower(): value for key, value in self.headers.items()},
            "body": self.rfile.read(length).decode(),
        }
        self.server.seen.append(seen)
        kind, _, rest = parts.path.removeprefix("/odd/").partition("-")
        match kind:
            case "to":
                self._say(307, {"Location": self.server.targets[int(rest)]}, b"")
            case "status":
                self._say(int(rest), {"Content-Type": "text/plain"}, b"no such order")
            case "huge":
                self._say(200, {"Content-Type": "text/plain"}, b"x" * 3_000_000)
            case "binary":
                self._say(200, {"Content-Type": "image/png"}, b"\x89PNG")
            case "busy" if self.server.busy:
                self.server.busy -= 1
                self._say(503, {}, b"later")
            case _:
                said = json.dumps(seen).encode()
                self._say(200, {"Content-Type": "application/json"}, said)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815  names of http.server

    def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # a reader that had enough
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[dict[str, Any]] = []
        self.targets: list[str] = []
        self.busy = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def _api(server: Server, **fields: Any) -> OpenApi:
    return OpenApi("shop", DOCUMENT, base_url=server.url, **{"allow_private": True, **fields})


def _one(api: OpenApi, name: str, /, **args: object) -> Observation:
    call = ToolCall(name=f"shop__{name}", args=args, id="c", type="tool_call")
    (found,) = run_calls([call], ToolCatalogue(api))
    return found


def test_operations_become_tools(server: Server) -> None:
    api = _api(server)
    classes = {spec.name: spec.side_effect for spec in api}
    assert classes == {
        "shop__get_order": "read",
        "shop__delete_order": "write",
        "shop__post_orders": "write",
        "shop__form": "write",
        "shop__odd": "read",
    }
    assert "only JSON and forms" in api.left_out["POST /upload"]
    assert "leads nowhere" in api.left_out["GET /broken"]
    (order,) = (spec for spec in api if spec.name == "shop__get_order")
    assert order.schema["required"] == ["id"]
    names = ["id", "fields", "kinds", "filter", "limit", "X-Trace", "id_query", "session"]
    assert list(order.schema["properties"]) == names  # type: ignore[call-overload]


def test_arguments_find_their_places(server: Server) -> None:
    found = _one(
        _api(server),
        "get_order",
        id="W/1 ?",
        fields=["a", "b"],
        kinds=["x", "y"],
        filter={"state": "new"},
        limit="5",
        id_query="q",
        session="s 1",
        **{"X-Trace": "t"},
    )
    seen = json.loads(found.content)
    assert seen["path"] == "/orders/W%2F1%20%3F"
    assert seen["query"] == {
        "fields": ["a", "b"],
        "kinds": ["x,y"],
        "filter[state]": ["new"],
        "limit": ["5"],
        "id": ["q"],
    }
    assert (seen["headers"]["x-trace"], seen["headers"]["cookie"]) == ("t", "session=s%201")


def test_bodies_are_checked_and_sent(server: Server) -> None:
    api = _api(server)
    body = {"id": None, "parts": [{"parts": []}]}
    sent = json.loads(_one(api, "post_orders", body=body).content)
    assert json.loads(sent["body"]) == body
    bad = _one(api, "post_orders", body={"parts": [{"id": "x"}]})
    assert (bad.status, "'parts'" in bad.content) == ("invalid", True)
    form = json.loads(_one(api, "form", body={"a": "1", "b": [2, "3"]}).content)
    assert parse_qs(form["body"]) == {"a": ["1"], "b": ["2", "3"]}


@pytest.mark.parametrize("value", ["..", ".", ""])
def test_a_path_cannot_be_left(server: Server, value: str) -> None:
    found = _one(_api(server), "get_order", id=value)
    assert (found.status, "a part of the path" in found.content) == ("error", True)
    assert not server.seen


def test_a_header_cannot_be_smuggled(server: Server) -> None:
    found = _one(_api(server), "get_order", id="1", **{"X-Trace": "a\r\nX-Admin: 1"})
    assert (found.status, "line breaks" in found.content) == ("error", True)
    assert _one(_api(server), "get_order", id="1", Authorization="mine").status == "invalid"
    assert not server.seen


def test_keys_are_sent_and_not_shown(server: Server) -> None:
    api = _api(server, headers={"X-Key": "s3cret"}, parameters={"api_key": "s3cret"})
    assert "s3cret" not in json.dumps([spec.schema for spec in api])
    assert "s3cret" not in repr(api)
    failed = _one(api, "odd", name="status-404")
    assert (failed.status, failed.content) == ("error", "HTTP 404 Not Found: no such order")
    assert server.seen[-1]["headers"]["x-key"] == "s3cret"
    assert server.seen[-1]["query"] == {"api_key": ["s3cret"]}
    gone = OpenApi(
        "shop",
        DOCUMENT,
        base_url="http://127.0.0.1:9",
        allow_private=True,
        parameters={"k": "s3cret"},
        max_attempts=1,
    )
    assert "s3cret" not in _one(gone, "odd", name="x").content


def test_keys_do_not_follow_a_redirect_elsewhere(server: Server) -> None:
    with Server() as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.02,))
        thread.start()
        here, there = f"{server.url}/here", f"{other.url}/there"
        server.targets = [here, there, "ftp://x/", f"{server.url}/odd/to-3"]
        api = _api(server, headers={"X-Key": "s3cret"}, parameters={"k": "s3cret"}, max_attempts=1)
        assert json.loads(_one(api, "odd", name="to-0").content)["headers"]["x-key"] == "s3cret"
        assert _one(api, "odd", name="to-1").status == "ok"
        assert "s3cret" not in json.dumps(other.seen)
        assert "is not followed" in _one(api, "odd", name="to-2").content
        assert "redirects" in _one(api, "odd", name="to-3").content
        other.shutdown()
        thread.join()


def test_results_are_bounded_and_binary_ones_described(server: Server) -> None:
    api = _api(server, max_response_bytes=1000)
    assert "cut after 1,000 bytes" in _one(api, "odd", name="huge-").content
    assert _one(api, "odd", name="binary-").content == "<binary, image/png, 4 bytes; not shown>"


def test_a_busy_api_is_asked_again_for_reads(server: Server) -> None:
    server.busy = 2
    assert _one(_api(server), "odd", name="busy-").status == "ok"
    assert len(server.seen) == 3
    server.busy = 5
    found = _one(_api(server), "odd", name="busy-")
    assert (found.status, "HTTP 503" in found.content) == ("error", True)


# Private addresses.

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fd00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
def test_a_public_address_is_known(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"]
)
def test_a_private_address_is_refused_in_any_spelling(server: Server, host: str) -> None:
    url = f"http://{host}:{server.server_port}"
    api = OpenApi("shop", DOCUMENT, base_url=url, max_attempts=1)
    found = _one(api, "odd", name="x")
    assert found.status == "error"
    assert not server.seen


def test_a_redirect_and_a_changing_name_lead_nowhere_private(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is public when it is looked up first, and private the next time."""
    import asyncio

    looked_up: list[str] = []

    async def getaddrinfo(_: object, host: str, port: int, **__: object) -> list[Any]:
        looked_up.append(host)
        address = "93.184.216.34" if looked_up.count(host) == 1 else "127.0.0.1"
        return [(2, 1, 6, "", (address, port))]

    connected: list[str] = []

    async def handle(self: Any, request: Any) -> Any:
        import httpx

        connected.append(f"{request.url.host} for {request.headers['host']}")
        location = "http://rebind.example/next"
        return httpx.Response(302, headers={"Location": location}, request=request)

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("httpx.AsyncHTTPTransport.handle_async_request", handle)
    api = OpenApi("shop", DOCUMENT, base_url="http://rebind.example", max_attempts=1)
    found = _one(api, "odd", name="x")
    assert found.status == "error"
    assert "AddressRefused" in found.content
    assert connected == ["93.184.216.34 for rebind.example"]


# Documents.


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"swagger": "2.0"}, "not OpenAPI 3"),
        ("- yaml", "is no JSON"),
        ("[1]", "not OpenAPI 3"),
    ],
)
def test_what_is_no_document_is_refused(document: Any, message: str) -> None:
    with pytest.raises(InvalidTool, match=message):
        OpenApi("shop", document, base_url="https://shop.example")


def test_keys_need_an_address_of_the_users() -> None:
    assert len(OpenApi("shop", DOCUMENT)) == 5
    with pytest.raises(InvalidTool, match="keys go where you say"):
        OpenApi("shop", DOCUMENT, headers={"X-Key": "k"})
    with pytest.raises(InvalidTool, match="names no address"):
        OpenApi("shop", {**DOCUMENT, "servers": []})
    with pytest.raises(InvalidTool, match="http or https"):
        OpenApi("shop", DOCUMENT, base_url="https://user:pass@shop.example")


def test_thousands_of_operations_are_read(server: Server) -> None:
    operation = DOCUMENT["paths"]["/orders/{id}"]
    paths = {
        f"/p{i}/{{id}}": {"parameters": operation["parameters"], "get": {"summary": f"Get {i}."}}
        for i in range(2000)
    }
    api = OpenApi("shop", {**DOCUMENT, "paths": paths}, base_url=server.url)
    assert len(ToolCatalogue(api)) == 2000
