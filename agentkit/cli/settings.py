"""What a command works with: its flags, over the project file, over the defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.budgets.budget import Budget
from agentkit.config import Project, find_project, read_project
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.routing.rules import Rule

DEFAULT_USD = "1"
"""Limit of a run that names none and may cost money."""
DEFAULT_SCOPE = "default"
STATE_FOLDER = ".agentkit"
_SQLITE = "sqlite:///"


@dataclass(frozen=True, kw_only=True, slots=True)
class Flags:
    """The options of one command line; None or empty where they were not given."""

    config: Path | None = None
    trust_config: bool = False
    models: Sequence[str] = ()
    tools: Sequence[str] = ()
    grant: Sequence[str] = ()
    ask: Sequence[str] = ()
    system: str | None = None
    scope: str | None = None
    tags: Sequence[str] = ()
    usd: str | None = None
    tokens: int | None = None
    calls: int | None = None
    seconds: float | None = None
    ledger: str | None = None
    checkpoint: str | None = None
    cache: str | None = None
    prices: Path | None = None
    trace: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What is in force. Addresses and paths are absolute; `checkpoint` is None for none.

    `tool_folder` is where tool modules are found beside what is installed.
    """

    project: Project
    models: tuple[str, ...]
    model_arguments: Mapping[str, Mapping[str, Any]]
    tools: tuple[str, ...]
    tool_folder: Path
    grant: tuple[str, ...]
    ask: tuple[str, ...]
    system: str
    name: str
    max_steps: int
    scope: str
    tags: Mapping[str, str]
    file_limits: Mapping[str, Any]
    flag_limits: Mapping[str, Any]
    ledger: str
    checkpoint: str | None
    cache: str | None
    prices: Path | None
    trace: str | None
    trace_profile: str
    rules: tuple[Rule, ...] = ()
    learns: bool = False

    @property
    def spends_money(self) -> bool:
        """False where all models run on this machine."""
        return any(not model.startswith("local:") for model in self.models)

    def make_budget(self, recorded: Mapping[str, Any] | None = None) -> Budget:
        """The budget of a run: flags over the project file, or over what a resumed task recorded.

        Raises InvalidLimit for a limit that cannot be meant.
        """
        merged = {**(self.file_limits if recorded is None else recorded), **self.flag_limits}
        unlimited = recorded is None and all(merged.get(name) is None for name in _LIMITS)
        if unlimited and self.spends_money:
            merged["usd"] = DEFAULT_USD
        return Budget(**merged)


_LIMITS = ("usd", "tokens", "calls", "seconds")


def read_settings(flags: Flags) -> Settings:
    """The settings in force; raises ConfigError or InvalidLimit."""
    here = Path.cwd()
    project = read_project(flags.config or find_project(here), folder=here)
    agent, folder = project.agent, project.folder
    ledger = (
        anchored(flags.ledger, here)
        if flags.ledger
        else anchored(project.ledger.address or f"{_SQLITE}{STATE_FOLDER}/ledger.db", folder)
    )
    trace = _path_in(flags.trace, here) if flags.trace else _path_in(project.trace.to, folder)
    prices = flags.prices or project.prices.file
    return Settings(
        project=project,
        models=tuple(flags.models) or agent.models,
        model_arguments=project.models,
        tools=tuple(flags.tools) or agent.tools,
        tool_folder=here if flags.tools else folder,
        grant=tuple(flags.grant),  # never from the file: a repository grants itself nothing
        ask=tuple(flags.ask),
        system=agent.system if flags.system is None else flags.system,
        name=agent.name,
        max_steps=agent.max_steps,
        scope=flags.scope or project.task.scope or DEFAULT_SCOPE,
        tags={**project.task.tags, **_tags(flags.tags)},
        file_limits=project.budget.model_dump(exclude_none=True),
        flag_limits=_flag_limits(flags),
        ledger=ledger,
        checkpoint=_checkpoint(flags.checkpoint, project, ledger, here),
        cache=_cache(flags.cache, project, here),
        prices=None if prices is None else (here if flags.prices else folder) / prices,
        trace=trace,
        trace_profile=project.trace.profile,
        rules=_rules(project),
        learns=agent.route == "learned",
    )


def anchored(address: str, folder: Path) -> str:
    """`address` with the relative file of a `sqlite:///` made absolute in `folder`."""
    if not address.startswith(_SQLITE) or len(address) == len(_SQLITE):
        return address
    place, mark, options = address.removeprefix(_SQLITE).partition("?")
    return f"{_SQLITE}{folder / place}{mark}{options}"


def sqlite_file(address: str) -> Path | None:
    """The file behind a `sqlite:///` address; None for any other store."""
    if not address.startswith(_SQLITE):
        return None
    return Path(address.removeprefix(_SQLITE).partition("?")[0])


def _rules(project: Project) -> tuple[Rule, ...]:
    if not project.route:
        return ()
    from agentkit.routing.rules import read_rules

    return read_rules(project.route)


def _checkpoint(flag: str | None, project: Project, ledger: str, here: Path) -> str | None:
    """Beside the ledger by default, so that what Ctrl-C interrupts can go on."""
    if flag == "none" or (flag is None and project.checkpoint.address == "none"):
        return None
    if flag:
        return anchored(flag, here)
    if project.checkpoint.address:
        return anchored(project.checkpoint.address, project.folder)
    file = sqlite_file(ledger)
    return None if file is None else f"{_SQLITE}{file.with_suffix('.checkpoints.db')}"


def _cache(flag: str | None, project: Project, here: Path) -> str | None:
    """None unless it was asked for: an answer out of a cache is nothing to be surprised by."""
    if flag == "none":
        return None
    if flag:
        return anchored(flag, here)
    address = project.cache.address
    return None if address is None else anchored(address, project.folder)


def _flag_limits(flags: Flags) -> dict[str, Any]:
    given = {
        "usd": flags.usd,
        "tokens": flags.tokens,
        "calls": flags.calls,
        "seconds": flags.seconds,
    }
    return {key: value for key, value in given.items() if value is not None}


def _tags(tags: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for tag in tags:
        key, separator, value = tag.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"--tag {tag!r} has no '='; write it like --tag feature=refunds")
        found[key.strip()] = value.strip()
    return found


def _path_in(target: str | None, folder: Path) -> str | None:
    if target is None or target == "otlp" or "://" in target:
        return target
    return str(folder / target)
