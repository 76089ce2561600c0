"""act: run the calls that the model asked for, and bring back what they came to."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.errors import GraphBubbleUp
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from agentkit.allowance import Allowance
from agentkit.begun import Begun
from agentkit.budgets.context import spending
from agentkit.consent import consent_to
from agentkit.effects import off_loop
from agentkit.memory.cache import ResponseCache
from agentkit.nodes.inject import injected
from agentkit.nodes.observe import Observer
from agentkit.run import Run
from agentkit.state import AgentState, transcript
from agentkit.telemetry import names
from agentkit.tool_results import task_results
from agentkit.tools.call import Around, Call
from agentkit.tools.catalogue import ToolSpec
from agentkit.tools.consent import Consent
from agentkit.tools.execution import arun_calls, calls_of, run_calls
from agentkit.tools.limits import ExecutionLimits
from agentkit.tools.observation import Observation
from agentkit.tools.permissions import Permissions
from agentkit.tools.provision.toolbox import Toolbox
from agentkit.tools.remembered import Remembered

_LEAST_TOOL_SECONDS = 0.05


def act(
    state: AgentState,
    run: Run,
    *,
    toolbox: Toolbox,
    limits: ExecutionLimits,
    permissions: Permissions,
    observer: Observer | None = None,
    results: ResponseCache | None = None,
) -> AgentState:
    """The observations of the last answer's calls, in their order.

    Where a person has to agree to some of them, that is asked first (a LangGraph interrupt).
    """
    calls, around = _begin(state, run, toolbox)
    begun = Begun(run, state.get("step", 0), calls, toolbox.catalogue)
    before = begun.before() if begun.matters else {}
    allowance = Allowance(state, calls, toolbox.catalogue, before)
    allowed = allowance.calls()
    consent = _consent(run, allowed, toolbox, permissions)
    if begun.matters:
        begun.note(allowance.places, consent)
    try:
        ran = run_calls(
            allowed, toolbox.catalogue, _within(run, limits),
            inject=partial(injected, state), around=around, consent=consent,
            results=task_results(results, run.task),
        )  # fmt: skip
    except GraphBubbleUp:
        begun.paused()
        raise
    return _end(run, state, calls, ran, allowance, observer)


async def aact(
    state: AgentState,
    run: Run,
    *,
    toolbox: Toolbox,
    limits: ExecutionLimits,
    permissions: Permissions,
    observer: Observer | None = None,
    results: ResponseCache | None = None,
) -> AgentState:
    """As `act`, on the event loop."""
    calls, around = _begin(state, run, toolbox)
    begun = Begun(run, state.get("step", 0), calls, toolbox.catalogue)
    before: dict[int, Observation] = {}
    if begun.matters:
        before = await _aside(run, begun.before)
    allowance = Allowance(state, calls, toolbox.catalogue, before)
    allowed = allowance.calls()
    consent = _consent(run, allowed, toolbox, permissions)
    if begun.matters:
        await _aside(run, partial(begun.note, allowance.places, consent))
    try:
        ran = await arun_calls(
            allowed, toolbox.catalogue, _within(run, limits),
            inject=partial(injected, state), around=around, consent=consent,
            results=task_results(results, run.task),
        )  # fmt: skip
    except GraphBubbleUp:
        await _aside(run, begun.paused)
        raise
    return _end(run, state, calls, ran, allowance, observer)


async def _aside(run: Run, act: Callable[[], Any]) -> Any:
    """A verb of the ledger, off the loop where its store waits."""
    if not run.task.ledger.store.blocking:
        return act()
    found, cancelled = await off_loop(act)
    if cancelled is not None:
        raise cancelled
    return found


def _begin(state: AgentState, run: Run, toolbox: Toolbox) -> tuple[list[Call], Around]:
    message = transcript(state)[-1]
    calls = calls_of(message) if isinstance(message, AIMessage) else []
    calls = [toolbox.resolved(call) for call in calls]
    run.acting(state.get("step", 0), [call["name"] or "?" for call in calls])
    return calls, _around(run)


def _consent(
    run: Run, calls: Sequence[Call], toolbox: Toolbox, permissions: Permissions
) -> Consent:
    return consent_to(
        calls, toolbox.catalogue, permissions, task_id=run.task_id, can_ask=run.can_ask
    )


def _within(run: Run, limits: ExecutionLimits) -> ExecutionLimits:
    """No tool may run past the task's own deadline."""
    left = run.task.seconds_left()
    if left is None or left >= limits.timeout_seconds:
        return limits
    return replace(limits, timeout_seconds=max(left, _LEAST_TOOL_SECONDS))


def _around(run: Run) -> Around:
    @contextmanager
    def around(spec: ToolSpec, call_id: str) -> Generator[None]:
        span = run.trace.tool_span(spec.name, call_id)
        with trace.use_span(
            span, end_on_exit=True, record_exception=False, set_status_on_exception=False
        ):
            try:
                with spending(run.task):
                    yield
            except BaseException as error:
                span.set_attribute(names.ERROR_TYPE, type(error).__name__)
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    return around


def _end(
    run: Run,
    state: AgentState,
    calls: Sequence[Call],
    ran: Sequence[Observation],
    allowance: Allowance,
    observer: Observer | None,
) -> AgentState:
    observed = allowance.observations(ran)
    for observation in observed:
        if observation.status != "ok" or observation.cut:
            _note(run, state.get("step", 0), observation)
        if observation.remembered is not None:
            _note_remembered(run, state.get("step", 0), observation.name, observation.remembered)
    sent = observed if observer is None else observer.observe(state, run, calls, observed)
    update: AgentState = {"messages": [observation.to_message() for observation in sent]}
    if run.pruner is not None and run.pruner.recalls:
        update["recalls"] = True
    if observed and all(observation.return_direct for observation in observed):
        answer = "\n".join(observation.content for observation in observed)
        return {**update, "ending": "answer", "answer": answer}
    reason = allowance.used_up(observed)
    if reason is None and run.watch is not None:
        reason = run.watch.note(calls, observed)
    if reason is not None:
        return {**update, "ending": "budget", "reason": reason}
    return update


def _note(run: Run, step: int, observation: Observation) -> None:
    told = "was cut" if observation.status == "ok" else observation.status
    run.task.note(
        "observation",
        f"{observation.name}: {told}",
        step=step,
        data={
            "tool": observation.name,
            "status": observation.status,
            "cut": observation.cut,
            "original_bytes": observation.original_bytes,
        },
    )


def _note_remembered(run: Run, step: int, tool: str, known: Remembered) -> None:
    run.task.note(
        "tool_remembered",
        f"{tool}: a result of {known.age_seconds:.0f} s before, which saved a call of "
        f"{known.saved_seconds:.2f} s",
        step=step,
        data={
            "tool": tool,
            "age_seconds": round(known.age_seconds, 1),
            "saved_seconds": round(known.saved_seconds, 3),
        },
    )
