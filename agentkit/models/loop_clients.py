"""HTTP clients for each event loop and process, so that one model can be asked from several.

A pooled connection belongs to the loop that it was opened on: asked from another one, as by a
second `asyncio.run`, a request over it fails, and may have been sent. LangChain shares one client
among all loops of a process and hides this behind its SDKs' retries, which are off here, because
nobody reserved for them. In a forked process such a connection is its parent's: both would read
the answers to the other's requests.
"""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import AsyncGenerator, Callable, Hashable
from functools import partial
from typing import Any

from langchain_core.language_models import BaseChatModel

from agentkit.models.single_attempt import sdk_of

_Make = Callable[[], Any]
"""Makes an `httpx.AsyncClient`, or that of the library like it which an SDK is built on."""

open_loops: dict[asyncio.AbstractEventLoop, LoopClients] = {}
open_clients: dict[Hashable, Any] = {}
"""Those of plain code, for all threads of this process."""
_of_parents: list[Any] = []
"""Kept, so that a forked process does not close them."""


def with_loop_clients(model: BaseChatModel) -> BaseChatModel:
    """`model`, or a copy of it whose clients keep each loop's and process's connections apart.

    They close with their loop, and models of the same settings share them. Models that were given
    a client of the user's own stay as they are, and so do those of packages other than LangChain's
    for OpenAI and Anthropic.
    """
    match sdk_of(model):
        case "openai":
            return _openai(model)
        case "anthropic":
            return _anthropic(model)
        case _:
            return model


def _openai(model: BaseChatModel) -> BaseChatModel:
    from openai import DefaultAsyncHttpxClient, DefaultHttpxClient

    source: Any = model
    proxy, options = source.openai_proxy, source.http_socket_options
    told = None if options is None else tuple(options)
    settings = ("openai", source.openai_api_base, proxy, told)
    changed: dict[str, Any] = {}
    for prefix, kind, spread, build in (
        ("async_", DefaultAsyncHttpxClient, _client, "_build_async_httpx_client"),
        ("", DefaultHttpxClient, _plain_client, "_build_sync_httpx_client"),
    ):
        root = getattr(source, f"root_{prefix}client", None)
        is_own = getattr(source, f"http_{prefix}client", None) is not None and not proxy
        if root is None or is_own:
            continue
        client = spread(kind, settings, partial(_openai_client, kind, build, source))
        root = root.with_options(http_client=client)
        changed |= {f"root_{prefix}client": root, f"{prefix}client": root.chat.completions}
    return model.model_copy(update=changed) if changed else model


def _openai_client(kind: Callable[..., Any], build: str, source: Any) -> Any:
    """As LangChain makes it, its socket options included; but not the one that all share."""
    from langchain_openai.chat_models import _client_utils as utils

    if source.openai_proxy:
        return kind(proxy=source.openai_proxy)
    made: Any = utils
    try:
        ignored = made._should_bypass_socket_options_for_proxy_env(
            http_socket_options=source.http_socket_options,
            http_client=None,
            http_async_client=None,
            openai_proxy=None,
        )
        options = () if ignored else made._resolve_socket_options(source.http_socket_options)
        return getattr(made, build)(source.openai_api_base, None, options)
    except AttributeError:  # these are its own: another version may have them otherwise
        return kind()


def _anthropic(model: BaseChatModel) -> BaseChatModel:
    """ChatAnthropic builds its clients at first use and keeps them in its `__dict__`."""
    from anthropic import Anthropic, AsyncAnthropic, DefaultAsyncHttpxClient, DefaultHttpxClient
    from langchain_anthropic import ChatAnthropic

    built = vars(ChatAnthropic).get("_async_client")
    if built is None or built is not _inherited(model, "_async_client"):
        return model  # of a cloud, with an SDK client of its own
    copy = model.model_copy()
    source: Any = copy
    proxy = source.anthropic_proxy
    settings = ("anthropic", proxy)
    client = _client(
        DefaultAsyncHttpxClient, settings, lambda: DefaultAsyncHttpxClient(proxy=proxy)
    )
    vars(copy)["_async_client"] = AsyncAnthropic(**source._client_params, http_client=client)
    plain = _plain_client(DefaultHttpxClient, settings, lambda: DefaultHttpxClient(proxy=proxy))
    vars(copy)["_client"] = Anthropic(**source._client_params, http_client=plain)
    return copy


def _inherited(model: BaseChatModel, name: str) -> object:
    return next((vars(kind)[name] for kind in type(model).__mro__ if name in vars(kind)), None)


def _client(kind: type[Any], settings: Hashable, make: _Make) -> Any:
    """A client of an SDK's `kind` that has each loop's own send what it is asked to."""

    async def send(_: object, request: object, **options: Any) -> Any:
        client = await _of_this_loop(settings, make)
        return await client.send(request, **options)

    spread: Any = type(f"Loops{kind.__name__}", (kind,), {"send": send})
    return spread(transport=_Nothing())


def _plain_client(kind: type[Any], settings: Hashable, make: _Make) -> Any:
    """A client of an SDK's `kind` that has this process's own send what it is asked to."""

    def send(_: object, request: object, **options: Any) -> Any:
        client: Any = open_clients.get(settings)
        if client is None:
            client = open_clients.setdefault(settings, make())
        return client.send(request, **options)

    spread: Any = type(f"Processes{kind.__name__}", (kind,), {"send": send})
    return spread(transport=_Nothing())


@atexit.register
def _close_clients() -> None:
    for client in list(open_clients.values()):
        client.close()


def _leave_to_parent() -> None:
    _of_parents.extend(open_clients.values())
    open_clients.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


class _Nothing:
    """The transport of a client that sends nothing itself; httpx closes it with its client."""

    async def aclose(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """As `aclose`."""


async def _of_this_loop(settings: Hashable, make: _Make) -> Any:
    loop = asyncio.get_running_loop()
    here = open_loops.get(loop)
    if here is None:
        for other in list(open_loops):
            if other.is_closed():  # without having closed its generators
                open_loops.pop(other, None)
        here = open_loops[loop] = LoopClients(loop)
        await anext(here.keeper)
    client = here.clients.get(settings)
    if client is None:
        client = here.clients[settings] = make()
    return client


class LoopClients:
    """The clients of a loop. `keeper` is closed with the loop's asynchronous generators, which is
    the one word that a loop gives before it ends, and closes them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.clients: dict[Hashable, Any] = {}
        self.keeper = self._keep(loop)

    async def _keep(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            open_loops.pop(loop, None)
            closing = (client.aclose() for client in self.clients.values())
            await asyncio.gather(*closing, return_exceptions=True)
