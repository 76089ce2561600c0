"""One tool call: from what the model sent to what the tool is run with, and what came of it."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TypedDict, cast

from langchain_core.messages import InvalidToolCall, ToolCall, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from tenacity import AsyncRetrying, Retrying, retry_if_exception, stop_after_attempt
from tenacity.retry import retry_base
from tenacity.stop import stop_base, stop_before_delay
from tenacity.wait import wait_base, wait_exponential_jitter

from agentkit.tools.arguments import Arguments, parse_arguments
from agentkit.tools.catalogue import ToolCatalogue, ToolSpec
from agentkit.tools.consent import Consent
from agentkit.tools.isolation import Child
from agentkit.tools.limits import ExecutionLimits
from agentkit.tools.observation import Observation, Status, cut
from agentkit.tools.remembered import Remembered, Results, Wanted, may_be_kept
from agentkit.tools.result import Rendered, render, render_error

_MAX_MESSAGE_BYTES = 4096  # of our own messages to the model
_MAX_NAMES = 10
_BACKOFF = wait_exponential_jitter(multiplier=0.1, max=5.0)

Call = ToolCall | InvalidToolCall
Inject = Callable[[ToolSpec, str], Mapping[str, object]]
Sent = Arguments | ToolCall
Around = Callable[[ToolSpec, str], AbstractContextManager[object]]


class RetryRules(TypedDict):
    """What tenacity is told, in a thread and on a loop alike."""

    stop: stop_base
    wait: wait_base
    retry: retry_base
    reraise: bool


@dataclass(frozen=True, kw_only=True)
class ReadyCall:
    """A call whose tool is known and whose arguments fit."""

    index: int
    call_id: str
    spec: ToolSpec
    arguments: Arguments
    timeout_seconds: float
    max_result_bytes: int
    around: Around | None
    results: Results | None = None

    @property
    def is_async(self) -> bool:
        """Whether the tool can only be awaited here."""
        tool = self.spec.tool
        return not self.spec.isolated and isinstance(tool, StructuredTool) and tool.func is None

    @property
    def prefers_async(self) -> bool:
        """Whether the tool is better awaited where an event loop runs."""
        tool = self.spec.tool
        if self.spec.isolated:
            return False
        if isinstance(tool, StructuredTool):
            return tool.coroutine is not None
        own = type(tool)._arun  # pyright: ignore[reportPrivateUsage]  the hook of LangChain's tools
        return own is not BaseTool._arun  # pyright: ignore[reportPrivateUsage]  as above

    @property
    def can_be_ended(self) -> bool:
        """Whether nothing of the call goes on after its timeout."""
        return self.is_async or self.spec.isolated

    def perform(self, child: Child | None = None) -> Observation | BaseException:
        """Runs the tool here, or brings back what it said before.

        An exception that must reach the caller is returned, not raised.
        """
        if self.results is None or self.spec.cache_seconds is None:
            return self._run(child)
        begun = self.results.begin(self._wanted())
        if isinstance(begun, Remembered):
            return self._again(self.results, begun)
        try:
            outcome = self._run(child)
            if isinstance(outcome, Observation) and may_be_kept(outcome):
                begun.keep(outcome)
            return outcome
        finally:
            begun.give_up()

    async def aperform(self) -> Observation | BaseException:
        """As `perform`, awaited; a cancellation from outside is raised."""
        if self.results is None or self.spec.cache_seconds is None:
            return await self._arun()
        begun = await self.results.abegin(self._wanted())
        if isinstance(begun, Remembered):
            return self._again(self.results, begun)
        try:
            outcome = await self._arun()
            if isinstance(outcome, Observation) and may_be_kept(outcome):
                await begun.akeep(outcome)
            return outcome
        finally:
            await begun.agive_up()

    def _wanted(self) -> Wanted:
        return Wanted(
            spec=self.spec,
            arguments=self.arguments,
            max_result_bytes=self.max_result_bytes,
            wait_seconds=self.timeout_seconds / 2,  # then there is time left to fetch it
        )

    def _again(self, results: Results, known: Remembered) -> Observation:
        with self._surroundings():
            results.tell(known)
        return Observation(
            call_id=self.call_id,
            name=self.spec.name,
            content=known.content,
            status="ok",
            original_bytes=known.original_bytes,
            cut=known.cut,
            return_direct=self.spec.return_direct,
            remembered=known,
        )

    def _run(self, child: Child | None) -> Observation | BaseException:
        started = time.perf_counter()
        try:
            with self._surroundings():
                run = self.spec.tool.invoke if child is None else partial(self._isolated, child)
                result = self._tried(run, self._input())
            return self._observed(result, started)
        except BaseException as error:  # noqa: BLE001  returned: it crosses from the tool's thread
            return error if _passes(error) else self._failed(error, started)

    async def _arun(self) -> Observation | BaseException:
        started = time.perf_counter()
        try:
            with self._surroundings():
                result = await self._atried(self.spec.tool.ainvoke, self._input())
            return self._observed(result, started)
        except BaseException as error:  # as above; some of them would break the event loop
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                raise
            return error if _passes(error) else self._failed(error, started)

    def timed_out(self, *, ended: bool) -> Observation:
        """What the model is told of a call that took too long."""
        fate = "it was cancelled" if ended else "it was given up and may still be running"
        return self.refused(
            f"timed out after {self.timeout_seconds:g} s; {fate}",
            status="timeout",
            duration_seconds=self.timeout_seconds,
        )

    def refused(
        self, message: str, *, status: Status = "error", duration_seconds: float = 0.0
    ) -> Observation:
        """An observation in our own words, where the tool gave none."""
        return _told(self.call_id, self.spec.name, message, status, duration_seconds)

    def _input(self) -> Sent:
        # Only a whole ToolCall brings the id in and the artifact out; else the raw result is best.
        if self.spec.isolated:
            return self.arguments
        if self.spec.injected.call_id or self.spec.tool.response_format != "content":
            return ToolCall(
                name=self.spec.name, args=self.arguments, id=self.call_id, type="tool_call"
            )
        return self.arguments

    def _isolated(self, child: Child, sent: Sent) -> object:
        text, is_error = child.call(
            self.spec.reference,
            self.spec.name,
            cast("Mapping[str, object]", sent),
            self.max_result_bytes,
        )
        return ToolMessage(text, tool_call_id="", status="error") if is_error else text

    def _tried(self, call: Callable[[Sent], object], sent: Sent) -> object:
        return call(sent) if self.spec.max_attempts == 1 else Retrying(**self._retry())(call, sent)

    async def _atried(self, call: Callable[[Sent], Awaitable[object]], sent: Sent) -> object:
        if self.spec.max_attempts == 1:
            return await call(sent)
        return await AsyncRetrying(**self._retry())(call, sent)

    def _retry(self) -> RetryRules:
        """Tries again within the call's own time: a thread that is given up must not go on."""
        return {
            "stop": stop_after_attempt(self.spec.max_attempts)
            | stop_before_delay(self.timeout_seconds),
            "wait": _BACKOFF,
            "retry": retry_if_exception(self._is_worth_a_retry),
            "reraise": True,
        }

    def _is_worth_a_retry(self, error: BaseException) -> bool:
        if _passes(error) or not isinstance(error, Exception):
            return False
        return not _argument_problems(error, self.spec)

    def _surroundings(self) -> AbstractContextManager[object]:
        return self.around(self.spec, self.call_id) if self.around else nullcontext()

    def _observed(self, result: object, started: float) -> Observation:
        return self._observation(render(result, call_id=self.call_id), started)

    def _failed(self, error: BaseException, started: float) -> Observation:
        problems = _argument_problems(error, self.spec)
        if problems:
            return self.refused(
                f"invalid arguments for {self.spec.name}: {problems}",
                status="invalid",
                duration_seconds=time.perf_counter() - started,
            )
        return self._observation(Rendered(text=render_error(error), is_error=True), started)

    def _observation(self, rendered: Rendered, started: float) -> Observation:
        kept = cut(rendered.text, max_bytes=self.max_result_bytes)
        return Observation(
            call_id=self.call_id,
            name=self.spec.name,
            content=kept.text,
            status="error" if rendered.is_error else "ok",
            duration_seconds=time.perf_counter() - started,
            original_bytes=kept.original_bytes,
            cut=kept.was_cut,
            return_direct=self.spec.return_direct and not rendered.is_error,
            artifact=rendered.artifact,
            command=rendered.command,
        )


