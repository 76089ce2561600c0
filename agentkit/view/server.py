"""The page's server: loopback only, read only, and nothing without the token in its address.

A page of another site can make a browser ask a server on this machine, so besides the token the
Host must be this one (against names that are made to resolve here) and an Origin, where there is
one, too.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from agentkit.view.book import CostBook
from agentkit.view.markup import served_page
from agentkit.view.story import TaskStories

_HTML, _JSON = "text/html; charset=utf-8", "application/json; charset=utf-8"
_COLUMNS = "application/octet-stream"
_ALWAYS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a request gets."""

    status: HTTPStatus
    body: bytes = b""
    kind: str = _JSON
    policy: str = "default-src 'none'; frame-ancestors 'none'"


class PageServer(ThreadingHTTPServer):
    """Serves one ledger's page on 127.0.0.1 until `shutdown`; `url` has the token.

    `port` 0 takes any free one. Raises OSError where the port is taken.
    """

    daemon_threads = True
    allow_reuse_address = False

    def __init__(self, book: CostBook, stories: TaskStories, *, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.book = book
        self.stories = stories
        self.token = secrets.token_urlsafe(24)
        number = self.server_address[1]
        self.hosts = {f"127.0.0.1:{number}", f"localhost:{number}"}
        self.url = f"http://127.0.0.1:{number}/?token={self.token}"

    def answer(self, path: str, query: Mapping[str, list[str]]) -> Answer:
        """What `path` gives to somebody who may see it."""
        routes: Mapping[str, Callable[[Mapping[str, list[str]]], Answer]] = {
            "/": self._page,
            "/api/book": self._book,
            "/api/task": self._task,
        }
        route = routes.get(path)
        return (
            _refusal(HTTPStatus.NOT_FOUND, "there is nothing here")
            if route is None
            else route(query)
        )

    def _page(self, _: Mapping[str, list[str]]) -> Answer:
        text, policy = served_page(secrets.token_urlsafe(18))
        return Answer(status=HTTPStatus.OK, body=text.encode(), kind=_HTML, policy=policy)

    def _book(self, query: Mapping[str, list[str]]) -> Answer:
        since = query.get("since", ["0"])[0]
        found = self.book.packed(int(since) if since.isdecimal() and len(since) < 12 else 0)
        if found is None:
            return Answer(status=HTTPStatus.NO_CONTENT)
        return Answer(status=HTTPStatus.OK, body=found, kind=_COLUMNS)

    def _task(self, query: Mapping[str, list[str]]) -> Answer:
        task_id = query.get("id", [""])[0]
        found = self.stories.of(task_id)
        if found is None:
            return _refusal(
                HTTPStatus.NOT_FOUND, f"there is no task {task_id[:80]!r} in this ledger"
            )
        return Answer(
            status=HTTPStatus.OK,
            body=json.dumps(found, ensure_ascii=False).encode(errors="replace"),
        )


class _Handler(BaseHTTPRequestHandler):
    server_version = "agentkit"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        self._send(self._answer())

    def do_HEAD(self) -> None:
        self._send(self._answer())

    @property
    def _owner(self) -> PageServer:
        assert isinstance(self.server, PageServer)  # noqa: S101  for the type checker
        return self.server

    def _answer(self) -> Answer:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if not self._is_from_here():
            return _refusal(HTTPStatus.FORBIDDEN, "this page answers its own address alone")
        given = query.get("token", [""])[0]
        if not hmac.compare_digest(given.encode(), self._owner.token.encode()):
            return _refusal(HTTPStatus.FORBIDDEN, "open the address that agentkit view printed")
        return self._owner.answer(parts.path, query)

    def _is_from_here(self) -> bool:
        """True for this server's own name, asked by no other site."""
        host = self.headers.get("Host", "")
        origin = self.headers.get("Origin")
        site = self.headers.get("Sec-Fetch-Site", "none")
        return (
            host in self._owner.hosts
            and (origin is None or origin == f"http://{host}")
            and (site in ("none", "same-origin") or self._is_a_click(site))
        )

    def _is_a_click(self, site: str) -> bool:
        """True where a person followed a link to the page itself; it still needs the token."""
        mode = self.headers.get("Sec-Fetch-Mode", "")
        return site in ("cross-site", "same-site") and mode == "navigate"

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in _ALWAYS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", answer.policy)
        if answer.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a line a poll helps nobody, and the address holds the token."""


def _refusal(status: HTTPStatus, text: str) -> Answer:
    return Answer(status=status, body=json.dumps({"error": text}).encode())
