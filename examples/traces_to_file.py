"""Spans of a task in a file of JSON lines, and what can be read from it.

python examples/traces_to_file.py [FILE]
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from agentkit import Agent
from agentkit.telemetry import trace_to


def play_music(artist: str) -> str:
    """Play music by an artist."""
    return f"playing {artist}"


def show(spans: list[dict[str, Any]], parent: str | None = None, depth: int = 0) -> None:
    """Print the spans under `parent` as a tree, with their milliseconds."""
    for span in sorted(spans, key=lambda span: span["start_ns"]):
        if span["parent_span_id"] == parent:
            milliseconds = (span["end_ns"] - span["start_ns"]) / 1e6
            print(f"{milliseconds:9.1f} ms  {'  ' * depth}{span['name']}")
            show(spans, span["span_id"], depth + 1)


path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp()) / "spans.jsonl"
agent = Agent(models=["local:pocket"], tools=[play_music])

with trace_to(path):
    result = agent.run("play some music by Nina Simone")

lines = [json.loads(line) for line in path.read_text().splitlines()]
print(f"{result.outcome}: {result.answer}")
print(f"{path} holds {len(lines)} spans")
show([line for line in lines if line["trace_id"] == result.trace_id])
