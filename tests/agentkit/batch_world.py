"""What the tests of the batch lane share: quick rules, and a lane against a scripted provider."""

from __future__ import annotations

from collections.abc import Callable

from langchain_core.language_models import BaseChatModel

from agentkit.batch import BatchPolicy
from tests.wire import ScriptedProvider
from tests.wire.client import anthropic_client, openai_client, responses_client

QUICK = BatchPolicy(
    most_age_seconds=0.2,
    usual_seconds=1.0,
    live_seconds=1.0,
    poll_seconds=0.02,
    longest_poll_seconds=0.02,
    claim_seconds=1.0,
    uncertain_seconds=0.1,
    late_seconds=0.1,
)
"""A policy for a provider that takes milliseconds instead of hours."""

Client = Callable[[ScriptedProvider], BaseChatModel]
CLIENTS: dict[str, Client] = {
    "openai": openai_client,
    "openai responses": responses_client,
    "anthropic": anthropic_client,
}
