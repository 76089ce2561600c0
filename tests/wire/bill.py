"""The server's own record of what it billed: integers only, independent of agentkit's prices."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal

from tests.wire.fault import FaultKind

_TOKENS_PER_MTOK = 1_000_000
_NUSD_PER_USD = 1_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """USD per million tokens by class, in one price band."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write_5m: Decimal = Decimal(0)
    cache_write_1h: Decimal = Decimal(0)

    def halved(self) -> Rates:
        """Half of each: the price of a batch."""
        return Rates(**{part.name: getattr(self, part.name) / 2 for part in fields(self)})


def rates(
    plain_input: str, output: str, cache_read: str, write_5m: str = "0", write_1h: str = "0"
) -> Rates:
    """Rates from decimal text."""
    return Rates(
        input=Decimal(plain_input),
        output=Decimal(output),
        cache_read=Decimal(cache_read),
        cache_write_5m=Decimal(write_5m),
        cache_write_1h=Decimal(write_1h),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class WireUsage:
    """Billed tokens by class; `input_tokens` and `output_tokens` are whole sums."""

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def plain_input_tokens(self) -> int:
        """Input tokens that are neither read from nor written to the cache."""
        cached = self.cache_read_tokens + self.cache_write_5m_tokens + self.cache_write_1h_tokens
        return self.input_tokens - cached

    @property
    def total_tokens(self) -> int:
        """Input and output."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: WireUsage) -> WireUsage:
        return WireUsage(
            **{part.name: getattr(self, part.name) + getattr(other, part.name) for part in _PARTS}
        )


_PARTS = fields(WireUsage)


def cost_nusd(usage: WireUsage, price: Rates) -> int:
    """Nano-USD of one request, rounded up once."""
    usd_per_million = (
        usage.plain_input_tokens * price.input
        + usage.cache_read_tokens * price.cache_read
        + usage.cache_write_5m_tokens * price.cache_write_5m
        + usage.cache_write_1h_tokens * price.cache_write_1h
        + usage.output_tokens * price.output
    )
    nusd, below = divmod(usd_per_million * _NUSD_PER_USD, _TOKENS_PER_MTOK)
    return int(nusd) + (1 if below else 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class BilledRequest:
    """One billed request; `delivered_usage` says whether the client was sent the whole usage.

    `custom_id` names a request of a batch.
    """

    id: str
    path: str
    model: str
    task: str | None
    usage: WireUsage
    cost_nusd: int
    delivered_usage: bool
    fault: FaultKind | None = None
    custom_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Total:
    """A sum over billed requests."""

    requests: int
    usage: WireUsage
    cost_nusd: int


class Bill:
    """Every billed request in order of arrival, safe to read and write from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, BilledRequest] = {}

    def add(self, record: BilledRequest) -> None:
        """Bills a request."""
        with self._lock:
            self._records[record.id] = record

    def mark_undelivered(self, request_id: str) -> None:
        """Notes that the client left before it was sent the usage."""
        with self._lock:
            record = self._records[request_id]
            self._records[request_id] = replace(record, delivered_usage=False)

    @property
    def records(self) -> tuple[BilledRequest, ...]:
        """All billed requests so far."""
        with self._lock:
            return tuple(self._records.values())

    def total(self, of: Callable[[BilledRequest], bool] | None = None) -> Total:
        """The sum over the records for which `of` holds, or all."""
        return _sum(record for record in self.records if of is None or of(record))

    def by_task(self) -> Mapping[str | None, Total]:
        """The sums by task tag."""
        records = self.records
        tasks = dict.fromkeys(record.task for record in records)
        return {task: _sum(each for each in records if each.task == task) for task in tasks}

    @property
    def cost_nusd(self) -> int:
        """Nano-USD billed in all."""
        return self.total().cost_nusd

    def to_dict(self) -> dict[str, object]:
        """Sums and records for JSON."""
        return {
            "total": asdict(self.total()),
            "delivered": asdict(self.total(lambda record: record.delivered_usage)),
            "by_task": {str(task): asdict(total) for task, total in self.by_task().items()},
            "records": [asdict(record) for record in self.records],
        }

    def to_json(self) -> str:
        """The bill as JSON text."""
        return json.dumps(self.to_dict())


def _sum(records: Iterable[BilledRequest]) -> Total:
    usage, cost, requests = WireUsage(), 0, 0
    for record in records:
        usage, cost, requests = usage + record.usage, cost + record.cost_nusd, requests + 1
    return Total(requests=requests, usage=usage, cost_nusd=cost)
