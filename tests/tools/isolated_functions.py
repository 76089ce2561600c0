"""Functions for the tests of isolation, importable by another process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from datetime import date

from langchain_core.tools import tool


def double(number: int, day: date | None = None) -> str:
    """Double a number; typed arguments arrive as what they say."""
    print("this goes nowhere near the protocol")
    return f"{number * 2} {day.year if day else ''}".strip()


async def later(text: str) -> dict[str, object]:
    """An async function."""
    await asyncio.sleep(0)
    return {"text": text, "pid": os.getpid()}


@tool
def decorated(text: str) -> str:
    """A LangChain tool."""
    return text.upper()


def hang(file: str) -> None:
    """Write the ids of this process and of a child of it, then hang in both."""
    inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(f"{file}.part", "w") as stream:
        stream.write(f"{os.getpid()} {inner.pid}")
    os.replace(f"{file}.part", file)
    while True:
        time.sleep(0.01)


def fail() -> None:
    """Fail."""
    raise ValueError("no such order")


def leave() -> None:
    """End the process."""
    os._exit(7)


def leave_politely() -> None:
    """Ask for the end of the process."""
    raise SystemExit(3)


def huge() -> str:
    """Fifty megabytes."""
    return "x" * 50_000_000


def read_input() -> str:
    """Read what belongs to the protocol."""
    return repr(sys.stdin.read())
