"""What a task comes to: outcomes, landing, escalation, bad input, resuming."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from agentkit import Agent, Budget, current_task, metered
from agentkit.answers import Asked
from agentkit.budgets import (
    Ask,
    BudgetEvent,
    BudgetExceeded,
    BudgetTooSmall,
    Extend,
    Land,
    Ledger,
    Limits,
    PriceBook,
    PriceUnknown,
    Stop,
)
from agentkit.budgets.ledger import DEFAULT_SCOPE
from agentkit.budgets.price_file import PriceOverride
from agentkit.errors import ConfigError, NotResumable
from agentkit.tools import ExecutionLimits
from tests.scripted import ScriptedModel, call, in_turn


def look(query: str) -> str:
    """Look something up."""
    return f"found {query}"


def scripted(*answers: AIMessage | str | BaseException, **kwargs: object) -> ScriptedModel:
    return ScriptedModel(script=in_turn(*answers), **kwargs)  # type: ignore[arg-type]  # test kwargs


def priced(usd_in: str = "1", usd_out: str = "2") -> Ledger:
    """A ledger that prices the scripted model, in USD per million tokens."""
    override = PriceOverride.model_validate(
        {"model": "scripted", "input": usd_in, "output": usd_out}
    )
    return Ledger(prices=PriceBook([override]))


def test_an_answer_after_a_tool() -> None:
    model = scripted(call("look", query="x"), "done")
    result = Agent([model], [look]).run("please")
    assert (result.outcome, result.answer, result.steps, result.calls) == ("answered", "done", 2, 2)
    assert [type(message) for message in model.seen[1]] == [HumanMessage, AIMessage, ToolMessage]
    assert model.seen[1][-1].content == "found x"


def test_check_decides_resolved() -> None:
    agent = Agent([scripted("refund made")], check=lambda result: "refund" in result.answer)
    assert agent.run("refund it").outcome == "resolved"
    agent = Agent([scripted("no")], check=lambda result: "refund" in result.answer)
    result = agent.run("refund it")
    assert (result.outcome, result.reason) == ("answered", "check did not pass")


def test_a_check_that_raises_does_not_lose_the_answer() -> None:
    result = Agent([scripted("yes")], check=lambda result: 1 / 0 > 0).run("go")
    assert (result.outcome, result.answer) == ("answered", "yes")
    assert "ZeroDivisionError" in (result.reason or "")


def test_the_system_text_is_sent_first() -> None:
    model = scripted("hello")
    Agent([model], system="be kind").run("hi")
    assert model.seen[0][0] == SystemMessage("be kind")


def test_return_direct_makes_the_observation_the_answer() -> None:
    from agentkit.tools import ToolSpec

    tool = ToolSpec.of(look, return_direct=True)
    result = Agent([scripted(call("look", query="x"))], [tool]).run("go")
    assert (result.outcome, result.answer, result.calls) == ("answered", "found x", 1)


def test_a_runaway_lands_with_an_answer() -> None:
    def script(messages: object) -> AIMessage:
        sent = list(messages)  # type: ignore[call-overload]  # a sequence of messages
        landing = "budget of this task is used up" in sent[0].text
        return AIMessage("what I know") if landing else call("look", query="again")

    result = Agent([ScriptedModel(script=script)], [look], budget=Budget(calls=5)).run("go")
    assert (result.outcome, result.answer, result.calls) == ("landed", "what I know", 5)


def test_a_landing_that_fails_still_gives_what_the_tools_said() -> None:
    model = scripted(call("look", query="x"), call("look", query="y"), call("look", query="z"))
    result = Agent([model], [look], budget=Budget(calls=3)).run("go")
    assert (result.outcome, result.answer) == ("landed", "found y")
    assert "answered with nothing" in (result.reason or "")


def test_without_anything_to_say_the_task_is_exhausted() -> None:
    model = scripted(ValueError("boom"))
    result = Agent([model], budget=Budget(tokens=5000, calls=2), max_steps=3).run("go")
    assert result.outcome in ("failed", "exhausted")
    assert result.answer == ""


def test_a_budget_of_one_call_is_spent_on_the_step() -> None:
    result = Agent([scripted("hello")], budget=Budget(calls=1)).run("hi")
    assert (result.outcome, result.answer) == ("answered", "hello")


def test_a_budget_below_the_landing_reserve_is_refused_before_anything_is_sent() -> None:
    model = scripted("hello")
    with pytest.raises(BudgetTooSmall, match="landing reserve"):
        Agent([model], budget=Budget(usd="0.000001"), ledger=priced()).run("hi")
    assert model.seen == []


def test_an_unpriced_model_is_refused_under_a_usd_budget() -> None:
    model = scripted("hello")
    with pytest.raises(PriceUnknown, match="prices file"):
        Agent([model], budget=Budget(usd="1")).run("hi")
    assert model.seen == []
    allowed = Agent([scripted("hello")], budget=Budget(usd="1", unknown_price="allow"))
    assert allowed.run("hi").outcome == "answered"


def test_a_prompt_that_no_limit_can_hold_is_refused() -> None:
    model = scripted("hello")
    with pytest.raises(BudgetTooSmall):
        Agent([model], budget=Budget(tokens=500)).run("word " * 5000)
    assert model.seen == []


def test_thresholds_reach_the_callback_and_extend_raises_the_limit() -> None:
    heard: list[BudgetEvent] = []

    def on_budget(event: BudgetEvent) -> Extend | None:
        heard.append(event)
        return Extend(calls=10) if event.fraction == 0.5 and len(heard) == 1 else None

    model = scripted(*[call("look", query=str(n)) for n in range(6)], "done")
    result = Agent([model], [look], budget=Budget(calls=4), on_budget=on_budget).run("go")
    assert (result.outcome, result.answer) == ("answered", "done")
    assert heard[0].kind == "threshold"
    assert heard[0].dimension == "calls"


@pytest.mark.parametrize(("decision", "outcome"), [(Land(), "landed"), (Stop(), "cancelled")])
def test_a_callback_may_land_or_stop(decision: Land | Stop, outcome: str) -> None:
    model = scripted(*[call("look", query=str(n)) for n in range(6)], "done")
    agent = Agent([model], [look], budget=Budget(calls=6), on_budget=lambda event: decision)
    assert agent.run("go").outcome == outcome


def test_a_callback_that_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def on_budget(event: BudgetEvent) -> None:
        raise RuntimeError("callback fault")

    model = scripted(call("look", query="x"), "done")
    result = Agent([model], [look], budget=Budget(calls=2), on_budget=on_budget).run("go")
    assert result.outcome in ("answered", "landed")
    assert "callback fault" in caplog.text


def test_escalates_when_the_cheap_tier_calls_wrongly() -> None:
    cheap = scripted(call("look", wrong=1))
    dear = scripted(call("look", query="x"), "done")
    result = Agent([cheap, dear], [look]).run("go")
    assert (result.outcome, result.answer, result.escalations) == ("answered", "done", 1)
    assert [record.tier for record in result.records] == [0, 1, 1]
    assert result.records[0].accepted is False
    assert "does not fit its schema" in (result.records[0].reason or "")


def test_escalates_when_the_cheap_tier_is_unsure() -> None:
    unsure = AIMessage("maybe", response_metadata={"logprobs": {"sum": -40.0, "count": 10}})
    result = Agent([scripted(unsure), scripted("surely")]).run("go")
    assert (result.answer, result.escalations) == ("surely", 1)


def test_an_unsure_answer_of_the_dearest_tier_stands_with_a_note() -> None:
    unsure = AIMessage("maybe", response_metadata={"logprobs": {"sum": -40.0, "count": 10}})
    agent = Agent([scripted(unsure, writes_answers=False)])
    result = agent.run("go")
    assert result.outcome == "answered"
    assert [event.kind for event in agent.ledger.store.events(result.task_id)] == ["doubt"]


def test_escalates_when_the_cheap_tier_fails() -> None:
    result = Agent([scripted(ValueError("broken")), scripted("fine")]).run("go")
    assert (result.outcome, result.answer, result.escalations) == ("answered", "fine", 1)


def test_the_failure_of_the_only_tier_is_an_outcome_with_its_reason() -> None:
    result = Agent([scripted(ValueError("broken"))]).run("go")
    assert (result.outcome, result.answer) == ("failed", "")
    assert "broken" in (result.reason or "")


def test_an_empty_answer_of_the_cheap_tier_escalates() -> None:
    assert Agent([scripted(""), scripted("full")]).run("go").answer == "full"


def test_usage_that_never_came_is_charged_at_the_worst_case() -> None:
    agent = Agent([scripted("hello", reports_usage=False)], budget=Budget(tokens=10_000))
    result = agent.run("hi")
    assert result.outcome == "answered"
    assert [record.confirmed for record in result.records] == [False]


def test_sixteen_tasks_share_one_scope_exactly() -> None:
    """Each call may cost $0.10 at most, the scope holds $1: ten are made, the others refused."""
    ledger = priced(usd_in="0", usd_out="100")
    ledger.set_limits("acme", Limits(nusd=10**9))
    gate = threading.Barrier(16)
    made: list[int] = []

    def script(messages: object) -> AIMessage:
        made.append(1)
        return AIMessage("word " * 1000)

    def one_call(number: int) -> bool:
        model = metered(ScriptedModel(script=script), ledger.open_task(scope="acme"))
        gate.wait()
        try:
            model.invoke("hi", max_tokens=1000)
        except BudgetExceeded:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(one_call, range(16)))
    account = ledger.account("acme")
    assert (len(made), results.count(True), results.count(False)) == (10, 10, 6)
    assert (account.settled.nusd, account.held.nusd) == (10**9, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": []}, "models="),
        ({"models": ["pocket"]}, "provider:model"),
        ({"models": ["nobody:model"]}, "not known"),
        ({"models": ["openai:gpt-5-mini"]}, "OPENAI_API_KEY"),
        ({"models": ["anthropic:claude-haiku-4-5"]}, "ANTHROPIC_API_KEY"),
        ({"models": ["local:/no/such/model.gguf"]}, "no model file"),
        ({"models": ["local:pocket"], "checkpoint": "postgres://x"}, "sqlite:///"),
        ({"models": ["local:pocket"], "max_steps": 0}, "1 or more"),
        ({"models": ["local:pocket"], "ledger": "mysql://x"}, "memory://"),
    ],
)
def test_bad_arguments_say_what_to_do(
    arguments: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(Exception, match=message):
        Agent(**arguments)  # type: ignore[arg-type]  # wrong on purpose


def test_an_empty_request_is_refused() -> None:
    with pytest.raises(ConfigError, match="empty"):
        Agent([scripted("x")]).run("  ")


def raises() -> str:
    """Raise."""
    raise RuntimeError("tool fault")


def hangs() -> str:
    """Hang."""
    time.sleep(5)
    return "late"


def huge() -> str:
    """Return 50 MB."""
    return "x" * 50_000_000


def raw() -> bytes:
    """Return bytes that are not text."""
    return b"\xff\xfe\x00" * 1000


def nothing() -> None:
    """Return None."""


@pytest.mark.parametrize("tool", [raises, hangs, huge, raw, nothing])
def test_a_hostile_tool_is_visible_and_the_run_goes_on(tool: object) -> None:
    name = tool.__name__  # type: ignore[attr-defined]  # functions have names
    model = scripted(call(name), "done")
    agent = Agent([model], [tool], tool_limits=ExecutionLimits(timeout_seconds=0.3))  # type: ignore[list-item]  # see above
    result = agent.run("go")
    assert (result.outcome, result.answer) == ("answered", "done")
    observation = model.seen[1][-1]
    assert isinstance(observation, ToolMessage)
    assert 0 < len(observation.text) < 70_000


def test_a_missing_tool_is_told_to_the_model() -> None:
    model = scripted(call("lok", query="x"), "done")
    assert Agent([model], [look]).run("go").answer == "done"
    assert "look" in model.seen[1][-1].text


async def test_a_cancelled_task_is_settled_and_closed() -> None:
    class Slow(ScriptedModel):
        async def _agenerate(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]  # never returns
            await asyncio.sleep(30)

    agent = Agent([Slow(script=in_turn("x"))], budget=Budget(tokens=10_000))
    running = asyncio.create_task(agent.arun("go", scope="acme"))
    await asyncio.sleep(0.2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    account = agent.ledger.account("acme")
    assert account.held.tokens == 0
    assert account.settled.tokens > 0
    assert agent.ledger.store.tasks()[0].outcome == "cancelled"


async def test_seconds_end_a_hanging_model_and_land_the_task() -> None:
    class Slow(ScriptedModel):
        async def _agenerate(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]  # never returns
            await asyncio.sleep(30)

    agent = Agent([Slow(script=in_turn("x"))], budget=Budget(seconds=0.5))
    began = time.monotonic()
    result = await agent.arun("go")
    assert time.monotonic() - began < 3
    assert result.outcome in ("exhausted", "failed")


def test_an_interrupted_task_resumes_where_it_was(tmp_path: Path) -> None:
    """Ctrl-C in the middle: settled, then resumed in a new agent on the same files."""
    files = {
        "ledger": f"sqlite:///{tmp_path / 'ledger.db'}",
        "checkpoint": f"sqlite:///{tmp_path / 'checkpoint.db'}",
    }
    first = Agent(
        [scripted(call("look", query="x"), KeyboardInterrupt())],
        [look],
        budget=Budget(tokens=50_000, calls=6),
        **files,  # type: ignore[arg-type]  # addresses
    )
    with pytest.raises(KeyboardInterrupt):
        first.run("go", thread_id="t1")
    interrupted = first.ledger.store.tasks()[0]
    assert interrupted.outcome == "cancelled"
    assert interrupted.calls == 2
    model = scripted("done")
    second = Agent([model], [look], budget=Budget(tokens=50_000, calls=6), **files)  # type: ignore[arg-type]  # addresses
    result = second.resume("t1")
    assert (result.outcome, result.answer) == ("answered", "done")
    assert result.task_id == interrupted.task_id
    assert result.calls == 3
    assert model.seen[0][-1].text == "found x"
    assert second.ledger.store.tasks()[0].outcome == "answered"


def test_resuming_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotResumable, match="checkpoint"):
        Agent([scripted("x")]).resume("t1")
    agent = Agent([scripted("x")], checkpoint=f"sqlite:///{tmp_path / 'c.db'}")
    with pytest.raises(NotResumable, match="nothing is left"):
        agent.resume("t1")


def test_a_thread_keeps_its_transcript_over_requests(tmp_path: Path) -> None:
    model = scripted("first", "second")
    agent = Agent([model], checkpoint=f"sqlite:///{tmp_path / 'c.db'}")
    agent.run("one", thread_id="t")
    result = agent.run("two", thread_id="t")
    assert result.answer == "second"
    assert [message.text for message in model.seen[1]] == ["one", "first", "two"]


def test_the_graph_can_be_invoked_by_itself() -> None:
    agent = Agent([scripted(call("look", query="x"), "done")], [look])
    state = agent.graph.invoke({"messages": [("user", "go")]})  # type: ignore[typeddict-item]  # LangGraph's own short form
    assert (state["outcome"], state["answer"]) == ("answered", "done")
    assert agent.ledger.store.tasks()[0].outcome == "answered"


def test_a_closed_stream_leaves_nothing_held() -> None:
    agent = Agent([scripted("one two three four")], budget=Budget(tokens=10_000))
    stream = agent.stream("go", scope="acme")
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # a generator
    assert agent.ledger.account("acme").held.tokens == 0
    assert agent.ledger.store.tasks()[0].outcome is not None


def test_a_request_after_a_cut_off_call_is_valid_again(tmp_path: Path) -> None:
    """The earlier task of the thread died between a call and its result."""

    def dies(query: str) -> str:
        """Die."""
        raise KeyboardInterrupt

    checkpoint = f"sqlite:///{tmp_path / 'c.db'}"
    first = Agent([scripted(call("dies", query="x"))], [dies], checkpoint=checkpoint)
    with pytest.raises(KeyboardInterrupt):
        first.run("one", thread_id="t")
    model = scripted("done")
    result = Agent([model], checkpoint=checkpoint).run("two", thread_id="t")
    assert result.outcome == "answered"
    assert [message.text for message in model.seen[0]] == ["one", "two"]


def test_an_empty_answer_of_the_only_tier_is_no_answer() -> None:
    result = Agent([scripted("")]).run("go")
    assert (result.outcome, result.answer) == ("failed", "")
    assert "answered with nothing" in (result.reason or "")


def test_a_cut_answer_says_so() -> None:
    cut = AIMessage("half of", response_metadata={"finish_reason": "length"})
    result = Agent([scripted(cut)]).run("go")
    assert (result.outcome, result.answer) == ("answered", "half of")
    assert "cut" in (result.reason or "")


def test_a_prompt_longer_than_the_window_is_never_sent_and_a_larger_tier_may_take_it() -> None:
    small = scripted("small", profile={"max_input_tokens": 100})
    large = scripted("large", profile={"max_input_tokens": 100_000})
    request = "word " * 500
    refused = Agent([small]).run(request)
    assert refused.outcome == "failed"
    assert "does not fit the 100 tokens" in (refused.reason or "")
    assert small.seen == []
    assert Agent([small, large]).run(request).answer == "large"


def test_a_thread_given_to_the_graph_itself_answers_each_request(tmp_path: Path) -> None:
    model = scripted("Lima", "Paris")
    agent = Agent([model], checkpoint=f"sqlite:///{tmp_path / 'c.db'}")
    config: Any = {"configurable": {"thread_id": "t"}}
    graph: Any = agent.graph
    first = graph.invoke({"messages": [("user", "capital of Peru?")]}, config)
    second = graph.invoke({"messages": [("user", "capital of France?")]}, config)
    assert (first["answer"], second["answer"]) == ("Lima", "Paris")
    assert first["task_id"] != second["task_id"]
    assert [task.outcome for task in agent.ledger.store.tasks()] == ["answered", "answered"]
    assert len(agent._tasks) == 0


@pytest.mark.parametrize("arguments", [{"n": 2}, {"service_tier": "priority"}])
def test_arguments_that_bill_more_than_is_reserved_are_refused(arguments: dict[str, Any]) -> None:
    model = scripted("x")
    with pytest.raises(ConfigError, match="bill"):
        metered(model, Ledger().open_task()).invoke("hi", **arguments)
    assert model.seen == []


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_a_tool_spends_counts_for_its_task(asynchronous: bool) -> None:
    inner = scripted("the inner answer")

    def research(question: str) -> str:
        """Ask another model."""
        return metered(inner, current_task()).invoke(question).text

    async def aresearch(question: str) -> str:
        """Ask another model."""
        return (await metered(inner, current_task()).ainvoke(question)).text

    tool = aresearch if asynchronous else research
    model = scripted(call(tool.__name__, question="why"), "done")
    agent = Agent([model], [tool], budget=Budget(calls=10))
    result = asyncio.run(agent.arun("go")) if asynchronous else agent.run("go")
    assert (result.answer, result.calls) == ("done", 3)
    assert [record.purpose for record in result.records] == ["step", "metered", "step"]
    with pytest.raises(LookupError, match="no task is running here"):
        current_task()


@pytest.mark.parametrize(
    ("decision", "outcome", "answer"),
    [(Extend(calls=6), "answered", "done"), (Land(), "landed", "done"), (Stop(), "cancelled", "")],
)
def test_a_person_is_asked_and_answers_after_a_restart(
    decision: Extend | Land | Stop, outcome: str, answer: str, tmp_path: Path
) -> None:
    files: Any = {
        "ledger": f"sqlite:///{tmp_path / 'ledger.db'}",
        "checkpoint": f"sqlite:///{tmp_path / 'checkpoint.db'}",
    }
    asked: list[BudgetEvent] = []

    def on_budget(event: BudgetEvent) -> Ask | None:
        asked.append(event)
        return Ask() if event.kind == "threshold" and len(asked) == 1 else None

    answers = [call("look", query=str(number)) for number in range(2)]
    first = Agent(
        [scripted(*answers)], [look], budget=Budget(calls=4), on_budget=on_budget, **files
    )
    waiting = first.run("go", thread_id="t")
    assert waiting.outcome == "cancelled"
    assert "waits for input" in (waiting.reason or "")
    model = scripted("done")
    second = Agent([model], [look], budget=Budget(calls=4), **files)
    assert second.resume("t").outcome == "cancelled"
    assert model.seen == []
    result = asyncio.run(second.aresume("t", decision))
    assert (result.outcome, result.answer) == (outcome, answer)
    assert result.ok == (outcome == "answered")
    assert result.task_id == waiting.task_id


def test_an_extension_by_task_id_lasts_over_another_restart(tmp_path: Path) -> None:
    """`resume(task_id, Extend(...))` of a task that does not ask; the next process knows it too."""
    files: Any = {
        "ledger": f"sqlite:///{tmp_path / 'ledger.db'}",
        "checkpoint": f"sqlite:///{tmp_path / 'checkpoint.db'}",
    }

    def agent(*answers: Any) -> Agent:
        return Agent([scripted(*answers)], [look], budget=Budget(calls=3), **files)

    calls = [call("look", query=str(number)) for number in range(6)]
    with pytest.raises(KeyboardInterrupt):
        agent(calls[0], KeyboardInterrupt()).run("go", thread_id="t")
    (record,) = Ledger(files["ledger"]).store.tasks()
    with pytest.raises(KeyboardInterrupt):
        agent(calls[1], KeyboardInterrupt()).resume(record.task_id, Extend(calls=5))
    result = agent(*calls[2:4], "done").resume(record.task_id)
    assert (result.outcome, result.answer) == ("answered", "done")
    assert result.calls == 7


def test_without_checkpoints_asking_lands() -> None:
    agent = Agent(
        [scripted(*[call("look", query=str(n)) for n in range(5)])],
        [look],
        budget=Budget(calls=6),
        on_budget=lambda event: Ask(),
    )
    assert agent.run("go").outcome == "landed"


def test_a_task_that_died_early_is_taken_up_however_many_began_since(tmp_path: Path) -> None:
    """The same request under the same thread, whose process was killed before any checkpoint."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    asked = Asked(request="go", scope=DEFAULT_SCOPE, tags={})
    died = ledger.open_task(task_id="died", thread_id="chat", request_digest=asked.digest)
    for _ in range(60):
        ledger.open_task(request_digest=asked.digest)
    agent = Agent(
        [scripted("done", "done", "done")],
        ledger=ledger,
        checkpoint=f"sqlite:///{tmp_path / 'checkpoint.db'}",
    )
    assert agent.run("another", thread_id="other").task_id != died.task_id
    assert agent.run("go", thread_id="chat").task_id == died.task_id
    assert agent.run("go", thread_id="chat").task_id != died.task_id
