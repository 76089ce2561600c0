"""Tries one model file on cases and tells what came of it, as JSON: a process of `check_files`."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from agentkit.budgets.ledger import Ledger
from agentkit.checkpoint import ThreadedSqliteSaver, open_checkpointer
from agentkit.errors import AgentError
from agentkit.evals.case import read_cases
from agentkit.evals.evaluation import EvalPlan, evaluate
from agentkit.evals.results import ResultStore
from agentkit.models.local import LocalModelError, local_model

_FAILED_STATUS = 3


def main(order: str) -> int:
    """Print the figures; 3 and a sentence on stderr where the file or the cases cannot be used."""
    asked: dict[str, Any] = json.loads(order)
    try:
        told = figures(Path(asked["path"]), Path(asked["cases"]), asked["grader"], asked["first"])
    except (AgentError, LocalModelError) as error:
        sys.stderr.write(f"{error}\n")
        return _FAILED_STATUS
    sys.stdout.write(json.dumps(told))
    return 0


def figures(path: Path, cases: Path, grader: str | None, first: int | None) -> dict[str, Any]:
    """What `FileFigures` takes, with each case's mark."""
    read = read_cases(cases)
    model = local_model(str(path))
    plan = EvalPlan(
        name="quantization",
        cases=read if first is None else read[:first],
        models=[(path.name, model)],
        cascade=False,
        grader=grader,
    )
    with suppress(ImportError):  # told by the model itself
        import_module("llama_cpp")  # the library's own memory is no part of the file's
    before = memory_bytes()
    with tempfile.TemporaryDirectory() as folder:
        saver = open_checkpointer(f"sqlite:///{folder}/checkpoints.db")
        results = ResultStore(Path(folder) / "results.db")
        try:
            report = evaluate(
                plan, ledger=Ledger(), results=results, checkpointer=saver, parallel=1
            )
        finally:
            results.close()
            if isinstance(saver, ThreadedSqliteSaver):
                saver.conn.close()
    after = memory_bytes()
    (told,) = report.settings
    seconds = [result.seconds for result in report.results]
    return {
        "path": str(path),
        "file_bytes": path.stat().st_size,
        "memory_bytes": max(0, after - before),
        "cases": told.cases,
        "passed": told.passed,
        "quality": told.quality,
        "quality_low": told.quality_low,
        "quality_high": told.quality_high,
        "failures": dict(told.failures),
        "tokens_per_second": told.output_tokens / sum(seconds) if sum(seconds) else 0.0,
        "median_ms": statistics.median(seconds) * 1000 if seconds else 0.0,
        "marks": [[result.case_id, result.passed] for result in report.results],
    }


def memory_bytes() -> int:
    """Resident memory of this process: now where the system tells, else its most so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
