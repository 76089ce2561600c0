"""A fan-out gives each result once, loses none, pays none twice, and stops where it is told to."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage

from agentkit import Agent, Approve, Budget, Job, Mapped, MapProgress
from agentkit.budgets import BudgetExceeded, Ledger
from agentkit.errors import ConfigError, ListChanged
from agentkit.tools import Permissions
from benchmarks.fanout import killed_and_resumed
from tests.scripted import Script, ScriptedModel, call


def echo(messages: Sequence[BaseMessage]) -> AIMessage:
    """Say the request back."""
    return AIMessage(messages[-1].text)


def look_then_answer(messages: Sequence[BaseMessage]) -> AIMessage:
    """One tool call, then the request back."""
    if messages[-1].type == "tool":
        return AIMessage(messages[0].text)
    return call("look_up", query="x")


def look_up(query: str) -> str:
    """Look something up."""
    return f"found {query}"


def agent_of(script: Script = echo, folder: Path | None = None, **arguments: Any) -> Agent:
    if folder is not None:
        arguments["ledger"] = f"sqlite:///{folder / 'ledger.db'}?synchronous=NORMAL"
        arguments["checkpoint"] = f"sqlite:///{folder / 'checkpoints.db'}"
    arguments.setdefault("budget", Budget(tokens=1_000_000))
    return Agent([ScriptedModel(script=script)], [look_up], **arguments)


def seen_by(agent: Agent) -> int:
    """Requests that the agent's model was sent."""
    model = agent.tiers[0].model
    assert isinstance(model, ScriptedModel)
    return len(model.seen)


def by_index(results: Iterator[Mapped]) -> dict[int, Mapped]:
    listed = list(results)
    assert len({each.index for each in listed}) == len(listed)
    return {each.index: each for each in listed}


def test_each_request_gets_its_answer_once() -> None:
    agent = agent_of(look_then_answer)
    results = by_index(agent.map([f"question {n}" for n in range(40)], concurrency=8))
    assert {n: r.result.answer for n, r in results.items() if r.result} == {
        n: f"question {n}" for n in range(40)
    }
    assert all(each.result and each.result.calls == 2 for each in results.values())


def test_a_failing_task_does_not_end_the_others() -> None:
    def script(messages: Sequence[BaseMessage]) -> AIMessage | BaseException:
        return ValueError("no") if "bad" in messages[-1].text else AIMessage("fine")

    results = by_index(agent_of(script).map(["a", "bad", "", "c"]))
    assert [results[n].ok for n in range(4)] == [True, False, False, True]
    assert results[1].result is not None
    assert results[1].result.outcome == "failed"
    assert isinstance(results[2].error, ConfigError)
    assert results[2].to_dict()["error"] == {
        "type": "ConfigError",
        "message": "the request is empty; say what is to be done",
    }


def test_a_generator_is_read_only_as_places_come_free() -> None:
    read: list[int] = []

    def requests() -> Iterator[str]:
        for number in range(1000):
            read.append(number)
            yield f"question {number}"

    results = agent_of().map(requests(), concurrency=3)
    for _ in range(5):
        next(results)
    time.sleep(0.2)  # whoever reads is slow
    assert len(read) <= 5 + 3 * 3
    results.close()  # type: ignore[attr-defined]  # a generator


def test_an_error_of_the_users_generator_is_raised_after_what_was_begun_has_settled() -> None:
    def requests() -> Iterator[str]:
        yield "one"
        raise OSError("the file is gone")

    agent = agent_of()
    with pytest.raises(OSError, match="the file is gone"):
        list(agent.map(requests(), concurrency=2))
    assert agent.ledger.store.held() == []


def test_all_tasks_share_one_budget() -> None:
    agent = agent_of(ledger=Ledger(), budget=Budget(calls=3))
    results = by_index(
        agent.map([f"q{n}" for n in range(10)], scope="acme", budget=Budget(calls=4), concurrency=3)
    )
    refused = [each for each in results.values() if isinstance(each.error, BudgetExceeded)]
    answered = [each for each in results.values() if each.ok]
    assert len(results) == 10
    assert 1 <= len(answered) <= 4
    assert refused
    assert agent.ledger.account("acme").settled.calls == seen_by(agent) <= 4
    assert agent.ledger.store.held() == []


