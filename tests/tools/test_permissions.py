"""Permissions: what may run is decided by entries and by what a tool is."""

from typing import Any

import pytest
from langchain_core.messages import ToolCall

from agentkit.tools import (
    Consent,
    InvalidPermissions,
    InvalidTool,
    Permissions,
    SideEffect,
    ToolCatalogue,
    ToolSpec,
    run_calls,
)


def _spec(name: str = "refund", side_effect: SideEffect = "spend", **fields: Any) -> ToolSpec:
    def tool(order: str = "W1") -> str:
        """Do it."""
        return f"done {order}"

    return ToolSpec.of(tool, name=name, side_effect=side_effect, **fields)


def _call(name: str, call_id: str = "c1", /, **args: object) -> ToolCall:
    return ToolCall(name=name, args=args, id=call_id, type="tool_call")


@pytest.mark.parametrize(
    ("side_effect", "expected"), [("read", "allow"), ("write", "deny"), ("spend", "deny")]
)
def test_only_reading_needs_no_grant(side_effect: SideEffect, expected: str) -> None:
    assert Permissions().of(_spec(side_effect=side_effect)) == expected


def test_a_plain_function_is_granted_by_whoever_gives_it() -> None:
    def look(city: str) -> str:
        """Look."""
        return city

    assert Permissions().of(ToolSpec.of(look)) == "allow"


@pytest.mark.parametrize(
    "entry", ["refund", "re*", "side_effect:spend", "cost:high", "tag:money", "group:shop"]
)
def test_an_entry_fits_by_name_pattern_or_kind(entry: str) -> None:
    spec = _spec(cost="high", tags=["money"], group="shop")
    assert Permissions(grant=[entry]).of(spec) == "allow"
    assert Permissions(ask=[entry]).of(spec) == "ask"
    assert Permissions(deny=[entry]).of(spec) == "deny"
    assert Permissions(grant=[entry]).of(_spec("other")) == (
        "allow" if entry == "side_effect:spend" else "deny"
    )


def test_the_strictest_of_equals_counts() -> None:
    assert Permissions(grant=["re*"], ask=["side_effect:spend"]).of(_spec()) == "ask"
    assert Permissions(grant=["re*"], ask=["*"], deny=["*d"]).of(_spec()) == "deny"
    assert Permissions(grant=["refund"], deny=["refund"]).of(_spec()) == "deny"


def test_a_name_goes_before_patterns_and_kinds() -> None:
    permissions = Permissions(grant=["refund"], ask=["side_effect:spend"], deny=["re*"])
    assert permissions.of(_spec()) == "allow"
    assert permissions.of(_spec("pay")) == "ask"
    assert permissions.of(_spec("resend")) == "deny"


def test_reading_can_be_denied() -> None:
    assert Permissions(deny=["look"]).of(_spec("look", "read")) == "deny"


def test_one_entry_need_not_be_a_list() -> None:
    assert Permissions(grant="refund").of(_spec()) == "allow"
    assert Permissions(grant="refund") == Permissions(grant=["refund"])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("side_effect:wirte", "'side_effect:write'"),
        ("sideeffect:write", "there is no 'sideeffect'"),
        ("tag:", "'tag:NAME'"),
        ("", "is no permission"),
        (7, "is no permission"),
    ],
)
def test_an_entry_that_cannot_be_meant_is_refused(entry: Any, message: str) -> None:
    with pytest.raises(InvalidPermissions, match=message):
        Permissions(deny=[entry])


def test_a_slip_of_the_pen_is_no_silent_grant_or_denial() -> None:
    with pytest.raises(InvalidPermissions, match=r"deny='refnud'.*did you mean 'refund'"):
        Permissions(deny=["refnud"]).check_names(["refund"])
    Permissions(deny=["refund", "later__*", "tag:x"]).check_names(["refund"])


def test_what_may_not_run_does_not_and_the_model_is_told() -> None:
    ran: list[str] = []

    def refund(order: str) -> None:
        """Refund."""
        ran.append(order)

    catalogue = ToolCatalogue([ToolSpec.of(refund, side_effect="spend")])
    calls = [_call("refund", f"c{i}", order=f"W{i}") for i in range(3)]
    consent = Consent(
        permissions=Permissions(ask=["refund"]), approved=frozenset({1}), refused={2: "a test"}
    )
    found = run_calls(calls, catalogue, consent=consent)
    assert [o.status for o in found] == ["denied", "ok", "denied"]
    assert "nobody could be asked" in found[0].content
    assert "a test" in found[2].content
    assert ran == ["W1"]
    denied = run_calls(calls[:1], catalogue, consent=Consent(permissions=Permissions()))
    assert "no permission for it was granted" in denied[0].content
    assert ran == ["W1"]


def test_a_denial_comes_before_the_arguments_are_looked_at() -> None:
    catalogue = ToolCatalogue([_spec()])
    call = _call("refund", "c", nonsense=1)
    (found,) = run_calls([call], catalogue, consent=Consent(permissions=Permissions()))
    assert found.status == "denied"


@pytest.mark.parametrize("side_effect", ["write", "spend"])
def test_only_reading_is_tried_again(side_effect: SideEffect) -> None:
    with pytest.raises(InvalidTool, match="may have had its effect"):
        _spec(side_effect=side_effect, max_attempts=2)
    with pytest.raises(InvalidTool, match="1 or more"):
        _spec(side_effect="read", max_attempts=0)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_failed_read_is_tried_again_as_often_as_it_says(is_async: bool) -> None:
    tries: list[int] = []

    def fail() -> str:
        """Fail twice."""
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("again")
        return "there"

    async def afail() -> str:
        return fail()

    spec = ToolSpec.of(
        afail if is_async else fail, name="fail", description="Fail.", max_attempts=3
    )
    (found,) = run_calls([_call("fail")], ToolCatalogue([spec]))
    assert (found.status, found.content, len(tries)) == ("ok", "there", 3)


def test_what_no_retry_can_mend_is_not_tried_again() -> None:
    tries: list[int] = []

    def fail() -> str:
        """Fail."""
        tries.append(1)
        raise KeyboardInterrupt

    spec = ToolSpec.of(fail, max_attempts=3)
    with pytest.raises(KeyboardInterrupt):
        run_calls([_call("fail")], ToolCatalogue([spec]))
    assert len(tries) == 1


def test_tries_end_with_the_time_of_the_call() -> None:
    tries: list[int] = []

    def fail() -> str:
        """Fail."""
        tries.append(1)
        raise ConnectionError("never")

    spec = ToolSpec.of(fail, max_attempts=1000, timeout_seconds=0.3)
    (found,) = run_calls([_call("fail")], ToolCatalogue([spec]))
    assert found.status in ("error", "timeout")
    assert 1 <= len(tries) < 10
