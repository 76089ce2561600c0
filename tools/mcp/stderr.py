"""What a server's program writes beside its protocol: read away, and its end kept for an error."""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import IO

_KEPT_CHUNKS = 8
_CHUNK_BYTES = 512


class ErrorOutput:
    """A pipe that never fills up; `last` is the end of what came through it.

    `has_ended` once everyone who could write to it has gone: the program is dead.
    """

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.target: IO[str] = os.fdopen(writing, "w")
        self.has_ended = False
        self._kept: deque[bytes] = deque(maxlen=_KEPT_CHUNKS)
        threading.Thread(
            target=self._read, args=(reading,), name="agentkit-mcp-stderr", daemon=True
        ).start()

    def handed_over(self) -> None:
        """Closes our end, so that reading ends with the program."""
        self.target.close()

    def last(self, most_chars: int) -> str:
        """The end of what was written so far."""
        return b"".join(self._kept).decode(errors="replace").strip()[-most_chars:]

    def _read(self, reading: int) -> None:
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            while chunk := pipe.read(_CHUNK_BYTES):
                self._kept.append(chunk)
        self.has_ended = True
