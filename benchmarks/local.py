"""What a step of a task costs on a local model when its prefix is kept, against a cold start.

Two tasks grow by a tool call and its result at each step. Each prompt is evaluated warm (the task's
conversation is named, so its prefix stays), alone and with the two tasks interleaved, and cold (a
model that has nothing in its cache). One token is generated at each step, so the time is the
prompt's. The default model is a small one with random weights, made on the spot: what is evaluated
does not depend on what the weights know.

    python benchmarks/local.py [--json] [--model FILE.gguf] [--steps 8]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from agentkit.models.local import LocalChatModel
from agentkit.models.local.loaded import close_engines

_OBSERVATION = "row {step}: status=shipped carrier=DHL eta=3d note='left at the door' " * 3
_REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class Step:
    """One prompt: how long it is, what was evaluated of it, how long that took."""

    prompt_tokens: int
    added_tokens: int
    evaluated_tokens: int
    milliseconds: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    parser.add_argument("--model", type=Path, help="a GGUF file; default: one made for this run")
    parser.add_argument("--steps", type=int, default=8, help="steps of each task")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.model or _made(Path(folder))
        report = _measure(path, arguments.steps)
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)


def _measure(path: Path, steps: int) -> dict[str, Any]:
    model = LocalChatModel(model_path=str(path), max_tokens=1, sequences=4)
    if not model.writes_answers or steps < 2:
        raise SystemExit("a pocket model's prompt does not grow; take a chat model and 2 steps")
    runs = {
        "kept, one task": lambda: _kept(model, steps, ["left"])[0],
        "kept, two interleaved": lambda: _kept(model, steps, ["left", "right"])[0],
        "cold": lambda: _cold(model, steps),
    }
    report: dict[str, Any] = {"model": model.model_name, "threads": model.engine.settings.threads}
    for name, measure in runs.items():
        found = [_afresh(model, measure) for _ in range(_REPEATS)]
        report[name] = [asdict(_median(list(step))) for step in zip(*found, strict=True)]
    later = range(1, steps)
    for name in ("kept, one task", "kept, two interleaved"):
        report[f"later steps, {name}"] = {
            "evaluated_of_added": _ratio(report[name], "evaluated_tokens", "added_tokens", later),
            "tokens_of_cold": _against(report, name, "evaluated_tokens", later),
            "time_of_cold": _against(report, name, "milliseconds", later),
        }
    return report


def _afresh(model: LocalChatModel, measure: Callable[[], list[Step]]) -> list[Step]:
    """A run on a newly loaded model, in whose cache nothing of earlier runs takes up room."""
    close_engines()
    model.invoke([HumanMessage("~")])
    return measure()


def _kept(model: LocalChatModel, steps: int, tasks: Sequence[str]) -> list[list[Step]]:
    """Steps of each task, taken in turns, each task a conversation of its own."""
    done: list[list[Step]] = [[] for _ in tasks]
    before = [0] * len(tasks)
    for step in range(steps):
        for index, task in enumerate(tasks):
            taken = _step(model, _messages(task, step), before[index], conversation=task)
            before[index] = taken.prompt_tokens
            done[index].append(taken)
    return done


def _cold(model: LocalChatModel, steps: int) -> list[Step]:
    """The same prompts, each on a newly loaded model; loading is not part of the time."""
    done: list[Step] = []
    before = 0
    for step in range(steps):
        close_engines()
        model.invoke([HumanMessage("~")])
        taken = _step(model, _messages("left", step), before, conversation=None)
        before = taken.prompt_tokens
        done.append(taken)
    return done


def _step(
    model: LocalChatModel, messages: list[BaseMessage], before: int, *, conversation: str | None
) -> Step:
    prompt = model.count_tokens(messages)
    counted = model.engine.counters.tokens_evaluated
    started = time.perf_counter()
    model.invoke(messages, conversation=conversation)
    spent = time.perf_counter() - started
    return Step(
        prompt_tokens=prompt,
        added_tokens=prompt - before,
        evaluated_tokens=model.engine.counters.tokens_evaluated - counted,
        milliseconds=spent * 1000,
    )


def _messages(task: str, step: int) -> list[BaseMessage]:
    """The transcript of `task` after `step` tool calls."""
    messages: list[BaseMessage] = [
        SystemMessage(f"Task {task}. " + "You look up orders with tools and answer briefly. " * 6),
        HumanMessage(f"Where are my orders, {task}?"),
    ]
    for number in range(step):
        call_id = f"call{number:05d}"
        call = {"name": "find_order", "args": {"number": number}, "id": call_id}
        messages.append(AIMessage("", tool_calls=[call]))
        messages.append(ToolMessage(_OBSERVATION.format(step=number), tool_call_id=call_id))
    return messages


def _median(steps: Sequence[Step]) -> Step:
    first = steps[0]
    return Step(
        prompt_tokens=first.prompt_tokens,
        added_tokens=first.added_tokens,
        evaluated_tokens=max(step.evaluated_tokens for step in steps),
        milliseconds=round(statistics.median(step.milliseconds for step in steps), 3),
    )


def _ratio(rows: Sequence[dict[str, Any]], over: str, under: str, which: range) -> float:
    share: float = sum(rows[n][over] for n in which) / sum(rows[n][under] for n in which)
    return round(share, 3)


def _against(report: dict[str, Any], name: str, key: str, which: range) -> float:
    cold: float = sum(report["cold"][n][key] for n in which)
    return round(float(sum(report[name][n][key] for n in which)) / cold, 3)


def _made(folder: Path) -> Path:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.gguf_factory import random_model

    return random_model(folder / "random.gguf", context=8192)


def _print(report: dict[str, Any]) -> None:
    names = ("kept, one task", "kept, two interleaved", "cold")
    print(f"{report['model']}, {report['threads']} thread(s); evaluated tokens and ms a step\n")
    print(f"{'step':>4}{'prompt':>8}{'added':>7}" + "".join(f"{name:>26}" for name in names))
    for number in range(len(report["cold"])):
        row = report["kept, one task"][number]
        cells = [report[name][number] for name in names]
        figures = "".join(
            f"{cell['evaluated_tokens']:>15} {cell['milliseconds']:>7.2f} ms" for cell in cells
        )
        print(f"{number + 1:>4}{row['prompt_tokens']:>8}{row['added_tokens']:>7}{figures}")
    for name in names[:2]:
        later = report[f"later steps, {name}"]
        print(
            f"\nlater steps, {name}: {later['evaluated_of_added']:.2f} of the added tokens, "
            f"{later['tokens_of_cold']:.2f} of the tokens and {later['time_of_cold']:.2f} of the "
            "time of a cold start",
            end="",
        )
    print()


if __name__ == "__main__":
    main()
