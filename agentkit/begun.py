"""Calls that change something are noted before they run, so that none is made twice unasked.

A process may end after a tool did its work and before the checkpoint says so. The task, taken up
again, finds the step's calls begun: those that write or spend are not run again. The model is told
that each may have been carried out, and can look, or call anew (which asks a person anew where one
has to be asked).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from agentkit.run import Run
from agentkit.tools.call import Call
from agentkit.tools.catalogue import ToolCatalogue
from agentkit.tools.consent import Consent
from agentkit.tools.observation import Observation

BEGUN, PAUSED = "tools_begun", "tools_paused"
_TOLD = (
    "{name} was not run again: it was begun before this task was cut off, and may have been "
    "carried out. Find out whether it was before you call it anew"
)


class Begun:
    """What is known of a step's calls that write or spend; does nothing without a checkpoint.

    Both verbs read or write the ledger's journal.
    """

    def __init__(
        self, run: Run, step: int, calls: Sequence[Call], catalogue: ToolCatalogue
    ) -> None:
        self._run = run
        self._step = step
        self._calls = calls
        specs = [catalogue.get(call["name"] or "") for call in calls]
        self._changing = {
            at: spec
            for at, spec in enumerate(specs)
            if run.can_ask and spec is not None and spec.side_effect != "read"
        }
        self._noted = False

    @property
    def matters(self) -> bool:
        """Whether the step changes anything."""
        return bool(self._changing)

    def before(self) -> dict[int, Observation]:
        """The calls that an earlier process began, by their place, with what the model is told."""
        begun: set[int] = set()
        for event in self._run.task.ledger.store.events(self._run.task_id):
            if event.step == self._step and event.kind == BEGUN:
                begun.update(_places(event.data))
            elif event.step == self._step and event.kind == PAUSED:
                begun.clear()
        return {
            at: _observation(self._calls[at], at, spec.name)
            for at, spec in self._changing.items()
            if at in begun
        }

    def note(self, places: Sequence[int], consent: Consent) -> None:
        """The calls at `places` are about to run, those that may; `consent` counts them alone."""
        starting = [
            at
            for index, at in enumerate(places)
            if at in self._changing and not consent.refusal(self._changing[at], index)
        ]
        if not starting:
            return
        names = [self._changing[at].name for at in starting]
        self._run.task.note(
            BEGUN,
            f"{', '.join(names)} about to run",
            step=self._step,
            data={"places": starting, "tools": names},
        )
        self._noted = True

    def paused(self) -> None:
        """A tool waits for a person (a LangGraph interrupt), so it has to run again.

        LangGraph carries out a node anew from its start, and the tool up to its interrupt.
        """
        if self._noted:
            self._run.task.note(PAUSED, "a tool waits for input", step=self._step)


def _places(data: Mapping[str, Any]) -> list[int]:
    places = cast("Sequence[object]", data.get("places") or ())
    return [at for at in places if isinstance(at, int)]


def _observation(call: Call, at: int, name: str) -> Observation:
    told = _TOLD.format(name=name)
    return Observation(
        call_id=call["id"] or f"call_{at}",
        name=name,
        content=told,
        status="error",
        original_bytes=len(told),
    )
