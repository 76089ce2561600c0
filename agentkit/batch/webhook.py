"""OpenAI's webhooks: the word that a batch has ended, long before its next look is due.

They are signed as Standard Webhooks are; the `openai` SDK checks that, and refuses one that is
older than five minutes. https://platform.openai.com/docs/guides/webhooks
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from agentkit.batch.accounts import connect_to
from agentkit.batch.item import OPEN_BATCHES, Batch
from agentkit.batch.lane import BatchLane, account_of
from agentkit.errors import AgentError, ConfigError, ExtraMissing

_MOST_BYTES = 64 * 1024
_VARIABLE = "OPENAI_WEBHOOK_SECRET"


class WebhookInvalid(AgentError):
    """A webhook that the provider did not sign, or that is too old; answer it with status 400."""


def take_webhook(
    lane: BatchLane, body: bytes, headers: Mapping[str, str], *, secret: str | None = None
) -> Batch | None:
    """Look at the batch that a webhook of OpenAI's is about; gives it as it stands then.

    Believes nothing but the batch's id, and asks the provider. None where the webhook is about
    something else, or about a batch that is not open in this ledger: answer both with status 200.
    `secret` is the endpoint's; left out, OPENAI_WEBHOOK_SECRET. Raises WebhookInvalid, ConfigError
    without a secret or with the environment of another account, StoreError.
    """
    secret = secret or os.environ.get(_VARIABLE)
    if not secret:
        raise ConfigError(f"a webhook without a secret could be anybody's: set {_VARIABLE}")
    provider_id = _batch_of(body, headers, secret)
    if provider_id is None:
        return None
    open_ones = lane.store.batches(OPEN_BATCHES)
    meant = next((each for each in open_ones if each.provider_id == provider_id), None)
    if meant is None:
        return None
    if not lane.works_for(meant):
        connect_to(lane, account_of(meant.queue))
    return lane.look_now(meant.batch_id)


def _batch_of(body: bytes, headers: Mapping[str, str], secret: str) -> str | None:
    """The provider's id of the batch that a webhook is about, if it is about one."""
    try:
        from openai import OpenAI
    except ImportError as error:
        raise ExtraMissing(what="webhooks of OpenAI", extra="openai") from error
    if len(body) > _MOST_BYTES:
        raise WebhookInvalid(f"a webhook of {len(body):,} bytes; {_MOST_BYTES:,} are the most")
    named = {name.lower(): value for name, value in headers.items()}
    try:
        with OpenAI(api_key="none") as client:
            event: object = client.webhooks.unwrap(body, named, secret=secret)
    except (ValueError, RecursionError) as error:
        raise WebhookInvalid(f"not a webhook of this endpoint: {error}") from error
    kind, data = getattr(event, "type", None), getattr(event, "data", None)
    identity = getattr(data, "id", None)
    about_batch = isinstance(kind, str) and kind.startswith("batch.")
    return identity if about_batch and isinstance(identity, str) else None
