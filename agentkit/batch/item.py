"""A request that waits, and the batch that it is sent in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, Self

from agentkit.budgets.amount import Amount

ItemState = Literal["queued", "sent", "answered", "refused", "late", "cancelled"]
"""queued: waits for a batch. sent: is in one. answered: its result is stored. refused: the provider
turned it down for good, unbilled. late: unbilled, to be asked live. cancelled: unbilled, by the
user."""
BatchState = Literal["sealed", "submitted", "cancelling", "processed", "failed"]
"""sealed: its requests are chosen. submitted: the provider has it. processed: every result is
stored. failed: the provider turned it down whole."""

_DOUBTED_SECONDS = 2 * 86_400.0
"""A day until the latest one has ended, and one more for whoever works the lane next."""
OPEN_ITEMS: tuple[ItemState, ...] = ("queued", "sent")
OPEN_BATCHES: tuple[BatchState, ...] = ("sealed", "submitted", "cancelling")
HOLDS_MEDIA = "holds_media"
"""In an item's record: its input was counted at its most, which tells nothing of text."""
ENDED_BATCHES: tuple[BatchState, ...] = ("processed", "failed")


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchItem:
    """One request. `record` is the record of its call before its usage is known.

    `queue` is what may share a batch: account, endpoint and model. `call_id` is the reservation
    that holds its money; `worst` what that holds; `key` what a job calls it. It is `closed` once
    its money is final, and `taken` once whoever asked has the answer.
    """

    item_id: str
    call_id: str
    task_id: str
    queue: str
    endpoint: str
    fingerprint: str
    queued_at: float
    deadline: float
    size_bytes: int
    worst: Amount
    max_output_tokens: int
    record: Mapping[str, Any]
    key: str = ""
    keeps_response: bool = False
    state: ItemState = "queued"
    batch_id: str | None = None
    attempts: int = 0
    error: str | None = None
    closed: bool = False
    taken: bool = False

    @property
    def is_open(self) -> bool:
        """True until something has become of it."""
        return self.state in OPEN_ITEMS

    @property
    def custom_id(self) -> str:
        """What its request is called at the provider; another in each attempt."""
        return f"{self.item_id}-{self.attempts}"

    def to_dict(self) -> dict[str, Any]:
        """The item as JSON types."""
        return asdict(self) | {"worst": list(self.worst)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """An item read back."""
        known: dict[str, Any] = {**data, "worst": Amount(*data["worst"])}
        return cls(**known)


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Requests that are sent together.

    `asked_at` is when it was last tried to submit them; `tries` counts what may have arrived, so a
    batch with tries and without a `provider_id` is looked for before it is sent again. `input_file`
    is what the latest of them was made of, where the provider takes a file. `withdrawn` means
    cancelled by the user. `due_at` is when to go on with it. `seeded` says when what its requests
    begin with was written into the provider's cache, by the prefix in their records.
    """

    batch_id: str
    queue: str
    endpoint: str
    created_at: float
    requests: int = 0
    size_bytes: int = 0
    least_deadline: float = 0.0
    state: BatchState = "sealed"
    provider_id: str | None = None
    input_file: str | None = None
    tries: int = 0
    asked_at: float | None = None
    submitted_at: float | None = None
    ended_at: float | None = None
    due_at: float = 0.0
    answered: int = 0
    error: str | None = None
    withdrawn: bool = False
    others: tuple[str, ...] = field(default=())
    """Batches of the provider that were looked into and are not this one."""
    seeded: Mapping[str, float] = field(default_factory=dict[str, float])

    def may_be_doubled(self, now: float) -> bool:
        """Whether the provider may have, or soon have, another one of it than is gone on with."""
        known = 0 if self.provider_id is None else 1
        lately = self.asked_at is not None and now < self.asked_at + _DOUBTED_SECONDS
        return lately and self.state != "sealed" and self.tries > known

    def to_dict(self) -> dict[str, Any]:
        """The batch as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """A batch read back."""
        known: dict[str, Any] = {**data, "others": tuple(data.get("others", ()))}
        return cls(**known)


class QueueSums(NamedTuple):
    """What waits in one queue."""

    queue: str
    endpoint: str
    requests: int
    size_bytes: int
    oldest_at: float
    least_deadline: float


class ItemAnswer(NamedTuple):
    """What became of a sent request: the state that it takes, and its answer or error."""

    item_id: str
    state: ItemState
    payload: bytes = b""
    error: str | None = None


def attempt_of(custom_id: str) -> tuple[str, int]:
    """The item and the attempt that a provider's `custom_id` names; attempt -1 where it is none."""
    item_id, _, attempt = custom_id.rpartition("-")
    return (item_id, int(attempt)) if item_id and attempt.isdecimal() else (custom_id, -1)
