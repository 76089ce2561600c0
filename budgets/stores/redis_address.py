"""Addresses of a Redis ledger, and what a server's settings say about forgetting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from redis.cluster import RedisCluster
from redis.exceptions import ResponseError

from agentkit.budgets.errors import StoreError

Durability = Literal["warn", "require", "ignore"]
NewOrgs = Literal["create", "refuse"]
AfterRestart = Literal["auto", "trust", "wait"]

_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_CLIENT_OPTIONS = frozenset({"db", "username", "password", *_TLS_OPTIONS})
CLOSED_AT_ONCE = "as soon as it was made"
_LONGEST_WAIT_SECONDS = 86_400.0
_SAFE_SETTINGS = {
    "maxmemory-policy": ({"noeviction"}, "under memory pressure it evicts what was spent"),
    "appendonly": ({"yes"}, "a restart forgets what was spent since the last snapshot"),
    "appendfsync": ({"always", "everysec"}, "a power cut may lose what the system has not written"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RedisAddress:
    """Where the ledger is, and how it is used; `where` shows no password."""

    where: str
    url: str
    durability: Durability = "warn"
    new_orgs: NewOrgs = "create"
    after_restart: AfterRestart = "auto"
    """`wait` closes every org for `wait_seconds` when the server was started again, so that each
    process can say what it saw before anything is granted; `trust` does not; `auto` waits unless
    the server keeps every change."""
    journal: Path | None = None
    wait_seconds: float = 60.0
    """How long an org stays closed after a loss, at least: the lease of an ordinary call."""
    cluster: bool = False


def read_address(address: str) -> RedisAddress:
    """The parts of `redis://…`, `rediss://…` or `unix://…`; raises StoreError."""
    try:
        parts = urlsplit(address)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        where = parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"
        unreadable = not where or (parts.scheme != "unix" and not parts.hostname)
        wait_seconds = float(options.pop("wait_seconds", 60.0))
        unreadable = unreadable or not 0 <= wait_seconds <= _LONGEST_WAIT_SECONDS
    except ValueError:
        raise _unreadable("cannot be read") from None
    durability = options.pop("durability", "warn")
    new_orgs = options.pop("new_orgs", "create")
    after_restart = options.pop("after_restart", "auto")
    journal = options.pop("journal", None)
    cluster = options.pop("cluster", "no")
    unknown = sorted(set(options) - _CLIENT_OPTIONS)
    if unknown:
        raise _unreadable(f"unknown option {unknown[0]!r}")
    for option in _TLS_OPTIONS:
        if option in options and not Path(options[option]).is_file():
            raise _unreadable(f"names a file in {option} that is not there")
    allowed = (get_args(Durability), get_args(NewOrgs), get_args(AfterRestart), ("yes", "no"))
    chosen = (durability, new_orgs, after_restart, cluster)
    if unreadable or any(value not in row for value, row in zip(chosen, allowed, strict=True)):
        raise _unreadable("cannot be read")
    return RedisAddress(
        where=f"{parts.scheme}://{where}",
        url=f"{address.partition('?')[0]}?{urlencode(options)}",
        durability=durability,  # type: ignore[arg-type]  # checked above
        new_orgs=new_orgs,  # type: ignore[arg-type]  # checked above
        after_restart=after_restart,  # type: ignore[arg-type]  # checked above
        journal=None if journal is None else Path(unquote(journal)).expanduser(),
        wait_seconds=wait_seconds,
        cluster=cluster == "yes",
    )


def risks_of(settings: Mapping[str, str | None]) -> tuple[str, ...]:
    """How a server with these settings may forget; None where one cannot be read."""
    risks: list[str] = []
    for setting, (safe, consequence) in _SAFE_SETTINGS.items():
        value = settings.get(setting)
        if value is None:  # managed servers often forbid CONFIG
            risks.append(f"{setting} cannot be read here; make sure that it is {min(safe)!r}")
        elif value not in safe:
            risks.append(f"{setting} is {value!r}: {consequence}; set it to {min(safe)!r}")
    return tuple(risks)


def waits_after_restart(
    address: RedisAddress, settings: Mapping[str, str | None], replicas: int | None
) -> bool:
    """True where a server that was started again may know less than it had answered.

    A log that is on the disk before each answer loses nothing, unless a replica takes over that
    was behind. `replicas` is how many there are; None where that cannot be read.
    """
    if address.after_restart != "auto":
        return address.after_restart == "wait"
    kept = settings.get("appendonly") == "yes" and settings.get("appendfsync") == "always"
    return address.durability != "ignore" and not (kept and replicas == 0)


def read_replicas(info: Callable[[], Any]) -> int | None:
    """How many replicas `INFO replication` tells of, on all nodes; None where it is forbidden."""
    try:
        answer = info()
    except ResponseError:
        return None
    nodes = answer.values() if any(isinstance(v, dict) for v in answer.values()) else [answer]
    return sum(int(dict(node).get("connected_slaves", 1)) for node in nodes)


def read_settings(config_get: Callable[[str], Any]) -> dict[str, str | None]:
    """The settings that `risks_of` looks at; a cluster's nodes must agree, or the worst counts."""
    found: dict[str, str | None] = {}
    for setting, (safe, _) in _SAFE_SETTINGS.items():
        try:
            answer: Any = config_get(setting)
        except ResponseError:
            found[setting] = None
            continue
        nodes = answer.values() if any(isinstance(v, dict) for v in answer.values()) else [answer]
        values = [str(dict(node).get(setting, "")) for node in nodes]
        found[setting] = next((value for value in values if value not in safe), values[0])
    return found


