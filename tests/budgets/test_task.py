"""A task's hold on the ledger: the clamp, the landing reserve, decisions, the deadline."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.budgets import (
    Amount,
    Budget,
    BudgetEvent,
    BudgetExceeded,
    BudgetTooSmall,
    DeadlineExceeded,
    Extend,
    InvalidLimit,
    Land,
    Ledger,
    Limits,
    Price,
    Stop,
    Task,
    Usage,
)
from agentkit.budgets.call_plan import CallPlan
from agentkit.budgets.conformance import ManualClock
from agentkit.budgets.price import Rates
from agentkit.budgets.stores.memory import MemoryStore


def _rates(input_nusd: int, output_nusd: int) -> Rates:
    """Nano-USD per token."""
    each = input_nusd * 1_000_000
    return Rates(
        input=each,
        cache_read=each // 10,
        cache_write_5m=each,
        cache_write_1h=each,
        output=output_nusd * 1_000_000,
    )


PLAIN = Price(model="m", provider="p", state="priced", source="table", bands=((0, _rates(1, 10)),))
FREE = Price(model="m", provider="local", state="free", source="free")


def _plan(
    input_tokens: int = 100, output: int = 50, *, least: int = 1, price: Price = PLAIN
) -> CallPlan:
    return CallPlan(
        price=price,
        counted_input_tokens=input_tokens,
        input_tokens=input_tokens,
        wanted_output_tokens=output,
        least_output_tokens=least,
    )


def _task(budget: Budget | None = None, *, ledger: Ledger | None = None) -> Task:
    return (ledger or Ledger("memory://")).open_task(scope="acme", budget=budget)


def test_output_is_clamped_to_what_the_money_allows() -> None:
    task = _task(Budget(usd="0.000000300"))
    held = task.hold_call(_plan(100, 50))
    assert held.max_output_tokens == 20
    assert held.worst == Amount(300, 120, 120, 1)


def test_output_is_clamped_to_what_the_tokens_allow() -> None:
    assert _task(Budget(tokens=130)).hold_call(_plan(100, 50)).max_output_tokens == 30


def test_output_is_clamped_to_the_tightest_scope_above() -> None:
    ledger = Ledger("memory://")
    ledger.set_limits("acme", Limits(tokens=110))
    assert _task(Budget(tokens=130), ledger=ledger).hold_call(_plan()).max_output_tokens == 10


def test_call_below_its_least_output_is_denied_with_nothing_held() -> None:
    events: list[BudgetEvent] = []
    task = _task(Budget(tokens=130))
    task.listen(events.append)
    with pytest.raises(BudgetExceeded) as caught:
        task.hold_call(_plan(100, 50, least=31))
    assert (caught.value.asked, caught.value.available) == (131, 130)
    assert [event.kind for event in events] == ["breach"]
    assert task.ledger.account("acme").held == Amount()


def test_waiting_call_is_taken_up_again_and_held_anew_where_it_covers_too_little() -> None:
    """A new process has not learned yet how a model counts, and reckons with more input."""
    task = _task(Budget(tokens=1_000))
    first = task.hold_waiting(_plan(100, 50), "n")
    assert task.hold_waiting(_plan(100, 50), "n").call_id == first.call_id
    again = task.hold_waiting(_plan(140, 50), "n")
    assert (again.max_output_tokens, again.worst.tokens) == (50, 190)
    assert task.ledger.account("acme").held.tokens == 190
    task.ledger.renew(again.call_id, lease_seconds=60)  # it is sent now
    assert task.hold_waiting(_plan(150, 50), "n").call_id == again.call_id


def test_calls_run_out() -> None:
    task = _task(Budget(calls=2))
    for _ in range(2):
        task.settle_call(task.hold_call(_plan()), Usage(input_tokens=5, output_tokens=5))
    with pytest.raises(BudgetExceeded, match="0 calls left of 2 calls"):
        task.hold_call(_plan())


def test_free_model_spends_tokens_but_no_money() -> None:
    task = _task(Budget(usd="0.01", tokens=1_000))
    held = task.hold_call(_plan(price=FREE))
    task.settle_call(held, Usage(input_tokens=100, output_tokens=7))
    assert task.ledger.account(task.path).settled == Amount(0, 107, 107, 1)


def test_cached_tokens_can_be_left_out_of_the_limit() -> None:
    task = _task(Budget(tokens=1_000, count_cached=False))
    for _ in range(20):
        held = task.hold_call(_plan(400, 20))
        task.settle_call(held, Usage(input_tokens=400, cache_read_tokens=390, output_tokens=10))
    assert task.ledger.account(task.path).settled.fresh_tokens == 400


_TOKENS = st.integers(0, 5_000)
_BANDS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), min_size=1, max_size=3)


@st.composite
def _prices(draw: st.DrawFn) -> Price:
    bands = tuple((1_000 * i, _rates(*pair)) for i, pair in enumerate(draw(_BANDS)))
    request = draw(st.integers(0, 3_000))
    return Price(
        model="m",
        provider="p",
        state="priced",
        source="table",
        bands=bands,
        per_request_nusd=request,
    )


@given(
    price=_prices(),
    limit=st.tuples(st.integers(0, 60_000), st.integers(0, 6_000)),
    asked=st.tuples(_TOKENS, _TOKENS),
    used=st.data(),
)
def test_granted_worst_case_is_never_passed(
    price: Price, limit: tuple[int, int], asked: tuple[int, int], used: st.DataObject
) -> None:
    """Whatever usage a granted call reports within its plan, no limit is passed."""
    ledger = Ledger("memory://")
    task = ledger.open_task(scope="acme")
    ledger.set_limits("acme", Limits(nusd=limit[0], tokens=limit[1]))
    plan = _plan(*asked, price=price)
    try:
        held = task.hold_call(plan)
    except BudgetExceeded:
        least = plan.worst(1)
        assert least.nusd > limit[0] or least.tokens > limit[1] or plan.wanted_output_tokens == 0
        return
    assert held.worst.nusd <= limit[0]
    assert held.worst.tokens <= limit[1]
    read = used.draw(st.integers(0, plan.input_tokens))
    wrote = used.draw(st.integers(0, plan.input_tokens - read))
    usage = Usage(
        input_tokens=read + wrote + used.draw(st.integers(0, plan.input_tokens - read - wrote)),
        cache_read_tokens=read,
        cache_write_5m_tokens=wrote,
        output_tokens=used.draw(st.integers(0, held.max_output_tokens)),
    )
    task.settle_call(held, usage)
    account = ledger.account("acme")
    assert account.settled.nusd == price.cost_nusd(usage) <= held.worst.nusd
    assert min(left for left in account.available if left is not None) >= 0


def test_landing_reserve_leaves_less_for_steps() -> None:
    task = _task(Budget(tokens=300))
    task.hold_landing(Amount(tokens=120, fresh_tokens=120, calls=1))
    assert task.room().tokens == 180
    assert task.hold_call(_plan(100, 500)).max_output_tokens == 80


def test_landing_is_paid_from_the_reserve_when_nothing_is_left() -> None:
    task = _task(Budget(tokens=300))
    task.hold_landing(Amount(nusd=1_000, tokens=120, fresh_tokens=120, calls=1))
    step = task.hold_call(_plan(100, 500))
    task.settle_call(step, Usage(input_tokens=100, output_tokens=80))
    landing = task.hold_landing_call(_plan(90, 500))
    assert (landing.max_output_tokens, landing.worst.tokens) == (30, 120)
    task.settle_call(landing, Usage(input_tokens=90, output_tokens=30))
    assert task.ledger.account(task.path).settled.tokens == 300
    assert task.ledger.store.held() == []


def test_landing_reserve_is_taken_over_once() -> None:
    task = _task(Budget(tokens=200))
    task.hold_landing(Amount(tokens=200, fresh_tokens=200, nusd=5_000, calls=1))

    def land(_: int) -> bool:
        try:
            task.hold_landing_call(_plan(100, 50))
        except BudgetExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(land, range(8))) == 1


def test_landing_reserve_never_pays_for_more_than_it_holds() -> None:
    task = _task(Budget(usd="0.000000300"))
    task.hold_landing(Amount(nusd=300, tokens=10_000, fresh_tokens=10_000, calls=1))
    landing = task.hold_landing_call(_plan(300, 50, least=0))
    assert landing.max_output_tokens == 0


def test_landing_reserve_too_small_for_the_call_is_given_back() -> None:
    task = _task(Budget(tokens=300))
    task.hold_landing(Amount(tokens=120, fresh_tokens=120, nusd=5_000, calls=1))
    landing = task.hold_landing_call(_plan(200, 50))
    assert (landing.worst.tokens, task.room().tokens) == (250, 50)


def test_budget_below_the_landing_reserve_is_refused() -> None:
    with pytest.raises(BudgetTooSmall, match="below the landing reserve") as caught:
        _task(Budget(tokens=100)).hold_landing(Amount(tokens=120))
    assert (caught.value.needed, caught.value.limit) == (120, 100)


def test_full_shared_scope_refuses_the_landing_reserve_as_exceeded() -> None:
    ledger = Ledger("memory://")
    ledger.set_limits("acme", Limits(tokens=100))
    with pytest.raises(BudgetExceeded, match="'acme'"):
        _task(Budget(tokens=500), ledger=ledger).hold_landing(Amount(tokens=120))


def test_landing_reserve_is_given_back_at_the_end() -> None:
    task = _task(Budget(tokens=300))
    task.hold_landing(Amount(tokens=120))
    task.close("answered")
    assert task.ledger.account("acme").held == Amount()


def test_landing_reserve_of_a_crashed_run_is_taken_up() -> None:
    ledger = Ledger("memory://")
    first = ledger.open_task(scope="acme", budget=Budget(tokens=300), task_id="t")
    first.hold_landing(Amount(tokens=100, fresh_tokens=100, calls=1))
    again = ledger.open_task(task_id="t", budget=Budget(tokens=300))
    again.hold_landing(Amount(tokens=200))
    assert again.room().tokens == 200
    landing = again.hold_landing_call(_plan(90, 500, price=FREE))
    assert landing.worst.tokens == 100


def test_landing_call_of_a_crashed_run_is_not_paid_from_again() -> None:
    """The crashed run may have been billed, so its reserve stays held and a new one is made."""
    ledger = Ledger("memory://")
    first = ledger.open_task(scope="acme", budget=Budget(tokens=300), task_id="t")
    first.hold_landing(Amount(tokens=120, fresh_tokens=120, calls=1))
    first.hold_landing_call(_plan(90, 500, price=FREE))
    again = ledger.open_task(task_id="t", budget=Budget(tokens=300))
    again.hold_landing(Amount(tokens=120))
    assert again.room().tokens == 60


def test_resumed_task_gets_a_landing_reserve_again() -> None:
    ledger = Ledger("memory://")
    first = ledger.open_task(scope="acme", budget=Budget(tokens=300), task_id="t")
    first.hold_landing(Amount(tokens=120))
    first.close("landed", resumable=True)
    again = ledger.open_task(task_id="t", budget=Budget(tokens=300))
    again.hold_landing(Amount(tokens=120))
    assert again.room().tokens == 180


def test_landing_lease_is_renewed_while_the_task_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    monkeypatch.setattr("agentkit.budgets.task.time.monotonic", clock)
    ledger = Ledger(MemoryStore(clock), clock=clock)
    task = ledger.open_task(scope="acme", budget=Budget(tokens=300))
    task.hold_landing(Amount(tokens=120))
    for _ in range(6):
        clock.now_seconds += 2_000
        task.keep_landing()
        ledger.expire_due()
    assert ledger.account("acme").held.tokens == 120
    clock.now_seconds += 3_601
    ledger.expire_due()
    assert ledger.account("acme").held == Amount()


def test_extend_raises_the_limits_that_the_task_has() -> None:
    task = _task(Budget(usd="0.01", tokens=100))
    task.listen(lambda event: Extend(usd="0.01", tokens=50, calls=3) if event.fraction else None)
    held = task.hold_call(_plan(60, 10, price=FREE))
    task.settle_call(held, Usage(input_tokens=60, output_tokens=1))
    limits = task.ledger.account(task.path).limits
    assert limits == Limits(nusd=20_000_000, tokens=150)


@pytest.mark.parametrize(("decision", "wish"), [(Land(), "land"), (Stop(), "stop"), (None, None)])
def test_decision_becomes_a_wish(decision: Land | Stop | None, wish: str | None) -> None:
    task = _task(Budget(calls=2))
    task.listen(lambda _: decision)
    task.settle_call(task.hold_call(_plan()), Usage(input_tokens=1, output_tokens=1))
    assert task.wish == wish


def test_stop_is_not_softened_by_a_later_land() -> None:
    task = _task()
    task.decide(Stop())
    task.decide(Land())
    assert task.wish == "stop"


@pytest.mark.parametrize(
    "extension", [Extend(usd="-1"), Extend(tokens=-1), Extend(calls=-1), Extend(usd="1e30")]
)
def test_extension_that_cannot_be_meant(extension: Extend) -> None:
    with pytest.raises(InvalidLimit):
        _task(Budget(usd=1, tokens=5)).extend(extension)


def test_deadline_leaves_time_to_land(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(0.0)
    monkeypatch.setattr("agentkit.budgets.task.time.monotonic", clock)
    task = _task(Budget(seconds=100))
    assert task.seconds_left() == 90
    clock.now_seconds = 95
    with pytest.raises(DeadlineExceeded, match=r"95.0 s of 100 s"):
        task.hold_call(_plan())
    task.check_deadline(landing=True)
    clock.now_seconds = 101
    with pytest.raises(DeadlineExceeded):
        task.check_deadline(landing=True)


def test_forfeited_call_costs_its_worst_case_until_usage_comes() -> None:
    task = _task(Budget(usd="0.01"))
    held = task.hold_call(_plan(100, 50))
    record = task.forfeit_call(held, status="cut", error="the stream ended early")
    assert (record.cost_nusd, record.confirmed) == (600, False)
    assert task.record.unconfirmed_nusd == 600
    task.settle_call(held, Usage(input_tokens=100, output_tokens=2))
    assert (task.record.cost_nusd, task.record.unconfirmed_nusd) == (120, 0)
    assert task.ledger.account(task.path).settled.nusd == 120


@pytest.mark.parametrize("verb", ["reject_call", "release_call"])
def test_unbilled_call_costs_nothing(verb: str) -> None:
    task = _task(Budget(usd="0.01"))
    getattr(task, verb)(task.hold_call(_plan()), error="429")
    assert task.room().nusd == 10_000_000
    assert task.ledger.store.calls(task.task_id)[0].status == "rejected"
    assert task.record.calls == 0


def test_cost_that_the_provider_reports_wins() -> None:
    task = _task(Budget(usd="0.01"))
    held = task.hold_call(_plan())
    record = task.settle_call(held, Usage(input_tokens=9, output_tokens=1), cost_nusd=77)
    assert (record.cost_nusd, record.cost_source) == (77, "provider")


def test_sixteen_threads_share_one_task_of_one_dollar() -> None:
    price = Price(
        model="m",
        provider="p",
        state="priced",
        source="table",
        bands=((0, _rates(0, 0)),),
        per_request_nusd=100_000_000,
    )
    task = _task(Budget(usd=1))

    def work(_: int) -> int:
        made = 0
        for _attempt in range(3):
            try:
                held = task.hold_call(_plan(price=price))
            except BudgetExceeded:
                continue
            made += 1
            task.settle_call(held, Usage(input_tokens=100, output_tokens=50))
        return made

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(work, range(16))) == 10
    assert task.record.cost_nusd == 1_000_000_000


def test_record_sums_what_the_ledger_settled() -> None:
    task = _task(Budget(usd="0.01"))
    for output in (1, 2, 3):
        task.settle_call(task.hold_call(_plan()), Usage(input_tokens=100, output_tokens=output))
    record = task.close("answered", steps=3)
    assert record.cost_nusd == 3 * 100 + 6 * 10
    assert task.ledger.account("acme").settled.nusd == record.cost_nusd
    assert task.ledger.store.task(task.task_id) == record


def test_reopened_task_goes_on_from_what_it_spent() -> None:
    ledger = Ledger("memory://")
    task = ledger.open_task(scope="acme", budget=Budget(usd="0.01"), task_id="t")
    task.settle_call(task.hold_call(_plan()), Usage(input_tokens=100, output_tokens=5))
    again = ledger.open_task(scope="ignored", budget=Budget(usd="0.01"), task_id="t")
    assert (again.scope, again.record.cost_nusd) == ("acme", 150)
    held = again.hold_call(_plan())
    assert held.index == 2
    assert again.room().nusd == 10_000_000 - 150 - 600
