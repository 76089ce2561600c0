"""The part of a transcript that is sent: what fits, with every tool call beside its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

_KEPT_SHARE = 0.6
"""After a cut the window is filled to this share, so that the sent prefix stays for a while."""


def window_start(
    messages: Sequence[BaseMessage],
    *,
    count: Callable[[BaseMessage], int],
    limit_tokens: int,
    head: int,
    start: int,
) -> int:
    """Index of the first message sent after the head, so that the whole fits `limit_tokens`.

    The head (`messages[:head]`: system and request) is always sent. `start` is the index in force:
    it only moves forward, and only when it must, for every move makes the provider's prompt cache
    write anew. May return `len(messages)` where nothing but the head fits.
    """
    fixed = sum(map(count, messages[:head]))
    tail = [count(message) for message in messages[max(start, head) :]]
    if fixed + sum(tail) <= limit_tokens:
        return max(start, head)
    room = int((limit_tokens - fixed) * _KEPT_SHARE)
    best = len(messages)
    used = 0
    for unit_start, unit_end in reversed(units(messages, head)):
        used += sum(map(count, messages[unit_start:unit_end]))
        if used > room:
            break
        best = unit_start
    return best


def units(messages: Sequence[BaseMessage], first: int = 0) -> list[tuple[int, int]]:
    """Spans `[start, end)` that must stay together: a tool call and all of its results."""
    found: list[tuple[int, int]] = []
    index = first
    while index < len(messages):
        end = index + 1
        if _call_ids(messages[index]):
            while end < len(messages) and isinstance(messages[end], ToolMessage):
                end += 1
        found.append((index, end))
        index = end
    return found


def valid_window(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """`messages` as every provider takes them: each call answered at once, each result called for.

    Results move up to their call, whatever lies between. Results without a call before them are
    left out, calls that nothing answers are taken off their message, and a message that then says
    nothing is left out.
    """
    results: dict[str, list[tuple[int, ToolMessage]]] = {}
    for index, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            results.setdefault(message.tool_call_id, []).append((index, message))
    kept: list[BaseMessage] = []
    for index, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            continue
        answers = _answers(message, index, results)
        whole = _answered_only(message, set(answers))
        if whole is not None:
            kept += [whole, *answers.values()]
    return kept


def _answers(
    message: BaseMessage, index: int, results: dict[str, list[tuple[int, ToolMessage]]]
) -> dict[str, ToolMessage]:
    """The first result after `message` of each of its calls, which is used up by it."""
    answers: dict[str, ToolMessage] = {}
    for call in _call_ids(message):
        waiting = results.get(call, [])
        later = next((at for at, (place, _) in enumerate(waiting) if place > index), None)
        if later is not None:
            answers[call] = waiting.pop(later)[1]
    return answers


def _answered_only(message: BaseMessage, answered: set[str]) -> BaseMessage | None:
    calls = _call_ids(message)
    if isinstance(message, AIMessage) and not answered.issuperset(calls):
        message = message.model_copy(
            update={
                "tool_calls": [c for c in message.tool_calls if c["id"] in answered],
                "invalid_tool_calls": [
                    c for c in message.invalid_tool_calls if c["id"] in answered
                ],
                "content": message.text,
                "additional_kwargs": {},
            }
        )
    if isinstance(message, AIMessage) and not message.content and not _call_ids(message):
        return None
    return message


def _call_ids(message: BaseMessage) -> list[str]:
    if not isinstance(message, AIMessage):
        return []
    calls = (*message.tool_calls, *message.invalid_tool_calls)
    return [call["id"] for call in calls if call["id"]]