def refuse_or_tell(address: RedisAddress, risks: tuple[str, ...]) -> None:
    """Raise StoreError for a server that may forget, where that is what the address asks for."""
    if risks and address.durability == "require":
        raise StoreError(
            f"the ledger at {address.where} may forget what was spent: {'; '.join(risks)}; "
            "change the server's settings, or say ?durability=warn"
        )


def advice(address: RedisAddress, error: str) -> str:
    """What to do about an error of the connection."""
    secure = address.url.startswith("rediss:")
    if "CERTIFICATE_VERIFY_FAILED" in error:
        return (
            "its certificate is not signed by an authority that this machine trusts, or is for "
            "another name; name its authority's file with ?ssl_ca_certs=/path/ca.pem, and the "
            "server as its certificate does"
        )
    if secure and ("WRONG_VERSION_NUMBER" in error or "Timeout connecting" in error):
        return "if it does not speak TLS on this port, write redis://, or take its TLS port"
    if secure and ("ALERT" in error or "CERTIFICATE_REQUIRED" in error or CLOSED_AT_ONCE in error):
        return (
            "it may want a certificate of this client: name its files with "
            "?ssl_certfile=/path/client.pem&ssl_keyfile=/path/client.key"
        )
    if CLOSED_AT_ONCE in error:
        return "if it speaks TLS on this port, write rediss://"
    return "check that the server runs and can be reached"


def refuse_former(address: RedisAddress, found: object) -> None:
    """Raise StoreError where the server holds a ledger that this version cannot read."""
    if found:
        raise StoreError(
            f"{address.where} holds a ledger of an earlier development version, whose records this "
            "one does not read; take another database (redis://host:6379/1), or delete the keys "
            "'agentkit:orgs', 'agentkit:opened' and 'agentkit:{*}:*' if it is no longer needed"
        )


def _unreadable(what: str) -> StoreError:
    return StoreError(
        f"the ledger's Redis address {what}; write 'redis://host:6379/0', 'rediss://...' or "
        "'unix:///path.sock', with ?durability=warn, require or ignore, journal=/path/file.db, "
        "new_orgs=create or refuse, after_restart=auto, trust or wait, wait_seconds=60 or "
        "cluster=yes if you like"
    )


def close_client(client: Any) -> None:
    """Close a client of a server or a cluster, and its connections, which a cluster's own `close`
    leaves to its nodes' clients, and those to nobody."""
    client.close()
    if isinstance(client, RedisCluster):
        client.disconnect_connection_pools()  # type: ignore[no-untyped-call]  # redis-py
    else:
        client.connection_pool.disconnect()
