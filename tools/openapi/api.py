"""An HTTP API as a source of tools: each operation of its OpenAPI 3 document is one."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httpx
from langchain_core.messages import ToolMessage
from langchain_core.tools import StructuredTool

from agentkit.tools.catalogue import CostClass, SideEffect, ToolSpec
from agentkit.tools.errors import InvalidTool
from agentkit.tools.naming import check_group, tool_name
from agentkit.tools.network import guarded_client, send
from agentkit.tools.openapi.operation import BadArgument, Operation, operation_of
from agentkit.tools.schemas import shown_text, stranger_schema

_METHODS: dict[str, SideEffect] = {
    "get": "read",
    "head": "read",
    "put": "write",
    "post": "write",
    "patch": "write",
    "delete": "write",
}
_MOST_DOCUMENT_BYTES = 32 * 1024 * 1024
_PASSING = frozenset({429, 502, 503, 504})
_TEXT = re.compile(r"text/|application/(.*\+)?(json|xml|javascript|yaml)")


class TemporarilyUnavailable(httpx.TransportError):
    """The API asked to come back later; a read is tried again."""


class OpenApi:
    """The tools of an API, named `name__operation`; iterate over it, or give it to a catalogue.

    GET and HEAD count as "read", the rest as "write", unless `side_effects` says otherwise by
    operation. What `headers`, `parameters` (of the query) and `auth` carry is sent to `base_url`
    alone, never shown to a model and never part of an error. `left_out` tells which operations
    cannot be tools, and why.

    >>> document = {"openapi": "3.1.0", "info": {"title": "Shop", "version": "1"}, "paths": {
    ...     "/orders/{id}": {"get": {"operationId": "get_order", "summary": "One order.",
    ...     "parameters": [{"name": "id", "in": "path", "schema": {"type": "string"}}]}}}}
    >>> [spec.name for spec in OpenApi("shop", document, base_url="https://shop.example")]
    ['shop__get_order']
    """

    def __init__(
        self,
        name: str,
        document: Mapping[str, object] | str | Path,
        *,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
        auth: httpx.Auth | None = None,
        side_effects: Mapping[str, SideEffect] | None = None,
        tags: Sequence[str] = (),
        cost: CostClass = "free",
        timeout_seconds: float = 30.0,
        max_response_bytes: int = 1_048_576,
        allow_private: bool = False,
        max_attempts: int = 3,
    ) -> None:
        """`document` is OpenAPI 3.0 or 3.1: parsed, its JSON text, or a JSON file.

        `base_url` is taken from the document where it is left out and no keys are given. Without
        `allow_private` no request goes to this machine or a private network, whatever names resolve
        to and redirects say. Raises InvalidTool.
        """
        check_group(name)
        self.name = name
        self._document = _read(name, document)
        self._headers = dict(headers or {})
        self._parameters = dict(parameters or {})
        self._auth = auth
        has_keys = bool(self._headers or self._parameters or auth)
        self._base_url = _checked_base(name, base_url or self._own_server(has_keys))
        self._side_effects: Mapping[str, SideEffect] = dict(side_effects or {})
        self._tags = tuple(tags)
        self._cost: CostClass = cost
        self._timeout_seconds = timeout_seconds
        self._most_bytes = max_response_bytes
        self._allow_private = allow_private
        self._max_attempts = max_attempts
        self.left_out: dict[str, str] = {}
        self._specs = tuple(self._made())
        unknown = self._side_effects.keys() - self._known
        if unknown:
            raise InvalidTool(
                f"side_effects names {min(unknown)!r}, which is no operation of {name!r}",
                tool=name,
            )

    def __iter__(self) -> Iterator[ToolSpec]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def _made(self) -> Iterator[ToolSpec]:
        self._known: set[str] = set()
        seen: set[str] = set()
        paths = cast("Mapping[str, object]", self._document.get("paths") or {})
        for path, item in paths.items():
            if not isinstance(item, Mapping):
                continue
            operations = cast("Mapping[str, object]", item)
            shared = operations.get("parameters")
            for method in (key for key in operations if key in _METHODS):
                label = f"{method.upper()} {path}"
                try:
                    operation = operation_of(
                        self._document,
                        path,
                        method,
                        cast("Sequence[object]", shared) if isinstance(shared, list) else (),
                    )
                    self._known.add(operation.id)
                    spec = self._spec(operation, method)
                    if spec.name in seen:
                        raise InvalidTool(f"a second operation is named {spec.name!r}", tool=label)
                    seen.add(spec.name)
                    yield spec
                except InvalidTool as error:
                    self.left_out[label] = str(error)

    def _spec(self, operation: Operation, method: str) -> ToolSpec:
        name = tool_name(self.name, operation.id)
        schema = stranger_schema(operation.schema, tool=name)

        async def call(**arguments: object) -> object:
            return await self._call(operation, arguments)

        side_effect: SideEffect = self._side_effects.get(operation.id, _METHODS[method])
        described = shown_text(
            operation.description, otherwise=f"{operation.method} {operation.path}"
        )
        return ToolSpec.of(
            StructuredTool(name=name, description=described, args_schema=schema, coroutine=call),
            side_effect=side_effect,
            tags=self._tags,
            cost=self._cost,
            group=self.name,
            timeout_seconds=self._timeout_seconds,
            max_attempts=self._max_attempts if side_effect == "read" else 1,
        )

    async def _call(self, operation: Operation, arguments: Mapping[str, object]) -> object:
        async with guarded_client(
            allow_private=self._allow_private, timeout_seconds=self._timeout_seconds
        ) as client:
            try:
                request = operation.request(client, self._base_url, arguments)
            except BadArgument as error:
                return _failed(str(error))
            request.headers.update(self._headers)
            request.url = request.url.copy_merge_params(self._parameters)
            response = await send(client, request, self._auth)
            try:
                text = await self._text(response)
            finally:
                await response.aclose()
        status = f"HTTP {response.status_code} {response.reason_phrase}".strip()
        if response.status_code in _PASSING and operation.method in ("GET", "HEAD"):
            raise TemporarilyUnavailable(f"{status}: {text[:300]}")
        if response.is_redirect:
            return _failed(f"{status}: it leads to another address, which is not followed")
        if response.is_error:
            return _failed(f"{status}: {text}")
        return text or f"({status}, no content)"

    async def _text(self, response: httpx.Response) -> str:
        kept = bytearray()
        async for chunk in response.aiter_bytes():
            kept += chunk
            if len(kept) > self._most_bytes:
                break
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        was_cut = len(kept) > self._most_bytes
        if kept and kind and not _TEXT.match(kind):
            return f"<binary, {kind[:60]}, {len(kept):,}{'+' if was_cut else ''} bytes; not shown>"
        text = bytes(kept[: self._most_bytes]).decode(_charset(response), "replace")
        return text + (f"\n[… cut after {self._most_bytes:,} bytes …]" if was_cut else "")

    def _own_server(self, has_keys: bool) -> str:
        servers = self._document.get("servers")
        first = cast("Sequence[object]", servers)[:1] if isinstance(servers, list) else ()
        urls = [
            str(cast("Mapping[str, object]", server).get("url", ""))
            for server in first
            if isinstance(server, Mapping)
        ]
        if has_keys or not urls or not urlsplit(urls[0]).hostname or "{" in urls[0]:
            why = "keys go where you say, not where it says" if has_keys else "it names no address"
            raise InvalidTool(
                f"API {self.name!r} needs base_url=... beside its document: {why}", tool=self.name
            )
        return urls[0]


def _read(name: str, document: Mapping[str, object] | str | Path) -> Mapping[str, object]:
    if isinstance(document, str | Path):
        text = document.read_text("utf-8") if isinstance(document, Path) else document
        if len(text) > _MOST_DOCUMENT_BYTES:
            raise InvalidTool(f"the document of {name!r} has {len(text):,} characters", tool=name)
        try:
            read = cast("object", json.loads(text))
        except (ValueError, RecursionError) as error:
            raise InvalidTool(
                f"the document of {name!r} is no JSON ({error}); read YAML with a parser of yours "
                "and give what it returns",
                tool=name,
            ) from error
    else:
        read = document
    content = cast("Mapping[str, object]", read if isinstance(read, Mapping) else {})
    if not str(content.get("openapi", "")).startswith("3."):
        raise InvalidTool(f"the document of {name!r} is not OpenAPI 3.0 or 3.1", tool=name)
    return content


def _checked_base(name: str, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise InvalidTool(
            f"base_url of API {name!r} must be an http or https address without a user in it; "
            "keys go into headers=, parameters= or auth=",
            tool=name,
        )
    return url


def _charset(response: httpx.Response) -> str:
    try:
        return codecs.lookup(response.charset_encoding or "utf-8").name
    except LookupError:
        return "utf-8"


def _failed(text: str) -> ToolMessage:
    return ToolMessage(text, tool_call_id="", status="error")
