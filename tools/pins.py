"""Definitions of strangers' tools, pinned: one that changes is stopped until it is accepted."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from agentkit.tools.errors import InvalidPins

_VERSION = 1

Kind = Literal["new", "changed", "gone"]


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What a server says of one tool: everything that a model or a permission goes by."""

    name: str
    description: str
    schema: object
    hints: Mapping[str, object]

    @property
    def text(self) -> str:
        """As JSON that differs wherever two definitions do."""
        facts = {
            "name": self.name,
            "description": self.description,
            "schema": self.schema,
            "hints": dict(self.hints),
        }
        return json.dumps(facts, sort_keys=True, indent=1)

    @property
    def fingerprint(self) -> str:
        """A sha256 of `text`."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Change:
    """A tool that is not as it was pinned; `diff` shows how, line by line."""

    server: str
    tool: str
    kind: Kind
    diff: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Which of a server's tools may be used, and what keeps the others back."""

    usable: tuple[Definition, ...]
    changes: tuple[Change, ...]


class Pins:
    """Pinned definitions, in a file that belongs into version control, or in memory without one.

    The definitions themselves are kept, so that a change can be read; what counts is their sha256.
    """

    def __init__(self, file: Path | None = None) -> None:
        """Raises InvalidPins where the file cannot be read."""
        self.file = file
        self._servers = _read(file) if file is not None and file.exists() else {}

    def knows(self, server: str) -> bool:
        """Whether anything of this server is pinned."""
        return server in self._servers

    def verdict(self, server: str, definitions: Iterable[Definition]) -> Verdict:
        """Compares what a server says now with what is pinned; nothing is written."""
        pinned = self._servers.get(server, {})
        now = {definition.name: definition for definition in definitions}
        usable: list[Definition] = []
        changes: list[Change] = []
        for name, definition in now.items():
            text = pinned.get(name)
            if text is not None and _digest(text) == definition.fingerprint:
                usable.append(definition)
                continue
            kind: Kind = "new" if text is None else "changed"
            changes.append(_change(server, name, kind, text or "", definition.text))
        changes += (
            _change(server, name, "gone", text, "")
            for name, text in pinned.items()
            if name not in now
        )
        return Verdict(usable=tuple(usable), changes=tuple(changes))

    def accept(
        self, server: str, definitions: Iterable[Definition], *, only: Iterable[str] | None = None
    ) -> None:
        """Pins a server's definitions as they are now; with `only` those tools alone.

        Raises InvalidPins where the file cannot be written.
        """
        now = {definition.name: definition.text for definition in definitions}
        if only is None:
            self._servers[server] = now
        else:
            kept = dict(self._servers.get(server, {}))
            for name in only:
                kept.pop(name, None)
                if name in now:
                    kept[name] = now[name]
            self._servers[server] = kept
        if self.file is not None:
            _write(self.file, self._servers)


def _change(server: str, tool: str, kind: Kind, before: str, after: str) -> Change:
    lines = difflib.unified_diff(
        before.splitlines(),
        after.splitlines(),
        "pinned",
        "now",
        n=2,
        lineterm="",
    )
    return Change(server=server, tool=tool, kind=kind, diff="\n".join(lines))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(file: Path) -> dict[str, dict[str, str]]:
    try:
        data: object = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidPins(
            f"the pins in {str(file)!r} cannot be read ({type(error).__name__}); restore the file, "
            "or delete it to pin everything anew"
        ) from error
    content = cast("dict[str, object]", data if isinstance(data, dict) else {})
    servers = content.get("servers")
    if content.get("version") != _VERSION or not isinstance(servers, dict):
        raise InvalidPins(
            f"{str(file)!r} holds no pins of version {_VERSION}; restore the file, or delete it to "
            "pin everything anew"
        )
    found: dict[str, dict[str, str]] = {}
    for server, tools in cast("dict[str, object]", servers).items():
        entries = cast("dict[str, object]", tools) if isinstance(tools, dict) else {}
        # Written anew in one form, so that whoever formats the file changes nothing.
        found[server] = {
            name: json.dumps(entry, sort_keys=True, indent=1) for name, entry in entries.items()
        }
    return found


def _write(file: Path, servers: Mapping[str, Mapping[str, str]]) -> None:
    """In one step: a reader sees the old file or the new one."""
    content = {
        "version": _VERSION,
        "servers": {
            server: {name: json.loads(text) for name, text in sorted(tools.items())}
            for server, tools in sorted(servers.items())
        },
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(content, indent=1, sort_keys=True) + "\n")
        Path(name).replace(file)
    except OSError as error:
        raise InvalidPins(
            f"the pins cannot be written to {str(file)!r} ({error.strerror})"
        ) from error
