"""A provider on loopback that bills what it serves: the truth that a ledger is held against.

It runs as a process of its own, so that no ledger and no crash can reach its counts. One request is
one line of JSON; the answer too. Every call is billed before it is answered, whatever becomes of
the answer. One token costs one nano-USD.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

INPUT_TOKENS = 20
_CUT, _REFUSED, _SLOW = 0.01, 0.02, 0.005
_SLOW_SECONDS = 0.45


class Refused(Exception):
    """The provider took the request back unserved, and bills nothing."""


class Cut(Exception):
    """The connection ended without an answer; the provider may have billed."""


class Provider:
    """The server process, as the parent of a chaos run sees it."""

    def __init__(self, seed: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._process.stdout is None:
            raise RuntimeError("the provider has no output")
        self.port = int(self._process.stdout.readline())

    def billed(self, run: str) -> dict[str, int]:
        """Nano-USD that each call of `run` was billed."""
        client = Client(self.port)
        found: dict[str, int] = client.ask({"billed": run})
        client.close()
        return found

    def close(self) -> None:
        """End the server."""
        self._process.communicate()


class Client:
    """A worker's connection to the provider; not shared between threads."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._lines: Any = None

    def serve(self, run: str, call_id: str, max_output_tokens: int) -> int:
        """Output tokens of one call; raises Refused or Cut."""
        answer = self.ask({"run": run, "call": call_id, "max_output_tokens": max_output_tokens})
        if answer is None:
            raise Refused
        tokens: int = answer
        return tokens

    def ask(self, request: dict[str, object]) -> Any:
        """The answer to one line; raises Cut."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=10)
                self._lines = self._socket.makefile()
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            line = self._lines.readline()
        except OSError:
            line = ""
        if not line:
            self.close()
            raise Cut
        return json.loads(line)

    def close(self) -> None:
        """Let go of the connection."""
        if self._socket is not None:
            self._lines.close()
            self._socket.close()
            self._socket = None


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.random = random.Random(seed)
        self.runs: dict[str, dict[str, int]] = {}


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        if not isinstance(server, _Server):
            return
        with contextlib.suppress(ConnectionError):  # its worker was killed
            while line := self.rfile.readline():
                request = json.loads(line)
                with server.lock:
                    answered, answer = _answer(server, request)
                    slow = "call" in request and server.random.random() < _SLOW
                if slow:
                    time.sleep(_SLOW_SECONDS)
                if not answered:
                    return
                self.wfile.write(json.dumps(answer).encode() + b"\n")


def _answer(server: _Server, request: dict[str, Any]) -> tuple[bool, object]:
    """Whether an answer gets through, and the answer; billing comes first."""
    if "billed" in request:
        return True, server.runs.get(request["billed"], {})
    if server.random.random() < _REFUSED:
        return True, None
    tokens = server.random.randint(0, request["max_output_tokens"])
    bills = server.runs.setdefault(request["run"], {})
    bills[request["call"]] = bills.get(request["call"], 0) + INPUT_TOKENS + tokens
    return server.random.random() >= _CUT, tokens


def _main() -> None:
    """Serve until the parent closes our input, or dies."""
    with _Server(int(sys.argv[1])) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    _main()
