"""A connection to Redis that runs the ledger's scripts and fails closed."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from hashlib import sha1
from importlib.resources import files
from typing import Any, Literal, get_args
from urllib.parse import parse_qs, urlencode, urlsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from agentkit.budgets.errors import StoreError

_log = logging.getLogger("agentkit.budgets")

Verb = Literal[
    "reserve", "accounts", "settle", "release", "renew", "expire", "scope", "drop", "nothing"
]
Argument = str | bytes | int | float
Durability = Literal["warn", "require", "ignore"]

_PREFIX = "agentkit:{%s}:"
_ORGS = "agentkit:orgs"
_TIMEOUT_SECONDS = 5.0
_HEALTH_CHECK_SECONDS = 30
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OPTIONS = frozenset({"db", "username", "password", *_TLS_OPTIONS})
_SAFE_SETTINGS = {
    "maxmemory-policy": ({"noeviction"}, "under memory pressure it evicts what was spent"),
    "appendonly": ({"yes"}, "a restart forgets what was spent since the last snapshot"),
    "appendfsync": ({"always", "everysec"}, "a power cut may lose what the system has not written"),
}


class RedisConnection:
    """Runs one script a verb on `redis://`, `rediss://` or `unix://`."""

    def __init__(self, address: str) -> None:
        """Connect, load the scripts, and look at how the server keeps its data.

        `?durability=require` refuses a server that may forget, `ignore` does not ask; by default
        it is logged. Raises StoreError.
        """
        self.where, url, durability = _read_address(address)
        self._closed = False
        self._client = _client(url, self.where)
        self._sources = {verb: _source(verb) for verb in get_args(Verb)}
        self._digests = {
            verb: sha1(source.encode(), usedforsecurity=False).hexdigest()
            for verb, source in self._sources.items()
        }
        with self.failing():
            for source in self._sources.values():
                self._client.script_load(source)
        self.risks = () if durability == "ignore" else self._risks()
        if self.risks and durability == "require":
            raise StoreError(
                f"the ledger at {self.where} may forget what was spent: {'; '.join(self.risks)}; "
                "change the server's settings, or say ?durability=warn"
            )
        for risk in self.risks:
            _log.warning("the ledger at %s: %s", self.where, risk)

    def run(self, verb: Verb, org: str, arguments: Sequence[Argument]) -> Any:
        """The answer of a verb's script in `org`; raises StoreError where the server fails."""
        with self.failing():
            try:
                return self._evaluate(verb, org, arguments)
            except NoScriptError:  # the server was restarted, or its scripts were flushed
                self._client.script_load(self._sources[verb])
                return self._evaluate(verb, org, arguments)

    def _evaluate(self, verb: Verb, org: str, arguments: Sequence[Argument]) -> Any:
        return self._client.execute_command(
            "EVALSHA", self._digests[verb], 1, _PREFIX % org, *arguments
        )

    def ask(self, *command: Argument) -> Any:
        """The answer of one plain command."""
        with self.failing():
            return self._client.execute_command(*command)

    def ask_all(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """The answers of several plain commands in one round trip."""
        if not commands:
            return []
        with self.failing():
            pipeline = self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            answers: list[Any] = pipeline.execute()
            return answers

    def key(self, org: str, *parts: str) -> str:
        """A key of `org`: all of them share its slot in a cluster."""
        return _PREFIX % org + ":".join(parts)

    def add_org(self, org: str) -> None:
        """Remember that `org` has scopes."""
        self.ask("SADD", _ORGS, org)

    def orgs(self) -> list[str]:
        """Every org that has had scopes."""
        return sorted(org.decode() for org in self.ask("SMEMBERS", _ORGS))

    def orgs_with(self, *parts: str) -> list[str]:
        """The orgs that have a key of this name."""
        orgs = self.orgs()
        found = self.ask_all([("EXISTS", self.key(org, *parts)) for org in orgs])
        return [org for org, exists in zip(orgs, found, strict=True) if exists]

    def seconds(self) -> float:
        """The server's Unix time."""
        whole, microseconds = self.ask("TIME")
        return int(whole) + int(microseconds) / 1_000_000

    def close(self) -> None:
        """Let go of the connections; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._client.close()
            self._client.connection_pool.disconnect()

    @contextmanager
    def failing(self) -> Generator[None, None, None]:
        """Turn what goes wrong with Redis into a StoreError: no answer means no call."""
        if self._closed:
            raise StoreError(f"the ledger at {self.where} is closed")
        try:
            yield
        except RedisError as error:
            raise StoreError(
                f"the ledger at {self.where} failed: {error}; nothing is reserved while it does "
                "not answer: check that the server runs and can be reached"
            ) from error

    def _risks(self) -> tuple[str, ...]:
        risks: list[str] = []
        for setting, (safe, consequence) in _SAFE_SETTINGS.items():
            try:
                answer = self._client.config_get(setting)
            except ResponseError:  # managed servers often forbid CONFIG
                risks.append(f"{setting} cannot be read here; make sure that it is {min(safe)!r}")
                continue
            except RedisError as error:
                raise StoreError(f"the ledger at {self.where} failed: {error}") from error
            value = str(dict(answer).get(setting, ""))
            if value not in safe:
                risks.append(f"{setting} is {value!r}: {consequence}; set it to {min(safe)!r}")
        return tuple(risks)


def _client(url: str, where: str) -> Any:
    redis_class: Any = redis.Redis  # its types mix the answers of the sync and the async client
    try:
        return redis_class.from_url(
            url,
            protocol=2,  # answers of one shape from every version of the client
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            health_check_interval=_HEALTH_CHECK_SECONDS,
            retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), 2),
        )
    except ValueError as error:
        raise StoreError(f"the ledger's address at {where} cannot be read: {error}") from error


def _source(verb: Verb) -> str:
    if verb == "nothing":
        return "return 'NOTHING'"
    folder = files("agentkit.budgets.stores").joinpath("lua")
    common = folder.joinpath("common.lua").read_text(encoding="utf-8")
    return common + folder.joinpath(f"{verb}.lua").read_text(encoding="utf-8")


def _read_address(address: str) -> tuple[str, str, Durability]:
    """Where the server is, without its password; the address without our options; durability."""
    try:
        parts = urlsplit(address)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        where = parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"
        unreadable = not where or (parts.scheme != "unix" and not parts.hostname)
    except ValueError:
        where, unreadable, options, parts = "", True, {}, urlsplit("")
    durability = options.pop("durability", "warn")
    unknown = sorted(set(options) - _OPTIONS)
    if unreadable or unknown or durability not in get_args(Durability):
        what = f"unknown option {unknown[0]!r}" if unknown else "cannot be read"
        raise StoreError(
            f"the ledger's Redis address {what}; write 'redis://host:6379/0', 'rediss://...' or "
            "'unix:///path.sock', with ?durability=warn, require or ignore if you like"
        )
    url = f"{address.partition('?')[0]}?{urlencode(options)}"
    return f"{parts.scheme}://{where}", url, durability  # type: ignore[return-value]  # checked above
