"""A connection to Redis that carries out a verb's requests and fails closed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from agentkit.budgets.errors import StoreError
from agentkit.budgets.stores.redis_address import (
    CLOSED_AT_ONCE,
    RedisAddress,
    advice,
    close_client,
    read_replicas,
    read_settings,
    refuse_former,
    refuse_or_tell,
    risks_of,
    waits_after_restart,
)
from agentkit.budgets.stores.redis_script import (
    FORMER,
    TROUBLE,
    Argument,
    Commands,
    Script,
    Steps,
    T,
    digest,
    org_key,
    source,
)

_log = logging.getLogger("agentkit.budgets")

_TIMEOUT_SECONDS = 5.0
_HEALTH_CHECK_SECONDS = 30


class ServerRestarted(RedisError):
    """A new connection leads to a server that has been started since the last one."""


class Runs:
    """Which run of each server this process talks to; `generation` rises when one is another.

    A server that was started anew may have lost what it was told, so before anything is sent to it
    the verbs look at their org again.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._known: dict[str, str] = {}

    def meet(self, where: str, info: bytes | str, *, alone: bool) -> None:
        """Take the `INFO server` of a new connection; raises ServerRestarted for another run."""
        text = info.decode() if isinstance(info, bytes) else info
        run = text.partition("run_id:")[2][:40]
        before = self._known.get(where)
        self._known[where] = run
        if before == run or (before is None and len(self._known) == 1):
            return
        self.generation += 1
        if before is not None or alone:
            raise ServerRestarted("the server was started again")


class RedisConnection:
    """Carries out requests at `redis://`, `rediss://` or `unix://`, in the calling thread."""

    def __init__(self, address: RedisAddress) -> None:
        """Connect, and look at how the server keeps its data. Raises StoreError."""
        self.address = address
        self.runs = Runs()
        self._closed = False
        self._client = _client(address, _meeting(self.runs, alone=not address.cluster))
        self._own: list[Any] = []
        """Clients with a connection of their own that nobody uses."""
        self._pid = os.getpid()
        self.risks: tuple[str, ...] = ()
        self.waits = waits_after_restart(address, {}, None)
        try:
            with failing(address):
                refuse_former(address, self._execute("EXISTS", FORMER))
                if address.durability != "ignore":
                    self.risks, self.waits = self._look()
            refuse_or_tell(address, self.risks)
        except StoreError:
            self.close()
            raise
        for risk in self.risks:
            _log.warning("the ledger at %s: %s", address.where, risk)

    def drive(self, steps: Steps[T]) -> T:
        """What `steps` come to; raises StoreError where the server fails."""
        try:
            request = next(steps)
            while True:
                if isinstance(request, Script):
                    request = steps.send(self.run(request))
                else:
                    request = steps.send(self._ask(request))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # StopIteration carries no type

    def run(self, script: Script) -> Any:
        """The answer of a verb's script; raises StoreError where the server fails."""
        verb, org, arguments = script
        try:
            self._check_open()
            try:
                return self._execute("EVALSHA", digest(verb), 1, org_key(org), *arguments)
            except (
                NoScriptError
            ):  # a server that has not seen it yet, or whose scripts were flushed
                return self._execute("EVAL", source(verb), 1, org_key(org), *arguments)
        except ServerRestarted:
            return TROUBLE
        except RedisError as error:
            raise failed(self.address, error) from error

    def close(self) -> None:
        """Let go of the connections; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._own.clear()
            close_client(self._client)

    def _ask(self, request: Commands) -> list[Any]:
        if not request.commands:
            return []
        with failing(self.address):
            self._check_open()
            try:
                return self._ask_once(request)
            except ServerRestarted:
                return self._ask_once(request)

    def _ask_once(self, request: Commands) -> list[Any]:
        if len(request.commands) == 1:
            return [self._execute(*request.commands[0])]
        pipeline = self._client.pipeline(transaction=False)
        for command in request.commands:
            pipeline.execute_command(*command)
        answers: list[Any] = pipeline.execute()
        return answers

    def _execute(self, *command: Argument) -> Any:
        """The answer of one command, over a connection that its client keeps.

        To take one from the pool means a look at its socket, two locks and six counters: a seventh
        of a trip, a third among threads. One that broke is noticed when it is used, and the command
        sent again, as by the pool.
        """
        if self.address.cluster:
            return self._client.execute_command(*command)
        if self._pid != os.getpid():  # after a fork the sockets are the parent's
            self._own, self._pid = [], os.getpid()
        try:
            client = self._own.pop()
        except IndexError:
            client = self._client.client()
        try:
            return client.execute_command(*command)
        finally:
            self._own.append(client)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the ledger at {self.address.where} is closed")

    def _look(self) -> tuple[tuple[str, ...], bool]:
        """How the server may forget, and whether it may have when it was started again."""
        nodes = {"target_nodes": "primaries"} if self.address.cluster else {}
        settings = read_settings(lambda setting: self._client.config_get(setting, **nodes))
        replicas = read_replicas(lambda: self._client.info("replication", **nodes))
        return risks_of(settings), waits_after_restart(self.address, settings, replicas)


def _meeting(runs: Runs, *, alone: bool) -> Callable[[Any], None]:
    """What a new connection does first; it holds on to `runs` alone, so that clients can go."""

    def on_connect(connection: Any) -> None:
        try:
            # Without a health check: on a connection that breaks it would connect, and so on.
            connection.on_connect_check_health(check_health=False)
            connection.send_command("INFO", "server", check_health=False)
            info = connection.read_response()
        except redis.ConnectionError as error:
            raise broken_at_once(error) from error
        except ResponseError:  # not for this user: a restart is seen by seq alone
            return
        runs.meet(where_of(connection), info, alone=alone)

    return on_connect


def broken_at_once(error: redis.ConnectionError) -> redis.ConnectionError:
    """The error of a connection that ended before it was of use."""
    if isinstance(error, redis.AuthenticationError):
        return error
    return redis.ConnectionError(f"{error} ({CLOSED_AT_ONCE})")


def where_of(connection: Any) -> str:
    """The server that a client's connection leads to."""
    return str(getattr(connection, "path", "") or f"{connection.host}:{connection.port}")


