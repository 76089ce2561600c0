"""Tools in a process of their own, which a timeout really ends.

A child imports the function by its name, runs calls one after the other, and sends back text that
it has bounded itself: nothing is unpickled here. Idle children are kept for the next call.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from langchain_core.tools import BaseTool, StructuredTool

from agentkit.tools.errors import InvalidTool

if TYPE_CHECKING:
    from agentkit.tools.catalogue import ToolSpec

_MOST_IDLE = 4
_ESCAPED_BYTES = 6  # of one byte of text in JSON, at most
_SPARE_BYTES = 8_192


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Where a function is, for another process: its module and its name there."""

    module: str
    name: str


def reference_of(spec: ToolSpec) -> Reference:
    """How a child finds the tool's function; raises InvalidTool where it cannot."""
    tool = spec.tool
    function: object = tool
    if isinstance(tool, StructuredTool):
        function = tool.func or tool.coroutine
    module = str(getattr(function, "__module__", ""))
    name = str(getattr(function, "__qualname__", ""))
    why = ""
    if spec.injected.names:
        why = "it takes injected arguments, which stay in this process"
    elif module == "__main__":
        why = "it is defined in the program itself, which another process would run again"
    else:
        found = _found(sys.modules.get(module), name)
        inner = found.func or found.coroutine if isinstance(found, StructuredTool) else found
        if found is None or inner is not function:
            why = f"there is no {name!r} in the module {module!r}"
    if why:
        raise InvalidTool(
            f"tool {spec.name!r} cannot be isolated: {why}; put a plain function into a module",
            tool=spec.name,
        )
    return Reference(module=module, name=name)


def tool_at(reference: Reference) -> BaseTool | object:
    """What the reference names, imported here. Raises ImportError or AttributeError."""
    import importlib

    found: object = importlib.import_module(reference.module)
    for part in reference.name.split("."):
        found = getattr(found, part)
    return found


class ChildEnded(RuntimeError):
    """The process of an isolated tool ended before it had answered."""


class Child:
    """One process; `kill` may come from any thread while `call` waits."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._lock = threading.Lock()

    def call(
        self, reference: Reference, name: str, arguments: Mapping[str, object], max_bytes: int
    ) -> tuple[str, bool]:
        """The bounded text of the result, and whether it is an error; raises ChildEnded."""
        process = self._running()
        request = {
            "module": reference.module,
            "function": reference.name,
            "name": name,
            "arguments": arguments,
            "max_bytes": max_bytes,
            "path": sys.path,
        }
        line = b""
        with contextlib.suppress(OSError, ValueError):
            assert process.stdin is not None and process.stdout is not None  # noqa: S101  pipes
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline(max_bytes * _ESCAPED_BYTES + _SPARE_BYTES)
        if not line.endswith(b"\n"):
            self._end()
            status = process.wait()
            raise ChildEnded(f"the tool's process ended by itself (status {status})")
        reply = cast("dict[str, object]", json.loads(line))
        return str(reply["text"]), reply["is_error"] is True

    def kill(self) -> None:
        """Ends the process and those that it has started; the child cannot be used again."""
        with self._lock:
            self._killed = True
        self._end()

    @property
    def is_usable(self) -> bool:
        """Whether another call may be made."""
        return not self._killed and self._process is not None and self._process.poll() is None

    def _running(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._killed:
                raise ChildEnded("the tool's process was ended")
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "agentkit.tools.isolated"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,
                )
            return self._process

    def _end(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()

    def close(self) -> None:
        """Ends an idle process and its pipes."""
        self._end()
        if self._process is not None:
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()


class Children:
    """Idle children, for calls to borrow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Child] = []

    def borrow(self) -> Child:
        """An idle child or a new one."""
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.is_usable:
                    return child
                child.close()
        return Child()

    def give_back(self, child: Child) -> None:
        """Keeps a child for the next call, or ends it where there are enough."""
        with self._lock:
            if child.is_usable and len(self._idle) < _MOST_IDLE:
                self._idle.append(child)
                return
        child.close()

    def close(self) -> None:
        """Ends all idle children."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.close()


def _found(module: object, name: str) -> object:
    found: object = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found
