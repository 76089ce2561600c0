"""Which conversation holds which sequence of the KV cache, and who must leave when it is full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

_COPY_GAIN_TOKENS = 8
"""A prefix is copied from another sequence only where it saves at least so many tokens more."""


@dataclass(kw_only=True, slots=True)
class Slot:
    """One sequence: whose it is, the tokens evaluated in it, the cells promised to it."""

    index: int
    conversation: str | None = None
    tokens: list[int] = field(default_factory=list[int])
    busy: bool = False
    reserved_tokens: int = 0
    used_at: int = 0

    @property
    def cells(self) -> int:
        """KV cells this slot may fill."""
        return max(self.reserved_tokens, len(self.tokens)) if self.busy else len(self.tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A slot for a request, and what has to be done to the KV cache before it is used."""

    slot: Slot
    reused_tokens: int
    copy_from: int | None
    evicted: tuple[int, ...]


class SlotTable:
    """Sequences of one context. It only keeps the books; its user holds a lock and moves the KV."""

    def __init__(self, *, sequences: int, cells: int) -> None:
        self._slots = [Slot(index=index) for index in range(sequences)]
        self._cells = cells
        self._clock = 0

    def claim(
        self, prompt: Sequence[int], *, conversation: str | None, reserve_tokens: int
    ) -> Claim | None:
        """A slot for `prompt` with room for `reserve_tokens` in all; None while none is free."""
        slot = self._choose(prompt, conversation)
        if slot is None:
            return None
        evicted = self._make_room(slot, reserve_tokens)
        if evicted is None:
            return None
        most = len(prompt) - 1  # the last token is always evaluated, for its logits
        reused = min(shared_prefix(slot.tokens, prompt), most)
        donor = max(
            (other for other in self._slots if other is not slot and other.index not in evicted),
            key=lambda other: shared_prefix(other.tokens, prompt),
            default=None,
        )
        copy_from = None
        if donor is not None:
            copied = min(shared_prefix(donor.tokens, prompt), most)
            if copied >= reused + _COPY_GAIN_TOKENS:
                reused, copy_from = copied, donor.index
        for index in evicted:
            self.forget(self._slots[index])
        self._clock += 1
        slot.conversation = conversation
        slot.tokens = list(prompt[:reused])
        slot.busy = True
        slot.reserved_tokens = reserve_tokens
        slot.used_at = self._clock
        return Claim(slot=slot, reused_tokens=reused, copy_from=copy_from, evicted=evicted)

    def release(self, slot: Slot) -> None:
        """Let the slot rest; what was evaluated in it stays until room is needed."""
        slot.busy = False
        slot.reserved_tokens = 0

    def forget(self, slot: Slot) -> None:
        """Drop what was evaluated in the slot."""
        slot.tokens = []
        slot.conversation = None

    def resident(self) -> dict[str, int]:
        """Tokens held for each named conversation."""
        held: dict[str, int] = {}
        for slot in self._slots:
            if slot.conversation is not None:
                kept = held.get(slot.conversation, 0)
                held[slot.conversation] = max(kept, len(slot.tokens))
        return held

    def _choose(self, prompt: Sequence[int], conversation: str | None) -> Slot | None:
        idle = [slot for slot in self._slots if not slot.busy]
        own = [slot for slot in idle if slot.tokens and slot.conversation == conversation]
        if own:
            best = max(own, key=lambda slot: shared_prefix(slot.tokens, prompt))
            if conversation is not None or shared_prefix(best.tokens, prompt):
                return best
        return min(idle, key=lambda slot: (bool(slot.tokens), slot.used_at), default=None)

    def _make_room(self, slot: Slot, reserve_tokens: int) -> tuple[int, ...] | None:
        """Idle slots that must go, the least recently used first; None where that is not enough.

        Shared cells count for each sequence that holds them, so the sum is never too low.
        """
        others = [other for other in self._slots if other is not slot]
        needed = sum(other.cells for other in others) + reserve_tokens - self._cells
        evicted: list[int] = []
        idle = (other for other in others if not other.busy and other.tokens)
        for other in sorted(idle, key=lambda other: other.used_at):
            if needed <= 0:
                break
            needed -= other.cells
            evicted.append(other.index)
        return tuple(evicted) if needed <= 0 else None


def shared_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens both begin with."""
    shortest = min(len(left), len(right))
    if left[:shortest] == right[:shortest]:
        return shortest
    pairs = enumerate(islice(zip(left, right, strict=False), shortest))
    return next((index for index, (a, b) in pairs if a != b), shortest)
