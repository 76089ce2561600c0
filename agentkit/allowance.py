"""What one task may ask of a tool: so many calls, so many bytes of results; then it lands.

Counted from the transcript, so that a resumed task goes on counting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from langchain_core.messages import BaseMessage, ToolMessage

from agentkit.state import AgentState, transcript
from agentkit.tools.call import Call
from agentkit.tools.catalogue import ToolCatalogue, ToolSpec
from agentkit.tools.observation import Observation


class Allowance:
    """The limits of the tools that a step calls, against what the task has had of them."""

    def __init__(
        self,
        state: AgentState,
        calls: Sequence[Call],
        catalogue: ToolCatalogue,
        withheld: Mapping[int, Observation] | None = None,
    ) -> None:
        """`withheld` are calls that are not to run for another reason, by their place."""
        self._calls = calls
        self._limited = _limited(calls, catalogue)
        self._before = transcript(state)[state.get("request_at", 0) :] if self._limited else []
        self._refused = self._beyond()
        self._not_run = {**self._refused, **(withheld or {})}

    @property
    def places(self) -> list[int]:
        """Where the calls that may be run stand in the step."""
        return [at for at in range(len(self._calls)) if at not in self._not_run]

    def calls(self) -> list[Call]:
        """The calls that may be run."""
        return [self._calls[at] for at in self.places]

    def observations(self, ran: Sequence[Observation]) -> list[Observation]:
        """What `calls` came to, and a refusal for each of the others, in order."""
        results = iter(ran)
        return [
            self._not_run[at] if at in self._not_run else next(results)
            for at in range(len(self._calls))
        ]

    def used_up(self, observed: Sequence[Observation]) -> str | None:
        """Why the task must land, after this step; None where it may go on."""
        for name, spec in self._limited.items():
            if any(refused.name == name for refused in self._refused.values()):
                return f"tool {name!r} was called {spec.max_calls} times, its limit for a task"
            if spec.max_bytes is None:
                continue
            had = _bytes(self._before, name)
            had += sum(len(o.content.encode()) for o in observed if o.name == name)
            if had > spec.max_bytes:
                return (
                    f"tool {name!r} gave {had:,} bytes, over its limit of {spec.max_bytes:,} "
                    "for a task"
                )
        return None

    def _beyond(self) -> dict[int, Observation]:
        """The calls that pass a limit, by their place, with what the model is told instead."""
        made = {name: _calls(self._before, name) for name in self._limited}
        refused: dict[int, Observation] = {}
        for at, call in enumerate(self._calls):
            spec = self._limited.get(call["name"] or "")
            if spec is None or spec.max_calls is None:
                continue
            made[spec.name] += 1
            if made[spec.name] > spec.max_calls:
                told = f"not run: {spec.name} may be called {spec.max_calls} times in a task"
                refused[at] = Observation(
                    call_id=call["id"] or f"call_{at}",
                    name=spec.name,
                    content=told,
                    status="error",
                    original_bytes=len(told),
                )
        return refused


def _limited(calls: Sequence[Call], catalogue: ToolCatalogue) -> dict[str, ToolSpec]:
    specs = [catalogue.get(call["name"] or "") for call in calls]
    return {
        spec.name: spec
        for spec in specs
        if spec is not None and (spec.max_calls is not None or spec.max_bytes is not None)
    }


def _calls(messages: Sequence[BaseMessage], name: str) -> int:
    return sum(isinstance(each, ToolMessage) and each.name == name for each in messages)


def _bytes(messages: Sequence[BaseMessage], name: str) -> int:
    of_tool = [m for m in messages if isinstance(m, ToolMessage) and m.name == name]
    return sum(len(message.text.encode("utf-8", "replace")) for message in of_tool)
