"""Which tools a task may run: decided by the user's code alone, never by what a text says."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, cast

from agentkit.tools.errors import InvalidPermissions

if TYPE_CHECKING:
    from agentkit.tools.catalogue import ToolCatalogue, ToolSpec

Permission = Literal["allow", "ask", "deny"]

_MOST_NAMED = 5
_log = logging.getLogger("agentkit")
_STRICTEST_FIRST: tuple[Permission, ...] = ("deny", "ask", "allow")
_VALUES: dict[str, tuple[str, ...] | None] = {
    "side_effect": ("read", "write", "spend"),
    "cost": ("free", "low", "high"),
    "tag": None,
    "group": None,
}


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """What is granted, what a person is asked about first, what is denied.

    An entry is a tool's name, a pattern of names (`files__*`), or what a tool is:
    `side_effect:write`, `cost:high`, `tag:payments`, `group:files`. A name goes before patterns and
    kinds; among equals the strictest counts. What no entry fits may run if it only reads: `write`
    and `spend` are denied until granted.

    >>> permissions = Permissions(grant=["add_note"], ask=["side_effect:write"])

    Raises InvalidPermissions where an entry cannot be meant.
    """

    grant: Iterable[str] = ()
    ask: Iterable[str] = ()
    deny: Iterable[str] = ()
    _rules: tuple[tuple[Permission, _Entry], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given: dict[Permission, Iterable[str]] = {
            "allow": self.grant,
            "ask": self.ask,
            "deny": self.deny,
        }
        rules: list[tuple[Permission, _Entry]] = []
        for permission in _STRICTEST_FIRST:
            entries = given[permission]
            texts = (entries,) if isinstance(entries, str) else tuple(entries)
            rules.extend((permission, _entry_of(text)) for text in texts)
            object.__setattr__(self, "grant" if permission == "allow" else permission, texts)
        rules.sort(key=lambda rule: not rule[1].is_name)  # stable: the strictest stay first
        object.__setattr__(self, "_rules", tuple(rules))

    def of(self, spec: ToolSpec) -> Permission:
        """Whether the tool may run, needs a person's yes, or may not run."""
        for permission, entry in self._rules:
            if entry.fits(spec):
                return permission
        return "allow" if spec.side_effect == "read" else "deny"

    def decides(self, spec: ToolSpec) -> bool:
        """Whether an entry fits the tool, so that its permission is not the default."""
        return any(entry.fits(spec) for _, entry in self._rules)

    def check_names(self, known: Iterable[str]) -> None:
        """Raises InvalidPermissions where an entry names a tool that is not among `known`.

        A name with a slip of the pen would deny or grant nothing, in silence.
        """
        names = list(known)
        for item in fields(self):
            if not item.init:
                continue
            for text in cast("tuple[str, ...]", getattr(self, item.name)):
                if _entry_of(text).is_name and text not in names:
                    close = difflib.get_close_matches(text, names, n=1)
                    hint = f"did you mean {close[0]!r}?" if close else f"{len(names)} are known"
                    raise InvalidPermissions(
                        f"{item.name}={text!r} names no tool of the catalogue ({hint}); for tools "
                        f"that may come later write a pattern, like {text + '*'!r}"
                    )


def withheld_tools(catalogue: ToolCatalogue, permissions: Permissions) -> frozenset[str]:
    """The tools that are not offered; those of them that nobody decided on are logged."""
    permissions.check_names(catalogue.names)
    denied = [spec for spec in catalogue if permissions.of(spec) == "deny"]
    silent = [spec.name for spec in denied if not permissions.decides(spec)]
    if silent:
        more = f" and {len(silent) - _MOST_NAMED} more" if len(silent) > _MOST_NAMED else ""
        _log.warning(
            "not offered, for they write or spend and nothing grants them: %s%s; use "
            "Agent(permissions=Permissions(grant=[...])), ask=[...] or deny=[...]; on the command "
            "line --grant or --ask",
            ", ".join(silent[:_MOST_NAMED]),
            more,
        )
    return frozenset(spec.name for spec in denied)


@dataclass(frozen=True)
class _Entry:
    kind: str  # "name", "pattern", or a key of _VALUES
    value: str

    @property
    def is_name(self) -> bool:
        return self.kind == "name"

    def fits(self, spec: ToolSpec) -> bool:
        match self.kind:
            case "name":
                return spec.name == self.value
            case "pattern":
                return fnmatchcase(spec.name, self.value)
            case "side_effect":
                return spec.side_effect == self.value
            case "cost":
                return spec.cost == self.value
            case "group":
                return spec.group == self.value
            case _:
                return self.value in spec.tags


def _entry_of(text: object) -> _Entry:
    if not isinstance(text, str) or not text.strip():
        raise InvalidPermissions(f"{text!r} is no permission; write a tool's name, like 'refund'")
    kind, colon, value = text.partition(":")
    if not colon:
        return _Entry("pattern" if any(mark in text for mark in "*?[") else "name", text)
    if kind not in _VALUES:
        raise InvalidPermissions(
            f"{text!r} is no permission: there is no {kind!r}; write {', '.join(_examples())}"
        )
    allowed = _VALUES[kind]
    if not value or (allowed is not None and value not in allowed):
        raise InvalidPermissions(f"{text!r} is no permission; write {', '.join(_examples(kind))}")
    return _Entry(kind, value)


def _examples(only: str | None = None) -> Iterator[str]:
    for kind, values in _VALUES.items():
        if only is None or kind == only:
            yield from (f"'{kind}:{value}'" for value in values or ("NAME",))