def test_tags_of_a_job_are_added_to_those_of_the_run() -> None:
    agent = agent_of()
    (only,) = agent.map([Job(request="hello", tags={"feature": "faq"})], tags={"team": "x"})
    assert only.result is not None
    record = agent.ledger.store.task(only.result.task_id)
    assert record is not None
    assert record.tags == {"team": "x", "feature": "faq"}


def test_progress_is_told() -> None:
    told: list[MapProgress] = []
    list(agent_of().map(["a", "", "c"], on_progress=told.append, concurrency=2))
    assert max(each.running for each in told) <= 2
    last = max(told, key=lambda each: each.done)
    assert (last.done, last.failed, last.total, last.running) == (3, 1, 3, 0)


def test_a_run_that_was_cut_off_goes_on_and_pays_nothing_twice(tmp_path: Path) -> None:
    requests = [f"question {n}" for n in range(12)]
    first = agent_of(look_then_answer, tmp_path)
    results = first.map(requests, name="nightly", concurrency=2)
    had = [next(results) for _ in range(4)]
    results.close()  # type: ignore[attr-defined]  # a generator
    assert first.ledger.store.held() == []

    second = agent_of(look_then_answer, tmp_path)
    again = by_index(second.map(requests, name="nightly", concurrency=2))
    assert {n: r.result.answer for n, r in again.items() if r.result} == dict(enumerate(requests))
    assert seen_by(first) + seen_by(second) == 2 * len(requests)
    assert all(again[each.index].origin == "known" for each in had)
    assert again[had[0].index].result == had[0].result
    assert second.ledger.account("default/nightly").settled.calls == 2 * len(requests)

    third = agent_of(look_then_answer, tmp_path)
    known = by_index(third.map(requests, name="nightly"))
    assert {each.origin for each in known.values()} == {"known"}
    assert seen_by(third) == 0


def test_another_list_under_the_same_name_is_refused(tmp_path: Path) -> None:
    list(agent_of(folder=tmp_path).map(["a", "b"], name="n"))
    agent = agent_of(folder=tmp_path)
    with pytest.raises(ListChanged, match="another request"):
        list(agent.map(["a", "c"], name="n"))
    with pytest.raises(ListChanged, match="another scope"):
        list(agent.map(["a", "b"], name="n", scope="other"))
    assert seen_by(agent) == 0


