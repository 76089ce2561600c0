"""One request out of a transcript: its parts, what they take, and how it is made to fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from agentkit.memory.allocation import WindowTooSmall, caps, shortened
from agentkit.memory.components import SUMMARY_MARK
from agentkit.memory.context import DOES_NOT_FIT, Condensed, LeftOut
from agentkit.memory.tokens import MessageCounter
from agentkit.memory.transcript import Transcript, as_request


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """What a request holds beside the transcript, and what it may take.

    `request_at` is the message that is always sent. `limit_tokens` bounds the whole input by our
    count; None is no bound. `tools_key` tells one set of tools from another.
    """

    system: BaseMessage | None = None
    tools_tokens: int = 0
    tools_key: object = None
    request_at: int = 0
    limit_tokens: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """The parts of a request: the front that is not turns, and the first turn after it."""

    system: Sequence[BaseMessage]
    pinned: Sequence[BaseMessage]
    summary: Sequence[BaseMessage]
    first: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Messages to be sent, our count of the whole input, and its tokens by part.

    The first `fixed` messages stay the same while the task lasts. `shortened` is True where
    messages themselves were cut.
    """

    messages: list[BaseMessage]
    fixed: int
    tokens: int
    components: Mapping[str, int]
    left_out: tuple[LeftOut, ...] = ()
    shortened: bool = False


