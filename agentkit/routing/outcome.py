"""How tiers did on earlier requests, and where that is kept.

An outcome holds no text: a request is there as a vector of 8-bit numbers, which says what it was
about, and as its difficulty. Rows are untrusted when they are read back: what does not fit is left
aside.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agentkit.budgets.stores.sqlite_file import SqliteFile
from agentkit.errors import AgentError
from agentkit.routing.json_value import is_number, is_table

VERSION = 1
MOST_KEPT = 2_000
"""Outcomes that a tenant keeps; the oldest go first."""
_MOST_VECTOR_BYTES = 4_096
_MOST_LABEL_CHARS = 200
_MOST_ROW_CHARS = 8_192
_LARGEST_NUSD = 2**53
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS route_outcome (
        id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, row TEXT NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS route_outcome_tenant ON route_outcome (tenant, id)",
)


class RouteStoreError(AgentError):
    """What was learned about routes cannot be read or written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How the tier called `tier` did on one task. `embedding` names what made the vector.

    `exploration_nusd` is what was expected to be paid beyond the usual, where it was tried out.
    """

    task_id: str
    tier: str
    is_ok: bool
    weight: float
    was_first: bool
    cost_nusd: int
    difficulty: float
    at: float
    embedding: str = ""
    vector: bytes = b""
    exploration_nusd: int = 0

    def to_json(self) -> str:
        """One row."""
        return json.dumps(
            {
                "v": VERSION,
                "task": self.task_id,
                "tier": self.tier,
                "ok": self.is_ok,
                "weight": self.weight,
                "first": self.was_first,
                "nusd": self.cost_nusd,
                "difficulty": round(self.difficulty, 4),
                "at": self.at,
                "embedding": self.embedding,
                "vector": base64.b64encode(self.vector).decode(),
                "explored": self.exploration_nusd,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Outcome | None:
        """A row read back; None for one that is damaged, out of range, or of another version."""
        if len(text) > _MOST_ROW_CHARS:
            return None
        try:
            facts: object = json.loads(text)
            if not is_table(facts) or facts.get("v") != VERSION:
                return None
            return cls(
                task_id=_text(facts["task"]),
                tier=_text(facts["tier"]),
                is_ok=bool(facts["ok"]),
                weight=_number(facts["weight"], 0.0, 1.0),
                was_first=bool(facts["first"]),
                cost_nusd=int(_number(facts["nusd"], 0, _LARGEST_NUSD)),
                difficulty=_number(facts["difficulty"], -100.0, 100.0),
                at=_number(facts["at"], 0.0, 1e11),
                embedding=_text(facts["embedding"]),
                vector=_vector(facts["vector"]),
                exploration_nusd=int(_number(facts["explored"], 0, _LARGEST_NUSD)),
            )
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError, binascii.Error):
            return None


class OutcomeStore(Protocol):
    """Where outcomes live. Every method is safe from many threads."""

    @property
    def blocking(self) -> bool:
        """True where a method waits for a disk or a network."""
        ...

    def add(self, tenant: str, outcomes: Sequence[Outcome]) -> None:
        """Keep outcomes, and of all of the tenant's the latest."""
        ...

    def latest(self, tenant: str) -> list[Outcome]:
        """A tenant's outcomes, the oldest first."""
        ...

    def tenants(self) -> list[str]:
        """Those who have outcomes."""
        ...

    def forget(self, tenant: str | None = None) -> int:
        """Drop a tenant's outcomes, or all; returns how many there were."""
        ...

    def close(self) -> None:
        """Let go of files and connections; a second call does nothing."""
        ...


class MemoryOutcomeStore:
    """Implements OutcomeStore in this process."""

    def __init__(self, *, most_kept: int = MOST_KEPT) -> None:
        self._most_kept = most_kept
        self._lock = threading.Lock()
        self._kept: dict[str, list[Outcome]] = {}

    @property
    def blocking(self) -> bool:
        return False

    def add(self, tenant: str, outcomes: Sequence[Outcome]) -> None:
        with self._lock:
            kept = self._kept.setdefault(tenant, [])
            kept += outcomes
            del kept[: -self._most_kept]

    def latest(self, tenant: str) -> list[Outcome]:
        with self._lock:
            return list(self._kept.get(tenant, ()))

    def tenants(self) -> list[str]:
        with self._lock:
            return sorted(self._kept)

    def forget(self, tenant: str | None = None) -> int:
        with self._lock:
            gone = list(self._kept) if tenant is None else [tenant]
            return sum(len(self._kept.pop(each, ())) for each in gone)

    def close(self) -> None: ...


class SqliteOutcomeStore:
    """Implements OutcomeStore in a table of its own in the ledger's file."""

    def __init__(self, path: str | Path, *, most_kept: int = MOST_KEPT) -> None:
        """Open the file at `path`. Raises RouteStoreError where it cannot be."""
        self._most_kept = most_kept
        self._file = SqliteFile(
            path, what="what was learned about routes in", error=RouteStoreError,
            synchronous="NORMAL",  # what was learned may be learned again
            advice="check the file's permissions, or name another ledger",
        )  # fmt: skip
        with self._file.write() as db:
            for statement in _SCHEMA:
                db.execute(statement)

    @property
    def blocking(self) -> bool:
        return True

    def add(self, tenant: str, outcomes: Sequence[Outcome]) -> None:
        with self._file.write() as db:
            db.executemany(
                "INSERT INTO route_outcome (tenant, row) VALUES (?, ?)",
                [(tenant, outcome.to_json()) for outcome in outcomes],
            )
            db.execute(
                "DELETE FROM route_outcome WHERE tenant = ? AND id <= (SELECT id FROM "
                "route_outcome WHERE tenant = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (tenant, tenant, self._most_kept),
            )

    def latest(self, tenant: str) -> list[Outcome]:
        with self._file.read() as db:
            rows = db.execute(
                "SELECT row FROM route_outcome WHERE tenant = ? ORDER BY id DESC LIMIT ?",
                (tenant, self._most_kept),
            ).fetchall()
        return readable([str(row[0]) for row in reversed(rows)])

    def tenants(self) -> list[str]:
        with self._file.read() as db:
            rows = db.execute("SELECT DISTINCT tenant FROM route_outcome ORDER BY tenant")
            return [str(row[0]) for row in rows]

    def forget(self, tenant: str | None = None) -> int:
        with self._file.read() as db:
            if tenant is None:
                return db.execute("DELETE FROM route_outcome").rowcount
            return db.execute("DELETE FROM route_outcome WHERE tenant = ?", (tenant,)).rowcount

    def close(self) -> None:
        self._file.close()


def readable(rows: Sequence[str]) -> list[Outcome]:
    """The outcomes in `rows`; what is no outcome is left aside."""
    found = (Outcome.from_json(row) for row in rows)
    return [outcome for outcome in found if outcome is not None]


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MOST_LABEL_CHARS:
        raise ValueError("no short text")
    return value


def _number(value: object, least: float, most: float) -> float:
    if not is_number(value) or not least <= value <= most:
        raise ValueError("no number, or out of range")
    return float(value)


def _vector(value: object) -> bytes:
    if not isinstance(value, str) or len(value) > 2 * _MOST_VECTOR_BYTES:
        raise ValueError("no vector")
    return base64.b64decode(value, validate=True)
