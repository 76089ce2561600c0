"""HTTP to addresses that others chose: private ones are refused, after redirects and DNS too."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from functools import lru_cache

import httpx

_MOST_REDIRECTS = 5
_FOLLOWED = frozenset({301, 302, 303, 307, 308})


class AddressRefused(httpx.RequestError):
    """A host that resolves to an address of this machine or of a private network."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, also where IPv6 wraps an IPv4 one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner)) and not ip.is_multicast
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class PublicOnly(httpx.AsyncBaseTransport):
    """Resolves the host itself and connects to the address that it has checked, no other.

    So a name that resolves differently a moment later changes nothing. The certificate is still
    checked against the name.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As the transport beneath; raises AddressRefused."""
        host = request.url.host
        address = await _checked_address(host, request)
        request.headers["Host"] = request.url.netloc.decode("ascii")
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=address)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Closes the transport beneath."""
        await self._inner.aclose()


async def _checked_address(host: str, request: httpx.Request) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, request.url.port or 443, type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"{host} cannot be resolved", request=request) from error
    addresses = [str(item[4][0]) for item in found]
    for address in addresses:
        if not is_public(address):
            raise AddressRefused(
                f"{host} is {address}, an address of this machine or of a private network, which "
                "is not allowed here",
                request=request,
            )
    return addresses[0]


def guarded_client(*, allow_private: bool, timeout_seconds: float) -> httpx.AsyncClient:
    """A client for one call, without proxies or keys from the environment."""
    inner = httpx.AsyncHTTPTransport(verify=_certificates())
    return httpx.AsyncClient(
        transport=inner if allow_private else PublicOnly(inner),
        timeout=timeout_seconds,
        trust_env=False,
        follow_redirects=False,
    )


async def send(
    client: httpx.AsyncClient, request: httpx.Request, auth: httpx.Auth | None
) -> httpx.Response:
    """The response, not yet read; redirects of a GET are followed, elsewhere without any keys.

    A redirect of anything else is returned as it is: sending a body twice is for its sender to say.
    """
    origin = (request.url.scheme, request.url.host, request.url.port)
    for _ in range(_MOST_REDIRECTS):
        original = request.url
        response = await client.send(request, auth=auth, stream=True)
        location = response.headers.get("location")
        if response.status_code not in _FOLLOWED or not location or request.method != "GET":
            return response
        target = original.join(location)
        await response.aclose()
        if target.scheme not in ("http", "https") or (
            original.scheme == "https" and target.scheme != "https"
        ):
            raise AddressRefused(f"a redirect to {target.scheme}: is not followed", request=request)
        headers = request.headers
        if (target.scheme, target.host, target.port) != origin:
            auth, headers = None, httpx.Headers({"accept": request.headers.get("accept", "*/*")})
        headers.pop("host", None)
        request = client.build_request("GET", target, headers=headers)
    raise httpx.TooManyRedirects(f"more than {_MOST_REDIRECTS} redirects", request=request)


@lru_cache(1)
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()
