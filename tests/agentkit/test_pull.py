"""Pulling models from a hub: a real HTTP server on loopback stands in for it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agentkit.models.local import ModelFileInvalid, ModelFileMissing, local_model
from agentkit.models.pull import ChecksumMismatch, HubFile, PullFailed, pull, pulled
from tests.gguf_factory import random_model

NAME = "hf:someone/tiny-GGUF/tiny.gguf"
PATH = "/someone/tiny-GGUF/resolve/main/tiny.gguf"


@dataclass
class Hub:
    """What the server has and how it misbehaves."""

    content: bytes = b""
    sha256: str = ""
    cut_after: int | None = None
    cuts_left: int = 0
    status: int = 200
    redirect_to: str | None = None
    ignores_range: bool = False
    requests: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def model_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return random_model(tmp_path_factory.mktemp("hub") / "tiny.gguf").read_bytes()


@pytest.fixture
def hub(model_bytes: bytes) -> Iterator[Hub]:
    hub = Hub(content=model_bytes, sha256=hashlib.sha256(model_bytes).hexdigest())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.requests.append(
                {"path": self.path, **{k.lower(): v for k, v in self.headers.items()}}
            )
            if hub.redirect_to is not None and self.path == PATH:
                self.send_response(302)
                self.send_header("Location", hub.redirect_to)
                self.send_header("X-Linked-Etag", f'"{hub.sha256}"')
                self.end_headers()
                return
            if hub.status != 200:
                self.send_response(hub.status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._send_content()

        def _send_content(self) -> None:
            asked = self.headers.get("Range", "")
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            if hub.ignores_range:
                start = 0
            if start and start >= len(hub.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(hub.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = hub.content[start:]
            self.send_response(206 if start else 200)
            if start:
                last = len(hub.content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(hub.content)}")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Linked-Etag", f'"{hub.sha256}"')
            self.end_headers()
            if hub.cut_after is not None and hub.cuts_left > 0:
                hub.cuts_left -= 1
                self.wfile.write(body[: hub.cut_after])
                self.wfile.flush()
                self.connection.close()
                return
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # cut connections are meant
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_model_is_downloaded_checked_and_kept_with_its_sha256(hub: Hub, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = pull(
        NAME, folder=tmp_path, endpoint=hub.endpoint, progress=lambda *now: seen.append(now)
    )
    assert path.read_bytes() == hub.content
    assert path.with_name("tiny.gguf.sha256").read_text().split()[0] == hub.sha256
    assert seen[-1] == (len(hub.content), len(hub.content))
    assert not path.with_name("tiny.gguf.partial").exists()


def test_a_model_that_is_there_is_not_asked_for_again(hub: Hub, tmp_path: Path) -> None:
    first = pull(NAME, folder=tmp_path, endpoint=hub.endpoint)
    asked = len(hub.requests)
    assert pull(NAME, folder=tmp_path, endpoint=hub.endpoint) == first
    assert len(hub.requests) == asked
    assert pulled(NAME, folder=tmp_path) == first


def test_a_cut_connection_goes_on_where_it_ended(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after, hub.cuts_left = 100_000, 2
    path = pull(NAME, folder=tmp_path, endpoint=hub.endpoint)
    assert path.read_bytes() == hub.content
    starts = [request.get("range") for request in hub.requests]
    assert starts[0] is None
    assert all(start is not None for start in starts[1:])
    assert len(starts) == 3


def test_a_later_pull_resumes_what_an_earlier_one_left(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after, hub.cuts_left = 50_000, 99
    with pytest.raises(PullFailed, match="what arrived is kept"):
        pull(NAME, folder=tmp_path, endpoint=hub.endpoint)
    partial = tmp_path / "someone" / "tiny-GGUF" / "tiny.gguf.partial"
    left = partial.stat().st_size
    assert left > 0
    hub.cut_after, hub.requests = None, []
    pull(NAME, folder=tmp_path, endpoint=hub.endpoint)
    assert hub.requests[0]["range"] == f"bytes={left}-"


def test_a_complete_partial_file_needs_no_bytes(hub: Hub, tmp_path: Path) -> None:
    place = HubFile.parse(NAME).place(tmp_path)
    place.parent.mkdir(parents=True)
    place.with_name("tiny.gguf.partial").write_bytes(hub.content)
    assert pull(NAME, folder=tmp_path, endpoint=hub.endpoint).read_bytes() == hub.content


def test_a_server_without_ranges_is_read_from_the_start(hub: Hub, tmp_path: Path) -> None:
    place = HubFile.parse(NAME).place(tmp_path)
    place.parent.mkdir(parents=True)
    place.with_name("tiny.gguf.partial").write_bytes(b"x" * 1000)
    hub.ignores_range = True
    assert pull(NAME, folder=tmp_path, endpoint=hub.endpoint).read_bytes() == hub.content


def test_a_wrong_sha256_is_refused_and_deleted(hub: Hub, tmp_path: Path) -> None:
    hub.sha256 = "0" * 64
    with pytest.raises(ChecksumMismatch, match="pull again"):
        pull(NAME, folder=tmp_path, endpoint=hub.endpoint)
    assert pulled(NAME, folder=tmp_path) is None
    assert not list(tmp_path.rglob("*.partial"))


def test_a_download_that_is_no_model_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.content = b"<html>not a model</html>" * 10
    hub.sha256 = hashlib.sha256(hub.content).hexdigest()
    with pytest.raises(ModelFileInvalid, match="not a GGUF file"):
        pull(NAME, folder=tmp_path, endpoint=hub.endpoint)
    assert pulled(NAME, folder=tmp_path) is None


def test_a_token_goes_to_the_hub(hub: Hub, tmp_path: Path) -> None:
    pull(NAME, folder=tmp_path, endpoint=hub.endpoint, token="secret")
    assert hub.requests[0]["authorization"] == "Bearer secret"


def test_a_token_does_not_follow_a_redirect_to_another_host(hub: Hub, tmp_path: Path) -> None:
    hub.redirect_to = f"http://localhost:{hub.port}/elsewhere"
    pull(NAME, folder=tmp_path, endpoint=hub.endpoint, token="secret")
    assert "authorization" not in hub.requests[-1]
    assert hub.requests[-1]["path"] == "/elsewhere"


def test_a_redirect_away_from_https_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.redirect_to = "http://example.com/tiny.gguf"
    with pytest.raises(PullFailed, match="only downloaded over https"):
        pull(NAME, folder=tmp_path, endpoint=hub.endpoint)


def test_plain_http_to_another_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PullFailed, match="only downloaded over https"):
        pull(NAME, folder=tmp_path, endpoint="http://example.com")


@pytest.mark.parametrize(("status", "told"), [(404, "file name"), (401, "token"), (403, "token")])
def test_a_refusal_says_what_to_do(hub: Hub, tmp_path: Path, status: int, told: str) -> None:
    hub.status = status
    with pytest.raises(PullFailed, match=told):
        pull(NAME, folder=tmp_path, endpoint=hub.endpoint)
    assert len(hub.requests) == 1


def test_no_network_says_how_to_go_on_by_hand(tmp_path: Path) -> None:
    with pytest.raises(PullFailed, match=r"cannot be reached.*local:/PATH"):
        pull(NAME, folder=tmp_path, endpoint="http://127.0.0.1:9", timeout_seconds=1)


@pytest.mark.parametrize(
    "name",
    [
        "hf:a/b", "hf:a/b/../../x.gguf", "hf:../b/x.gguf", "hf:a/b/x.bin", "hf:a//x.gguf",
        "hf:a/b/.hidden.gguf", "hf:a/b/x y.gguf", "hf:a/b/x\n.gguf", "hf:a\\..\\b/c/x.gguf",
    ],
)  # fmt: skip
def test_a_name_that_could_leave_the_folder_is_refused(name: str) -> None:
    with pytest.raises(PullFailed, match="names no model file"):
        HubFile.parse(name)


def test_a_model_not_pulled_yet_names_the_command() -> None:
    with pytest.raises(ModelFileMissing, match=r"agentkit models pull hf:nobody/none/x\.gguf"):
        local_model("hf:nobody/none/x.gguf")
