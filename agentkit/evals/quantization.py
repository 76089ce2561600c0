"""The same cases through several quantizations of one model: quality, speed, memory.

Each file is tried in a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agentkit.errors import ConfigError
from agentkit.evals.comparison import CaseMark, SettingChange, compare

_LONGEST_SECONDS = 24 * 3600.0
_FAILED_STATUS = 3
_THIS = "file"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFigures:
    """One file over the cases. `memory_bytes` is what loading and running it added to its process;
    `change` is its quality beside that of the first file, case by case."""

    path: str
    file_bytes: int
    memory_bytes: int
    cases: int
    passed: int
    quality: float
    quality_low: float
    quality_high: float
    failures: Mapping[str, int]
    tokens_per_second: float
    median_ms: float
    change: SettingChange | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def check_files(
    files: Sequence[Path],
    cases: Path,
    *,
    grader: str | None = None,
    first: int | None = None,
    on_file: Callable[[Path], None] | None = None,
) -> list[FileFigures]:
    """The figures of each file, the first of which the others are held against.

    Raises ConfigError with what a file's process said where it failed.
    """
    found: list[FileFigures] = []
    reference: list[CaseMark] = []
    for file in files:
        if on_file is not None:
            on_file(file)
        told = _tried(file, cases, grader, first)
        marks = [
            CaseMark(setting=_THIS, case_id=str(case), passed=bool(passed), cost_nusd=0)
            for case, passed in told.pop("marks")
        ]
        change = None
        if reference:
            changes = compare(reference, marks, with_run=str(files[0])).settings
            change = changes[0] if changes else None
        else:
            reference = marks
        found.append(FileFigures(**told, change=change))
    return found


def _tried(file: Path, cases: Path, grader: str | None, first: int | None) -> dict[str, Any]:
    order = {"path": str(file), "cases": str(cases), "grader": grader, "first": first}
    command = [sys.executable, "-m", "agentkit.evals.quantization_worker", json.dumps(order)]
    try:
        done = subprocess.run(  # noqa: S603  this interpreter and our own module
            command, capture_output=True, timeout=_LONGEST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{file} took over {_LONGEST_SECONDS:.0f} s") from error
    if done.returncode == 0:
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
    if done.returncode == _FAILED_STATUS:
        raise ConfigError("\n".join(lines))
    raise ConfigError(f"trying {file} failed: {lines[-1][:300]}")
