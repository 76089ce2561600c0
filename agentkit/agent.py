"""The agent: models from cheap to dear, tools, a budget, and a graph that keeps to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from agentkit.answers import Answers, Asked, Making, cache_of
from agentkit.asking import Answer, answer_of, require_question
from agentkit.batch.waiting import Duration, tagged
from agentkit.budgets.budget import Budget
from agentkit.budgets.event import BudgetEvent, Decision
from agentkit.budgets.ledger import DEFAULT_SCOPE, Ledger, OnLostCall
from agentkit.budgets.task import Task, new_id
from agentkit.budgets.tokens import count_text
from agentkit.cascade.settings import Cascade
from agentkit.checkpoint import (
    Checkpointer,
    Durability,
    checked_durability,
    open_checkpointer,
)
from agentkit.consent import Approve, Refuse, as_consent_json
from agentkit.errors import ConfigError, NotResumable
from agentkit.fanout import amap_requests, map_requests
from agentkit.graph import Graph, Work, build_graph, nodes_of
from agentkit.left_streams import read_on
from agentkit.memory.allocation import AllotmentExceeded
from agentkit.memory.cache import ResponseCache
from agentkit.memory.context import Context
from agentkit.models.tier import Tier, tier_of
from agentkit.nodes.act import aact, act
from agentkit.nodes.inject import require_injectable
from agentkit.nodes.judging import judging_of
from agentkit.nodes.land import land
from agentkit.nodes.observe import observer_of, whole_results
from agentkit.nodes.prepare import begin, prepare
from agentkit.nodes.route import RouteSetting, Routing
from agentkit.nodes.think import think
from agentkit.open_tasks import OpenTasks
from agentkit.result import Check, TaskResult
from agentkit.run import DEFAULT_CONTEXT, OnProgress, Run
from agentkit.state import AgentState, fresh
from agentkit.stream import StreamEvent, stream_events
from agentkit.tool_results import results_of
from agentkit.tools.catalogue import ToolCatalogue, ToolSource, ToolSpec
from agentkit.tools.limits import ExecutionLimits
from agentkit.tools.observation_store import ObservationStore
from agentkit.tools.permissions import Permissions, withheld_tools
from agentkit.tools.provision.toolbox import Provisioning, Toolbox
from agentkit.tools.pruner import Pruning
from agentkit.walk import Keeper, awalk, walk
from agentkit.warming import awarm_prefix, warm_prefix

_DEFAULT_MAX_STEPS = 500
_DEFAULT_ROUNDS = 8
_LEAST_ROUNDS = 2
_DEFAULT_LIMITS = ExecutionLimits()
_DEFAULT_PERMISSIONS = Permissions()
_DEFAULT_PRUNING = Pruning()
_SUPERSTEPS_A_STEP = 3


class Agent:
    """Runs tasks on the cheapest model that can, under a budget that holds.

    >>> from agentkit import Agent, Budget
    >>> agent = Agent(models=["local:pocket"], budget=Budget(calls=5))  # doctest: +SKIP
    >>> agent.run("play some jazz").outcome  # doctest: +SKIP
    """

    def __init__(
        self,
        models: Sequence[str | BaseChatModel],
        tools: Sequence[ToolSource | ToolSpec] | ToolCatalogue = (),
        *,
        budget: Budget | None = None,
        ledger: str | Ledger = "memory://",
        on_budget: Callable[[BudgetEvent], Decision | None] | None = None,
        check: Check | None = None,
        quality: float | None = None,
        cascade: Cascade | None = None,
        route: RouteSetting | None = None,
        system: str = "",
        name: str = "agent",
        checkpoint: str | Checkpointer | None = None,
        tool_limits: ExecutionLimits = _DEFAULT_LIMITS,
        permissions: Permissions = _DEFAULT_PERMISSIONS,
        max_steps: int = _DEFAULT_MAX_STEPS,
        durability: Durability = "sync",
        no_progress_after: int | None = _DEFAULT_ROUNDS,
        on_lost_call: OnLostCall = "repeat",
        force_durability: bool = False,
        provisioning: Provisioning | None = None,
        context: Context = DEFAULT_CONTEXT,
        cache: str | ResponseCache | None = None,
        tool_results: str | ResponseCache | None = None,
        pruning: Pruning | None = _DEFAULT_PRUNING,
        observations: ObservationStore | None = None,
    ) -> None:
        """Raises ConfigError, ModelNotFound, ExtraMissing, ToolError or StoreError, each with what
        to do about it.

        `quality` is the share of answers that have to be right: with it, or with `cascade`, cheap
        answers are judged by the chance that they are. Tools declared "write" or "spend" are
        neither offered nor run until `permissions` grants them. With `cache`, a task whose answer
        is known is not run again; `tool_results` keeps those of tools with `cache_seconds`, by
        default in memory. Each may be an address; then `cache` knows the very same requests only.
        What `pruning` leaves out of an observation is kept in `observations`, by default beside the
        checkpoints' file, or in memory where there is none.
        """
        if not models:
            raise ConfigError("models=[] is empty; name at least one, like models=['local:pocket']")
        if max_steps < 1:
            raise ConfigError(f"max_steps={max_steps}; use 1 or more")
        if no_progress_after is not None and no_progress_after < _LEAST_ROUNDS:
            raise ConfigError(
                f"no_progress_after={no_progress_after}; use {_LEAST_ROUNDS} or more rounds, or "
                "None to let a task go in circles"
            )
        _require_allotted(context, system)
        self.name = name
        self.budget = budget or Budget()
        self.ledger = Ledger(ledger) if isinstance(ledger, str) else ledger
        self.tiers: tuple[Tier, ...] = tuple(tier_of(m, i) for i, m in enumerate(models))
        self.catalogue = tools if isinstance(tools, ToolCatalogue) else ToolCatalogue(tools)
        require_injectable(self.catalogue)
        self.permissions = permissions
        withheld = withheld_tools(self.catalogue, permissions)
        self._observer = observer_of(pruning, observations, checkpoint, self.catalogue)
        self.toolbox = Toolbox(
            self.catalogue,
            provisioning,
            withheld=withheld,
            recall=None if self._observer is None else self._observer.recall,
            allotted_tokens=context.allocation.tools,
        )
        self._tool_results = results_of(cache_of(tool_results), self.catalogue)
        self._check = check
        self._judging = judging_of(quality, cascade, check)
        self._routing = Routing(route, self.ledger, self.tiers)
        self._system = SystemMessage(system) if system else None
        self.system = system
        self._tool_limits = tool_limits if pruning is None else whole_results(tool_limits)
        self._max_steps = max_steps
        self._durability: Durability = (
            durability if force_durability else checked_durability(durability, self.budget)
        )
        self._saver = open_checkpointer(checkpoint) if isinstance(checkpoint, str) else checkpoint
        self.saves = self._saver is not None
        self._tasks = OpenTasks(
            name=name,
            ledger=self.ledger,
            budget=self.budget,
            tiers=self.tiers,
            system=system,
            context=context,
            on_budget=on_budget,
            on_lost_call=on_lost_call,
            rounds=no_progress_after,
            saves=self.saves,
        )
        asks = on_budget is not None or any(permissions.of(s) == "ask" for s in self.catalogue)
        self._walks = not (self.saves and asks)
        self._nodes = nodes_of(self)
        self.graph: Graph = build_graph(self._nodes, name=name, checkpointer=self._saver)
        self._graph: Any = self.graph  # its overloads are partly untyped
        kept = cache_of(cache)
        self._answers = None if kept is None else self._answers_of(kept)

    def run(
        self,
        request: str,
        *,
        scope: str = DEFAULT_SCOPE,
        tags: Mapping[str, str] | None = None,
        thread_id: str | None = None,
        on_progress: OnProgress | None = None,
        parent: Task | None = None,
        wait: Duration | None = None,
    ) -> TaskResult:
        """Carry out `request` and wait for its end.

        Running out of budget is an outcome, not an exception. Raises BudgetTooSmall and
        PriceUnknown before anything is sent. Ctrl-C is settled, then raised; with a checkpointer
        `resume` goes on from there. A sub-agent takes its budget from the task `parent`, and gives
        back the rest: `parent=current_task()` inside a tool. With `wait`, like "24h", its calls go
        by batch at half the price, and it ends within that time.
        """
        asked = Asked(request=request, scope=scope, tags=tagged(tags, wait), parent=parent)
        return self.carry_out(asked, thread_id, on_progress)

    async def arun(
        self,
        request: str,
        *,
        scope: str = DEFAULT_SCOPE,
        tags: Mapping[str, str] | None = None,
        thread_id: str | None = None,
        on_progress: OnProgress | None = None,
        parent: Task | None = None,
        wait: Duration | None = None,
    ) -> TaskResult:
        """As `run`, on the event loop; a cancellation is settled, then raised."""
        asked = Asked(request=request, scope=scope, tags=tagged(tags, wait), parent=parent)
        return await self.acarry_out(asked, thread_id, on_progress)

    map = map_requests
    amap = amap_requests
    warm = warm_prefix
    awarm = awarm_prefix

    def resume(
        self,
        thread_id: str,
        decision: Answer | None = None,
        *,
        on_progress: OnProgress | None = None,
    ) -> TaskResult:
        """Go on with the task that was interrupted under `thread_id`; raises NotResumable.

        The id of the task will do as well. `decision` answers a task that asks about its budget,
        and is carried out at once for any other: `Extend(...)`, `Land()` or `Stop()`; `Approve()`
        or `Refuse()` answer one that asks whether tools may run.
        """
        run, inputs, config = self._take_up(thread_id, decision, on_progress)
        return self._tasks.finish(run, self._invoke(run, inputs, config))

    async def aresume(
        self,
        thread_id: str,
        decision: Answer | None = None,
        *,
        on_progress: OnProgress | None = None,
    ) -> TaskResult:
        """As `resume`, on the event loop."""
        taking = partial(self._take_up, thread_id, decision, on_progress)
        run, inputs, config = await self._tasks.abegin(taking)
        return await self._tasks.afinish(run, await self._ainvoke(run, inputs, config))

    def stream(
        self,
        request: str,
        *,
        scope: str = DEFAULT_SCOPE,
        tags: Mapping[str, str] | None = None,
        thread_id: str | None = None,
        parent: Task | None = None,
    ) -> Iterator[StreamEvent]:
        """The answer as it is written, each node as it ends, and the TaskResult last.

        Left early, it waits until the call under way has ended; where an event loop or the garbage
        collector drops it, that happens in a thread of its own.
        """
        asked = Asked(request=request, scope=scope, tags=tags or {}, parent=parent)
        yield from read_on(self._stream(asked, thread_id))

    def _stream(self, asked: Asked, thread_id: str | None) -> Generator[StreamEvent]:
        run, config = self._begin(asked, thread_id, None)
        final: AgentState = {}
        parts = self._graph.stream(
            _inputs(asked.request, run),
            config,
            stream_mode=["messages", "updates", "values"],
            durability=self._durability_of(),
        )
        with self._tasks.guard(run), closing(parts):  # the graph's workers end before the task does
            for mode, part in parts:
                if mode == "values":
                    final = cast(AgentState, part)
                else:
                    yield from stream_events(mode, part, final.get("step", 0))
        yield self._tasks.finish(run, final)

    async def astream(
        self,
        request: str,
        *,
        scope: str = DEFAULT_SCOPE,
        tags: Mapping[str, str] | None = None,
        thread_id: str | None = None,
        parent: Task | None = None,
    ) -> AsyncIterator[StreamEvent]:
        """As `stream`, on the event loop."""
        asked = Asked(request=request, scope=scope, tags=tags or {}, parent=parent)
        run, config = await self._tasks.abegin(partial(self._begin, asked, thread_id, None))
        final: AgentState = {}
        parts = self._graph.astream(
            _inputs(request, run),
            config,
            stream_mode=["messages", "updates", "values"],
            durability=self._durability_of(),
        )
        async with self._tasks.aguard(run), aclosing(parts):  # as in `stream`
            async for mode, part in parts:
                if mode == "values":
                    final = cast(AgentState, part)
                else:
                    for event in stream_events(mode, part, final.get("step", 0)):
                        yield event
        yield await self._tasks.afinish(run, final)

    # What the graph's nodes call.

    def run_of(self, state: AgentState, config: RunnableConfig) -> Run:
        """The running task of `state`; one is opened where the graph was invoked directly."""
        task_id = state.get("task_id", "")
        known = self._tasks.run(task_id)
        if known is not None:
            return known
        thread_id = config.get("configurable", {}).get("thread_id")
        request = begin(state).text
        return self._tasks.open(
            request,
            scope=DEFAULT_SCOPE,
            tags=None,
            task_id=task_id or new_id(),
            thread_id=None if thread_id is None else str(thread_id),
            on_progress=None,
        )

    def opening_waits(self, state: AgentState) -> bool:
        """True where `run_of` opens a task, in a ledger that waits for a disk or a network."""
        return self._tasks.waits and self._tasks.run(state.get("task_id", "")) is None

    def prepare(self, state: AgentState, run: Run) -> Work:
        """See `agentkit.nodes.prepare`."""
        update = yield from prepare(
            state, run, tiers=self.tiers, toolbox=self.toolbox, system=self._system
        )
        if update.get("step", 0) > self._max_steps:
            update |= {"ending": "budget", "reason": f"max_steps={self._max_steps} are used up"}
        return update

    def think(self, state: AgentState, run: Run) -> Work:
        """See `agentkit.nodes.think`."""
        thinking = partial(
            think,
            run=run,
            toolbox=self.toolbox,
            system=self._system,
            judging=self._judging,
        )
        return self._routing.think(state, run, self.toolbox, thinking)

    def act(self, state: AgentState, run: Run) -> AgentState:
        """See `agentkit.nodes.act`."""
        return act(
            state,
            run,
            toolbox=self.toolbox,
            limits=self._tool_limits,
            permissions=self.permissions,
            observer=self._observer,
            results=self._tool_results,
        )

    async def aact(self, state: AgentState, run: Run) -> AgentState:
        """See `agentkit.nodes.act`."""
        return await aact(
            state,
            run,
            toolbox=self.toolbox,
            limits=self._tool_limits,
            permissions=self.permissions,
            observer=self._observer,
            results=self._tool_results,
        )

    def land(self, state: AgentState, run: Run) -> Work:
        """See `agentkit.nodes.land`."""
        plan = self._tasks.landing(run.task_id)
        update = yield from land(state, run, plan=plan, system=self.system, check=self._check)
        self._tasks.forget(run)
        yield from self._routing.learn(state, run, run.task.record)
        return update

    # Running, with the cache or without.

    def carry_out(
        self, asked: Asked, thread_id: str | None, on_progress: OnProgress | None
    ) -> TaskResult:
        """What `run` does with what it was asked."""
        if self._answers is None or thread_id is not None or not asked.request.strip():
            return self._run(asked, thread_id, on_progress)[1]
        begun = self._answers.look_up(asked, self._make)
        return begun if isinstance(begun, TaskResult) else self._make(begun, on_progress)

    async def acarry_out(
        self, asked: Asked, thread_id: str | None, on_progress: OnProgress | None
    ) -> TaskResult:
        """As `carry_out`, on the event loop."""
        if self._answers is None or thread_id is not None or not asked.request.strip():
            return (await self._arun(asked, thread_id, on_progress))[1]
        begun = await self._answers.alook_up(asked, self._make)
        if isinstance(begun, TaskResult):
            return begun
        async with begun:
            state, result = await self._arun(asked, None, on_progress)
            await begun.akeep(state, result)
            return result

    def _run(
        self, asked: Asked, thread_id: str | None, on_progress: OnProgress | None
    ) -> tuple[AgentState, TaskResult]:
        run, config = self._begin(asked, thread_id, on_progress)
        state = self._invoke(run, _inputs(asked.request, run), config, walks=asked.walks)
        return state, self._tasks.finish(run, state)

    async def _arun(
        self, asked: Asked, thread_id: str | None, on_progress: OnProgress | None
    ) -> tuple[AgentState, TaskResult]:
        begin = partial(self._begin, asked, thread_id, on_progress)
        run, config = await self._tasks.abegin(begin)
        state = await self._ainvoke(run, _inputs(asked.request, run), config, walks=asked.walks)
        return state, await self._tasks.afinish(run, state)

    def _make(self, making: Making, on_progress: OnProgress | None = None) -> TaskResult:
        """Run a task whose answer others may wait for, and keep it."""
        with making:
            state, result = self._run(making.asked, None, on_progress)
            making.keep(state, result)
            return result

    def _answers_of(self, cache: ResponseCache) -> Answers:
        return Answers(
            cache,
            name=self.name,
            ledger=self.ledger,
            budget=self.budget,
            tiers=self.tiers,
            system=self.system,
            catalogue=self.catalogue,
            check=self._check,
        )

    # Opening and closing.

    def _begin(
        self, asked: Asked, thread_id: str | None, on_progress: OnProgress | None
    ) -> tuple[Run, RunnableConfig]:
        if not asked.request.strip():
            raise ConfigError("the request is empty; say what is to be done")
        task_id = asked.task_id or self._cut_off(thread_id, asked) or new_id()
        thread_id = thread_id or task_id
        run = self._tasks.open(
            asked.request,
            scope=asked.scope,
            tags=asked.tags,
            task_id=task_id,
            thread_id=thread_id,
            on_progress=on_progress,
            digest=asked.digest,
            parent=asked.parent,
            streams=asked.streams,
        )
        return run, self._config(thread_id)

    def _cut_off(self, thread_id: str | None, asked: Asked) -> str | None:
        """The task of the same request under this thread whose process died before any checkpoint.

        Taking it up again finds the answers that it had paid for.
        """
        if thread_id is None or not self.saves:
            return None
        parent = asked.parent
        ledger, scope = (
            (self.ledger, asked.scope) if parent is None else (parent.ledger, parent.path)
        )
        task = ledger.store.task_of_thread(thread_id, scope=scope)
        if task is None or task.outcome is not None or task.request_digest != asked.digest:
            return None
        return task.task_id

    def kept(self, thread_id: str) -> tuple[AgentState, bool]:
        """The state stored under a thread, and whether something of it is left to do."""
        snapshot = self.graph.get_state(self._config(thread_id))
        return cast(AgentState, snapshot.values), bool(snapshot.tasks)

    def _take_up(
        self, wanted: str, decision: Answer | None, on_progress: OnProgress | None
    ) -> tuple[Run, Command[Any] | None, RunnableConfig]:
        """The stored task, what its graph is invoked with, and where its checkpoints are."""
        if not self.saves:
            raise NotResumable("this agent keeps no checkpoints; pass checkpoint='sqlite:///...'")
        known = self.ledger.store.task(wanted)
        thread_id = wanted if known is None else known.thread_id or wanted
        config = self._config(thread_id)
        snapshot = self.graph.get_state(config)
        state = cast(AgentState, snapshot.values)
        task_id = state.get("task_id")
        if not task_id or not snapshot.tasks:  # `next` leaves out tasks with stored writes
            raise NotResumable(f"nothing is left to do under thread {thread_id!r}")
        if isinstance(decision, Approve | Refuse):
            require_question([item.value for item in snapshot.interrupts])
        run = self._tasks.open(
            begin(state).text,
            scope=DEFAULT_SCOPE,
            tags=None,
            task_id=task_id,
            thread_id=thread_id,
            on_progress=on_progress,
        )
        if decision is None:
            return run, None, config
        if isinstance(decision, Approve | Refuse):
            return run, Command(resume=as_consent_json(decision)), config
        if state.get("asking"):
            return run, Command(resume=answer_of(decision)), config
        run.task.decide(decision)
        return run, None, config

    def _config(self, thread_id: str) -> RunnableConfig:
        return {
            "configurable": {"thread_id": thread_id},
            "recursion_limit": self._max_steps * _SUPERSTEPS_A_STEP + 10,
        }

    def _invoke(
        self, run: Run, inputs: AgentState | Command[Any] | None, config: RunnableConfig,
        *, walks: bool = False,
    ) -> AgentState:  # fmt: skip
        with self._tasks.guard(run):
            if walks and self._walks:
                keeper = self._keeper(run, config)
                return walk(self._nodes, cast(AgentState, inputs), config, keeper)
            return cast(
                AgentState, self._graph.invoke(inputs, config, durability=self._durability_of())
            )

    async def _ainvoke(
        self, run: Run, inputs: AgentState | Command[Any] | None, config: RunnableConfig,
        *, walks: bool = False,
    ) -> AgentState:  # fmt: skip
        async with self._tasks.aguard(run):
            if walks and self._walks:
                keeper = self._keeper(run, config)
                return await awalk(self._nodes, cast(AgentState, inputs), config, keeper)
            return cast(
                AgentState,
                await self._graph.ainvoke(inputs, config, durability=self._durability_of()),
            )

    def _keeper(self, run: Run, config: RunnableConfig) -> Keeper | None:
        return None if self._saver is None else Keeper(self.graph, self._saver, config, run.task)

    def _durability_of(self) -> Durability | None:
        return self._durability if self.saves else None


def _inputs(request: str, run: Run) -> AgentState:
    return {"messages": [HumanMessage(request)], **fresh(run.task_id)}


def _require_allotted(context: Context, system: str) -> None:
    """Raises ConfigError where the system text takes more than is allotted to it."""
    if context.allocation.system is None:
        return
    try:
        context.allocation.require("system", count_text(system))
    except AllotmentExceeded as error:
        raise ConfigError(str(error)) from error
