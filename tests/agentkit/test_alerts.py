"""Alert rules: each fires on the journal and in Prometheus alike, and is quiet elsewhere."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agentkit.budgets import Amount, CallRecord, Limits, Scope, TaskRecord, Usage
from agentkit.budgets.stores.memory import MemoryStore
from agentkit.reports.alert import RULES
from agentkit.reports.alert_check import RuleChange, check_alerts, rules_in_force
from agentkit.reports.prometheus import dashboard, exposition, rule_file, samples

_NOW = 1_763_000_000.0
_DAY = 86_400.0
_HOURS = 15 * 24


@dataclass
class Traffic:
    """Two calls an hour for fifteen days, one task each; `change` makes the last days odd."""

    change: Callable[[CallRecord, float], CallRecord] = field(default=lambda call, _: call)
    outcome: Callable[[float], str] = field(default=lambda _: "resolved")
    spent_of_day: float | None = None
    times: Callable[[float], int] = field(default=lambda _: 2)

    def store(self, hours: Sequence[int] = range(_HOURS)) -> MemoryStore:
        """A ledger with the traffic of these hours, counted from the first."""
        store = MemoryStore(lambda: _NOW)
        store.put_scope(Scope(path="acme", limits=Limits(nusd=100 * 10**9), window="day"))
        if self.spent_of_day:
            spent = Amount(nusd=round(self.spent_of_day * 100 * 10**9))
            store.reserve("spent", spent, ["acme"], lease_seconds=60)
            store.settle("spent", spent)
        store.ensure_scopes(["journal"])
        for hour in hours:
            hours_ago = _HOURS - hour
            for turn in range(self.times(hours_ago)):
                self._add(store, hour, turn, hours_ago)
        return store

    def _add(self, store: MemoryStore, hour: int, turn: int, hours_ago: float) -> None:
        at = _NOW - hours_ago * 3600.0 + 60.0 * (turn % 50) + 30.0
        name = f"t{hour}.{turn}"
        tags = {"feature": "faq" if turn % 2 else "support", "user": f"u{turn % 10}"}
        call = CallRecord(
            call_id=f"{name}.1", task_id=name, scope="acme/web", step=1, index=1, model="big",
            provider="lab", started_at=at, cost_nusd=100_000_000, cost_source="table", tags=tags,
            usage=Usage(input_tokens=50_000, cache_read_tokens=40_000, output_tokens=300),
            estimated_input_tokens=49_500,
        )  # fmt: skip
        call = self.change(call, hours_ago)
        store.reserve(call.call_id, Amount(), ["journal"], lease_seconds=60)
        store.settle(call.call_id, Amount(nusd=call.cost_nusd), call=call)
        store.put_task(
            TaskRecord(
                task_id=name, scope="acme/web", started_at=at, ended_at=at + 1, tags=call.tags,
                outcome=self.outcome(hours_ago),  # type: ignore[arg-type]  # one of the outcomes
            )
        )  # fmt: skip


def _last(days: float, **changes: object) -> Callable[[CallRecord, float], CallRecord]:
    return lambda call, ago: replace(call, **changes) if ago <= 24 * days else call  # type: ignore[arg-type]  # names of fields


_UNCACHED = Usage(input_tokens=50_000, cache_read_tokens=5_000, output_tokens=300)
SCENES: dict[str, Traffic] = {
    "daily_spend": Traffic(change=_last(1, cost_nusd=170_000_000)),
    "cost_per_request": Traffic(change=_last(7, cost_nusd=160_000_000)),
    "cache_hit_rate": Traffic(change=_last(1, usage=_UNCACHED)),
    "user_concentration": Traffic(
        change=_last(1, tags={"feature": "faq", "user": "u1"}, cost_nusd=480_000_000)
    ),
    "feature_concentration": Traffic(change=_last(1, cost_nusd=900_000_000)),
    "budget_80": Traffic(spent_of_day=0.85),
    "budget_100": Traffic(spent_of_day=1.0),
    "burn_rate": Traffic(times=lambda ago: 12 if ago <= 1 else 2),
    "escalation_rate": Traffic(change=_last(1, escalation="unsure"), times=lambda _: 6),
    "unknown_prices": Traffic(change=_last(1, cost_source="unknown")),
    "estimate_error": Traffic(change=_last(1, estimated_input_tokens=44_000)),
    "cost_per_resolved_task": Traffic(
        outcome=lambda ago: "failed" if ago <= 7 * 24 and int(ago) % 2 else "resolved"
    ),
}


def _firing(traffic: Traffic, **options: object) -> set[str]:
    found = check_alerts(traffic.store(), now=_NOW, **options)  # type: ignore[arg-type]  # passed on
    return {firing.rule.name for firing in found}


def test_there_is_a_scene_for_every_rule() -> None:
    assert set(SCENES) == {rule.name for rule in RULES}


def test_steady_traffic_fires_nothing() -> None:
    assert _firing(Traffic()) == set()


@pytest.mark.parametrize("name", SCENES)
def test_rule_fires_names_tasks_and_can_be_turned_off(name: str) -> None:
    store = SCENES[name].store()
    found = [f for f in check_alerts(store, now=_NOW) if f.rule.name == name]
    assert found
    assert found[0].tasks
    assert all(store.task(task) for task in found[0].tasks)
    others = rules_in_force({name: RuleChange(off=True)})
    assert name not in {f.rule.name for f in check_alerts(store, now=_NOW, rules=others)}


@pytest.mark.parametrize("name", [n for n in SCENES if not n.startswith("budget")])
def test_floor_keeps_small_sums_quiet(name: str) -> None:
    rules = rules_in_force({name: RuleChange(floor=1e12)})
    assert name not in _firing(SCENES[name], rules=rules)


def test_threshold_is_the_users() -> None:
    rules = rules_in_force({"daily_spend": RuleChange(threshold=1.9)})
    assert "daily_spend" not in _firing(SCENES["daily_spend"], rules=rules)


def test_day_budget_can_be_given() -> None:
    assert "feature_concentration" in _firing(Traffic(), day_usd=5.0)


def test_scope_and_tags_narrow_the_question() -> None:
    traffic = SCENES["daily_spend"]
    assert "daily_spend" not in _firing(traffic, scope="other")
    assert "daily_spend" in _firing(traffic, tags={"feature": "faq"})


def test_labels_are_escaped() -> None:
    odd = Traffic(change=lambda call, _: replace(call, tags={"feature": 'a"b\\c\nd'}))
    text = exposition(samples(odd.store()))
    assert 'feature="a\\"b\\\\c\\nd"' in text
    assert all(line.startswith(("#", "agentkit_")) for line in text.splitlines())


def test_dashboard_measures_what_the_rules_measure() -> None:
    board = json.loads(dashboard())
    titles = [panel["title"] for panel in board["panels"]]
    assert all(f"Alert: {rule.name}" in titles for rule in RULES)
    assert len({panel["id"] for panel in board["panels"]}) == len(titles)


@pytest.fixture(scope="module")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "rules.yml").write_text(rule_file(), "utf-8")
    return folder


def _promtool(*arguments: object) -> str:
    ran = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=100
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_prometheus_takes_the_rules(promtool: Path) -> None:
    assert f"{len(RULES)} rules found" in _promtool("check", "rules", promtool / "rules.yml")


def test_prometheus_fires_on_the_series_that_fire_here(promtool: Path) -> None:
    """Every scene, as the counters stood every hour, through Prometheus' own evaluation."""
    tests = [_scene(name, traffic) for name, traffic in {**SCENES, "": Traffic()}.items()]
    body = {"rule_files": ["rules.yml"], "evaluation_interval": f"{_HOURS}h", "tests": tests}
    (promtool / "tests.yml").write_text(json.dumps(body), "utf-8")
    assert "SUCCESS" in _promtool("test", "rules", promtool / "tests.yml")


def _scene(name: str, traffic: Traffic) -> dict[str, object]:
    series: dict[str, list[float]] = {}
    for hour in range(_HOURS):
        for sample in samples(traffic.store([hour])):
            values = series.setdefault(sample.series, [0.0] * (_HOURS + 1))
            values[hour + 1] = sample.value
    for name_, values in series.items():
        if "_total" in name_:
            series[name_] = list(itertools.accumulate(values))
    expected = {firing.rule.name for firing in check_alerts(traffic.store(), now=_NOW)}
    assert name in expected or not name
    return {
        "name": name or "steady",
        "interval": "1h",
        "input_series": [
            {"series": each, "values": " ".join(map(repr, values))}
            for each, values in series.items()
        ],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{rule="{rule.name}"}} == 1) > bool 0 or vector(0)',
                "eval_time": f"{_HOURS}h",
                "exp_samples": [{"labels": "{}", "value": int(rule.name in expected)}],
            }
            for rule in RULES
        ],
    }
