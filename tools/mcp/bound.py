"""Responses of an MCP server, cut off where they grow beyond all reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import httpx2


class ResponseTooLarge(httpx2.StreamError):
    """More came than `max_response_bytes`."""


class BoundedStream(httpx2.AsyncByteStream):
    """The stream of a response, up to a number of bytes; raises ResponseTooLarge after them."""

    def __init__(self, response: httpx2.Response, most_bytes: int) -> None:
        self._stream = cast("httpx2.AsyncByteStream", response.stream)
        self._most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks as they come."""
        left = self._most_bytes
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise ResponseTooLarge(
                    f"the response is larger than max_response_bytes ({self._most_bytes:,})"
                )
            yield chunk

    async def aclose(self) -> None:
        """Closes the stream beneath."""
        await self._stream.aclose()


def bounded_client(headers: dict[str, str], most_bytes: int) -> httpx2.AsyncClient:
    """A client for one server, with the SDK's own timeouts."""

    async def bound(response: httpx2.Response) -> None:
        kind = response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):  # the SDK bounds each event of those
            response.stream = BoundedStream(response, most_bytes)

    return httpx2.AsyncClient(
        headers=headers,
        timeout=httpx2.Timeout(30.0, read=300.0),
        event_hooks={"response": [bound]},
    )
