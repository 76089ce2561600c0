"""What a step sends: the head, the request, and the transcript from the window on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from langchain_core.messages import BaseMessage, SystemMessage

from agentkit.models.tier import Tier
from agentkit.run import Run
from agentkit.state import AgentState, transcript


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """The parts of a transcript that a step sends.

    `messages[:head]` (system texts) and the request are always sent; of the rest,
    `messages[start:]`.
    """

    transcript: Sequence[BaseMessage]
    head: int
    request_at: int
    start: int

    @classmethod
    def of(cls, state: AgentState) -> Self:
        """The parts by the window that is in force."""
        messages = transcript(state)
        head = 0
        while head < len(messages) and isinstance(messages[head], SystemMessage):
            head += 1
        start = max(state.get("window_start", 0), head)
        return cls(
            transcript=messages, head=head, request_at=state.get("request_at", 0), start=start
        )

    @property
    def pinned(self) -> Sequence[BaseMessage]:
        """The request, where the window has left it behind."""
        if self.head <= self.request_at < self.start:
            return (self.transcript[self.request_at],)
        return ()

    def messages(self, run: Run, system: BaseMessage | None) -> list[BaseMessage]:
        """The messages themselves, after the agent's own system text."""
        return [
            *(() if system is None else (system,)),
            *self.transcript[: self.head],
            *self.pinned,
            *run.history(self.transcript, self.start, self.request_at),
            *self.transcript[max(self.start, self.request_at) :],
        ]

    def tokens(self, run: Run, tier: Tier) -> int:
        """Tokens of the messages, without the agent's own system text; counts only what is new."""
        whole = run.transcript_tokens(tier, self.transcript)
        if self.start == self.head:
            return whole
        after_head = run.transcript_tokens(tier, self.transcript, self.head)
        after_start = run.transcript_tokens(tier, self.transcript, self.start)
        return whole - after_head + after_start + self.pinned_tokens(tier)

    def pinned_tokens(self, tier: Tier) -> int:
        """Tokens of the request, where it is sent apart."""
        return tier.counter.messages(self.pinned)
