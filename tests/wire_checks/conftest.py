"""Clients of each protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from langchain_core.language_models import BaseChatModel

from tests.wire.client import anthropic_client, openai_client, responses_client

Client = Callable[..., BaseChatModel]


@pytest.fixture(params=[openai_client, anthropic_client], ids=["openai", "anthropic"])
def client(request: pytest.FixtureRequest) -> Client:
    """Makes a client of each protocol."""
    return cast("Client", request.param)


@pytest.fixture(
    params=[openai_client, responses_client, anthropic_client],
    ids=["chat", "responses", "anthropic"],
)
def any_client(request: pytest.FixtureRequest) -> Client:
    """Makes a client of each endpoint."""
    return cast("Client", request.param)
