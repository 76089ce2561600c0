"""What the requests of a job share in the batch benchmark, and how they are answered."""

from __future__ import annotations

from agentkit.budgets.tokens import count_text
from tests.wire import Reply, WireRequest

_PREFIX_TOKENS = 4_200
_RULE = "Rule {}: an order without a date or with a negative amount is sent back. "
_ANSWER = "The order is fine; nothing has to be sent back. "


def shared_system() -> str:
    """A system text of a little more than 4,200 tokens."""
    rules = ""
    number = 0
    while count_text(rules) < _PREFIX_TOKENS:
        rules += "".join(_RULE.format(at) for at in range(number, number + 10))
        number += 10
    return rules


def checked(request: WireRequest) -> Reply:
    """The answer to an order, or to a seed."""
    return Reply(text="OK" if request.max_tokens == 1 else _ANSWER)