class Requests:
    """Makes requests of one transcript, counted for one model."""

    def __init__(
        self,
        counter: MessageCounter,
        observation_tokens: int | None = None,
        *,
        empty_results: bool = False,
    ) -> None:
        self.counter = counter
        self.transcript = Transcript(
            counter.message,
            None
            if observation_tokens is None
            else lambda result: shortened(
                result, most_tokens=observation_tokens, count=counter.message
            ),
            empty_results=empty_results,
        )
        self._summary: HumanMessage | None = None

    def view(self, condensed: Condensed, frame: Frame) -> View:
        """The parts under what was condensed so far."""
        first = self.transcript.turn_from(condensed.start)
        system = [*(() if frame.system is None else (frame.system,)), *self.transcript.system]
        return View(
            system=system,
            pinned=self.pinned(first, frame),
            summary=self._summary_of(condensed),
            first=first,
        )

    def pinned(self, first: int, frame: Frame) -> Sequence[BaseMessage]:
        """The request of the task, where the turns that are sent begin after it."""
        place = self.transcript.turn_from(frame.request_at)
        turns = self.transcript.turns
        if place < min(first, len(turns)) and turns[place].first == frame.request_at:
            return turns[place].sent
        return ()

    def tokens(self, view: View, frame: Frame) -> int:
        """Our count of the whole input."""
        front = self.counter.messages([*view.system, *view.pinned, *view.summary])
        return self.around(frame) + front + self.transcript.tokens(view.first)

    def around(self, frame: Frame) -> int:
        """Tokens of the tools and of the wrapping."""
        return self.counter.request((), ()) + frame.tools_tokens

    def replay_tokens(self, request: Request, frame: Frame) -> int:
        """Our count of `request` if it held the whole transcript."""
        return self.around(frame) + request.components["system"] + self.transcript.tokens()

    def opens_with_request(self, view: View, frame: Frame) -> bool:
        """True where the first turn that is sent is the request of the task."""
        turns = self.transcript.turns
        return view.first < len(turns) and turns[view.first].first == frame.request_at

    def room(self, frame: Frame, view: View) -> int | None:
        """Tokens that tools and system texts leave for everything else."""
        if frame.limit_tokens is None:
            return None
        return frame.limit_tokens - self.around(frame) - self.counter.messages(view.system)

    def request(self, view: View, frame: Frame) -> Request:
        """The request; raises WindowTooSmall where even its shortest form does not fit."""
        left_out: tuple[LeftOut, ...] = ()
        limit = frame.limit_tokens
        if limit is not None and self.tokens(view, frame) > limit:
            view, left_out = self._latest(view, frame, limit)
        turns = self.transcript.messages(view.first)
        plain = [*view.pinned, *view.summary, *turns]
        sent = as_request(view.system, plain)
        request = Request(
            messages=sent,
            fixed=len(view.system) + len(view.pinned),
            tokens=self.tokens(view, frame),
            components=self._components(view, frame),
            left_out=left_out,
        )
        if len(sent) != len(view.system) + len(plain):
            request = self._counted(request, sent, frame)
        if limit is not None and request.tokens > limit:
            request = self._cut(request, frame, limit)
        return request

    def _summary_of(self, condensed: Condensed) -> Sequence[BaseMessage]:
        """The same object for the same text, so that a shared prefix is seen as one."""
        if not condensed.summary:
            return ()
        if self._summary is None or self._summary.content != condensed.summary:
            self._summary = HumanMessage(condensed.summary, additional_kwargs={SUMMARY_MARK: True})
        return (self._summary,)

    def _components(self, view: View, frame: Frame) -> dict[str, int]:
        user, history, observed = self.transcript.parts(view.first)
        return {
            "system": self.counter.messages(view.system),
            "tools": frame.tools_tokens,
            "summary": self.counter.messages(view.summary),
            "user": user + self.counter.messages(view.pinned),
            "history": history,
            "observations": observed,
        }

    def _counted(self, request: Request, sent: list[BaseMessage], frame: Frame) -> Request:
        """`request` with other messages, counted one by one."""
        parts = dict.fromkeys(request.components, 0)
        for message in sent:
            parts[self._part(message)] += self.counter.message(message)
        return replace(
            request,
            messages=sent,
            tokens=self.around(frame) + sum(parts.values()),
            components={**parts, "tools": frame.tools_tokens},
        )

    def _part(self, message: BaseMessage) -> str:
        if isinstance(message, SystemMessage):
            return "system"
        if isinstance(message, ToolMessage):
            return "observations"
        if isinstance(message, AIMessage):
            return "history"
        return "summary" if message is self._summary else "user"

    def _latest(self, view: View, frame: Frame, limit: int) -> tuple[View, tuple[LeftOut, ...]]:
        """The latest turns that fit, one at least."""
        low, high = view.first, max(len(self.transcript.turns) - 1, view.first)
        while low < high:
            middle = (low + high) // 2
            if self.tokens(self._from(view, frame, middle), frame) <= limit:
                high = middle
            else:
                low = middle + 1
        if low == view.first:
            return view, ()
        dropped = LeftOut(
            what="history",
            messages=len(self.transcript.messages(view.first, low)),
            tokens=self.transcript.tokens(view.first, low),
            why=DOES_NOT_FIT,
        )
        return self._from(view, frame, low), (dropped,)

    def _from(self, view: View, frame: Frame, first: int) -> View:
        return replace(view, pinned=self.pinned(first, frame), first=first)

    def _cut(self, request: Request, frame: Frame, limit: int) -> Request:
        """The same messages, the longest of them shortened until all fits."""
        count = self.counter.message
        sizes = [0 if isinstance(m, SystemMessage) else count(m) for m in request.messages]
        cap = caps(sizes, limit - (request.tokens - sum(sizes)))
        while True:
            sent = [
                m if isinstance(m, SystemMessage) else shortened(m, most_tokens=cap, count=count)
                for m in request.messages
            ]
            cut = self._counted(request, sent, frame)
            if cut.tokens <= limit:
                break
            if cap == 0:
                raise WindowTooSmall(needed_tokens=cut.tokens, limit_tokens=limit)
            cap = cap * 3 // 4
        changed = sum(a is not b for a, b in zip(request.messages, sent, strict=True))
        told = LeftOut(
            what="parts of long messages",
            messages=changed,
            tokens=request.tokens - cut.tokens,
            why=DOES_NOT_FIT,
        )
        return replace(cut, left_out=(*request.left_out, told), shortened=True)