def failed(address: RedisAddress, error: RedisError) -> StoreError:
    """What went wrong with Redis, as the ledger says it: no answer means no call."""
    return StoreError(
        f"the ledger at {address.where} failed: {error}; nothing is reserved while it does "
        f"not answer: {advice(address, str(error))}"
    )


@contextmanager
def failing(address: RedisAddress) -> Generator[None, None, None]:
    """Turn what goes wrong with Redis into a StoreError."""
    try:
        yield
    except RedisError as error:
        raise failed(address, error) from error


def client_options(address: RedisAddress) -> dict[str, Any]:
    """What both clients are made with."""
    return {
        "protocol": 2,  # answers of one shape from every version of the client
        "socket_timeout": _TIMEOUT_SECONDS,
        "socket_connect_timeout": _TIMEOUT_SECONDS,
        "health_check_interval": _HEALTH_CHECK_SECONDS,
    }


def _client(address: RedisAddress, on_connect: Any) -> Any:
    options = client_options(address)
    try:
        if address.cluster:
            cluster: Any = RedisCluster  # its types mix the answers of the sync and async client
            return cluster.from_url(address.url, redis_connect_func=on_connect, **options)
        plain: Any = redis.Redis
        retry = Retry(ExponentialBackoff(cap=0.2, base=0.02), 2)
        return plain.from_url(address.url, redis_connect_func=on_connect, retry=retry, **options)
    except RedisError as error:  # a cluster is asked for its nodes at once
        raise failed(address, error) from error
    except ValueError as error:
        raise StoreError(
            f"the ledger's address at {address.where} cannot be read: {error}"
        ) from error
