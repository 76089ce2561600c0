"""Random edits of transcripts, as clients, crashes and other frameworks leave them behind."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

Messages = list[BaseMessage]
Edit = Callable[[Messages, random.Random], None]
_MOST_EDITS = 6


def edited(transcript: Sequence[BaseMessage], rng: random.Random) -> Messages:
    """The transcript after one to six random edits; its system text and request stay in front."""
    first = next(at for at, m in enumerate(transcript) if isinstance(m, HumanMessage)) + 1
    head, rest = list(transcript[:first]), list(transcript[first:])
    for _ in range(rng.randint(1, _MOST_EDITS)):
        if len(rest) > 1:
            rng.choice(EDITS)(rest, rng)
    return head + rest


def _drop(messages: Messages, rng: random.Random) -> None:
    del messages[rng.randrange(len(messages))]


def _drop_run(messages: Messages, rng: random.Random) -> None:
    start = rng.randrange(len(messages))
    del messages[start : start + rng.randint(1, 5)]


def _swap(messages: Messages, rng: random.Random) -> None:
    one, two = rng.randrange(len(messages)), rng.randrange(len(messages))
    messages[one], messages[two] = messages[two], messages[one]


def _repeat(messages: Messages, rng: random.Random) -> None:
    messages.insert(rng.randrange(len(messages)), rng.choice(messages))


def _interleave(messages: Messages, rng: random.Random) -> None:
    messages.insert(rng.randrange(len(messages)), HumanMessage("one more thing"))


def _empty(messages: Messages, rng: random.Random) -> None:
    at = rng.randrange(len(messages))
    messages[at] = messages[at].model_copy(update={"content": rng.choice(["", "  ", "\n"])})


def _merge_calls(messages: Messages, rng: random.Random) -> None:
    """Two messages with calls become one with parallel calls; the results stay where they are."""
    calling = [at for at, m in enumerate(messages) if isinstance(m, AIMessage) and m.tool_calls]
    if len(calling) < 2:
        return
    place = rng.randrange(len(calling) - 1)
    one, two = messages[calling[place]], messages[calling[place + 1]]
    if isinstance(one, AIMessage) and isinstance(two, AIMessage):
        calls = [*one.tool_calls, *two.tool_calls]
        messages[calling[place]] = one.model_copy(update={"tool_calls": calls})
        del messages[calling[place + 1]]


def _stray_result(messages: Messages, rng: random.Random) -> None:
    stray = ToolMessage("lost", tool_call_id=f"call_{rng.randrange(1000)}")
    messages.insert(rng.randrange(len(messages)), stray)


def _cut_end(messages: Messages, rng: random.Random) -> None:
    del messages[rng.randrange(1, len(messages)) :]


EDITS: tuple[Edit, ...] = (
    _drop, _drop_run, _swap, _repeat, _interleave, _empty, _merge_calls, _stray_result, _cut_end,
)  # fmt: skip
