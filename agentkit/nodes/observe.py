"""Observations pruned before they are first sent, each with what was left out kept for recall."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from agentkit.budgets.context import current_task
from agentkit.budgets.margin import likely_factor
from agentkit.budgets.tokens import count_text
from agentkit.checkpoint import checkpoint_file
from agentkit.errors import ConfigError
from agentkit.memory.cache_rules import cache_rules
from agentkit.run import Run
from agentkit.state import AgentState, transcript
from agentkit.tools.call import Call
from agentkit.tools.catalogue import ToolCatalogue, ToolSpec
from agentkit.tools.limits import ExecutionLimits
from agentkit.tools.observation import Observation, cut
from agentkit.tools.observation_store import (
    KeepLimits,
    MemoryObservationStore,
    ObservationStore,
    SqliteObservationStore,
)
from agentkit.tools.provision.dispatch import FIND
from agentkit.tools.prune.pruned import Pruned
from agentkit.tools.pruner import Pruning, TaskPruner
from agentkit.tools.recall import RECALL, recall_tool
from agentkit.tools.sent_prefix import SentPrefix

_CHARS_A_TOKEN = 4
_SQLITE = "sqlite:///"
_WHOLE_BYTES = KeepLimits().max_observation_bytes
_MAX_QUERY_CHARS = 4_000
_COUNTED_CHARS = 16_384


@dataclass(frozen=True, kw_only=True, slots=True)
class Observer:
    """Prunes what an agent's tools return, and keeps the whole."""

    pruning: Pruning
    store: ObservationStore
    recall: ToolSpec

    def observe(
        self, state: AgentState, run: Run, calls: Sequence[Call], observed: Sequence[Observation]
    ) -> list[Observation]:
        """The observations as they are sent; `run.pruner` says whether recall is on offer now."""
        if run.pruner is None:
            run.pruner = self._taken_up(state, run)
        pruner = run.pruner
        messages = transcript(state)
        before = _before(state, run, messages)
        about = _about(state, messages)
        sent: list[Observation] = []
        for call, observation in zip(calls, observed, strict=True):
            if _is_prunable(observation):
                query = f"{_arguments(call)}\n{about}"[:_MAX_QUERY_CHARS]
                found = pruner.prune(
                    observation.content,
                    query=query,
                    sent=before,
                )
                if found is not None:
                    observation = _as_sent(observation, found)  # noqa: PLW2901  one story
                    _note(run, state.get("step", 0), observation, found)
            before = before.with_more(len(observation.content) // _CHARS_A_TOKEN)
            sent.append(observation)
        return sent

    def _taken_up(self, state: AgentState, run: Run) -> TaskPruner:
        """The pruner of a task, which knows what an earlier process has sent."""
        pruner = TaskPruner(
            self.pruning,
            partial(self.store.put, run.task_id),
            recalls=state.get("recalls", False),
        )
        for message in transcript(state)[state.get("request_at", 0) :]:
            if isinstance(message, ToolMessage) and message.name != RECALL:
                pruner.remember(message.text)
        return pruner


def observer_of(
    pruning: Pruning | None,
    store: ObservationStore | None,
    checkpoint: object,
    catalogue: ToolCatalogue,
) -> Observer | None:
    """What prunes an agent's observations; None where it has no tools, or wants none pruned.

    Raises ConfigError where a tool of the agent's has the name of ours, ObservationStoreError where
    the file beside the checkpoints cannot be opened.
    """
    if pruning is None or not catalogue.names:
        return None
    if RECALL in catalogue.names:
        raise ConfigError(
            f"a tool is named {RECALL!r}, as the one that brings back what pruning left out; "
            "rename it, or give pruning=None"
        )
    kept = store or _store_beside(checkpoint)
    tool = recall_tool(
        kept,
        lambda: current_task().task_id,
        max_tokens=pruning.recall_tokens,
        range_tokens=pruning.range_tokens,
    )
    return Observer(pruning=pruning, store=kept, recall=tool)


def whole_results(limits: ExecutionLimits) -> ExecutionLimits:
    """Limits under which a pruner sees results whole, unless they were set by hand."""
    if limits.max_result_bytes != ExecutionLimits().max_result_bytes:
        return limits
    return replace(limits, max_result_bytes=_WHOLE_BYTES)


def _store_beside(checkpoint: object) -> ObservationStore:
    if isinstance(checkpoint, str) and checkpoint.startswith(_SQLITE):
        return SqliteObservationStore(f"{checkpoint_file(checkpoint)}.observations")
    return MemoryObservationStore()


def _before(state: AgentState, run: Run, messages: Sequence[BaseMessage]) -> SentPrefix:
    """What stands before the observations: as the provider counted it, if it has been asked."""
    calls = state.get("step", 0)
    last = run.last_call
    if last is None:
        return SentPrefix(tokens=sum(map(_chars, messages)) // _CHARS_A_TOKEN, calls=calls)
    factor = likely_factor(last.provider)
    rules = cache_rules(last.model, last.provider)
    usage = last.usage
    return SentPrefix(
        tokens=int((usage.input_tokens + usage.output_tokens - usage.reasoning_tokens) / factor),
        calls=calls,
        least_cached_tokens=None if rules.how == "none" else ceil(rules.least_tokens / factor),
        step_tokens=rules.step_tokens,
        billed=run.billed,
    )


def _is_prunable(observation: Observation) -> bool:
    return (
        observation.status == "ok"
        and observation.name not in (RECALL, FIND)
        and not observation.return_direct
        and observation.command is None
    )


def _as_sent(observation: Observation, found: Pruned) -> Observation:
    text = found.text or observation.content[:1]
    return replace(
        observation,
        content=text,
        original_bytes=max(observation.original_bytes, found.original_bytes),
        spared_tokens=_spared_tokens(observation.content, text) if found.was_pruned else 0,
    )


def _spared_tokens(whole: str, sent: str) -> int:
    """Tokens that would have been sent beyond `sent`: a result is cut at a limit without pruning.

    A long text's are counted on its beginning and scaled.
    """
    kept = cut(whole, max_bytes=ExecutionLimits().max_result_bytes).text
    sample = kept[:_COUNTED_CHARS]
    whole_tokens = round(count_text(sample) * len(kept) / max(1, len(sample)))
    return max(0, whole_tokens - count_text(sent))


def _about(state: AgentState, messages: Sequence[BaseMessage]) -> str:
    """What the model said last, and what the task asks for."""
    said = next((m.text for m in reversed(messages) if isinstance(m, AIMessage)), "")
    at = state.get("request_at", 0)
    return f"{said}\n{messages[at].text if at < len(messages) else ''}"


def _arguments(call: Call) -> str:
    return f"{call['name']} {json.dumps(call['args'], ensure_ascii=False, default=str)}"


def _chars(message: BaseMessage) -> int:
    content = message.content
    return len(content) if isinstance(content, str) else sum(len(str(block)) for block in content)


def _note(run: Run, step: int, observation: Observation, found: Pruned) -> None:
    """Says that something was left out, or why a pruner failed; nothing of the contents."""
    if not (found.was_pruned or found.failure):
        return
    run.task.note(
        "observation",
        f"{observation.name}: {'not pruned: ' + found.failure if found.failure else 'pruned'}",
        step=step,
        data={
            "tool": observation.name,
            "status": observation.status,
            "pruned": found.was_pruned,
            "kind": found.kind,
            "handle": found.handle,
            "failure": found.failure,
            "original_bytes": found.original_bytes,
            "kept_bytes": found.kept_bytes,
        },
    )