def prepare(
    index: int,
    call: Call,
    catalogue: ToolCatalogue,
    limits: ExecutionLimits,
    *,
    inject: Inject | None,
    around: Around | None,
    consent: Consent | None = None,
    results: Results | None = None,
) -> ReadyCall | Observation:
    """The call, ready to run, or the observation that says why it cannot be."""
    call_id = call["id"] or f"call_{index}"
    name = call["name"] or ""
    spec = catalogue.get(name)
    if spec is None:
        return _told(call_id, name, _unknown_tool(name, catalogue.names), "unknown_tool")
    if consent and (refusal := consent.refusal(spec, index)):
        return _told(call_id, name, refusal, "denied")
    parsed = parse_arguments(call["args"])
    if isinstance(parsed, str):
        return _told(call_id, name, f"{name} was not called: {parsed}", "invalid")
    checked = spec.arguments.check(
        {key: value for key, value in parsed.items() if key not in spec.injected.names}
    )
    if checked.problems:
        problems = "; ".join(checked.problems)
        return _told(call_id, name, f"invalid arguments for {name}: {problems}", "invalid")
    arguments = checked.arguments
    if inject and spec.injected.names:
        given = inject(spec, call_id)
        arguments |= {key: given[key] for key in given.keys() & spec.injected.names}
    return ReadyCall(
        index=index,
        call_id=call_id,
        spec=spec,
        arguments=arguments,
        timeout_seconds=spec.timeout_seconds or limits.timeout_seconds,
        max_result_bytes=spec.max_result_bytes or limits.max_result_bytes,
        around=around,
        results=results,
    )


