"""From settings to the parts of a run: ledger, models, tools, agent."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agentkit.budgets.ledger import Ledger
from agentkit.budgets.price import PriceBook
from agentkit.budgets.price_file import read_price_file
from agentkit.cache_folder import cache_folder
from agentkit.cli.settings import STATE_FOLDER, Settings, sqlite_file
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from agentkit.agent import Agent
    from agentkit.budgets.budget import Budget
    from agentkit.budgets.webhook import Webhook
    from agentkit.cascade.settings import Cascade
    from agentkit.memory.cache import ResponseCache
    from agentkit.nodes.route import RouteSetting
    from agentkit.tools.provision.toolbox import Provisioning

WEBHOOK_VARIABLE = "AGENTKIT_WEBHOOK_URL"
WEBHOOK_SECRET_VARIABLE = "AGENTKIT_WEBHOOK_SECRET"  # noqa: S105  the name of one


def price_book(settings: Settings) -> PriceBook:
    """The prices in force, the user's own file first; raises InvalidLimit."""
    return PriceBook(read_price_file(settings.prices) if settings.prices else ())


@contextmanager
def open_ledger(settings: Settings) -> Generator[Ledger]:
    """The ledger, closed at the end; raises StoreError."""
    file = sqlite_file(settings.ledger)
    if file is not None and file.parent.name == STATE_FOLDER:
        make_state_folder(file.parent)
    ledger = Ledger(settings.ledger, prices=price_book(settings), webhook=_webhook())
    try:
        yield ledger
    finally:
        ledger.close()


def _webhook() -> Webhook | None:
    """From the environment and not from a project file, which may be somebody else's."""
    url = os.environ.get(WEBHOOK_VARIABLE)
    if not url:
        return None
    secret = os.environ.get(WEBHOOK_SECRET_VARIABLE)
    if not secret:
        raise ConfigError(
            f"{WEBHOOK_VARIABLE} is set and {WEBHOOK_SECRET_VARIABLE} is not; set a secret, so "
            "that the receiver can check who sends its events"
        )
    from agentkit.budgets.webhook import Webhook

    return Webhook(url, secret=secret)


def is_absent(settings: Settings) -> bool:
    """True where the ledger is a file that nothing has written yet; looking must not make it."""
    file = sqlite_file(settings.ledger)
    return file is not None and not file.exists()


@contextmanager
def open_agent(
    settings: Settings, ledger: Ledger, budget: Budget, *, models: tuple[str, ...] = ()
) -> Generator[Agent]:
    """The agent that `settings` describe; raises ConfigError and what its parts raise."""
    from agentkit.agent import Agent
    from agentkit.checkpoint import ThreadedSqliteSaver, open_checkpointer
    from agentkit.cli.tool_reference import load_tools
    from agentkit.tools.permissions import Permissions

    names = models or settings.models
    if not names:
        raise ConfigError(
            "no model is named; add --model local:pocket --model openai:gpt-5-mini, or "
            "models = [...] under [agent] in agentkit.toml (`agentkit models` lists what is here)"
        )
    tools = load_tools(settings.tools, settings.tool_folder)
    tiers = [model_of(settings, name) for name in names]
    saver = open_checkpointer(settings.checkpoint) if settings.checkpoint else None
    cache = _cache(settings)
    try:
        yield Agent(
            models=tiers,
            tools=tools,
            permissions=Permissions(grant=settings.grant, ask=settings.ask),
            budget=budget,
            ledger=ledger,
            quality=settings.project.cascade.quality,
            cascade=cascade_of(settings),
            system=settings.system,
            name=settings.name,
            max_steps=settings.max_steps,
            checkpoint=saver,
            route=_route(settings),
            cache=cache,
            provisioning=provisioning_of(settings),
        )
    finally:
        if cache is not None:
            cache.close()
        if isinstance(saver, ThreadedSqliteSaver):
            saver.conn.close()


def provisioning_of(
    settings: Settings, *, limit: int | None = None, limit_tokens: int | None = None
) -> Provisioning:
    """How tools are offered: the flags given here, over the project file, over the defaults.

    The index of the tools is kept in the user's cache folder.
    """
    from agentkit.tools.provision.toolbox import Provisioning

    given = settings.project.provisioning.model_dump(exclude_none=True)
    for name, value in (("limit", limit), ("limit_tokens", limit_tokens)):
        if value is not None:
            given[name] = value
    return Provisioning(**given, cache_folder=cache_folder("tools"))


def _route(settings: Settings) -> RouteSetting | None:
    """The rules of the project file, then what was learned, where it says so."""
    if not settings.rules:
        return "learned" if settings.learns else None
    from agentkit.routing.learned import LearnedRoute
    from agentkit.routing.rules import RuleRoute

    return RuleRoute(settings.rules, otherwise=LearnedRoute() if settings.learns else None)


def _cache(settings: Settings) -> ResponseCache | None:
    """Where answers are kept; by meaning too where the project file says what may be wrong."""
    if settings.cache is None:
        return None
    from agentkit.memory.cache import CachePolicy, ResponseCache
    from agentkit.tools.provision.embedding import StaticEmbedding

    section = settings.project.cache
    file = sqlite_file(settings.cache)
    if file is not None and file.parent.name == STATE_FOLDER:
        make_state_folder(file.parent)
    if section.max_wrong is None:
        policy = CachePolicy(by_meaning=False, ttl_seconds=section.ttl_seconds)
        return ResponseCache(settings.cache, policy=policy)
    policy = CachePolicy(max_wrong=section.max_wrong, ttl_seconds=section.ttl_seconds)
    return ResponseCache(settings.cache, embedder=StaticEmbedding.shipped(), policy=policy)


def cascade_of(settings: Settings) -> Cascade | None:
    """The cascade that the project file sets; None where it sets none. Raises ConfigError."""
    from agentkit.cascade.settings import Cascade, read_cascade

    section = settings.project.cascade
    given = section.model_dump(exclude={"quality", "calibration"}, exclude_none=True)
    if section.calibration is None:
        return Cascade(**given) if given else None
    folder = settings.project.folder
    path = (folder / section.calibration).resolve()
    if not path.is_relative_to(folder):
        raise ConfigError(
            f"[cascade] calibration: {section.calibration!r} lies outside {folder}; copy it there"
        )
    return replace(read_cascade(path), **given)


def model_of(settings: Settings, name: str) -> BaseChatModel:
    """The model of that name with the arguments that the project file gives it.

    Raises ConfigError, and what the model itself raises.
    """
    from pydantic import ValidationError

    from agentkit.models.factory import chat_model

    arguments = settings.model_arguments.get(name, {})

    try:
        return chat_model(name, **arguments)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f'[models."{name}"] {where}: {first["msg"]}') from error


def make_state_folder(folder: Path) -> None:
    """A folder of ours in somebody's project stays out of its version control."""
    ignore = folder / ".gitignore"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not ignore.exists():
            ignore.write_text("*\n", "utf-8")
    except OSError as error:
        raise ConfigError(
            f"{str(folder)!r} cannot be written ({error.strerror}); name another ledger, like "
            "--ledger sqlite:///ledger.db or --ledger memory://"
        ) from error
