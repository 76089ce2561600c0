"""The Redis ledger for an event loop: the same verbs and scripts over `redis.asyncio`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from agentkit.budgets.amount import Amount
from agentkit.budgets.errors import StoreError
from agentkit.budgets.journal import CallRecord, EventRecord, Outcome, PaidResponse, TaskRecord
from agentkit.budgets.journal_query import (
    EVERYTHING,
    GroupSums,
    JournalFilter,
    Key,
    Measures,
    TaskGroup,
    TaskKey,
    sum_records,
    sum_task_groups,
)
from agentkit.budgets.loss import OnLoss, StateLoss
from agentkit.budgets.scope import Scope
from agentkit.budgets.store import Account, Denial, Grant, Settlement
from agentkit.budgets.stores.redis_address import (
    RedisAddress,
    read_address,
    read_replicas,
    read_settings,
    refuse_former,
    refuse_or_tell,
    risks_of,
    waits_after_restart,
)
from agentkit.budgets.stores.redis_connection import (
    Runs,
    ServerRestarted,
    broken_at_once,
    client_options,
    failed,
    failing,
    where_of,
)
from agentkit.budgets.stores.redis_journal import JournalFile
from agentkit.budgets.stores.redis_memory import Memories
from agentkit.budgets.stores.redis_script import (
    FORMER,
    TROUBLE,
    Commands,
    Script,
    Steps,
    T,
    org_key,
)
from agentkit.budgets.stores.redis_script import digest as digest_of
from agentkit.budgets.stores.redis_script import source as source_of
from agentkit.budgets.stores.redis_tasks import RedisTasks
from agentkit.budgets.stores.redis_verbs import RedisVerbs

_log = logging.getLogger("agentkit.budgets")


class AsyncRedisConnection:
    """Carries out requests on the running event loop; connects with the first one."""

    def __init__(self, address: RedisAddress) -> None:
        self.address = address
        self.runs = Runs()
        self.waits = waits_after_restart(address, {}, None)
        self._closed = False
        self._client = _client(address, _meeting(self.runs))

    async def check(self) -> tuple[str, ...]:
        """How the server may forget; raises StoreError where it must not, or is not there."""
        with failing(self.address):
            refuse_former(self.address, await self._client.execute_command("EXISTS", FORMER))
            if self.address.durability == "ignore":
                return ()
            names = ("maxmemory-policy", "appendonly", "appendfsync")
            told: dict[str, Any] = {}
            for name in names:
                try:
                    told[name] = await self._client.config_get(name)
                except ResponseError as error:
                    told[name] = error
            try:
                replication: Any = await self._client.info("replication")
            except ResponseError as error:
                replication = error
        settings = read_settings(lambda name: _answer(told[name]))
        replicas = read_replicas(lambda: _answer(replication))
        self.waits = waits_after_restart(self.address, settings, replicas)
        risks = risks_of(settings)
        refuse_or_tell(self.address, risks)
        for risk in risks:
            _log.warning("the ledger at %s: %s", self.address.where, risk)
        return risks

    async def drive(self, steps: Steps[T]) -> T:
        """What `steps` come to; raises StoreError where the server fails."""
        try:
            request = next(steps)
            while True:
                if isinstance(request, Script):
                    request = steps.send(await self._run(request))
                else:
                    request = steps.send(await self._ask(request))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # StopIteration carries no type

    async def close(self) -> None:
        """Let go of the connections; a second call does nothing."""
        if not self._closed:
            self._closed = True
            await self._client.aclose()

    async def _run(self, script: Script) -> Any:
        verb, org, arguments = script
        execute = self._client.execute_command
        try:
            self._check_open()
            try:
                return await execute("EVALSHA", digest_of(verb), 1, org_key(org), *arguments)
            except NoScriptError:
                return await execute("EVAL", source_of(verb), 1, org_key(org), *arguments)
        except ServerRestarted:
            return TROUBLE
        except RedisError as error:
            raise failed(self.address, error) from error

    async def _ask(self, request: Commands) -> list[Any]:
        if not request.commands:
            return []
        with failing(self.address):
            self._check_open()
            try:
                return await self._ask_once(request)
            except ServerRestarted:
                return await self._ask_once(request)

    async def _ask_once(self, request: Commands) -> list[Any]:
        if len(request.commands) == 1:
            return [await self._client.execute_command(*request.commands[0])]
        pipeline = self._client.pipeline(transaction=False)
        for command in request.commands:
            pipeline.execute_command(*command)
        answers: list[Any] = await pipeline.execute()
        return answers

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the ledger at {self.address.where} is closed")


def _meeting(runs: Runs) -> Callable[[Any], Awaitable[None]]:
    """What a new connection does first; it holds on to `runs` alone, so that clients can go."""

    async def on_connect(connection: Any) -> None:
        try:
            await connection.on_connect_check_health(check_health=False)
            await connection.send_command("INFO", "server", check_health=False)
            info = await connection.read_response()
        except redis.ConnectionError as error:
            raise broken_at_once(error) from error
        except ResponseError:  # not for this user: a restart is seen by seq alone
            return
        runs.meet(where_of(connection), info, alone=True)

    return on_connect


class AsyncRedisStore:
    """Each verb of Store as a coroutine, with the same meaning."""

    def __init__(self, address: str, *, clock: Callable[[], float] | None = None) -> None:
        """Nothing is sent before the first verb; `check` looks at the server's settings."""
        where = read_address(address)
        self._redis = AsyncRedisConnection(where)
        self._drive = self._redis.drive
        self._journal = JournalFile(where.journal) if where.journal else None
        self._verbs = RedisVerbs(where, Memories(self._journal, clock), self._redis, clock=clock)
        self._tasks = RedisTasks(self._verbs)

    @property
    def on_loss(self) -> OnLoss | None:
        """Hears of each org that was lost in part, and of its reopening."""
        return self._verbs.recovery.on_loss

    @on_loss.setter
    def on_loss(self, listener: OnLoss | None) -> None:
        self._verbs.recovery.on_loss = listener

    async def check(self) -> tuple[str, ...]:
        """How this server may forget; raises StoreError for it where `durability=require`."""
        return await self._redis.check()

    async def reopen(self, org: str) -> StateLoss:
        return await self._drive(self._verbs.reopen(org))

    async def put_scope(self, scope: Scope) -> None:
        await self._drive(self._verbs.put_scope(scope))

    async def ensure_scopes(self, paths: Sequence[str]) -> None:
        await self._drive(self._verbs.ensure_scopes(paths))

    async def scopes(self, prefix: str = "") -> list[Scope]:
        return await self._drive(self._verbs.scopes(prefix))

    async def account(self, path: str) -> Account:
        return (await self.accounts((path,)))[0]

    async def accounts(self, paths: Sequence[str]) -> list[Account]:
        return await self._drive(self._verbs.accounts(paths))

    async def drop_scope(self, path: str) -> None:
        await self._drive(self._verbs.drop_scope(path))

    async def reserve(
        self,
        reservation_id: str,
        worst: Amount,
        paths: Sequence[str],
        *,
        lease_seconds: float,
        fingerprint: str = "",
        dispatched: bool = True,
    ) -> Grant | Denial:
        return await self._drive(
            self._verbs.reserve(
                reservation_id,
                worst,
                paths,
                lease_seconds=lease_seconds,
                fingerprint=fingerprint,
                dispatched=dispatched,
            )
        )

    async def renew(
        self, reservation_id: str, *, lease_seconds: float, dispatched: bool = True
    ) -> bool:
        return await self._drive(
            self._verbs.renew(reservation_id, lease_seconds=lease_seconds, dispatched=dispatched)
        )

    async def settle(
        self,
        reservation_id: str,
        actual: Amount,
        *,
        confirmed: bool = True,
        call: CallRecord | None = None,
        response: PaidResponse | None = None,
    ) -> Settlement:
        return await self._drive(
            self._verbs.settle(
                reservation_id, actual, confirmed=confirmed, call=call, response=response
            )
        )

    async def release(self, reservation_id: str, *, call: CallRecord | None = None) -> Settlement:
        return await self._drive(self._verbs.release(reservation_id, call=call))

    async def expire(self, limit: int = 100) -> list[Settlement]:
        return await self._drive(self._verbs.expire(limit))

    async def held(self, limit: int = 1000) -> list[tuple[str, Amount, float]]:
        return await self._drive(self._tasks.held(limit))

    async def put_task(self, task: TaskRecord) -> None:
        await self._drive(self._tasks.put_task(task))

    async def add_event(self, event: EventRecord) -> None:
        await self._drive(self._tasks.add_event(event))

    async def task(self, task_id: str) -> TaskRecord | None:
        return await self._drive(self._tasks.task(task_id))

    async def tasks(
        self, *, limit: int = 50, scope: str | None = None, where: JournalFilter = EVERYTHING
    ) -> list[TaskRecord]:
        return await self._drive(self._tasks.tasks(limit, scope, where))

    async def task_of_thread(self, thread_id: str, *, scope: str) -> TaskRecord | None:
        return await self._drive(self._tasks.task_of_thread(thread_id, scope))

    async def calls(self, task_id: str) -> list[CallRecord]:
        return await self._drive(self._tasks.calls(task_id))

    async def scan_calls(self, where: JournalFilter = EVERYTHING) -> AsyncIterator[CallRecord]:
        async for call, _ in self._matching(where):
            yield call

    async def sum_calls(
        self,
        by: Sequence[Key] = (),
        where: JournalFilter = EVERYTHING,
        *,
        measures: Measures = "all",
        dearest: int | None = None,
    ) -> list[GroupSums]:
        return sum_records([row async for row in self._matching(where)], by, dearest=dearest)

    async def sum_tasks(
        self, by: Sequence[TaskKey] = (), where: JournalFilter = EVERYTHING
    ) -> list[TaskGroup]:
        return sum_task_groups(await self.sum_calls((*by, "task"), where))

    async def events(self, task_id: str) -> list[EventRecord]:
        return await self._drive(self._tasks.events(task_id))

    async def responses(self, task_id: str) -> list[PaidResponse]:
        return await self._drive(self._tasks.responses(task_id))

    async def forget_responses(self, task_id: str) -> None:
        await self._drive(self._tasks.forget_responses(task_id))

    async def close(self) -> None:
        """Let go of the connections; a second call does nothing."""
        await self._redis.close()
        if self._journal is not None:
            self._journal.close()

    async def _matching(
        self, where: JournalFilter
    ) -> AsyncIterator[tuple[CallRecord, Outcome | None]]:
        for org in await self._drive(self._tasks.orgs_of(where.scope)):
            start: int | None = 0
            while start is not None:
                rows, start = await self._drive(self._tasks.matching(org, start, where))
                for row in rows:
                    yield row


def _answer(told: Any) -> Any:
    if isinstance(told, RedisError):
        raise told
    return told


def _client(address: RedisAddress, on_connect: Any) -> Any:
    if address.cluster:  # its client has no hook for new connections, by which restarts are seen
        raise StoreError(
            f"the async ledger at {address.where} cannot use cluster=yes; use RedisStore, whose "
            "verbs the agent runs in threads"
        )
    plain: Any = redis.asyncio.Redis  # its types mix the answers of the sync and the async client
    retry = Retry(ExponentialBackoff(cap=0.2, base=0.02), 2)
    try:
        return plain.from_url(
            address.url, redis_connect_func=on_connect, retry=retry, **client_options(address)
        )
    except ValueError as error:
        raise StoreError(
            f"the ledger's address at {address.where} cannot be read: {error}"
        ) from error
