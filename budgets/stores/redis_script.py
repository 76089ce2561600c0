"""The ledger's Lua scripts: their sources, and requests to run them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import cache, lru_cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, Literal, NamedTuple, TypeVar

Verb = Literal[
    "reserve", "accounts", "settle", "release", "renew", "expire", "scope", "drop", "turn",
    "examine", "replay", "reopen", "nothing",
]  # fmt: skip
Argument = str | bytes | int | float

_PARTS: dict[str, tuple[str, ...]] = {
    "settle": ("finish",),
    "release": ("finish",),
    "expire": ("finish",),
    "turn": ("turning",),
    "scope": ("turning", "run"),
    "examine": ("run",),
    "reopen": ("run",),
}
_PREFIX = "agentkit:ledger:{%s}:"
ORGS = "agentkit:ledger:orgs"
"""Every org that has scopes or tasks."""
FORMER = "agentkit:orgs"
"""Where ledgers were listed before their numbers became integers: no script reads those."""
OPENED = "agentkit:ledger:opened"
"""Every org whose ledger was begun: where it is gone, it was lost."""


class Script(NamedTuple):
    """Run the script of a verb in an org."""

    verb: Verb
    org: str
    arguments: Sequence[Argument]


class Commands(NamedTuple):
    """Carry out plain commands in one round trip; the answer is a list."""

    commands: Sequence[Sequence[Argument]]


T = TypeVar("T")
Steps = Generator[Script | Commands, Any, T]
"""What a verb asks of the server, one request after the other; it is sent each answer."""

TROUBLE = b"TROUBLE"
"""The script did nothing: the server may know less than its caller."""


def key(org: str, *parts: str) -> str:
    """A key of `org`: all of them share its slot in a cluster."""
    return _PREFIX % org + ":".join(parts)


def one(*command: Argument) -> Steps[Any]:
    """The answer of one plain command."""
    answers = yield Commands((command,))
    return answers[0]


@lru_cache(maxsize=4096)
def org_key(org: str) -> str:
    """What all keys of `org` begin with: the one key that a script is given."""
    return _PREFIX % org


@cache
def source(verb: Verb) -> str:
    """The script of a verb."""
    if verb == "nothing":
        return "return 'NOTHING'"
    folder = files("agentkit.budgets.stores").joinpath("lua")
    names = ("prelude", *_PARTS.get(verb, ()), verb)
    return "".join(folder.joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in names)


@cache
def digest(verb: Verb) -> str:
    """How Redis names the script of a verb."""
    return sha1(source(verb).encode(), usedforsecurity=False).hexdigest()
