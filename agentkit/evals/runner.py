"""Runs every case under every setting: in parallel, under one budget, and never twice.

What a case's answer is worth is stored when it ends. A run that died goes on: ended tasks are read
back from ledger and checkpoint, half-done ones resumed with the answers that were paid for.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage

from agentkit.agent import Agent
from agentkit.budgets.errors import BudgetExceeded, BudgetTooSmall, DeadlineExceeded
from agentkit.budgets.ledger import Ledger
from agentkit.cascade import Cascade, Evidence, signals_of
from agentkit.evals.case import Case
from agentkit.evals.case_result import CaseResult, failure_of, result_with
from agentkit.evals.grade import Grade, Grader, MadeCall, Sample, wrong
from agentkit.evals.results import ResultStore, RunRecord
from agentkit.evals.subject import Setting, Subjects
from agentkit.result import TaskResult, result_of
from agentkit.state import AgentState

_WAIT_SECONDS = 0.2

OnResult = Callable[[CaseResult], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One case under one setting; a further `attempt` only where the run's money ran out."""

    setting: Setting
    case: Case
    attempt: int = 1


class Runner:
    """Tries cases and stores what came of them. `scope` is where all of it is spent."""

    def __init__(
        self,
        *,
        run: RunRecord,
        results: ResultStore,
        ledger: Ledger,
        scope: str,
        subjects: Subjects,
        graders: Mapping[str, Grader],
        cascade: Cascade,
        on_result: OnResult | None = None,
    ) -> None:
        self._cascade = cascade
        self._run = run
        self._results = results
        self._ledger = ledger
        self._scope = scope
        self._subjects = subjects
        self._graders = graders
        self._on_result = on_result
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def pending(self, cases: Sequence[Case], settings: Sequence[Setting]) -> list[Trial]:
        """What is not stored yet, case by case, so that settings are compared on the same cases."""
        known = {(each.setting, each.case_id): each for each in self._results.results(self._run)}
        found: list[Trial] = []
        for case in cases:
            for setting in settings:
                stored = known.get((setting.name, case.id))
                if stored is None:
                    found.append(Trial(setting=setting, case=case))
                elif stored.stopped:
                    found.append(Trial(setting=setting, case=case, attempt=stored.attempt + 1))
        return found

    def run(self, trials: Sequence[Trial], *, parallel: int) -> None:
        """Try all of them, `parallel` at a time.

        Ctrl-C lets what is under way end, then raises. Where the run's money is used up, the rest
        is left for a later run. Raises what no case is to blame for.
        """
        queue = iter(trials)
        with ThreadPoolExecutor(parallel, thread_name_prefix="agentkit-eval") as pool:
            workers = [pool.submit(self._work, queue) for _ in range(min(parallel, len(trials)))]
            try:
                while wait(workers, _WAIT_SECONDS, return_when=FIRST_EXCEPTION).not_done:
                    if any(worker.done() and worker.exception() for worker in workers):
                        break
            finally:
                self._stop.set()  # the workers end after what they are at
        for worker in workers:
            worker.result()

    def _work(self, queue: Iterator[Trial]) -> None:
        while not self._stop.is_set():
            with self._lock:
                trial = next(queue, None)
            if trial is None:
                return
            self._try(trial)

    def _try(self, trial: Trial) -> None:
        agent = self._subjects.agent(trial.setting, trial.case)
        thread_id = self._thread_id(trial)
        try:
            result = self._answered(agent, trial, thread_id)
        except BudgetTooSmall as error:
            self._keep(_refused(trial, str(error)))
            return
        except (BudgetExceeded, DeadlineExceeded):  # of the whole run, before anything was sent
            self._stop.set()
            return
        state = cast(AgentState, agent.graph.get_state(_config(thread_id)).values)
        sample = _sample(trial.case, result, state, agent)
        if self._was_stopped(result):
            self._stop.set()
            stopped = self._graded(trial, sample, result, wrong("exhausted"), agent, {})
            self._keep(replace(stopped, stopped=True))
            return
        try:
            grade = self._graders[trial.case.id](sample)
        except (BudgetExceeded, DeadlineExceeded):  # the judge's; the answer is kept by its thread
            self._stop.set()
            return
        self._keep(self._graded(trial, sample, result, grade, agent, _signals(state, agent)))

    def _answered(self, agent: Agent, trial: Trial, thread_id: str) -> TaskResult:
        """The end of the trial's task: read back, resumed, or run."""
        config = _config(thread_id)
        snapshot = agent.graph.get_state(config)
        state = cast(AgentState, snapshot.values)
        task_id = state.get("task_id", "")
        record = self._ledger.store.task(task_id) if task_id else None
        if record is not None and record.outcome is not None and state.get("outcome"):
            calls = self._ledger.store.calls(task_id)
            return result_of(record, answer=state.get("answer", ""), calls=calls)
        if task_id and snapshot.tasks:
            return agent.resume(thread_id)
        if trial.case.history and not state.get("messages"):
            agent.graph.update_state(config, {"messages": list(trial.case.history)}, as_node="land")
        tags = {"eval": self._scope, "case": trial.case.id, "setting": trial.setting.name}
        return agent.run(trial.case.request, scope=self._scope, tags=tags, thread_id=thread_id)

    def _graded(
        self,
        trial: Trial,
        sample: Sample,
        result: TaskResult,
        grade: Grade,
        agent: Agent,
        signals: Mapping[str, float],
    ) -> CaseResult:
        return result_with(
            sample,
            failure_of(sample, grade, result.reason),
            setting=trial.setting.name,
            records=result.records,
            cost_nusd=int(result.cost_usd.scaleb(9)),
            task_id=result.task_id,
            signals=signals,
            confidence=self._chance(agent, signals) if signals else None,
            attempt=trial.attempt,
        )

    def _chance(self, agent: Agent, signals: Mapping[str, float]) -> float:
        """How likely the answer is right, by what the first model alone is judged by."""
        return self._cascade.calibration_of(agent.tiers[0].label).probability(signals)

    def _keep(self, result: CaseResult) -> None:
        self._results.keep(self._run, result)
        if self._on_result is not None:
            with self._lock:
                self._on_result(result)

    def _was_stopped(self, result: TaskResult) -> bool:
        """True where the limit of the whole run cut the task short, not its own."""
        if result.outcome not in ("landed", "exhausted"):
            return False
        events = self._ledger.store.events(result.task_id)
        return any(
            event.kind == "budget_breach" and event.data.get("scope") == self._scope
            for event in events
        )

    def _thread_id(self, trial: Trial) -> str:
        parts = [self._run.token, trial.setting.name, trial.case.id, trial.attempt]
        digest = hashlib.sha256(json.dumps(parts).encode("utf-8", "replace")).hexdigest()
        return f"eval-{digest[:32]}"


