"""agentkit.toml: the settings of a project, found, read and checked once.

The file may come with somebody else's repository, so it is untrusted: it holds no keys, and what
could run code or send data elsewhere is only used once its user has allowed it (docs/cli.md).
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agentkit.errors import ConfigError

FILE_NAME = "agentkit.toml"
_LARGEST_FILE_BYTES = 1_000_000
_SECRET = re.compile(
    r"(^|_|-)(api_?key|key|secret|password|passwd|authorization|bearer|credentials?|cookie)($|_|-)"
    r"|(^|_|-)(auth|access|api|bearer|refresh|id|session|security)[_-]?token$|^token$",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(r"^\s*(sk-|bearer\s|basic\s)", re.IGNORECASE)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class AgentSection(_Section):
    """`[agent]`: what `Agent(...)` takes; models go from cheap to dear. `route` says where a task
    begins that no `[[route]]` speaks of."""

    models: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    system: str = ""
    name: str = Field(default="agent", min_length=1, max_length=100)
    max_steps: int = Field(default=500, ge=1, le=100_000)
    route: Literal["cheapest", "learned"] = "cheapest"


class CascadeSection(_Section):
    """`[cascade]`: the share of answers that have to be right, a file of one calibration, and what
    `Cascade` takes; `error_usd` is best written as text."""

    quality: float | None = Field(default=None, ge=0.5, lt=1)
    calibration: str | None = None
    error_usd: Decimal | None = Field(default=None, ge=0)
    retries: int | None = Field(default=None, ge=0, le=10)
    second_sample: bool | None = None
    hint_tokens: int | None = Field(default=None, ge=1)
    sticky_after: int | None = Field(default=None, ge=1)
    cut_babble: bool | None = None


class ProvisioningSection(_Section):
    """`[provisioning]`: what `Provisioning` takes; `limit_tokens` is one number, or one a tier."""

    core: tuple[str, ...] | None = None
    limit: int | None = Field(default=None, ge=1, le=100)
    limit_tokens: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(default=None, min_length=1)
    later: Literal["auto", "definitions", "deferred", "transcript", "never"] | None = None
    together: bool | None = None

    @field_validator("limit_tokens", mode="before")
    @classmethod
    def _one_is_all(cls, value: object) -> object:
        return cast("object", value) if isinstance(value, list | tuple) else (value,)


class TaskSection(_Section):
    """`[task]`: the scope that tasks spend under, and tags for reports."""

    scope: str | None = None
    tags: dict[str, str] = {}


class BudgetSection(_Section):
    """`[budget]`: the arguments of `Budget`; `usd` is best written as text, like "0.05"."""

    usd: Decimal | None = None
    tokens: int | None = None
    calls: int | None = None
    seconds: float | None = None
    count_cached: bool | None = None
    thresholds: tuple[float, ...] | None = None
    unknown_price: Literal["refuse", "allow"] | None = None


class AddressSection(_Section):
    """`[ledger]` and `[checkpoint]`: where they are kept, like `sqlite:///.agentkit/ledger.db`."""

    address: str | None = None


class CacheSection(_Section):
    """`[cache]`: where answers are kept, like `sqlite:///.agentkit/answers.db`, and for how long.

    `max_wrong` is the share of hits by meaning that may be wrong; without it only the same request
    hits.
    """

    address: str | None = None
    max_wrong: float | None = Field(default=None, gt=0, lt=1)
    ttl_seconds: float = Field(default=7 * 86_400.0, gt=0)


class TraceSection(_Section):
    """`[trace]`: a file of JSON lines, or `otlp`; `profile` adds one more back end's names."""

    to: str | None = None
    profile: str = "plain"


class PricesSection(_Section):
    """`[prices]`: a file of your own prices."""

    file: str | None = None


class AlertSection(_Section):
    """`[alerts.NAME]`: one rule's threshold and floor, or `off = true`."""

    threshold: float | None = Field(default=None, ge=0)
    floor: float | None = Field(default=None, ge=0)
    off: bool = False


