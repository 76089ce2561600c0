"""Results of tools that need not be run again: what an execution asks of whoever remembers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agentkit.tools.catalogue import ToolSpec
    from agentkit.tools.observation import Observation


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """What a call came to before, and how long ago and how long it took then."""

    content: str
    original_bytes: int
    cut: bool
    age_seconds: float
    saved_seconds: float


class Making(Protocol):
    """The right to make a result while others wait for it."""

    def keep(self, observation: Observation) -> None:
        """Remember what the tool said."""
        ...

    def give_up(self) -> None:
        """Let the next one try; called once, whether a result was kept or not."""
        ...

    async def akeep(self, observation: Observation) -> None: ...

    async def agive_up(self) -> None: ...


class Results(Protocol):
    """Remembers results of one task's tools. No method raises: a failure counts as not known."""

    def begin(self, wanted: Wanted) -> Remembered | Making:
        """The result, or the right to make it; waits while somebody else makes it."""
        ...

    async def abegin(self, wanted: Wanted) -> Remembered | Making: ...

    def tell(self, known: Remembered) -> None:
        """Called where the tool would have run, for traces."""
        ...


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A call as far as its result depends on it; `wait_seconds` is how long it may wait."""

    spec: ToolSpec
    arguments: Mapping[str, object]
    max_result_bytes: int
    wait_seconds: float


def may_be_kept(observation: Observation) -> bool:
    """Whether a result says all of what the call came to, and the call went well.

    Failures may pass; artifacts and LangGraph commands are objects of this process.
    """
    return (
        observation.status == "ok" and observation.artifact is None and observation.command is None
    )
