"""The ledger's verbs in Redis as requests and answers, for the sync and the async store alike."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from agentkit.budgets.amount import Amount
from agentkit.budgets.errors import (
    BudgetStateLost,
    ReservationConflict,
    ReservationUnknown,
    ScopeMissing,
    StoreError,
)
from agentkit.budgets.journal import CallRecord, PaidResponse
from agentkit.budgets.loss import StateLoss
from agentkit.budgets.scope import Scope, scope_chain
from agentkit.budgets.store import Account, Denial, Grant, Settlement
from agentkit.budgets.stores.redis_address import RedisAddress
from agentkit.budgets.stores.redis_memory import Memories, OrgMemory
from agentkit.budgets.stores.redis_record import (
    account_of,
    amount_of_packed,
    charged_of,
    denial_of,
    hold_of_grant,
    packed,
    packed_limits,
    rows_of,
    scope_of,
    settlement_of,
    state_of,
)
from agentkit.budgets.stores.redis_recovery import Connection, Recovery
from agentkit.budgets.stores.redis_script import (
    OPENED,
    ORGS,
    TROUBLE,
    Argument,
    Commands,
    Script,
    Steps,
    Verb,
    key,
    one,
)
from agentkit.budgets.stores.redis_window import span_at

_ORGS_REMEMBERED = 20_000
_ROUNDS = 8
_UNKNOWN = b"UNKNOWN"
_UNCLOCKED = frozenset({"settle", "release", "scope", "drop"})


class RedisVerbs:
    """Each verb as a generator of requests. `clock` replaces the server's time."""

    def __init__(
        self,
        address: RedisAddress,
        memories: Memories,
        connection: Connection,
        *,
        clock: Callable[[], float] | None,
    ) -> None:
        self._address = address
        self._memories = memories
        self._clock = clock
        self._runs = connection.runs
        self.recovery = Recovery(connection, wait_seconds=address.wait_seconds, now=self.now)
        self._orgs: dict[str, str] = {}
        self._lock = threading.Lock()

    def now(self) -> str:
        """Milliseconds of the clock that was given, or '' for the server's own."""
        return "" if self._clock is None else str(int(self._clock() * 1000))

    def put_scope(self, scope: Scope) -> Steps[None]:
        return self._write_scopes("put", scope, [scope.path])

    def ensure_scopes(self, paths: Sequence[str]) -> Steps[None]:
        for org, group in _by_org(paths).items():
            yield from self._write_scopes("ensure", Scope(path=org), group)

    def scopes(self, prefix: str) -> Steps[list[Scope]]:
        orgs = [_org(prefix)] if prefix else (yield from self.all_orgs())
        answers = yield Commands([("HGETALL", key(org, "scopes")) for org in orgs])
        found = [
            scope_of(path, record)
            for rows in answers
            for path, record in ((name.decode(), record) for name, record in rows.items())
            if path and (not prefix or path == prefix or path.startswith(f"{prefix}/"))
        ]
        return sorted(found, key=lambda scope: scope.path)

    def accounts(self, paths: Sequence[str]) -> Steps[list[Account]]:
        found: dict[str, Account] = {}
        for org, group in _by_org(paths).items():
            memory = self._memories.of(org)
            answer = yield from self._run("accounts", memory, (*group, ""))
            if answer is None:
                raise ScopeMissing(group[0])
            memory.learn(answer, group)
            found.update(
                (path, account_of(path, record)) for path, record in rows_of(answer, group)
            )
        return [found[path] for path in paths]

    def drop_scope(self, path: str) -> Steps[None]:
        memory = self._memories.of(_org(path))
        answer = yield from self._run("drop", memory, (path,))
        if answer is None or answer == b"HELD":
            return
        memory.forget(path)
        if answer != b"MISSING":
            memory.learn(answer)

    def reserve(
        self,
        reservation_id: str,
        worst: Amount,
        paths: Sequence[str],
        *,
        lease_seconds: float,
        fingerprint: str,
        dispatched: bool,
    ) -> Steps[Grant | Denial]:
        org = _one_org(tuple(paths))
        memory = self._memories.of(org)
        raw, lease_ms = packed(worst), int(lease_seconds * 1000)
        if dispatched and lease_ms > memory.longest_lease_ms:
            memory.longest_lease_ms = lease_ms
        head = (reservation_id, raw, lease_ms, fingerprint, int(dispatched))
        answer = yield from self._run("reserve", memory, (*head, *paths, ""))
        if type(answer) is bytes:
            hold = hold_of_grant(answer, raw, fingerprint, dispatched=dispatched)
            memory.learn(answer, paths, hold=(reservation_id, hold, memory.clock() + lease_seconds))
            grant = Grant(reservation_id, "held", worst, False, dispatched)
        elif answer is None:
            raise ScopeMissing(paths[0])
        elif answer[0] == b"DENIED":
            _, path, dimension, record = answer
            return denial_of(worst, path.decode(), int(dimension), record)
        elif answer[0] == b"REPEATED":
            _, state, sent, held = answer
            first = amount_of_packed(held)
            grant = Grant(reservation_id, state_of(state), first, True, sent == b"1")
        else:
            raise ReservationConflict(reservation_id)
        self.remember(reservation_id, org)
        return grant

    def renew(self, reservation_id: str, *, lease_seconds: float, dispatched: bool) -> Steps[bool]:
        org = yield from self.org_holding("hold", reservation_id)
        if org is None:
            return False
        memory, lease_ms = self._memories.of(org), int(lease_seconds * 1000)
        answer = yield from self._run("renew", memory, (reservation_id, lease_ms, int(dispatched)))
        if answer is None or answer == b"ENDED":
            return False
        memory.renewed(answer, reservation_id, lease_ms, sent=dispatched)
        return True

    def settle(
        self,
        reservation_id: str,
        actual: Amount,
        *,
        confirmed: bool,
        call: CallRecord | None,
        response: PaidResponse | None,
    ) -> Steps[Settlement]:
        if response is not None:
            org = yield from self.org_of_task(response.task_id)
            head = f"{response.call_id} {response.fingerprint}\n".encode()
            yield Commands([("RPUSH", key(org, "paid", response.task_id), head + response.payload)])
        state = "s" if confirmed else "f"
        arguments = (reservation_id, packed(actual), state, *_call(call))
        return (yield from self._end("settle", reservation_id, arguments))

    def release(self, reservation_id: str, *, call: CallRecord | None) -> Steps[Settlement]:
        return self._end("release", reservation_id, (reservation_id, *_call(call)))

    def expire(self, limit: int) -> Steps[list[Settlement]]:
        ended: list[Settlement] = []
        for org in (yield from self._orgs_due()):
            memory = self._memories.of(org)
            for attempt in range(_ROUNDS):
                answers = yield from self._run("expire", memory, (limit - len(ended),))
                for name, answer in answers or ():
                    if answer != TROUBLE:
                        ended.append(self._take_end(memory, name.decode(), answer))
                if not answers or answers[-1][1] != TROUBLE:
                    break
                yield from self.recovery.compare(memory, doubt=attempt > 1)
            if len(ended) >= limit:
                break
        return ended

    def reopen(self, org: str) -> Steps[StateLoss]:
        """Open an org by hand."""
        memory = self._memories.of(org)
        if memory.seen:
            yield from self.recovery.compare(memory)
        loss = yield from self.recovery.reopen(memory, by_hand=True)
        if loss is None:
            raise StoreError(f"the ledger of {org!r} cannot be opened again; try again")
        return loss

    def all_orgs(self) -> Steps[list[str]]:
        """Every org that has had scopes or tasks, and those this process knows."""
        listed = yield from one("SMEMBERS", ORGS)
        return sorted({org.decode() for org in listed} | self._memories.orgs())

    def org_of_task(self, task_id: str) -> Steps[str]:
        """The org of a task; '-' where no org has it."""
        return (yield from self.org_holding("task", task_id)) or "-"

    def org_holding(self, kind: str, name: str) -> Steps[str | None]:
        """The org of a reservation or task: remembered, or looked for in every org."""
        remembered = name if kind == "hold" else f"{kind} {name}"
        org = self._orgs.get(remembered)
        if org is not None:
            return org
        orgs = yield from self.all_orgs()
        found = yield Commands([("EXISTS", key(org, kind, name)) for org in orgs])
        org = next((org for org, exists in zip(orgs, found, strict=True) if exists), None)
        if org is not None:
            self.remember(remembered, org)
        return org

    def remember(self, name: str, org: str) -> None:
        """Where a reservation or a task is, so that it need not be looked for."""
        self._orgs[name] = org
        if len(self._orgs) > 2 * _ORGS_REMEMBERED:
            with self._lock:
                for oldest in list(self._orgs)[:_ORGS_REMEMBERED]:
                    self._orgs.pop(oldest, None)

    def seconds(self) -> Steps[float]:
        """Unix time by the clock that was given, or the server's."""
        if self._clock is not None:
            return self._clock()
        whole, microseconds = yield from one("TIME")
        return int(whole) + int(microseconds) / 1_000_000

    def _run(self, verb: Verb, memory: OrgMemory, arguments: Sequence[Argument]) -> Steps[Any]:
        """The script's answer, once the org is sound and its windows are those of now.

        None where there is no such org.
        """
        answer: Any = TROUBLE
        if memory.generation == self._runs.generation:
            answer = yield self._script(verb, memory, arguments)
            if type(answer) is bytes and answer != TROUBLE:
                return answer
        return (yield from self._run_on(verb, memory, arguments, answer))

    def _run_on(
        self, verb: Verb, memory: OrgMemory, arguments: Sequence[Argument], answer: Any
    ) -> Steps[Any]:
        """The same after an answer that is in doubt, or needs more."""
        for attempt in range(_ROUNDS):
            if answer != TROUBLE:
                answer = yield from self._turned(verb, memory, arguments, answer)
            if answer != TROUBLE:
                return answer
            granting, doubt = verb in ("reserve", "scope"), attempt > 1
            if not (yield from self.recovery.compare(memory, granting=granting, doubt=doubt)):
                return None
            answer = yield self._script(verb, memory, arguments)
        raise StoreError(f"the ledger of {memory.org!r} changes too fast; try again")

    def _turned(
        self, verb: Verb, memory: OrgMemory, arguments: Sequence[Argument], answer: Any
    ) -> Steps[Any]:
        """The answer once the script has the spans of windows that have begun since."""
        for _ in range(_ROUNDS):
            if type(answer) is bytes or not answer:
                return answer
            if answer[0] == b"MISSING":
                raise ScopeMissing(answer[1].decode())
            if answer[0] != b"WINDOW":
                return answer
            now_ms, *stale = (part.decode() for part in answer[1:])
            spans = [span_at(window, int(now_ms)) for window in stale[1::2]]
            rows = [each for row in zip(stale[::2], spans, strict=True) for each in row]
            turned = yield Script("turn", memory.org, (self.now(), memory.seen, *rows))
            if turned == TROUBLE:
                return TROUBLE
            memory.learn(turned)
            answer = yield self._script(verb, memory, arguments)
        raise StoreError("the ledger's clock passed midnight again and again; try again")

    def _script(self, verb: Verb, memory: OrgMemory, arguments: Sequence[Argument]) -> Script:
        if verb in _UNCLOCKED:
            return Script(verb, memory.org, (memory.seen, *arguments))
        now = "" if self._clock is None else self.now()
        return Script(verb, memory.org, (now, memory.seen, *arguments))

    def _write_scopes(self, verb: str, scope: Scope, paths: Sequence[str]) -> Steps[None]:
        for path in paths:
            scope_chain(path)
        org = _org(paths[0])
        memory = self._memories.of(org)
        limits, thresholds = packed_limits(scope.limits), json.dumps(scope.thresholds)
        rules = (limits, f"{scope.window} {scope.timezone}", thresholds)
        for _ in range(_ROUNDS):
            answer = yield from self._run("scope", memory, ("", verb, *rules, *paths))
            if answer is None:
                answer = yield from self._begin(memory, (verb, *rules, *paths))
            if answer != TROUBLE:
                memory.learn(answer, paths)
                return
        raise StoreError(f"the ledger of {org!r} changes too fast; try again")

    def _begin(self, memory: OrgMemory, arguments: Sequence[Argument]) -> Steps[bytes]:
        """The first scopes of an org, unless another process was first."""
        if self._address.new_orgs == "refuse":
            raise BudgetStateLost(org=memory.org, seq_seen=0, seq_found=0, reopens_in_seconds=None)
        epoch = secrets.token_hex(8)
        answer: bytes = yield Script("scope", memory.org, ("", epoch, *arguments))
        if answer != TROUBLE:
            yield Commands((("SADD", ORGS, memory.org), ("SADD", OPENED, memory.org)))
            memory.adopt(answer[1:25], epoch.encode() * 2, self._runs.generation)
        return answer

    def _end(
        self, verb: Verb, reservation_id: str, arguments: Sequence[Argument]
    ) -> Steps[Settlement]:
        org = self._orgs.get(reservation_id)
        org = org or (yield from self.org_holding("hold", reservation_id))
        if org is None:
            raise ReservationUnknown(reservation_id)
        memory = self._memories.of(org)
        answer = yield from self._run(verb, memory, arguments)
        if answer == _UNKNOWN and memory.made_lately(reservation_id):
            yield from self.recovery.compare(memory, doubt=True)
            answer = yield from self._run(verb, memory, arguments)
        if answer is None or answer == _UNKNOWN:
            raise ReservationUnknown(reservation_id)
        return self._take_end(memory, reservation_id, answer)

    def _take_end(self, memory: OrgMemory, reservation_id: str, answer: bytes) -> Settlement:
        settlement, moved = settlement_of(reservation_id, answer)
        hold = memory.ended(reservation_id, *charged_of(answer))
        memory.learn(
            answer, None, moved, None if hold is None else (reservation_id, hold, memory.clock())
        )
        return settlement

    def _orgs_due(self) -> Steps[list[str]]:
        """The orgs with a lease that is over, or fewer leases than they should have."""
        now = self.now() or str(int((yield from self.seconds()) * 1000))
        orgs = yield from self.all_orgs()
        due: list[str] = []
        rows: list[Sequence[Argument]] = []
        for org in orgs:
            leases = key(org, "leases")
            rows.append(("ZCOUNT", leases, "-inf", now))
            rows.append(("ZCARD", leases))
            rows.append(("HGET", key(org, "scopes"), ""))
        answers = yield Commands(rows)
        for org, over, all_, meta in zip(
            orgs, answers[::3], answers[1::3], answers[2::3], strict=True
        ):
            if over or _open_in(meta) != all_:
                due.append(org)
        return due


def _open_in(meta: bytes | None) -> int:
    """How many reservations an org's own record says are open."""
    from struct import unpack_from

    return 0 if meta is None else int(unpack_from("<q", meta, 24)[0])


def _org(path: str) -> str:
    return path.partition("/")[0]


def _by_org(paths: Sequence[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(_org(path), []).append(path)
    return groups


@lru_cache(maxsize=4096)
def _one_org(paths: tuple[str, ...]) -> str:
    org = paths[0].partition("/")[0]
    head = f"{org}/"
    if all(path.startswith(head) or path == org for path in paths):
        return org
    orgs = _by_org(paths)
    raise StoreError(
        f"a reservation in Redis touches one org, not {len(orgs)} ({', '.join(orgs)}): the "
        "first segment of all its scopes must be the same"
    )


def _call(call: CallRecord | None) -> tuple[str, str, str]:
    if call is None:
        return "", "", ""
    return call.task_id, call.call_id, json.dumps(call.to_dict())
