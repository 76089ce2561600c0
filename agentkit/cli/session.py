"""One run from the command line: trust, agent, live line, answer, and how to go on after Ctrl-C."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentkit.budgets.money import format_usd, plain_usd
from agentkit.cli.assembly import open_agent, open_ledger
from agentkit.cli.live import live_line
from agentkit.cli.screen import emit, note, one_line, say
from agentkit.cli.settings import Flags, Settings
from agentkit.cli.stored import find_task, require_ledger
from agentkit.cli.summary import closing_line, result_facts
from agentkit.cli.trust import require_trust, require_trusted_ledger
from agentkit.errors import ConfigError, NotResumable

if TYPE_CHECKING:
    from agentkit.agent import Agent
    from agentkit.asking import Answer
    from agentkit.budgets.budget import Budget
    from agentkit.budgets.journal import TaskRecord
    from agentkit.budgets.ledger import Ledger
    from agentkit.result import TaskResult
    from agentkit.run import OnProgress

Work = Callable[["Agent", "OnProgress | None"], "TaskResult"]

STATUS = {"answered": 0, "resolved": 0, "landed": 3, "exhausted": 3, "failed": 1, "cancelled": 1}
INTERRUPTED = 130


class Session:
    """Runs one task and prints what came of it; every method returns the exit status."""

    def __init__(self, settings: Settings, flags: Flags, *, as_json: bool, quiet: bool) -> None:
        self._settings = settings
        self._flags = flags
        self._as_json = as_json
        self._quiet = quiet

    def run(self, request: str, *, thread_id: str | None) -> int:
        """Carry out `request`, in the conversation `thread_id` or a new one."""
        from agentkit.answers import Asked
        from agentkit.budgets.task import new_id

        settings = self._settings
        thread = thread_id or new_id()
        budget = settings.make_budget()
        if not request.strip():
            raise ConfigError("the request is empty; say what is to be done")

        def work(agent: Agent, on_progress: OnProgress | None) -> TaskResult:
            asked = Asked(
                request=request,
                scope=settings.scope,
                tags=settings.tags,
                task_id=None if thread_id else thread,
            )
            return agent.carry_out(asked, thread_id, on_progress)  # a thread's are never cached

        require_trust(settings, self._flags, ask=not self._as_json)
        with open_ledger(settings) as ledger:
            return self._carry_out(work, ledger, budget, settings.models, thread)

    def resume(self, wanted: str, decision: Answer | None) -> int:
        """Go on with the task or thread whose id begins with `wanted`, by `decision` if any."""
        settings = self._settings
        if settings.checkpoint is None:
            raise NotResumable("nothing was kept to resume from: checkpoints are off")
        require_trusted_ledger(settings, self._flags, ask=not self._as_json)
        require_ledger(settings)
        with open_ledger(settings) as ledger:
            record = find_task(ledger, wanted)
            _require_unfinished(record)
            settings = replace(settings, models=settings.models or record.models)
            require_trust(settings, self._flags, ask=not self._as_json)
            thread = record.thread_id or record.task_id

            def work(agent: Agent, on_progress: OnProgress | None) -> TaskResult:
                return agent.resume(thread, decision, on_progress=on_progress)

            budget = settings.make_budget(record.budget)
            return self._carry_out(work, ledger, budget, settings.models, thread)

    def _carry_out(
        self,
        work: Work,
        ledger: Ledger,
        budget: Budget,
        models: tuple[str, ...],
        thread_id: str,
    ) -> int:
        looked_at = not (self._quiet or self._as_json)
        with open_agent(self._settings, ledger, budget, models=models) as agent:
            self._tell_imports(agent)
            try:
                with (
                    tracing(self._settings),
                    ended_by_signal(),
                    live_line(wanted=looked_at) as on_progress,
                ):
                    result = work(agent, on_progress)
            except KeyboardInterrupt:
                return self._interrupted(ledger, thread_id)
        self._show(result, budget)
        return STATUS[result.outcome]

    def _show(self, result: TaskResult, budget: Budget) -> None:
        if self._as_json:
            emit(result_facts(result))
            return
        if result.answer:
            say(result.answer)
        if result.outcome not in ("answered", "resolved"):
            note(f"{result.outcome}: {one_line(result.reason or '', most_chars=400)}")
        elif result.reason and not self._quiet:
            note(one_line(result.reason, most_chars=400))
        if self._quiet:
            return
        if result.cache_hit is not None:
            hit = result.cache_hit
            note(f"answered from the cache ({hit.kind}), which saved {format_usd(hit.saved_nusd)}")
        note(closing_line(result, budget))

    def _interrupted(self, ledger: Ledger, thread_id: str) -> int:
        tasks = ledger.store.tasks(limit=100)
        record = next((task for task in tasks if task.thread_id == thread_id), None)
        command = shlex.join(["agentkit", "resume", thread_id, *repeated_flags(self._flags)])
        resumable = self._settings.checkpoint is not None and record is not None
        if self._as_json:
            emit(
                {
                    "error": {
                        "type": "Interrupted",
                        "message": "interrupted; the calls made are settled",
                    },
                    "task_id": record.task_id if record else None,
                    "thread_id": thread_id,
                    "cost_usd": _usd(record),
                    "resume": command if resumable else None,
                }
            )
            return INTERRUPTED
        note(f"interrupted after ${_usd(record)}; every call made is settled")
        if resumable:
            note(f"go on with: {command}")
        elif self._settings.checkpoint is None:
            note("it cannot be resumed, for checkpoints are off (--checkpoint)")
        return INTERRUPTED

    def _tell_imports(self, agent: Agent) -> None:
        """Code that came from a folder and not from an installed package is named."""
        if self._quiet or self._as_json or not self._settings.tools:
            return
        names = ", ".join(agent.catalogue.names)
        note(
            f"tools from {', '.join(self._settings.tools)} ({self._settings.tool_folder}): {names}"
        )


def repeated_flags(flags: Flags) -> Iterator[str]:
    """The flags that a resumed run needs again; budget and scope are recorded."""
    single: Mapping[str, Any] = {
        "--config": flags.config,
        "--system": flags.system,
        "--ledger": flags.ledger,
        "--checkpoint": flags.checkpoint,
        "--prices": flags.prices,
    }
    for name, values in (
        ("--model", flags.models),
        ("--tools", flags.tools),
        ("--grant", flags.grant),
        ("--ask", flags.ask),
    ):
        for value in values:
            yield from (name, value)
    for name, value in single.items():
        if value is not None:
            yield from (name, str(value))
    if flags.trust_config:
        yield "--trust-config"


def _require_unfinished(record: TaskRecord) -> None:
    if record.outcome is not None and record.outcome not in ("cancelled", "failed"):
        raise NotResumable(
            f"task {record.task_id} has ended ({record.outcome}); `agentkit show {record.task_id}` "
            "tells its story"
        )


def _usd(record: TaskRecord | None) -> str:
    from agentkit.budgets.money import usd_from_nusd

    return plain_usd(usd_from_nusd(record.cost_nusd if record else 0))


def tracing(settings: Settings) -> Any:
    """A context that sends spans to the target, if there is one, and has sent all at its end."""
    if settings.trace is None:
        return nullcontext()
    from agentkit.telemetry import trace_to

    return trace_to(settings.trace, profile=settings.trace_profile)


@contextmanager
def ended_by_signal() -> Generator[None]:
    """A polite kill (SIGTERM) settles like Ctrl-C."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only that one may set them
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
