"""A transcript as turns that providers take: each call beside its results, nothing empty.

A turn is sent whole or not at all, so that no cut through a transcript parts a tool call from what
it came to, whatever messages lie between them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import is_

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from agentkit.memory.repair import (
    as_calls,
    has_calls,
    is_blank,
    named_apart,
    without_blanks,
    without_calls,
)

EARLIER = HumanMessage("(what came before this is not shown)")
GO_ON = HumanMessage("(go on)")

Parts = tuple[int, int, int]
"""Tokens of a person's messages, of the model's, and of observations."""


@dataclass(slots=True)
class Turn:
    """Messages that stay together: a message that calls tools with its results, or one other.

    `first` is the index in the transcript of its first message. `calls` are the ids still owed.
    """

    first: int
    opener: BaseMessage
    owed: list[str] = field(default_factory=list[str])
    results: list[ToolMessage] = field(default_factory=list[ToolMessage])
    _sent: list[BaseMessage] | None = None

    @property
    def sent(self) -> list[BaseMessage]:
        """The messages as they are sent: no call without its result, nothing empty."""
        if self._sent is None:
            self._sent = self._rendered()
        return self._sent

    def answer(self, call_id: str, result: ToolMessage) -> None:
        """Take the result of an owed call."""
        self.owed.remove(call_id)
        self.results.append(result)
        self._sent = None

    def _rendered(self) -> list[BaseMessage]:
        if not isinstance(self.opener, AIMessage) or not has_calls(self.opener):
            return [self.opener]
        message = as_calls(self.opener, leave_out=self.owed)
        if is_blank(message):
            return []
        place = {call["id"]: at for at, call in enumerate(message.tool_calls)}
        results = sorted(self.results, key=lambda result: place.get(result.tool_call_id, 0))
        return [message, *results]


class Transcript:
    """The turns of a list of messages that grows; a step works on what was added only.

    A list that does not go on from the last one is taken in from its start.
    """

    def __init__(
        self,
        count: Callable[[BaseMessage], int],
        shorten: Callable[[ToolMessage], ToolMessage] | None = None,
        *,
        empty_results: bool = False,
    ) -> None:
        """`shorten` is applied once to each observation, before it is first sent.

        With `empty_results` those that say nothing stay as they are.
        """
        self._count = count
        self._shorten = shorten
        self._empty_results = empty_results
        self._clear()

    def _clear(self) -> None:
        self.turns: list[Turn] = []
        self.system: list[SystemMessage] = []
        self._known: list[BaseMessage] = []
        self._owed: dict[str, deque[tuple[Turn, str]]] = {}
        self._ids: set[str] = set()
        self._sums: list[Parts] = [(0, 0, 0)]
        self._flat: list[BaseMessage] = []
        self._starts: list[int] = [0]
        self._settled = 0

    def update(self, messages: Sequence[BaseMessage]) -> None:
        """Take in `messages`, all of them, from the first on."""
        known = len(self._known)
        if known > len(messages) or not all(map(is_, self._known, messages)):
            self._clear()
            known = 0
        for index in range(known, len(messages)):
            message = messages[index]
            self._known.append(message)
            self._take(index, message)

    def turn_from(self, index: int) -> int:
        """The place in `turns` of the first turn that begins at message `index` or later."""
        low, high = 0, len(self.turns)
        while low < high:
            middle = (low + high) // 2
            if self.turns[middle].first < index:
                low = middle + 1
            else:
                high = middle
        return low

    def first_within(self, most_tokens: int, first: int = 0) -> int:
        """The first of the latest turns that take at most `most_tokens`; the last one at least."""
        low, high = first, max(len(self.turns) - 1, first)
        while low < high:
            middle = (low + high) // 2
            if self.tokens(middle) <= most_tokens:
                high = middle
            else:
                low = middle + 1
        return low

    def tokens(self, first: int = 0, end: int | None = None) -> int:
        """Tokens of the turns `first` to `end`, as they are sent."""
        return sum(self.parts(first, end))

    def parts(self, first: int = 0, end: int | None = None) -> Parts:
        """The same tokens apart: what people said, what the model did, what its tools said."""
        self._settle()
        to, since = self._sums[len(self.turns) if end is None else end], self._sums[first]
        return to[0] - since[0], to[1] - since[1], to[2] - since[2]

    def messages(self, first: int = 0, end: int | None = None) -> list[BaseMessage]:
        """The messages of the turns `first` to `end`, as they are sent."""
        self._settle()
        return self._flat[
            self._starts[first] : self._starts[len(self.turns) if end is None else end]
        ]

    def _settle(self) -> None:
        del self._sums[self._settled + 1 :], self._starts[self._settled + 1 :]
        del self._flat[self._starts[-1] :]
        for turn in self.turns[self._settled :]:
            self._flat += turn.sent
            self._starts.append(len(self._flat))
            self._sums.append(self._added(turn))
        self._settled = len(self.turns)

    def _added(self, turn: Turn) -> Parts:
        user, history, observed = self._sums[-1]
        for message in turn.sent:
            tokens = self._count(message)
            if isinstance(message, ToolMessage):
                observed += tokens
            elif isinstance(message, AIMessage):
                history += tokens
            else:
                user += tokens
        return user, history, observed

    def _take(self, index: int, message: BaseMessage) -> None:
        if isinstance(message, SystemMessage):
            if not is_blank(message):
                self.system.append(message)
            return
        if isinstance(message, ToolMessage):
            self._take_result(message)
            return
        if isinstance(message, AIMessage) and has_calls(message):
            self._open(index, message)
            return
        if isinstance(message, AIMessage):
            message = without_calls(message)
        if not is_blank(message):
            self.turns.append(Turn(first=index, opener=without_blanks(message)))

    def _open(self, index: int, message: AIMessage) -> None:
        """Begin a turn that owes a result for each call; ids that were used are named apart."""
        named, names = named_apart(message, self._ids)
        turn = Turn(first=index, opener=named, owed=list(names.values()))
        for given, name in names.items():
            self._ids.add(name)
            self._owed.setdefault(given, deque()).append((turn, name))
        self.turns.append(turn)

    def _take_result(self, message: ToolMessage) -> None:
        """Give a result to the oldest call of its id that lacks one; leave it out without one."""
        waiting = self._owed.get(message.tool_call_id)
        if not waiting:
            return
        turn, name = waiting.popleft()
        result = message
        if not (self._empty_results and message.content == ""):
            result = without_blanks(message)
        if self._shorten is not None:
            result = self._shorten(result)
        if name != result.tool_call_id:
            result = result.model_copy(update={"tool_call_id": name})
        turn.answer(name, result)
        place = self.turn_from(turn.first)
        self._settled = min(self._settled, place)


def as_request(system: Sequence[BaseMessage], messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """`messages` of whole turns as a request that both OpenAI and Anthropic take.

    System texts come first, a person's message before any of the model's, and the model's own text
    never last (Anthropic's models from 4.6 on refuse to go on from one).
    """
    request = [*system, *messages]
    if len(request) == len(system) or not isinstance(request[len(system)], HumanMessage):
        request.insert(len(system), EARLIER)
    if isinstance(request[-1], AIMessage):
        request.append(GO_ON)
    return request
