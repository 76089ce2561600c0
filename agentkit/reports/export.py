"""The journal's calls as JSON lines or Parquet, a page at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from agentkit.budgets.journal_query import COMPONENTS, EVERYTHING, LEVERS, JournalFilter, tags_key
from agentkit.budgets.store import Store
from agentkit.errors import ExtraMissing

_ROWS_AT_ONCE = 10_000


def write_jsonl(store: Store, file: TextIO, where: JournalFilter = EVERYTHING) -> int:
    """Write a JSON object a call, with the task's outcome; how many were written."""
    written = 0
    for facts in _facts(store, where):
        file.write(json.dumps(facts, ensure_ascii=False) + "\n")
        written += 1
    return written


def write_parquet(store: Store, path: Path, where: JournalFilter = EVERYTHING) -> int:
    """Write a row a call; how many were written. Raises ExtraMissing without pyarrow."""
    try:
        pa: Any = import_module("pyarrow")  # it has no types
        pq: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise ExtraMissing(what="a Parquet export", extra="parquet") from error
    kinds: dict[type, Any] = {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        bool: pa.bool_(),
    }
    schema = pa.schema([(name, kinds[kind]) for name, kind in _COLUMNS.items()])
    written = 0
    calls = _facts(store, where)
    with pq.ParquetWriter(path, schema) as writer:
        while page := [_row(facts) for facts in islice(calls, _ROWS_AT_ONCE)]:
            writer.write_table(pa.Table.from_pylist(page, schema=schema))
            written += len(page)
    return written


def _facts(store: Store, where: JournalFilter) -> Iterator[dict[str, Any]]:
    outcomes: dict[str, str | None] = {}
    for call in store.scan_calls(where):
        if call.task_id not in outcomes:
            task = store.task(call.task_id)
            outcomes[call.task_id] = None if task is None else task.outcome
        yield {**call.to_dict(), "outcome": outcomes[call.task_id]}


_USAGE = (
    "input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
    "output_tokens", "reasoning_tokens",
)  # fmt: skip
_PLAIN: dict[str, type] = {
    "call_id": str, "task_id": str, "scope": str, "step": int, "index": int, "attempt": int,
    "purpose": str, "tier": int, "model": str, "provider": str, "status": str, "error": str,
    "started_at": float, "latency_seconds": float, "estimated_input_tokens": int,
    "max_output_tokens": int, "cost_nusd": int, "cost_source": str, "priced_on": str,
    "confirmed": bool, "confidence": float, "accepted": bool, "reason": str, "escalation": str,
    "cached_by": str, "prefix": str, "outcome": str,
}  # fmt: skip
_COLUMNS: dict[str, type] = {
    **_PLAIN,
    **dict.fromkeys(_USAGE, int),
    **{f"component_{name}": int for name in (*COMPONENTS, "output")},
    **{f"saved_{name}_nusd": int for name in LEVERS},
    "tools_offered": str,
    "tools_called": str,
    "tags": str,
}


def _row(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A call as one flat row; tools with spaces between them, tags as JSON."""
    parts, saved = facts["components"], facts["saved_nusd"]
    return {
        **{name: facts[name] for name in _PLAIN},
        **{name: facts["usage"][name] for name in _USAGE},
        **{f"component_{name}": parts.get(name, 0) for name in (*COMPONENTS, "output")},
        **{f"saved_{name}_nusd": saved.get(name, 0) for name in LEVERS},
        "tools_offered": " ".join(facts["tools_offered"]),
        "tools_called": " ".join(facts["tools_called"]),
        "tags": tags_key(facts["tags"]),
    }