def test_a_thread_of_another_ledger_is_refused(tmp_path: Path) -> None:
    list(agent_of(folder=tmp_path).map(["a"], name="n"))
    (tmp_path / "ledger.db").unlink()
    with pytest.raises(ListChanged, match="the ledger does not"):
        list(agent_of(folder=tmp_path).map(["a"], name="n"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"concurrency": 0}, "use 1 or more"),
        ({"name": "x"}, "keeps no checkpoints"),
        ({"name": "a/b"}, "letters, digits"),
        ({"budget": Budget(seconds=5)}, "seconds limit one task"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        agent_of().map(["a"], **arguments)


def test_ctrl_c_settles_and_the_run_can_be_taken_up(tmp_path: Path) -> None:
    busy = threading.Event()
    both = threading.Barrier(2, action=busy.set)

    def slow(messages: Sequence[BaseMessage]) -> AIMessage:
        both.wait(timeout=30)
        time.sleep(0.3)
        return look_then_answer(messages)

    agent = agent_of(slow, tmp_path)
    main = threading.get_ident()

    def interrupt() -> None:
        busy.wait()
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        list(agent.map(["a", "b", "c", "d"], name="n", concurrency=2))
    assert agent.ledger.store.held() == []
    sent = seen_by(agent)
    assert sent == 2  # one call each was under way, and was waited for

    again = agent_of(look_then_answer, tmp_path)
    results = by_index(again.map(["a", "b", "c", "d"], name="n"))
    assert all(each.ok for each in results.values())
    assert {each.origin for each in results.values()} == {"run", "resumed"}
    assert sent + seen_by(again) == 8


def test_the_others_wait_for_the_first_answer_where_that_is_asked() -> None:
    running: list[int] = []
    most: list[int] = []
    lock = threading.Lock()

    def script(messages: Sequence[BaseMessage]) -> AIMessage:
        with lock:
            running.append(1)
            most.append(len(running))
        time.sleep(0.05)
        with lock:
            running.pop()
        return AIMessage("ok")

    list(agent_of(script).map(["a", "b", "c", "d"], concurrency=4, stagger=True))
    assert most[:2] == [1, 1]  # the second began once the first had ended
    assert max(most) > 1


@pytest.mark.parametrize("way", ["threads", "loop"])
def test_the_others_wait_no_longer_than_until_the_first_answer_has_begun(way: str) -> None:
    begun: list[int] = []

    def script(messages: Sequence[BaseMessage]) -> AIMessage:
        return AIMessage("one answer")

    class Streaming(ScriptedModel):
        """Ends its first answer once another request has come."""

        def _stream(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> Any:
            chunks = super()._stream(messages, **kwargs)
            yield next(chunks)
            deadline = time.monotonic() + 10
            while len(self.seen) < 2 and time.monotonic() < deadline:
                time.sleep(0.005)
            begun.append(len(self.seen))
            yield from chunks

    agent = Agent([Streaming(script=script)], budget=Budget(tokens=10**6))
    requests = ["a", "b", "c"]
    if way == "threads":
        results = list(agent.map(requests, concurrency=3, stagger=True))
    else:
        results = asyncio.run(_listed(agent.amap(requests, concurrency=3, stagger=True)))
    assert begun[0] > 1
    assert [each.ok for each in results] == [True] * 3
    assert all(each.result and each.result.usage.total_tokens for each in results)


async def _listed(results: AsyncIterator[Mapped]) -> list[Mapped]:
    return [each async for each in results]


@pytest.mark.parametrize(
    ("provider", "model", "system", "staggers"),
    [
        ("openai", "gpt-5-mini", "word " * 2000, True),
        ("openai", "gpt-5-mini", "short", False),
        ("local", "pocket", "word " * 2000, False),
    ],
)
def test_it_staggers_by_itself_where_a_provider_caches_what_is_shared(
    provider: str, model: str, system: str, staggers: bool
) -> None:
    from agentkit.fanout.fan import Fan

    first = ScriptedModel(script=echo, provider=provider, name_of_model=model)
    agent = Agent([first], system=system)
    fan = Fan(agent, ["a"], 2, None, "default", None, None, None, None)
    assert fan.staggers is staggers


async def test_on_an_event_loop(tmp_path: Path) -> None:
    async def requests() -> AsyncIterator[str]:
        for number in range(6):
            yield f"question {number}"

    agent = agent_of(look_then_answer, tmp_path)
    results = [each async for each in agent.amap(requests(), name="n", concurrency=3)]
    assert sorted(each.index for each in results) == list(range(6))
    assert all(each.ok for each in results)
    again = agent_of(look_then_answer, tmp_path)
    known = [each async for each in again.amap([f"question {n}" for n in range(6)], name="n")]
    assert {each.origin for each in known} == {"known"}


async def test_a_cancelled_run_settles_every_task() -> None:
    asked = asyncio.Semaphore(0)

    class Slow(ScriptedModel):
        async def _agenerate(self, *arguments: Any, **named: Any) -> Any:
            asked.release()
            await asyncio.sleep(30)

    agent = Agent([Slow(script=echo)], budget=Budget(tokens=10**6))

    async def consume() -> None:
        async for _ in agent.amap(["a", "b", "c"], concurrency=2):
            pass

    running = asyncio.create_task(consume())
    await asked.acquire()
    await asked.acquire()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert agent.ledger.store.held() == []


def test_a_killed_process_loses_nothing_and_pays_nothing_twice() -> None:
    told = killed_and_resumed(tasks=60, concurrency=8)
    assert told["lost"] == told["paid_twice"] == told["stuck_leases"] == 0
    assert told["served_and_not_in_the_ledger"] == 0
    assert told["known"] >= 30  # type: ignore[operator]  # a count


WRITES = ("put_scope", "put_task", "reserve", "settle", "release", "drop_scope", "forget_responses")


def test_a_task_cut_off_at_any_write_is_answered_and_pays_nothing_twice(tmp_path: Path) -> None:
    """Both files are copied before and after each write, as a dead process would leave them."""
    agent = agent_of(look_then_answer, tmp_path)
    copies: list[tuple[Path, int]] = []
    lock = threading.RLock()

    def keep_copy() -> None:
        folder = tmp_path / f"copy-{len(copies)}"
        folder.mkdir()
        copies.append((folder, seen_by(agent)))
        for name in ("ledger.db", "checkpoints.db"):
            _copy(tmp_path / name, folder / name)

    def watch(what: Any, name: str) -> None:
        write: Callable[..., Any] = getattr(what, name)

        def watching(*arguments: Any, **options: Any) -> Any:
            with lock:
                keep_copy()
                written = write(*arguments, **options)
                keep_copy()
                return written

        setattr(what, name, watching)

    watch(agent.graph.checkpointer, "put")
    for name in WRITES:
        watch(agent.ledger.store, name)
    list(agent.map(["one"], name="n"))
    assert len(copies) > 25
    for copy, paid in copies:
        second = agent_of(look_then_answer, copy)
        held = [each[0] for each in second.ledger.store.held() if ".landing" not in each[0]]
        again = by_index(second.map(["one"], name="n"))[0]
        assert again.result is not None, (copy.name, again.error)
        assert again.result.answer == "one"
        assert 2 <= paid + seen_by(second) <= 2 + len(held), copy.name
        assert second.ledger.store.held() == []
        assert second.ledger.store.responses(again.result.task_id) == []


def test_what_a_walk_keeps_is_what_the_graph_goes_on_from(tmp_path: Path) -> None:
    """Each checkpoint of a walk, taken up by LangGraph's loop, leads to the same end."""
    agent = agent_of(look_then_answer, tmp_path)
    (walked,) = agent.map(["one"], name="n")
    assert walked.result is not None
    kept = list(agent.graph.get_state_history({"configurable": {"thread_id": "n.0"}}))
    assert [each.next for each in kept] == [(), ("prepare",), ("prepare",)]
    assert [len(each.values["messages"]) for each in kept] == [4, 3, 1]
    parents = [each.parent_config for each in kept]
    assert parents == [each.config for each in kept[1:]] + [None]
    for each in kept[1:]:
        final = agent_of(look_then_answer, tmp_path).graph.invoke(None, each.config)
        assert (final["outcome"], final["answer"]) == ("answered", "one")


def test_tools_that_a_person_is_asked_about_are_asked_about_in_a_fan_out(tmp_path: Path) -> None:
    agent = agent_of(look_then_answer, tmp_path, permissions=Permissions(ask=["look_up"]))
    (waiting,) = agent.map(["one"], name="n")
    assert waiting.result is not None
    assert waiting.result.outcome == "cancelled"
    assert agent.resume("n.0", Approve()).answer == "one"
    assert seen_by(agent) == 2


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def test_without_checkpoints_a_walk_ends_as_the_graph_does() -> None:
    walked = by_index(agent_of(look_then_answer).map(["hello there"]))[0].result
    whole = agent_of(look_then_answer).run("hello there")
    assert walked is not None
    told: Callable[[Any], Any] = lambda r: (r.outcome, r.answer, r.usage, r.calls, r.steps)  # noqa: E731
    assert told(walked) == told(whole)
