"""What a pruner came to, before the line that says what was left out."""

from __future__ import annotations

from dataclasses import dataclass

from agentkit.tools.prune.pruned import Kind, Pruned
from agentkit.tools.prune.room import Room


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What is looked at; `is_capped` where that is not all, `kind` where it is given."""

    text: str
    is_capped: bool
    kind: Kind | None


@dataclass(frozen=True, kw_only=True)
class Found:
    """The text, what is missing from it, and how it came about."""

    text: str
    kind: Kind
    pruned: bool
    kept_lines: int
    original_lines: int
    unit: str = "lines"
    note: str = ""
    handle: str | None = None
    failure: str | None = None
    original_bytes: int = 0
    folded: int = 0

    def pruned_within(self, room: Room) -> Pruned:
        """The text with its last line, in any case within the bound."""
        left_out = self._left_out()
        text = f"{self.text}\n{left_out}" if left_out and self.text else self.text or left_out
        if not room.holds(text):
            text = room.cut(text)
        return Pruned(
            text=text,
            kind=self.kind,
            original_bytes=self.original_bytes,
            kept_bytes=len(text.encode()),
            original_lines=self.original_lines,
            kept_lines=self.kept_lines,
            left_out=left_out,
            handle=self.handle,
            failure=self.failure,
        )

    def _left_out(self) -> str:
        if not self.pruned:
            return f"[in whole: recall {self.handle}]" if self.handle else ""
        said = f"{self.kept_lines:,} of {self.original_lines:,} {self.unit} shown{self.note}"
        if self.handle:
            said += f"; the rest: recall {self.handle}"
        return f"[{said}]"


def all_of(text: str, kind: Kind, *, folded: int = 0) -> Found:
    """Everything; `folded` lines or values of it stand in earlier observations."""
    lines = text.count("\n") + 1
    return Found(
        text=text, kind=kind, pruned=False, kept_lines=lines, original_lines=lines, folded=folded
    )


def cut_down(observation: Observation, room: Room, failure: str) -> Found:
    """Head and tail of what a pruner failed on."""
    lines = observation.text.count("\n") + 1
    shown = room.cut(observation.text)
    return Found(
        text=shown,
        kind=observation.kind or "text",
        pruned=True,
        kept_lines=shown.count("\n") + 1,
        original_lines=lines,
        note=", cut",
        failure=failure,
    )
