"""An agent that is asked for a quality: what it does with doubtful answers, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage

from agentkit import Agent, Budget, TaskResult
from agentkit.budgets import Ledger, PriceBook
from agentkit.budgets.price_file import PriceOverride
from agentkit.cascade import Calibration, Cascade, Kept, Weight
from agentkit.errors import ConfigError
from agentkit.telemetry import names
from tests.agentkit.telemetry_cases import Captured, captured_spans
from tests.scripted import Script, ScriptedModel, call, in_turn

__all__ = ["captured_spans"]

HALF = Calibration(
    intercept=0.0,
    weights={"sum_logprob": Weight(weight=1.0), "agreement": Weight(weight=5.0)},
)
"""An answer whose log-probability is 0 is right in one of two cases; agreement makes it sure."""
AGREED = Cascade(calibration=HALF, second_sample=True)


def book(city: str) -> str:
    """Book a table."""
    return f"booked in {city}"


def ledger() -> Ledger:
    return Ledger(
        prices=PriceBook(
            [
                PriceOverride.model_validate({"model": "cheap", "input": "1", "output": "1"}),
                PriceOverride.model_validate({"model": "dear", "input": "100", "output": "1000"}),
            ]
        )
    )


def sure(message: AIMessage, logprob: float) -> AIMessage:
    told = {"logprobs": {"count": 1, "sum": logprob, "min": logprob}}
    return message.model_copy(update={"response_metadata": told})


def tier(name: str, *answers: AIMessage | str | BaseException, script: Script | None = None) -> Any:
    return ScriptedModel(script=script or in_turn(*answers), name_of_model=name)


def agent(cheap: Any, dear: Any, **more: Any) -> Agent:
    given: dict[str, Any] = {"ledger": ledger(), "quality": 0.9, **more}
    return Agent([cheap, dear], [book], **given)


def decisions(of: Agent, result: TaskResult) -> list[dict[str, Any]]:
    events = of.ledger.store.events(result.task_id)
    return [dict(event.data) for event in events if event.kind == "decision"]


def actions(of: Agent, result: TaskResult) -> list[str]:
    return [decision["action"] for decision in decisions(of, result)]


def test_a_likely_answer_is_kept_and_its_chance_recorded() -> None:
    asked = agent(
        tier("cheap", sure(AIMessage("Rome"), 3.0)), tier("dear", "Oslo"),
        cascade=Cascade(calibration=HALF),
    )  # fmt: skip
    result = asked.run("where?")
    assert (result.answer, result.escalations) == ("Rome", 0)
    assert result.records[0].confidence == pytest.approx(0.953, abs=0.001)
    assert actions(asked, result) == ["accept"]


def test_an_unlikely_answer_goes_to_the_dearer_tier_and_its_cost_counts() -> None:
    asked = agent(
        tier("cheap", sure(AIMessage("Rome"), 0.0)), tier("dear", "Oslo"),
        cascade=Cascade(calibration=HALF),
    )  # fmt: skip
    result = asked.run("where?")
    assert (result.answer, result.escalations) == ("Oslo", 1)
    wasted, kept = result.records
    assert (wasted.accepted, wasted.reason) == (False, "unsure: 0.500 is under 0.900")
    assert wasted.cost_nusd > 0
    assert int(result.cost_usd * 10**9) == wasted.cost_nusd + kept.cost_nusd
    (told,) = decisions(asked, result)
    assert told["expected_nusd"]["escalate"] > 0
    assert told["signals"]["sum_logprob"] == 0
    assert "Rome" not in str(told)


def test_quality_alone_uses_what_comes_with_agentkit() -> None:
    asked = agent(tier("cheap", "I am not sure whether it is Rome"), tier("dear", "Oslo"))
    assert asked.run("where?").answer == "Oslo"
    plain = agent(tier("cheap", "It is Rome"), tier("dear", "Oslo"))
    assert plain.run("where?").answer == "It is Rome"


def test_an_error_is_shown_to_the_tier_that_made_it() -> None:
    cheap = tier("cheap", call("book", town="Rome"), call("book", city="Rome"), "done")
    asked = agent(cheap, tier("dear", "Oslo"))
    result = asked.run("book Rome")
    assert (result.answer, result.escalations) == ("done", 0)
    assert actions(asked, result) == ["retry", "accept", "accept"]
    shown = cheap.seen[1][-1].text
    assert "does not fit its schema" in shown
    assert "city" in shown
    assert all("turned down" not in message.text for message in cheap.seen[2])


def test_an_error_is_shown_as_often_as_the_settings_say() -> None:
    asked = agent(tier("cheap", call("book", town="Rome")), tier("dear", "Oslo"))
    result = asked.run("book Rome")
    assert actions(asked, result) == ["retry", "escalate"]
    never = agent(
        tier("cheap", call("book", town="Rome")), tier("dear", "Oslo"), cascade=Cascade(retries=0)
    )
    assert actions(never, never.run("book Rome")) == ["escalate"]


def test_two_samples_that_agree_are_kept() -> None:
    cheap = tier("cheap", *[sure(call("book", city="Rome"), 0.0)] * 2, sure(AIMessage("ok"), 9.0))
    asked = agent(cheap, tier("dear", "Oslo"), cascade=AGREED)
    result = asked.run("book Rome")
    assert actions(asked, result) == ["sample", "accept", "accept"]
    assert [record.purpose for record in result.records] == ["step", "sample", "step"]
    assert result.escalations == 0


def test_two_samples_that_differ_are_turned_down() -> None:
    cheap = tier("cheap", sure(call("book", city="Rome"), 0.0), sure(call("book", city="Rio"), 0.0))
    asked = agent(cheap, tier("dear", "Oslo"), cascade=AGREED)
    assert actions(asked, asked.run("book Rome")) == ["sample", "escalate"]


def begun(text: str) -> AIMessage:
    return AIMessage(text, response_metadata={"finish_reason": "length"})


HINTS = Cascade(calibration=HALF, hint_tokens=2, hint_chance=0.9)


def test_a_hint_is_gone_on_with() -> None:
    cheap = tier("cheap", sure(AIMessage("Rio"), 0.0), sure(AIMessage("is Oslo"), 9.0))
    dear = tier("dear", begun("The city "))
    asked = agent(cheap, dear, cascade=HINTS)
    result = asked.run("where?")
    assert (result.answer, result.escalations) == ("The city is Oslo", 0)
    assert actions(asked, result) == ["hint", "accept"]
    assert [record.purpose for record in result.records] == ["step", "hint", "step"]
    assert dear.kwargs_seen[0]["max_tokens"] == 2
    assert "The city" in cheap.seen[1][-1].text


def test_a_hint_that_is_the_whole_answer_is_the_answer() -> None:
    cheap = tier("cheap", sure(AIMessage("Rio"), 0.0))
    asked = agent(cheap, tier("dear", "Oslo"), cascade=HINTS)
    result = asked.run("where?")
    assert (result.answer, result.escalations, result.calls) == ("Oslo", 1, 2)


def test_a_hint_that_does_not_help_is_followed_by_the_whole_answer() -> None:
    cheap = tier("cheap", sure(AIMessage("Rio"), 0.0))
    asked = agent(cheap, tier("dear", begun("The "), "Oslo"), cascade=HINTS)
    result = asked.run("where?")
    assert (result.answer, result.escalations) == ("Oslo", 1)
    assert actions(asked, result) == ["hint", "escalate"]


def test_a_hint_of_a_call_names_the_tool() -> None:
    broken = AIMessage(
        "",
        invalid_tool_calls=[{"name": "book", "args": '{"ci', "id": "1", "error": None}],
        response_metadata={"finish_reason": "length"},
    )
    cheap = tier(
        "cheap", sure(call("book", city="Rio"), 0.0), sure(call("book", city="Rome"), 9.0),
        sure(AIMessage("done"), 9.0),
    )  # fmt: skip
    asked = agent(cheap, tier("dear", broken), cascade=HINTS)
    result = asked.run("book Rome")
    assert result.answer == "done"
    assert cheap.kwargs_seen[1]["tool_choice"] == "book"


def find(city: str) -> str:
    """Find tables."""
    return f"none in {city}"


@pytest.mark.parametrize(("after", "dear_calls"), [(1, 3), (2, 1)])
def test_a_task_stays_on_the_dearer_tier_after_so_many_escalations(
    after: int, dear_calls: int
) -> None:
    cheap = tier(
        "cheap", sure(call("find", city="Rome"), 0.0), sure(call("book", city="Oslo"), 9.0),
        sure(AIMessage("done"), 9.0),
    )  # fmt: skip
    dear = tier("dear", call("book", city="Rome"), call("book", city="Oslo"), "done")
    cascade = Cascade(calibration=HALF, sticky_after=after)
    asked = Agent([cheap, dear], [book, find], ledger=ledger(), quality=0.9, cascade=cascade)
    result = asked.run("book twice")
    assert result.answer == "done"
    assert len(dear.seen) == dear_calls


def test_a_tier_that_named_the_right_tool_is_asked_again_at_the_next_step() -> None:
    cheap = tier("cheap", sure(call("book", city="Rome"), 0.0), sure(AIMessage("done"), 9.0))
    dear = tier("dear", call("book", city="Oslo"))
    result = agent(cheap, dear, cascade=Cascade(calibration=HALF)).run("book")
    assert (result.answer, result.escalations, len(dear.seen)) == ("done", 1, 1)


def test_a_tier_is_not_asked_for_ever_for_naming_the_right_tools() -> None:
    cheap = tier("cheap", *[sure(call("book", city="Rome"), 0.0)] * 3)
    dear = tier("dear", *[call("book", city=city) for city in ("Oslo", "Rome", "Bonn")], "done")
    result = agent(cheap, dear, cascade=Cascade(calibration=HALF)).run("book three times")
    assert (result.answer, result.escalations, len(dear.seen)) == ("done", 2, 4)


def test_an_answer_that_fails_the_users_check_is_turned_down() -> None:
    asked = agent(
        tier("cheap", "It is Rome"), tier("dear", "It is Oslo"),
        check=lambda result: "Oslo" in result.answer, cascade=Cascade(retries=0),
    )  # fmt: skip
    result = asked.run("where?")
    assert (result.outcome, result.answer) == ("resolved", "It is Oslo")
    assert result.records[0].reason == "the check did not pass"


def test_a_check_that_raises_says_nothing() -> None:
    def check(result: TaskResult) -> bool:
        raise ValueError

    asked = agent(tier("cheap", "It is Rome"), tier("dear", "Oslo"), check=check)
    assert asked.run("where?").answer == "It is Rome"


def test_the_trace_tells_why(captured: Captured) -> None:
    asked = agent(
        tier("cheap", sure(AIMessage("Rome"), 0.0)), tier("dear", "Oslo"),
        cascade=Cascade(calibration=HALF),
    )  # fmt: skip
    asked.run("where?")
    events = [
        event for event in captured.one("invoke_agent").events if event.name == names.DECISION_EVENT
    ]
    told = dict(events[0].attributes or {})
    assert told[names.DECISION_ACTION] == "escalate"
    assert told[names.DECISION_PROBABILITY] == 0.5
    assert told[names.DECISION_THRESHOLD] == 0.9
    assert told[f"{names.SIGNAL_PREFIX}sum_logprob"] == 0
    assert told[f"{names.DECISION_COST_PREFIX}escalate"] > 0  # type: ignore[operator]  # a float


def test_a_quality_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="quality"):
        agent(tier("cheap", "x"), tier("dear", "y"), quality=95)


def test_what_is_no_number_and_no_calibration_is_told() -> None:
    text: Any = "0.9"
    with pytest.raises(ConfigError, match=r"quality='0\.9'; use the share of answers"):
        agent(tier("cheap", "x"), tier("dear", "y"), quality=text)
    for wrong in ("judge.json", {"local:pocket": "judge.json"}):
        file: Any = wrong
        with pytest.raises(ConfigError, match=r"'judge.json' is no Calibration; .*read\(path\)"):
            Cascade(calibration=file)


def test_more_quality_never_escalates_less() -> None:
    kept = tuple(Kept(threshold=q / 100 - 0.1, share=0.5, quality=q / 100) for q in range(90, 100))
    calibration = Calibration(intercept=0.0, weights={"sum_logprob": Weight(weight=1.0)}, kept=kept)
    shares = []
    for quality in (0.90, 0.94, 0.98):
        dear = tier("dear", "Oslo")
        for logprob in (1.6, 2.4, 3.0):
            agent(
                tier("cheap", sure(AIMessage("Rome"), logprob)), dear, quality=quality,
                cascade=Cascade(calibration=calibration),
            ).run("where?")  # fmt: skip
        shares.append(len(dear.seen))
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


@settings(max_examples=12, deadline=None)
@given(
    usd=st.integers(80, 900),
    chances=st.lists(st.sampled_from([-3.0, 0.0, 1.0, 9.0]), min_size=1, max_size=6),
    error_usd=st.sampled_from([None, 0, "0.001", "1"]),
    quality=st.sampled_from([0.6, 0.9, 0.99]),
)
def test_the_landing_reserve_is_never_touched(
    usd: int, chances: list[float], error_usd: Any, quality: float
) -> None:
    """Whatever is escalated, a task whose money ends has its last answer paid from the reserve."""
    left = in_turn(*(sure(call("book", city="Rome"), chance) for chance in chances))

    def script(messages: Sequence[BaseMessage]) -> AIMessage | BaseException:
        return AIMessage("landed") if "<notes>" in messages[-1].text else left(messages)

    asked = Agent(
        [tier("cheap", script=script), tier("dear", call("book", city="Rome"))], [book],
        ledger=ledger(), budget=Budget(usd=f"0.{usd:04d}"), quality=quality, max_steps=12,
        cascade=Cascade(
            calibration=HALF, error_usd=error_usd, second_sample=True, hint_tokens=8, sticky_after=3
        ),
        no_progress_after=None,
    )  # fmt: skip
    result = asked.run("book Rome")
    task = asked.ledger.store.task(result.task_id)
    assert task is not None
    reserve = task.landing["nusd"]
    spent = sum(record.cost_nusd for record in result.records if record.purpose != "landing")
    assert spent + reserve <= usd * 10**5
    assert result.outcome == "landed"
    assert result.records[-1].purpose == "landing"
    assert result.records[-1].cost_nusd <= reserve
