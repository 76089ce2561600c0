"""What the lane needs of a provider's batch API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult

from agentkit.batch.item import Batch
from agentkit.errors import AgentError

Ending = Literal["answered", "errored", "expired", "cancelled"]
_UNSENT = ("timeout", "stream", "stream_options", "extra_headers")
"""Call arguments that say how to send a request, and are no part of it."""


class BatchLimits(NamedTuple):
    """The most that one batch takes."""

    requests: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a batch stands at its provider; `wrong_lines` count from 1."""

    state: Literal["working", "cancelling", "ended", "failed"]
    done: int = 0
    total: int = 0
    error: str | None = None
    is_transient: bool = False
    wrong_lines: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What became of one request. `is_transient` says that the same may well succeed later."""

    custom_id: str
    ending: Ending
    payload: bytes = b""
    error: str | None = None
    is_transient: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Batches of the provider that are ours, and those of which it will be known once they end."""

    ours: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    others: tuple[str, ...] = field(default=())


@dataclass(frozen=True, kw_only=True, slots=True)
class Wire:
    """A request as it goes into a batch."""

    endpoint: str
    body: bytes


class BatchRefused(AgentError):
    """The provider turned one request of a batch down; it was not billed."""

    def __init__(self, error: str) -> None:
        self.status_code = 400
        super().__init__(f"a request in a batch was refused, and not billed: {error}")


class CannotBatch(AgentError):
    """A request that its provider takes live only."""


class BatchProvider(Protocol):
    """One account at one provider. Every method may raise the SDK's own errors."""

    account: str
    limits: BatchLimits

    def wire(
        self, model: BaseChatModel, messages: list[BaseMessage], arguments: dict[str, Any]
    ) -> Wire:
        """The request as the provider's SDK would send it live."""
        ...

    def ask(self, endpoint: str, body: dict[str, Any]) -> bytes:
        """The answer to a request that is sent live, once."""
        ...

    def upload(self, batch: Batch, lines: Iterable[tuple[str, bytes]]) -> str | None:
        """Send what a batch will be made of, where that goes before it; gives its id."""
        ...

    def submit(self, batch: Batch, lines: Iterable[tuple[str, bytes]]) -> str:
        """Send a batch once, without retries; gives the provider's id."""
        ...

    def recall(self, batch: Batch) -> bool:
        """Make a submission void that may still arrive; False where that cannot be done."""
        ...

    def find(self, batch: Batch, is_ours: Callable[[str], bool]) -> Found:
        """What has come of submissions whose answer was lost; `is_ours` knows its custom ids.

        `batch.others` are left out.
        """
        ...

    def look(self, provider_id: str) -> Standing:
        """Where a batch stands."""
        ...

    def results(self, provider_id: str) -> Iterator[Result]:
        """The results of a batch that has ended, in any order."""
        ...

    def cancel(self, provider_id: str) -> None:
        """Ask for its end; what is done by then is billed and can be had."""
        ...

    def clear(self, batch: Batch) -> None:
        """Delete what the provider keeps of a batch whose results are stored."""
        ...


@runtime_checkable
class SeedsPrefixes(Protocol):
    """A provider that caches what a request begins with for as long as the request asks for."""

    def seed(self, body: bytes) -> dict[str, Any] | None:
        """A small request that keeps what this one begins with for an hour; None where there is
        nothing to keep, or the request says itself what is to be cached."""
        ...

    def reading(self, body: bytes) -> bytes:
        """The request as it reads what was kept, and writes it where it is not there."""
        ...

    def ask(self, endpoint: str, body: dict[str, Any]) -> bytes:
        """As BatchProvider has it."""
        ...


def wire_of(endpoint: str, payload: dict[str, Any]) -> Wire:
    """The request as JSON; raises CannotBatch where it holds what JSON cannot."""
    try:
        return Wire(endpoint=endpoint, body=json.dumps(payload, ensure_ascii=False).encode())
    except (TypeError, ValueError) as error:
        raise CannotBatch("its arguments cannot be written as JSON") from error


def answer_of(result: ChatResult) -> AIMessage:
    """The message of a result, with what LangChain's `invoke` adds to it."""
    generation = result.generations[0]
    message = generation.message
    if not isinstance(message, AIMessage):
        raise TypeError(f"a batch answered with a {type(message).__name__}")
    message.response_metadata = {
        **(result.llm_output or {}),
        **(generation.generation_info or {}),
        **message.response_metadata,
    }
    return message


def sent_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that are part of the request."""
    return {name: value for name, value in arguments.items() if name not in _UNSENT}
