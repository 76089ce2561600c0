"""What must never be kept in a cache, and what only for the user who asked."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

# Each looks at a bounded number of characters from where it stands, so time stays linear.
_PERSONAL = re.compile(
    r"\b(?:my|mine|our|ours|myself|i am|i'm|i've|i have|about me|for me|to me)\b"
    r"|[\w.+-]{1,64}@[\w-]{1,64}\.[a-z]{2,}"
    r"|\b\d(?:[ -]?\d){6,18}\b"
    r"|\b[a-z]{1,4}[-_#]?\d{4,16}\b",
    re.IGNORECASE,
)
_READ_CHARS = 20_000


def is_personal(text: str) -> bool:
    """True where a text speaks of its author, or holds an address or a number of a person's.

    A phone, card, account, order or customer number, an e-mail address, or "my" and the like.
    Cautious: what is taken for personal is kept under a user's key, or not at all.
    """
    return _PERSONAL.search(text[:_READ_CHARS].replace("\u2019", "'")) is not None


def refusal(
    messages: Sequence[BaseMessage],
    *,
    answer: str,
    user: str | None,
    lasting_tools: Collection[str] = (),
) -> str | None:
    """Why the answer to `messages` must not be kept; None where it may be.

    Observations come from outside: an answer made of them may carry what an attacker planted, or
    what was true only at that moment. Those of `lasting_tools`, which their owner declared to give
    the same result for the same arguments and to be trusted, may be kept. Tool calls that change
    something are never replaced by an answer from a cache.
    """
    if not answer.strip():
        return "the answer is empty"
    for message in messages:
        if isinstance(message, AIMessage) and message.invalid_tool_calls:
            return "a tool call was invalid"
        if isinstance(message, AIMessage):
            foreign = {call["name"] for call in message.tool_calls} - set(lasting_tools)
            if foreign:
                return f"it rests on tools: {', '.join(sorted(foreign))}"
        if isinstance(message, ToolMessage) and message.status == "error":
            return "a tool failed"
        if isinstance(message, ToolMessage) and message.name not in lasting_tools:
            return "it rests on observations"
    if user is None and any(
        is_personal(message.text) for message in messages if message.type == "human"
    ):
        return "the request is personal, and no user is named"
    return None
