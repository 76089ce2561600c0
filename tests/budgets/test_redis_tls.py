"""The Redis ledger over TLS, against a real server with certificates of a test's own authority."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from agentkit.budgets import Amount, Limits, Scope, StoreError, open_store
from agentkit.budgets.stores.redis_async import AsyncRedisStore
from tests.budgets.redis_cluster import free_port
from tests.budgets.redis_server import BINARY, RedisServer

pytestmark = pytest.mark.skipif(BINARY is None, reason="redis-server is not installed")

_WORST, _ACTUAL = Amount(100, 20, 20, 1), Amount(40, 10, 10, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsServer:
    """Ports of one server that asks for no certificate and of one that does, and the files."""

    port: int
    strict_port: int
    authority: Path
    other_authority: Path
    client: Path

    def address(self, *options: str, host: str = "localhost", strict: bool = False) -> str:
        """How a ledger names the server."""
        port = self.strict_port if strict else self.port
        return f"rediss://{host}:{port}/0?" + "&".join(("durability=ignore", *options))


@pytest.fixture(scope="module")
def tls() -> Iterator[TlsServer]:
    with tempfile.TemporaryDirectory(prefix="agentkit-") as name:
        folder = Path(name)
        authority, other = trustme.CA(), trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        other.cert_pem.write_to_path(folder / "other.pem")
        own = authority.issue_cert("localhost")
        own.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        client = authority.issue_cert("worker.acme")
        client.private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
        servers, ports = [], []
        for asks in ("no", "yes"):
            (folder / asks).mkdir()
            ports.append(free_port())
            servers.append(
                RedisServer(
                    folder / asks,
                    *("--tls-port", str(ports[-1]), "--tls-auth-clients", asks),
                    *("--tls-cert-file", str(folder / "server.pem")),
                    *("--tls-key-file", str(folder / "server.pem")),
                    *("--tls-ca-cert-file", str(folder / "ca.pem")),
                )
            )
        yield TlsServer(
            port=ports[0],
            strict_port=ports[1],
            authority=folder / "ca.pem",
            other_authority=folder / "other.pem",
            client=folder / "client.pem",
        )
        for server in servers:
            server.kill()


def test_ledger_spends_over_tls(tls: TlsServer) -> None:
    assert _spent(tls.address(f"ssl_ca_certs={tls.authority}")) == _ACTUAL


def test_ledger_shows_its_own_certificate(tls: TlsServer) -> None:
    files = (f"ssl_certfile={tls.client}", f"ssl_keyfile={tls.client}")
    address = tls.address(f"ssl_ca_certs={tls.authority}", *files, strict=True)
    assert _spent(address) == _ACTUAL


def test_async_ledger_spends_over_tls(tls: TlsServer) -> None:
    async def spend() -> Amount:
        store = AsyncRedisStore(tls.address(f"ssl_ca_certs={tls.authority}"))
        await store.put_scope(Scope(path="async", limits=Limits(nusd=1_000)))
        await store.reserve("a", _WORST, ("async",), lease_seconds=9.0)
        await store.settle("a", _ACTUAL)
        account = await store.account("async")
        await store.close()
        return account.settled

    assert asyncio.run(spend()) == _ACTUAL


@pytest.mark.parametrize("named", [True, False], ids=["another authority", "the system's"])
def test_certificate_of_an_unknown_authority_is_refused(tls: TlsServer, named: bool) -> None:
    options = (f"ssl_ca_certs={tls.other_authority}",) if named else ()
    with pytest.raises(StoreError, match=r"CERTIFICATE_VERIFY_FAILED.*\?ssl_ca_certs="):
        open_store(tls.address(*options))


def test_certificate_for_another_name_is_refused(tls: TlsServer) -> None:
    with pytest.raises(StoreError, match=r"not valid for '127\.0\.0\.1'"):
        open_store(tls.address(f"ssl_ca_certs={tls.authority}", host="127.0.0.1"))


def test_server_that_wants_a_certificate_says_how(tls: TlsServer) -> None:
    with pytest.raises(StoreError, match=r"\?ssl_certfile="):
        open_store(tls.address(f"ssl_ca_certs={tls.authority}", strict=True))


def test_async_ledger_is_refused_alike(tls: TlsServer) -> None:
    async def look() -> None:
        store = AsyncRedisStore(tls.address(f"ssl_ca_certs={tls.authority}", strict=True))
        try:
            await store.check()
        finally:
            await store.close()

    with pytest.raises(StoreError, match=r"\?ssl_certfile="):
        asyncio.run(look())


def test_plain_address_of_a_tls_port_fails_at_once(tls: TlsServer) -> None:
    """The client would connect again and again, and end in a RecursionError."""
    began = time.monotonic()
    with pytest.raises(StoreError, match="write rediss://"):
        open_store(f"redis://localhost:{tls.port}/0?durability=ignore")
    assert time.monotonic() - began < 3


def test_file_that_is_not_there_is_named(tls: TlsServer) -> None:
    with pytest.raises(StoreError, match="a file in ssl_ca_certs that is not there"):
        open_store(tls.address("ssl_ca_certs=/nowhere/ca.pem"))


def _spent(address: str) -> Amount:
    store = open_store(address)
    try:
        store.put_scope(Scope(path="acme", limits=Limits(nusd=1_000)))
        store.reserve(address, _WORST, ("acme",), lease_seconds=9.0)
        store.settle(address, _ACTUAL)
        return store.account("acme").settled
    finally:
        store.close()
