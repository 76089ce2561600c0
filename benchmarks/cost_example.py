"""The worked example of docs/cost.md: a support assistant, one lever after another, as billed.

    python benchmarks/cost_example.py [--json] [--calls N]

Recorded traffic is generated (benchmarks/_traffic.py) and billed by the providers' rules; each row
adds one lever to those above it. What a lever does to quality is not in these figures: the same
share is resolved in every row but the last.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agentkit.budgets.stores.sqlite import SqliteStore
from agentkit.reports.unit_cost import overall

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks._traffic import HAIKU, SUPPORT, Feature, traffic, write

_AS_IT_IS = replace(SUPPORT, cache="none", output_tokens=300, weight=8)
_WAITING = replace(_AS_IT_IS, name="follow-up", weight=2)


def steps() -> list[tuple[str, list[Feature]]]:
    """The assistant with one lever more each time."""
    features = [_AS_IT_IS, _WAITING]
    found = [("as it is: Sonnet 4.5, nothing cached", features)]
    features = [replace(each, cheap_model=HAIKU, escalated=0.08) for each in features]
    found.append(("+ routing: Haiku 4.5 first", features))
    features = [replace(each, cache="transcript") for each in features]
    found.append(("+ caching: prefix and transcript", features))
    features = [replace(each, output_tokens=200) for each in features]
    found.append(("+ output limits: 300 to 200 tokens", features))
    batched = [features[0], replace(features[1], batch=True)]
    found.append(("+ batch: the follow-ups, a fifth of the tasks", batched))
    worse = [replace(each, resolved=each.resolved - 0.1) for each in batched]
    found.append(("the same, if 10 points fewer are resolved", worse))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = [_row(name, features, arguments.calls) for name, features in steps()]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(" | ".join(str(value) for value in row.values()))


def _row(name: str, features: Sequence[Feature], calls: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "l.db"
        write(path, traffic(features, calls=calls, days=7, users=100))
        store = SqliteStore(path)
        unit = overall(store)
        sums = store.sum_calls()[0].sums
        store.close()
    low, high = unit.resolved_range_nusd or (0.0, 0.0)
    return {
        "step": name,
        "bill_usd": round(unit.cost_nusd / 1e9, 2),
        "usd_a_task": round(unit.per_task_nusd / 1e9, 5),
        "usd_a_resolved_task": round((unit.per_resolved_nusd or 0) / 1e9, 5),
        "between": [round(low / 1e9, 5), round((high or 0) / 1e9, 5)],
        "calls": sums.calls,
        "escalations": sums.escalations,
        "tasks": unit.tasks,
        "cached": round(sums.cache_read_tokens / sums.input_tokens, 3),
    }


if __name__ == "__main__":
    main()
