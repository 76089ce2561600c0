"""What goes to the terminal: answers, tables, errors. Text of a model never steers it."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_WIDTH_IN_FILES = 120
_STEERING = frozenset(chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A)))


def printable(text: str) -> str:
    """`text` with whatever could move the cursor, hide or reorder text written out as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _is_plain(c) else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str, *, most_chars: int = 200) -> str:
    """`text` in one printable line."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= most_chars else line[: most_chars - 1] + "…"


def cell(text: str) -> Text:
    """`text` for a table or a line of rich: printable, and without markup."""
    from rich.text import Text

    return Text(printable(text))


def say(text: str) -> None:
    """An answer on stdout: as it is for a pipe or a file, printable on a terminal."""
    _write(sys.stdout, printable(text) if sys.stdout.isatty() else text)


def note(text: str) -> None:
    """A line for the person on stderr."""
    _write(sys.stderr, printable(text))


def emit(data: Mapping[str, object] | Sequence[object]) -> None:
    """One JSON value on stdout."""
    _write(sys.stdout, json.dumps(data, indent=2, default=str))


def console() -> Console:
    """Rich on stdout, without markup: text of models is never interpreted."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDTH_IN_FILES
    return Console(markup=False, highlight=False, emoji=False, width=width)


def error_console() -> Console:
    """Rich on stderr, without markup."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, emoji=False)


def _is_plain(character: str) -> bool:
    if character in "\n\t":
        return True
    return unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp") and (
        character not in _STEERING
    )


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()
