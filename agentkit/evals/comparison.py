"""A run beside an earlier one, case by case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agentkit.evals.interval import paired_p_value


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseMark:
    """As much of a result as a comparison needs."""

    setting: str
    case_id: str
    passed: bool
    cost_nusd: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingChange:
    """One setting over the cases that both runs have.

    `p_value` is how likely so uneven a change is where nothing has changed.
    """

    name: str
    cases: int
    quality_before: float
    quality_after: float
    newly_wrong: tuple[str, ...]
    newly_right: tuple[str, ...]
    p_value: float
    per_case_before_nusd: float
    per_case_after_nusd: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Every setting that both runs have; `with_run` says which the earlier one is."""

    with_run: str
    settings: tuple[SettingChange, ...]


def compare(before: Iterable[CaseMark], after: Iterable[CaseMark], *, with_run: str) -> Comparison:
    """The changes from one run to another."""
    old, new = _by_setting(before), _by_setting(after)
    changes = [_change(name, old[name], new[name]) for name in new if name in old]
    return Comparison(
        with_run=with_run, settings=tuple(change for change in changes if change.cases)
    )


def _change(name: str, old: Mapping[str, CaseMark], new: Mapping[str, CaseMark]) -> SettingChange:
    both = [case for case in new if case in old]
    wrong = tuple(case for case in both if old[case].passed and not new[case].passed)
    right = tuple(case for case in both if new[case].passed and not old[case].passed)
    count = max(1, len(both))
    return SettingChange(
        name=name,
        cases=len(both),
        quality_before=sum(old[case].passed for case in both) / count,
        quality_after=sum(new[case].passed for case in both) / count,
        newly_wrong=wrong,
        newly_right=right,
        p_value=paired_p_value(len(wrong), len(right)),
        per_case_before_nusd=sum(old[case].cost_nusd for case in both) / count,
        per_case_after_nusd=sum(new[case].cost_nusd for case in both) / count,
    )


def _by_setting(marks: Iterable[CaseMark]) -> dict[str, dict[str, CaseMark]]:
    found: dict[str, dict[str, CaseMark]] = {}
    for mark in marks:
        found.setdefault(mark.setting, {})[mark.case_id] = mark
    return found


def marks_of(rows: Sequence[Mapping[str, object]]) -> list[CaseMark]:
    """The marks in a report's JSON. Raises KeyError or ValueError for what is none."""
    from agentkit.budgets.money import nusd_from_usd

    return [
        CaseMark(
            setting=str(row["setting"]),
            case_id=str(row["case"]),
            passed=row["passed"] is True,
            cost_nusd=nusd_from_usd(str(row["cost_usd"])),
        )
        for row in rows
    ]
