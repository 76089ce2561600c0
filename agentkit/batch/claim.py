"""A claim that lasts as long as a submission or a download does."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

from agentkit.batch.item import Batch
from agentkit.batch.office import Office
from agentkit.budgets.errors import StoreError

_RENEWALS_A_CLAIM = 3
_OVER = -1.0


@contextmanager
def kept_claim(office: Office, batch: Batch) -> Generator[None]:
    """Within it, the claim on a batch is renewed by a thread, three times a claim; then let go."""
    ended = threading.Event()
    seconds = office.policy.claim_seconds

    def renew() -> None:
        while not ended.wait(seconds / _RENEWALS_A_CLAIM):
            try:
                office.store.claim(batch.batch_id, office.owner, seconds=seconds)
            except StoreError:
                continue  # the next one tries again; at worst the claim ends

    thread = threading.Thread(target=renew, name="agentkit-batch-claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(StoreError):  # then it ends by itself
            office.store.claim(batch.batch_id, office.owner, seconds=_OVER)
