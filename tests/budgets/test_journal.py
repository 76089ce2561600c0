"""What the records of a task's calls say together."""

from __future__ import annotations

import pytest

from agentkit.budgets.journal import LOST_CALL, CallRecord, all_priced

LOCAL = CallRecord(call_id="1", task_id="t", scope="s", step=1, index=1, cost_source="free")
UNKNOWN = CallRecord(call_id="2", task_id="t", scope="s", step=1, index=2)
LOST = CallRecord(
    call_id="3", task_id="t", scope="s", step=0, index=0, status="cut", error=LOST_CALL,
    confirmed=False,
)  # fmt: skip
CHARGED = CallRecord(
    call_id="4", task_id="t", scope="s", step=0, index=0, status="cut", error=LOST_CALL,
    confirmed=False, cost_nusd=5,
)  # fmt: skip
REJECTED = CallRecord(call_id="5", task_id="t", scope="s", step=1, index=3, status="rejected")


@pytest.mark.parametrize(
    ("calls", "known"),
    [
        ([], True),
        ([LOCAL], True),
        ([LOCAL, UNKNOWN], False),
        ([LOST, LOCAL], True),
        ([LOST, UNKNOWN], False),
        ([LOST], False),
        ([CHARGED], True),
        ([CHARGED, UNKNOWN], False),
        ([REJECTED, LOCAL], True),
    ],
)
def test_a_lost_call_has_the_price_of_its_task(calls: list[CallRecord], known: bool) -> None:
    assert all_priced(calls) is known
