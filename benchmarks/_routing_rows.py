"""Questions of which it is known whether a weak and a strong model answered them right."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """`subject` is empty where the set has none."""

    text: str
    subject: str
    weak_ok: bool
    strong_ok: bool

    @property
    def gain(self) -> int:
        """1 where only the strong model was right, -1 where only the weak one was."""
        return int(self.strong_ok) - int(self.weak_ok)


def questions(folder: Path, name: str) -> list[Question]:
    """The rows of `routing/NAME.jsonl.gz`."""
    with gzip.open(folder / "routing" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        Question(
            text=row["prompt"],
            subject=row.get("subject", ""),
            weak_ok=bool(row["weak_ok"]),
            strong_ok=bool(row["strong_ok"]),
        )
        for row in rows
    ]
