"""The file in which a run keeps what it has paid for: one row a case and setting, as it ends."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from agentkit.budgets.stores.sqlite_file import SqliteFile
from agentkit.errors import ConfigError
from agentkit.evals.case_result import CaseResult

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    number INTEGER PRIMARY KEY, token TEXT NOT NULL, digest TEXT NOT NULL,
    started_at REAL NOT NULL, ended_at REAL, facts TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS result (
    run INTEGER NOT NULL REFERENCES run(number), setting TEXT NOT NULL, case_id TEXT NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (run, setting, case_id)
);
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One run: `digest` names what was asked of whom, `facts` says it in words, `token` is its
    own."""

    number: int
    token: str
    digest: str
    started_at: float
    ended_at: float | None
    facts: Mapping[str, Any]


class ResultStore:
    """Results in one SQLite file, readable by its owner alone. Safe from many threads."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError where the file cannot be used."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise ConfigError(f"results cannot be kept in {path}: {error}") from error
        self._file = SqliteFile(path, what="the results in", error=ConfigError)
        with self._file.read() as db:
            db.executescript(_SCHEMA)

    def begin(self, digest: str, facts: Mapping[str, Any], *, anew: bool = False) -> RunRecord:
        """The run to go on with: the last one of this digest that has not ended, or a new one."""
        last = None if anew else next((r for r in self.runs() if r.digest == digest), None)
        if last is not None and last.ended_at is None:
            return last
        with self._file.write() as db:
            cursor = db.execute(
                "INSERT INTO run (token, digest, started_at, facts) VALUES (?, ?, ?, ?)",
                (uuid4().hex, digest, time.time(), json.dumps(facts)),
            )
            number = cursor.lastrowid
        return next(run for run in self.runs() if run.number == number)

    def end(self, run: RunRecord) -> None:
        """All cases of the run are there."""
        with self._file.write() as db:
            db.execute("UPDATE run SET ended_at = ? WHERE number = ?", (time.time(), run.number))

    def keep(self, run: RunRecord, result: CaseResult) -> None:
        """Store a result; it is on the disk when this returns."""
        row = (run.number, result.setting, result.case_id, json.dumps(result.to_dict()))
        with self._file.write() as db:
            db.execute("INSERT OR REPLACE INTO result VALUES (?, ?, ?, ?)", row)

    def results(self, run: RunRecord) -> list[CaseResult]:
        """The run's results so far, in the order in which they came."""
        with self._file.read() as db:
            rows = db.execute(
                "SELECT body FROM result WHERE run = ? ORDER BY rowid", (run.number,)
            ).fetchall()
        return [_result(body) for (body,) in rows]

    def runs(self) -> list[RunRecord]:
        """All runs, the latest first."""
        with self._file.read() as db:
            rows = db.execute(
                "SELECT number, token, digest, started_at, ended_at, facts FROM run "
                "ORDER BY number DESC"
            ).fetchall()
        return [
            RunRecord(
                number=number,
                token=token,
                digest=digest,
                started_at=started,
                ended_at=ended,
                facts=json.loads(facts),
            )
            for number, token, digest, started, ended, facts in rows
        ]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _result(body: str) -> CaseResult:
    data = json.loads(body)
    if not isinstance(data, dict):
        raise ConfigError("a stored result is no object; begin anew with --fresh")
    return CaseResult.from_dict(cast("dict[str, Any]", data))
