"""The batch API of a tier, and how to read what it answered."""

from __future__ import annotations

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage

from agentkit.batch.provider import BatchProvider
from agentkit.models.single_attempt import sdk_of
from agentkit.models.tier import Tier


def message_of(endpoint: str, payload: bytes, model: BaseChatModel | None = None) -> AIMessage:
    """An answer as the model's own class gives it live; any model of the provider's reads it."""
    if endpoint == "/v1/messages":
        from agentkit.batch import anthropic

        return anthropic.read(payload, model)
    from agentkit.batch import openai

    return openai.read(endpoint, payload, model)


def provider_of(tier: Tier) -> BatchProvider | None:
    """The batch API behind a tier; None where it has none that is known."""
    sdk = sdk_of(tier.model)
    if sdk == "openai" and tier.provider == "openai":
        from agentkit.batch.openai import OpenAIBatches

        return OpenAIBatches.of(tier.model)
    if sdk == "anthropic" and tier.provider == "anthropic":
        from agentkit.batch.anthropic import AnthropicBatches

        return AnthropicBatches.of(tier.model)
    return None
