"""Execution of a step's tool calls: order, limits, failures, both worlds."""

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, InvalidToolCall, ToolCall, ToolMessage
from langchain_core.tools import InjectedToolArg, InjectedToolCallId, StructuredTool
from langgraph.errors import GraphInterrupt
from langgraph.types import Command

from agentkit.tools import (
    Call,
    ExecutionLimits,
    InvalidLimits,
    Observation,
    ToolCatalogue,
    ToolSpec,
    arun_calls,
    calls_of,
    run_calls,
)
from agentkit.tools.workers import PLACES

Run = Callable[..., list[Observation]]


def _arun(*args: Any, **kwargs: Any) -> list[Observation]:
    return asyncio.run(arun_calls(*args, **kwargs))


@pytest.fixture(params=[run_calls, _arun], ids=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param


def _call(name: str, call_id: str = "c1", /, **args: object) -> Call:
    return ToolCall(name=name, args=args, id=call_id, type="tool_call")


def _tool(function: Callable[..., object], **fields: Any) -> ToolCatalogue:
    return ToolCatalogue([ToolSpec.of(function, name="t", description="A tool.", **fields)])


def _one(run: Run, function: Callable[..., object], **limits: Any) -> Observation:
    (observation,) = run([_call("t")], _tool(function), ExecutionLimits(**limits))
    return observation


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def add(a: int, b: int = 1) -> int:
    """Add."""
    return a + b


async def aadd(a: int, b: int = 1) -> int:
    """Add, later."""
    await asyncio.sleep(0)
    return a + b


def test_results_keep_the_order_of_the_calls(run: Run) -> None:
    def wait(seconds: float) -> str:
        """Wait."""
        time.sleep(seconds)
        return f"{seconds}"

    calls = [_call("wait", f"c{i}", seconds=s) for i, s in enumerate([0.06, 0.03, 0.0])]
    found = run(calls, ToolCatalogue([wait]))
    assert [o.content for o in found] == ["0.06", "0.03", "0.0"]
    assert [o.call_id for o in found] == ["c0", "c1", "c2"]


def test_sync_and_async_tools_mix(run: Run) -> None:
    calls = [_call("add", "1", a=1), _call("aadd", "2", a=2), _call("add", "3", a=3)]
    assert [o.content for o in run(calls, ToolCatalogue([add, aadd]))] == ["2", "3", "4"]


def _meeting(parties: int) -> ToolCatalogue:
    barrier = threading.Barrier(parties)

    def meet() -> int:
        """Returns only when all have come."""
        barrier.wait(timeout=5)
        return 1

    return ToolCatalogue([meet])


def test_reads_run_side_by_side(run: Run) -> None:
    found = run([_call("meet", str(i)) for i in range(5)], _meeting(5))
    assert {o.status for o in found} == {"ok"}


def test_async_reads_run_side_by_side(run: Run) -> None:
    async def nap() -> None:
        """Sleep."""
        await asyncio.sleep(0.2)

    started = time.monotonic()
    run([_call("nap", str(i)) for i in range(10)], ToolCatalogue([nap]))
    assert time.monotonic() - started < 1.5  # one after the other: 2 s


def test_no_more_run_than_parallel_allows(run: Run) -> None:
    running: list[int] = []
    most: list[int] = []

    def count() -> None:
        """Count."""
        running.append(1)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()

    run(
        [_call("count", str(i)) for i in range(9)],
        ToolCatalogue([count]),
        ExecutionLimits(parallel=3),
    )
    assert len(most) == 9
    assert max(most) <= 3


def test_writes_run_alone_and_in_their_place(run: Run) -> None:
    log: list[str] = []

    def note(text: str, seconds: float = 0.0) -> None:
        time.sleep(seconds)
        log.append(text)

    tools = ToolCatalogue(
        [
            ToolSpec.of(note, name=side, description="Note.", side_effect=side)  # type: ignore[arg-type]
            for side in ("read", "write")
        ]
    )
    calls = [
        _call("read", "1", text="r1", seconds=0.05),
        _call("write", "2", text="w2", seconds=0.05),
        _call("write", "3", text="w3"),
        _call("read", "4", text="r4"),
    ]
    run(calls, tools)
    assert log == ["r1", "w2", "w3", "r4"]


def test_no_write_follows_one_that_timed_out(run: Run) -> None:
    def hang() -> None:
        time.sleep(0.5)

    tools = ToolCatalogue(
        [
            ToolSpec.of(hang, description="Hang.", side_effect="spend"),
            add,
            ToolSpec.of(add, name="pay", side_effect="write"),
        ]
    )
    found = run(
        [_call("hang"), _call("add", a=1), _call("pay", a=1)],
        tools,
        ExecutionLimits(timeout_seconds=0.05),
    )
    assert [o.status for o in found] == ["timeout", "ok", "error"]
    assert "hang timed out before it" in found[2].content


def test_context_variables_reach_the_tool(run: Run) -> None:
    variable = contextvars.ContextVar("variable", default="lost")
    variable.set("kept")
    assert _one(run, lambda: variable.get()).content == "kept"

    async def tool() -> str:
        return variable.get()

    assert _one(run, tool).content == "kept"


def test_a_tool_that_raises_gives_an_error(run: Run) -> None:
    def fail() -> None:
        raise OSError("no such order\nsecond line")

    found = _one(run, fail)
    assert found.status == "error"
    assert found.content == "OSError: no such order\nsecond line"
    assert found.to_message().status == "error"


def test_an_endless_message_of_an_error_is_bounded(run: Run) -> None:
    def fail() -> None:
        raise ValueError("x" * 1_000_000)

    assert len(_one(run, fail).content) < 600


def test_a_tool_that_leaves_the_process_only_ends_itself(run: Run) -> None:
    assert _one(run, lambda: sys.exit(3)).content == "SystemExit: 3"


def test_a_tool_that_cancels_itself_only_ends_itself(run: Run) -> None:
    async def cancel() -> None:
        raise asyncio.CancelledError

    assert _one(run, cancel).content == "CancelledError"


def test_an_interrupt_of_the_tool_reaches_the_caller(run: Run) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _one(run, interrupt)


def test_an_interrupt_of_langgraph_reaches_the_graph(run: Run) -> None:
    def ask() -> None:
        raise GraphInterrupt(())

    with pytest.raises(GraphInterrupt):
        _one(run, ask)


def test_a_tool_that_hangs_is_given_up(run: Run) -> None:
    release = threading.Event()
    started = time.monotonic()
    found = _one(run, lambda: release.wait(20), timeout_seconds=0.05)
    release.set()
    assert time.monotonic() - started < 2
    assert found.status == "timeout"
    assert found.content == "timed out after 0.05 s; it was given up and may still be running"


def test_an_async_tool_that_hangs_is_cancelled(run: Run) -> None:
    ended: list[bool] = []

    async def hang() -> None:
        try:
            await asyncio.sleep(20)
        finally:
            ended.append(True)

    assert _one(run, hang, timeout_seconds=0.05).status == "timeout"
    _until(lambda: bool(ended))


def test_an_async_tool_that_blocks_its_loop_does_not_block_the_next() -> None:
    _until(lambda: PLACES.abandoned == 0)  # those of other tests
    release = threading.Event()

    async def block() -> None:
        release.wait(20)

    assert _one(run_calls, block, timeout_seconds=0.05).status == "timeout"
    assert PLACES.abandoned == 1
    (found,) = run_calls([_call("aadd", a=1)], ToolCatalogue([aadd]))
    assert found.content == "2"
    release.set()
    _until(lambda: PLACES.abandoned == 0)  # and its thread ends


def test_a_tools_own_timeout_goes_before_the_steps(run: Run) -> None:
    tools = _tool(lambda: time.sleep(0.5), timeout_seconds=0.05)
    (found,) = run([_call("t")], tools)
    assert found.status == "timeout"


def test_calls_that_never_return_cannot_pile_up(run: Run) -> None:
    _until(lambda: PLACES.abandoned == 0)  # those of other tests
    release = threading.Event()
    limits = ExecutionLimits(timeout_seconds=0.05, max_abandoned=2, parallel=1)
    calls = [_call("t", str(i)) for i in range(4)]
    found = run(calls, _tool(lambda: release.wait(20)), limits)
    release.set()
    assert [o.status for o in found] == ["timeout", "timeout", "error", "error"]
    assert "still hold their threads" in found[2].content
    _until(lambda: PLACES.abandoned == 0)  # the threads end with their tools
    assert _one(run, lambda: "free", max_abandoned=2).content == "free"


def test_fifty_megabytes_are_cut(run: Run) -> None:
    found = _one(run, lambda: "x" * 50_000_000)
    assert found.cut
    assert found.original_bytes == 50_000_000
    assert len(found.content.encode()) <= 65_536


def test_a_tools_own_bound_goes_before_the_steps(run: Run) -> None:
    (found,) = run([_call("t")], _tool(lambda: "x" * 1000, max_result_bytes=100))
    assert len(found.content.encode()) <= 100


@pytest.mark.parametrize(
    ("result", "content"),
    [
        (None, "(no result)"),
        ("", "(empty result)"),
        (b"caf\xc3\xa9", "café"),
        (b"\xff\xfe\xfa", "<binary, 3 bytes; not shown>"),
        (b"\x89PNG\0" * 10, "<binary, 50 bytes, image/png; not shown>"),
        ("lone \ud800 surrogate", "lone ? surrogate"),
        ({"a": [1, None, True]}, '{"a":[1,null,true]}'),
    ],
)
def test_odd_results_become_text(run: Run, result: object, content: str) -> None:
    assert _one(run, lambda: result).content == content


def test_a_tool_that_does_not_exist(run: Run) -> None:
    (found,) = run([_call("ad", a=1)], ToolCatalogue([add]))
    assert found.status == "unknown_tool"
    assert found.content == "there is no tool 'ad'; closest: add"


def test_no_tool_at_all(run: Run) -> None:
    (found,) = run([_call("add", a=1)], ToolCatalogue())
    assert found.content == "there is no tool 'add'; no tools are offered; answer without one"


def test_wrong_arguments_tell_the_model_what_to_correct(run: Run) -> None:
    (found,) = run([_call("add", a="many", c=1)], ToolCatalogue([add]))
    assert found.status == "invalid"
    assert "'a' must be integer, not \"many\"" in found.content
    assert "unknown argument 'c'" in found.content


def test_broken_json_tells_the_model_where(run: Run) -> None:
    message = AIMessage(
        "",
        tool_calls=[ToolCall(name="add", args={"a": 1}, id="1", type="tool_call")],
        invalid_tool_calls=[
            InvalidToolCall(
                type="invalid_tool_call", name="add", args='{"a": 1,,}', id="2", error="broken"
            )
        ],
    )
    good, bad = run(calls_of(message), ToolCatalogue([add]))
    assert good.content == "2"
    assert bad.status == "invalid"
    assert "not valid JSON" in bad.content
    assert bad.call_id == "2"


def test_injected_arguments_come_from_the_application_alone(run: Run) -> None:
    def whose(item: str, user: Annotated[str, InjectedToolArg]) -> str:
        """Whose."""
        return f"{user}'s {item}"

    tools = ToolCatalogue([whose])
    (found,) = run(
        [_call("whose", item="cat", user="admin")],
        tools,
        inject=lambda _spec, _id: {"user": "ann", "item": "dog"},
    )
    assert found.content == "ann's cat"


def test_the_id_of_the_call_is_injected(run: Run) -> None:
    def which(call: Annotated[str, InjectedToolCallId]) -> str:
        """Which."""
        return call

    (found,) = run([_call("which", "c77")], ToolCatalogue([which]))
    assert found.content == "c77"


def test_an_artifact_is_kept_from_the_model(run: Run) -> None:
    def chart() -> tuple[str, object]:
        """Chart."""
        return "a chart", b"\x89PNG"

    tool = StructuredTool.from_function(chart, response_format="content_and_artifact")
    (found,) = run([_call("chart")], ToolCatalogue([tool]))
    assert found.content == "a chart"
    assert found.to_message().artifact == b"\x89PNG"


def test_a_command_is_kept_for_the_graph(run: Run) -> None:
    command = Command(update={"messages": [ToolMessage("moved", tool_call_id="c1")]})
    found = _one(run, lambda: command)
    assert found.content == "moved"
    assert found.command is command


def test_what_is_around_a_call_sees_its_error(run: Run) -> None:
    seen: list[tuple[str, str, str]] = []

    @contextmanager
    def around(spec: ToolSpec, call_id: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            seen.append((spec.name, call_id, str(error)))
            raise

    def fail() -> None:
        raise ValueError("broken")

    run([_call("t")], _tool(fail), around=around)
    assert seen == [("t", "c1", "broken")]


def test_a_cancelled_run_cancels_its_tools() -> None:
    ended: list[bool] = []

    async def hang() -> None:
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            ended.append(True)
            raise

    async def main() -> None:
        task = asyncio.create_task(arun_calls([_call("t", "1"), _call("t", "2")], _tool(hang)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended == [True, True]


_CTRL_C = """
import time
from agentkit.tools import ToolCatalogue, run_calls
def hang() -> None:
    "Hang."
    print("running", flush=True)
    time.sleep(60)
run_calls([{"name": "hang", "args": {}, "id": "1", "type": "tool_call"}], ToolCatalogue([hang]))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals differ on Windows")
def test_ctrl_c_returns_at_once() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _CTRL_C], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert time.monotonic() - started < 5
    assert b"KeyboardInterrupt" in stderr


@pytest.mark.parametrize(
    "limits", [{"timeout_seconds": 0}, {"parallel": -1}, {"max_result_bytes": float("nan")}]
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(InvalidLimits, match="give a finite number above 0"):
        ExecutionLimits(**limits)


class _Nasty:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class _NastyError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def _raise(error: BaseException) -> object:
    raise error


def _endless() -> Iterator[int]:
    while True:
        yield 1


def _circle() -> object:
    circle: list[object] = []
    circle.append(circle)
    return circle


def _recursive() -> object:
    return _recursive()


async def _never() -> None:
    await asyncio.sleep(60)


async def _stubborn() -> None:
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(60)


def _hostile() -> Sequence[Callable[[], object] | Callable[[], Coroutine[object, object, object]]]:
    return [
        lambda: _raise(ValueError("x" * 100_000)),
        lambda: _raise(_NastyError()),
        lambda: _raise(ExceptionGroup("g", [ValueError("inner")])),
        lambda: _raise(SystemExit(1)),
        lambda: _raise(StopIteration()),
        lambda: _raise(asyncio.CancelledError()),
        lambda: _Nasty(),
        lambda: "\ud800\0" * 40_000,
        lambda: b"\xff" * 1_000_000,
        lambda: 10**5000,
        lambda: float("nan"),
        _circle,
        _recursive,
        _endless,
        lambda: object(),
        lambda: {(1, 2): _Nasty()},
        lambda: [{"type": "text"}, {"type": "image", "data": "A" * 100_000}],
        lambda: time.sleep(0.4),
        _never,
        _stubborn,
    ]


def test_two_hundred_hostile_tools_do_not_stop_a_step(run: Run) -> None:
    """Each gets an answer that can be sent, and a tool after them still runs."""
    kinds = _hostile()
    tools = ToolCatalogue(
        [
            ToolSpec.of(kinds[i % len(kinds)], name=f"t{i}", description="Hostile.")
            for i in range(200)
        ]
        + [ToolSpec.of(add)]
    )
    calls = [_call(f"t{i}", f"c{i}") for i in range(200)]
    limits = ExecutionLimits(timeout_seconds=0.2, max_result_bytes=2000, max_abandoned=100)
    found = run([*calls, _call("add", "last", a=1)], tools, limits)
    assert [o.call_id for o in found] == [f"c{i}" for i in range(200)] + ["last"]
    assert all(0 < len(o.content.encode()) <= 4096 for o in found)
    endless = [o for o in found[:200] if int(o.call_id[1:]) % len(kinds) >= len(kinds) - 2]
    assert {o.status for o in endless} == {"timeout"}
    assert found[-1].content == "2"
