"""A hook's summaries stay with the transcript that they were made of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agentkit.memory import Allocation, Context, ContextHook

POLICY = Context(limit_tokens=600, allocation=Allocation(recent=200))


def _branch(name: str, rounds: int) -> list[BaseMessage]:
    messages: list[BaseMessage] = [HumanMessage(f"look {name} up")]
    for number in range(rounds):
        call: dict[str, Any] = {
            "name": "look",
            "args": {"q": f"{name}-{number}"},
            "id": f"{name}_{number}",
        }
        messages += [
            AIMessage("", tool_calls=[call]),
            ToolMessage(f"{name}-{number} is known " + "well " * 50, tool_call_id=call["id"]),
        ]
    return messages


def test_transcripts_that_share_a_thread_do_not_share_a_summary() -> None:
    """As branches of a graph do, and requests of different people where no thread is named."""
    hook = ContextHook("openai:gpt-5.1", POLICY)
    branches = {name: _branch(name, 20) for name in ("Ann", "Bob", "Cid")}
    for end in range(1, 42, 2):
        for name, messages in branches.items():
            sent = hook.messages(messages[:end])
            told = " ".join(f"{m.text} {getattr(m, 'tool_calls', '')}" for m in sent)
            assert not any(other in told for other in branches if other != name)
    assert len(sent) < 41
    assert "Summary of earlier steps" in sent[1].text


def test_parallel_branches_are_kept_apart() -> None:
    hook = ContextHook("openai:gpt-5.1", POLICY)

    def ask(name: str) -> bool:
        messages = _branch(name, 20)
        told = ""
        for end in range(1, 42, 2):
            told += " ".join(m.text for m in hook.messages(messages[:end], thread="one"))
        return not any(f"n{number}-" in told.replace(f"{name}-", "") for number in range(8))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, [f"n{number}" for number in range(8)]))


def test_going_back_in_time_forgets_what_came_after() -> None:
    hook = ContextHook("openai:gpt-5.1", POLICY)
    messages = _branch("Ann", 20)
    for end in range(1, 42, 2):
        hook.messages(messages[:end], thread="a")
    early = hook.messages(messages[:3], thread="a")
    assert [m.text for m in early] == [m.text for m in messages[:3]]
    again = [m.model_copy() for m in messages]  # as a checkpoint brings them back
    assert len(hook.messages(again, thread="a")) < 41


@pytest.mark.parametrize("model", ["gpt-5.1", "openai:", object()])
def test_a_hook_for_no_model_is_refused(model: Any) -> None:
    with pytest.raises(ValueError, match=r"name it with its provider: 'openai:gpt-5\.1'"):
        ContextHook(model)