class AlertsSection(_Section):
    """`[alerts]`: what a day may cost, where no scope has a limit for a day, and the rules."""

    day_usd: Decimal | None = Field(default=None, gt=0)
    daily_spend: AlertSection = AlertSection()
    cost_per_request: AlertSection = AlertSection()
    cache_hit_rate: AlertSection = AlertSection()
    user_concentration: AlertSection = AlertSection()
    feature_concentration: AlertSection = AlertSection()
    budget_80: AlertSection = AlertSection()
    budget_100: AlertSection = AlertSection()
    burn_rate: AlertSection = AlertSection()
    escalation_rate: AlertSection = AlertSection()
    unknown_prices: AlertSection = AlertSection()
    estimate_error: AlertSection = AlertSection()
    cost_per_resolved_task: AlertSection = AlertSection()

    def changes(self) -> Iterator[tuple[str, AlertSection]]:
        """The rules by name."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, AlertSection):
                yield name, value


class Project(_Section):
    """A project file. `folder` is where its relative paths begin; `path` is None without a file."""

    path: Path | None = None
    folder: Path
    agent: AgentSection = AgentSection()
    cascade: CascadeSection = CascadeSection()
    provisioning: ProvisioningSection = ProvisioningSection()
    task: TaskSection = TaskSection()
    budget: BudgetSection = BudgetSection()
    ledger: AddressSection = AddressSection()
    checkpoint: AddressSection = AddressSection()
    cache: CacheSection = CacheSection()
    trace: TraceSection = TraceSection()
    prices: PricesSection = PricesSection()
    alerts: AlertsSection = AlertsSection()
    models: dict[str, dict[str, Any]] = {}
    route: tuple[dict[str, Any], ...] = ()


def find_project(folder: Path) -> Path | None:
    """The nearest agentkit.toml in `folder` or above, but for one that another user put there."""
    here = folder.resolve()
    for parent in (here, *here.parents):
        candidate = parent / FILE_NAME
        if candidate.is_file() and _is_own(candidate, here):
            return candidate
    return None


def read_project(path: Path | None, *, folder: Path) -> Project:
    """The settings in the file at `path`; those of an empty file for `folder` where it is None.

    Raises ConfigError that names the table and the key.
    """
    if path is None:
        return Project(folder=folder.resolve())
    path = path.absolute()
    data = _tables(path)
    _refuse_unknown(path, data)
    for name, arguments in data.get("models", {}).items():
        _refuse_secrets(path, f'models."{name}"', arguments)
    try:
        return Project(**data, path=path, folder=path.parent.resolve())
    except ValidationError as error:
        raise ConfigError(f"{path.name}: {_first_problem(error)}") from error


def _tables(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise ConfigError(f"{path} is over 1 MB; is it the right file?")
        data = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    for name, table in data.items():
        if name == "route":
            _require_list(path, table)
        elif not isinstance(table, dict) and name in _TABLES:
            raise ConfigError(f"{path.name}: {name} is a table; write [{name}] and its keys below")
    models = data.get("models", {})
    for name, arguments in models.items():
        if not isinstance(arguments, dict):
            raise ConfigError(
                f'{path.name}: [models] holds one table a model, like [models."openai:gpt-5-mini"];'
                f" {name!r} belongs elsewhere (the list of models is [agent] models = [...])"
            )
    return data


def _require_list(path: Path, rules: object) -> None:
    tables = cast("list[object]", rules) if isinstance(rules, list) else []
    if not tables or not all(isinstance(rule, dict) for rule in tables):
        raise ConfigError(
            f"{path.name}: rules of routing stand in [[route]], a table each, with when = {{...}} "
            "and tier = ..."
        )


_TABLES: Mapping[str, type[_Section] | None] = {
    "agent": AgentSection,
    "cascade": CascadeSection,
    "provisioning": ProvisioningSection,
    "task": TaskSection,
    "budget": BudgetSection,
    "ledger": AddressSection,
    "checkpoint": AddressSection,
    "cache": CacheSection,
    "trace": TraceSection,
    "prices": PricesSection,
    "alerts": AlertsSection,
    "models": None,
    "route": None,
}


def _refuse_unknown(path: Path, data: Mapping[str, Any]) -> None:
    for table, keys in data.items():
        if table not in _TABLES:
            raise ConfigError(f"{path.name}: there is no [{table}]; {_meant_table(table)}")
        section = _TABLES[table]
        for key in keys if section is not None else ():
            if key not in _keys(section):
                raise ConfigError(
                    f"{path.name}: [{table}] has no key {key!r}; {_nearest(key, _keys(section))}"
                )


def _keys(section: type[_Section] | None) -> list[str]:
    return [] if section is None else list(section.model_fields)


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def _meant_table(name: str) -> str:
    """A table of a similar name, or the table that a key of that name belongs into."""
    homes = {key: table for table, section in _TABLES.items() for key in _keys(section)}
    if name in homes:
        return f"{name!r} belongs into [{homes[name]}]"
    return _nearest(name, list(_TABLES))


def _refuse_secrets(path: Path, where: str, arguments: Mapping[str, Any]) -> None:
    """Keys in a project file end up in version control, or send another's requests."""
    for key, value in arguments.items():
        if isinstance(value, dict):
            _refuse_secrets(path, f"{where}.{key}", cast("dict[str, Any]", value))
        elif _SECRET.search(key) or (isinstance(value, str) and _SECRET_VALUE.match(value)):
            raise ConfigError(
                f"{path.name}: [{where}] {key} looks like a key, and keys do not belong in a "
                "project file; set OPENAI_API_KEY or ANTHROPIC_API_KEY in the environment"
            )


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    table, *rest = [str(part) for part in first["loc"]]
    return f"[{table}] {'.'.join(rest)}: {first['msg']}"


def _is_own(file: Path, here: Path) -> bool:
    """False for a file of another user, planted in a shared folder above."""
    if not hasattr(os, "getuid"):
        return True
    try:
        return file.stat().st_uid in (os.getuid(), 0, here.stat().st_uid)
    except OSError:
        return False