def _config(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id}}


def _refused(trial: Trial, reason: str) -> CaseResult:
    return CaseResult(
        setting=trial.setting.name,
        case_id=trial.case.id,
        passed=False,
        score=0.0,
        kind="exhausted",
        detail=reason[:300],
        outcome="exhausted",
        answer="",
        tags=trial.case.tags,
        attempt=trial.attempt,
    )


def _sample(case: Case, result: TaskResult, state: AgentState, agent: Agent) -> Sample:
    """What is graded; where tools are only offered, the answer is what the model wrote itself."""
    messages = state.get("messages", [])[state.get("request_at", 0) :]
    answer = result.answer
    if case.tools:
        answer = next((m.text for m in reversed(messages) if isinstance(m, AIMessage)), "")
    last = result.records[-1] if result.records else None
    declined = result.outcome == "failed" and last is not None and last.status == "ok"
    return Sample(
        case=case,
        answer=answer,
        calls=tuple(_calls(messages, agent)),
        outcome=result.outcome,
        declined=declined,
    )


def _signals(state: AgentState, agent: Agent) -> dict[str, float]:
    """What speaks for the last answer that a model wrote itself; nothing where there is none."""
    messages = state.get("messages", [])
    start = state.get("request_at", 0)
    written = [
        place
        for place, message in enumerate(messages)
        if place > start
        and isinstance(message, AIMessage)
        and not message.response_metadata.get("relayed")
    ]
    if not written:
        return {}
    message = messages[written[-1]]
    observed = [m.text for m in messages[start : written[-1]] if isinstance(m, ToolMessage)]
    evidence = Evidence(
        message=cast(AIMessage, message),
        toolbox=agent.toolbox,
        request=messages[start].text,
        observations=tuple(observed),
        step=state.get("step", 0),
    )
    return signals_of(evidence)


def _calls(messages: Sequence[AnyMessage], agent: Agent) -> Iterator[MadeCall]:
    ran = {
        message.tool_call_id
        for message in messages
        if isinstance(message, ToolMessage) and message.status != "error"
    }
    for message in messages:
        if not isinstance(message, AIMessage):
            continue
        for call in map(agent.toolbox.resolved, message.tool_calls):
            arguments = call["args"] if isinstance(call["args"], dict) else {}
            yield MadeCall(name=call["name"] or "", arguments=arguments, ran=call["id"] in ran)
        for broken in message.invalid_tool_calls:
            yield MadeCall(name=str(broken.get("name") or ""), arguments={}, ran=False)
