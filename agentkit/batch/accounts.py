"""The accounts of a lane in a process without agents: clients from the environment.

Where a request goes is what the client says, never what is stored beside the request: a key is not
sent to an address that a file names.
"""

from __future__ import annotations

from agentkit.batch.item import ENDED_BATCHES, OPEN_BATCHES
from agentkit.batch.lane import BatchLane, account_of
from agentkit.batch.provider import BatchProvider
from agentkit.errors import ConfigError, ExtraMissing


def connect(lane: BatchLane) -> None:
    """Give `lane` a client for every account that it has open work at.

    Raises ConfigError where the environment is that of another account, ExtraMissing without the
    provider's package.
    """
    queues = [queue.queue for queue in lane.store.queues()]
    queues += [batch.queue for batch in lane.store.batches(OPEN_BATCHES)]
    now = lane.ledger.clock()
    doubted = (each for each in lane.store.batches(ENDED_BATCHES) if each.may_be_doubled(now))
    queues += [batch.queue for batch in doubted]
    for account in sorted({account_of(queue) for queue in queues}):
        connect_to(lane, account)


def connect_to(lane: BatchLane, account: str) -> None:
    """Give `lane` a client for one account; raises as `connect` does."""
    provider = _from_environment(account.partition("@")[0])
    if provider.account != account:
        raise ConfigError(
            f"requests wait for {account}, and the environment leads to {provider.account}; "
            "set OPENAI_BASE_URL or ANTHROPIC_BASE_URL, and the organization, as they were"
        )
    lane.add_provider(provider)


def _from_environment(name: str) -> BatchProvider:
    if name == "openai":
        try:
            from openai import OpenAI, OpenAIError
        except ImportError as error:
            raise ExtraMissing(what="batches of openai:", extra="openai") from error
        from agentkit.batch.openai import OpenAIBatches

        try:
            return OpenAIBatches(OpenAI())
        except OpenAIError as error:
            raise ConfigError("batches of openai: need an API key: set OPENAI_API_KEY") from error
    try:
        from anthropic import Anthropic
    except ImportError as error:
        raise ExtraMissing(what="batches of anthropic:", extra="anthropic") from error
    from agentkit.batch.anthropic import AnthropicBatches

    return AnthropicBatches(Anthropic())
