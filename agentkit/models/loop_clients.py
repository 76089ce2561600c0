"""HTTP clients for each event loop, so that one model can be asked from several.

A pooled connection belongs to the loop that it was opened on: asked from another one, as by a
second `asyncio.run`, a request over it fails, and may have been sent. LangChain shares one client
among all loops of a process and hides this behind its SDKs' retries, which are off here, because
nobody reserved for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Hashable
from typing import Any

from langchain_core.language_models import BaseChatModel

from agentkit.models.single_attempt import sdk_of

_Make = Callable[[], Any]
"""Makes an `httpx.AsyncClient`, or that of the library like it which an SDK is built on."""

open_loops: dict[asyncio.AbstractEventLoop, LoopClients] = {}


def with_loop_clients(model: BaseChatModel) -> BaseChatModel:
    """`model`, or a copy of it whose asynchronous client keeps each loop's connections apart.

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
    source: Any = model
    root, proxy = getattr(source, "root_async_client", None), source.openai_proxy
    if root is None or (source.http_async_client is not None and not proxy):
        return model
    from openai import DefaultAsyncHttpxClient

    address, options = source.openai_api_base, source.http_socket_options
    settings = ("openai", address, proxy, None if options is None else tuple(options))
    if proxy:
        client = _client(
            DefaultAsyncHttpxClient, settings, lambda: DefaultAsyncHttpxClient(proxy=proxy)
        )
    else:
        client = _client(
            DefaultAsyncHttpxClient, settings, lambda: _openai_client(address, options)
        )
    root = root.with_options(http_client=client)
    clients = {"root_async_client": root, "async_client": root.chat.completions}
    return model.model_copy(update=clients)


def _openai_client(address: str | None, socket_options: Any) -> Any:
    """As LangChain makes it, its socket options included; but not the one that all loops share."""
    from langchain_openai.chat_models import _client_utils as utils
    from openai import DefaultAsyncHttpxClient

    made: Any = utils
    try:
        ignored = made._should_bypass_socket_options_for_proxy_env(
            http_socket_options=socket_options,
            http_client=None,
            http_async_client=None,
            openai_proxy=None,
        )
        options = () if ignored else made._resolve_socket_options(socket_options)
        return made._build_async_httpx_client(address, None, options)
    except AttributeError:  # these are its own: another version may have them otherwise
        return DefaultAsyncHttpxClient()


def _anthropic(model: BaseChatModel) -> BaseChatModel:
    """ChatAnthropic builds its client at first use and keeps it in its `__dict__`."""
    from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient
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


class _Nothing:
    """The transport of a client that sends nothing itself; httpx closes it with its client."""

    async def aclose(self) -> None:
        """Nothing is open."""


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
