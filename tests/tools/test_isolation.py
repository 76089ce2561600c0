"""Isolated tools: a timeout ends them, whatever they do, and their results are bounded."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.messages import ToolCall
from langchain_core.tools import InjectedToolArg

from agentkit.tools import (
    ExecutionLimits,
    InvalidTool,
    Observation,
    ToolCatalogue,
    ToolSpec,
    arun_calls,
    run_calls,
)
from agentkit.tools.workers import PLACES
from tests.tools import isolated_functions

Run = Callable[..., list[Observation]]


def _arun(*args: Any, **kwargs: Any) -> list[Observation]:
    return asyncio.run(arun_calls(*args, **kwargs))


@pytest.fixture(params=[run_calls, _arun], ids=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    made: Run = request.param
    return made


def _one(run: Run, function: Any, /, *, seconds: float = 30.0, **args: object) -> Observation:
    spec = ToolSpec.of(function, name="t", isolated=True, timeout_seconds=seconds)
    call = ToolCall(name="t", args=args, id="c", type="tool_call")
    (found,) = run([call], ToolCatalogue([spec]), ExecutionLimits(max_result_bytes=1000))
    return found


def test_it_runs_elsewhere_with_typed_arguments(run: Run) -> None:
    found = _one(run, isolated_functions.double, number=21, day="2026-11-25")
    assert (found.status, found.content) == ("ok", "42 2026")
    assert _one(run, isolated_functions.double, number="x").status == "invalid"
    later = _one(run, isolated_functions.later, text="hi")
    assert '"text":"hi"' in later.content
    assert str(os.getpid()) not in later.content
    assert _one(run, isolated_functions.decorated, text="hi").content == "HI"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:  # no /proc: it has answered
        return True
    except OSError:
        return False


def test_a_timeout_ends_the_process_and_those_that_it_started(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    _one(run, isolated_functions.double, number=1)  # a warm child, so that the time is the tool's
    found = _one(run, isolated_functions.hang, seconds=4, file=str(file))
    assert (found.status, "it was cancelled" in found.content) == ("timeout", True)
    deadline = time.monotonic() + 10
    for pid in map(int, file.read_text().split()):
        while _is_alive(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    while PLACES.abandoned:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert _one(run, isolated_functions.double, number=2).content == "4"


def test_failures_are_told(run: Run) -> None:
    found = _one(run, isolated_functions.fail)
    assert (found.status, found.content) == ("error", "ValueError: no such order")
    assert "SystemExit" in _one(run, isolated_functions.leave_politely).content
    ended = _one(run, isolated_functions.leave)
    assert (ended.status, "ended by itself (status 7)" in ended.content) == ("error", True)
    assert _one(run, isolated_functions.double, number=2).content == "4"


def test_results_are_bounded_before_they_come_here(run: Run) -> None:
    found = _one(run, isolated_functions.huge)
    assert found.status == "ok"
    assert len(found.content) <= 1000
    assert "characters left out" in found.content


def test_a_tool_reads_nothing_of_the_protocol() -> None:
    assert _one(run_calls, isolated_functions.read_input).content == "''"


def test_a_child_is_used_again() -> None:
    pids = {_one(run_calls, isolated_functions.later, text="x").content for _ in range(3)}
    assert len(pids) == 1


def test_several_run_side_by_side() -> None:
    spec = ToolSpec.of(isolated_functions.double, isolated=True)
    calls = [
        ToolCall(name="double", args={"number": i}, id=f"c{i}", type="tool_call") for i in range(4)
    ]
    found = run_calls(calls, ToolCatalogue([spec]))
    assert [o.content for o in found] == ["0", "2", "4", "6"]


def test_what_another_process_cannot_find_is_refused() -> None:
    def local(text: str) -> str:
        """Local."""
        return text

    def injected(text: Annotated[str, InjectedToolArg]) -> str:
        """Injected."""
        return text

    with pytest.raises(InvalidTool, match=r"cannot be isolated.*put a plain function"):
        ToolSpec.of(local, isolated=True)
    with pytest.raises(InvalidTool, match="injected arguments"):
        ToolSpec.of(injected, isolated=True)
    main = type(local)(local.__code__, {"__name__": "__main__"}, "local")
    main.__module__ = "__main__"
    main.__doc__ = "Main."
    main.__annotations__ = {"text": str, "return": str}
    with pytest.raises(InvalidTool, match="defined in the program itself"):
        ToolSpec.of(main, isolated=True)