def _told(
    call_id: str, name: str, message: str, status: Status, duration_seconds: float = 0.0
) -> Observation:
    kept = cut(message, max_bytes=_MAX_MESSAGE_BYTES)
    return Observation(
        call_id=call_id,
        name=cut(name, max_bytes=64).text,
        content=kept.text,
        status=status,
        duration_seconds=duration_seconds,
        original_bytes=kept.original_bytes,
        cut=kept.was_cut,
    )


def _unknown_tool(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name[:64], names, n=3, cutoff=0.5)
    if close:
        hint = f"closest: {', '.join(close)}"
    elif names:
        hint = "offered: " + ", ".join(names[:_MAX_NAMES])
        hint += ", …" if len(names) > _MAX_NAMES else ""
    else:
        hint = "no tools are offered; answer without one"
    return f"there is no tool {name[:64]!r}; {hint}"


def _argument_problems(error: BaseException, spec: ToolSpec) -> str:
    """What pydantic found wrong with the arguments; empty for any other error of the tool."""
    from pydantic import ValidationError

    schema: object = spec.tool.args_schema
    title: object = getattr(schema, "__name__", None)
    if isinstance(schema, dict):
        title = cast("dict[str, object]", schema).get("title")
    if not isinstance(error, ValidationError) or error.title != title:
        return ""
    found = error.errors(include_url=False, include_context=False, include_input=False)[:5]
    return "; ".join(
        f"'{'.'.join(str(part) for part in item['loc'])}' {item['msg']}" for item in found
    )


def _passes(error: BaseException) -> bool:
    """Whether an exception is for the caller, not for the model.

    LangGraph's interrupts travel as exceptions; they are known by name, for this package does not
    import LangGraph. SystemExit and a tool's own CancelledError end the tool, not the agent.
    """
    if any(
        kind.__name__ == "GraphBubbleUp" and kind.__module__ == "langgraph.errors"
        for kind in type(error).__mro__
    ):
        return True
    return not isinstance(error, (Exception, SystemExit, asyncio.CancelledError))
