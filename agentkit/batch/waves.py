"""Waves: many tasks of several steps advance together, each step one batch, tools in between.

Each task runs through the agent's own graph; its model call waits in the lane until the batch that
it is part of has come back. A wave is sent once every task that is still running waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from agentkit.batch.lane import BatchLane, lane_of
from agentkit.batch.policy import BatchPolicy
from agentkit.batch.waiting import Duration, tagged
from agentkit.budgets.budget import Budget
from agentkit.budgets.ledger import DEFAULT_SCOPE
from agentkit.errors import ConfigError
from agentkit.fanout import Mapped, MapProgress, OnMapProgress, Request

if TYPE_CHECKING:
    from agentkit.agent import Agent

_MOST_TOGETHER = 1_000


class Waves:
    """Runs many tasks of one agent at the price of batches, each done by its deadline.

    >>> from agentkit.batch import Waves
    >>> Waves(agent, wait="24h", name="nightly").run(requests)  # doctest: +SKIP
    """

    def __init__(
        self,
        agent: Agent,
        *,
        wait: Duration = "24h",
        name: str | None = None,
        together: int = _MOST_TOGETHER,
        scope: str = DEFAULT_SCOPE,
        tags: Mapping[str, str] | None = None,
        budget: Budget | None = None,
        policy: BatchPolicy | None = None,
    ) -> None:
        """`wait` is what each task may take; what a batch would make late goes live.

        With a `name`, and a checkpoint, another process takes the run up: tasks that have ended are
        not run again, and requests that were under way are found in their batches. `together` is
        how many tasks advance at once. Raises ConfigError where no model of the agent has batches.
        """
        self.lane: BatchLane = (
            lane_of(agent.ledger) if policy is None else BatchLane(agent.ledger, policy=policy)
        )
        if all(self.lane.provider(tier) is None for tier in agent.tiers):
            labels = ", ".join(tier.label for tier in agent.tiers)
            raise ConfigError(f"{labels}: none has batches; use a model of openai: or anthropic:")
        if together < 1:
            raise ConfigError(f"together={together}; use 1 or more")
        self._agent = agent
        self._name = name
        self._together = together
        self._scope = scope
        self._tags = tagged(tags, wait)
        self._budget = budget

    def run(
        self, requests: Iterable[Request], on_progress: OnMapProgress | None = None
    ) -> list[Mapped]:
        """Carry all of them out; the results are in the order of the requests."""
        return asyncio.run(self.arun(requests, on_progress))

    async def arun(
        self, requests: Iterable[Request], on_progress: OnMapProgress | None = None
    ) -> list[Mapped]:
        """As `run`, on the event loop."""
        given = list(requests)
        running = 0

        def heard(progress: MapProgress) -> None:
            nonlocal running
            running = progress.running
            if on_progress is not None:
                on_progress(progress)

        self.lane.crowd = lambda: running
        try:
            results = [
                mapped
                async for mapped in self._agent.amap(
                    given,
                    concurrency=max(1, min(self._together, len(given))),
                    name=self._name,
                    scope=self._scope,
                    tags=self._tags,
                    budget=self._budget,
                    stagger=False,
                    on_progress=heard,
                )
            ]
        finally:
            self.lane.crowd = None
        return sorted(results, key=lambda mapped: mapped.index)
