"""The report's page: what is in it, escaped; and in a real Chromium, in both schemes."""

from __future__ import annotations

import os
import random
import re
import stat
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentkit.evals.case_result import CaseResult
from agentkit.evals.comparison import CaseMark, compare
from agentkit.evals.drawing import axis_around
from agentkit.evals.page import page_of, write_page
from agentkit.evals.report import Report, report_of
from agentkit.evals.results import RunRecord
from tests.view.chromium import LOW_CONTRASTS, look_as, missing, open_chromium, picture, run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PLANTED = "<script>document.title='planted'</script><img src=x onerror=alert(1)>\"'&"
CASES = 60
PICTURES = os.environ.get("AGENTKIT_PICTURES", "")


def report(name: str = PLANTED) -> Report:
    """A cheap model that is right where it is sure, a dear one, and the cascade of both."""
    rng = random.Random(4)
    rows: list[CaseResult] = []
    settings = ["local:pocket", name, "cascade"]
    for number in range(CASES):
        confidence = rng.random()
        cheap_is_right = confidence > 0.3
        for place, setting in enumerate(settings):
            passed = cheap_is_right if place == 0 else number != 7
            passed_on = place == 2 and confidence < 0.5
            rows.append(
                CaseResult(
                    setting=setting, case_id=f"{name}{number}", passed=passed,
                    score=float(passed), kind=None if passed else "wrong answer", detail=name,
                    outcome="answered", answer=name, tier=0, seconds=place / 2,
                    cost_nusd=(0, 400_000, 400_000 * passed_on)[place],
                    confidence=confidence if place == 0 else None, escalations=int(passed_on),
                )
            )  # fmt: skip
    record = RunRecord(
        number=3, token="t", digest="d", started_at=1.8e9, ended_at=None,
        facts={"name": name, "cases": CASES},
    )  # fmt: skip
    marks = [CaseMark(setting=r.setting, case_id=r.case_id, passed=True, cost_nusd=1) for r in rows]
    now = [
        CaseMark(setting=r.setting, case_id=r.case_id, passed=r.passed, cost_nusd=1) for r in rows
    ]
    return report_of(
        record, rows, settings=settings, cases=CASES, quality=0.95,
        comparison=compare(marks, now, with_run=name),
    )  # fmt: skip


class Elements(HTMLParser):
    """The names of a page's elements, and of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_nothing_that_a_model_or_a_file_said_becomes_markup() -> None:
    parser = Elements()
    parser.feed(page_of(report()))
    assert not parser.names & {"script", "img", "iframe", "link", "a", "form"}
    assert not {name for name in parser.attributes if name.startswith("on")}
    assert "style" not in parser.attributes


def test_the_page_says_what_the_report_says() -> None:
    told = report("openai:gpt-5-mini")
    text = re.sub(r"<[^>]+>", " ", page_of(told))
    for each in told.settings:
        assert f"{each.quality:.1%}" in text
    assert told.cheapest == "cascade"
    assert "cascade  is the cheapest setting that reaches 95%:" in text
    assert page_of(told).count('class="curve') == 2


def test_a_run_without_results_is_a_page_too() -> None:
    empty = report_of(report().run, [], settings=["a", "b"], cases=3, quality=0.9)
    assert "No setting reaches" in page_of(empty)


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert write_page(report(), path) == path.stat().st_size
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


needs_browser = pytest.mark.skipif(bool(missing()), reason=f"the browser tests want {missing()}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    driver = open_chromium()
    yield driver
    driver.quit()


@needs_browser
@pytest.mark.parametrize("size", ["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_reads_well_everywhere(browser: Chrome, tmp_path: Path, size: str, scheme: str) -> None:
    path = tmp_path / "report.html"
    write_page(report(), path)
    look_as(browser, size=size, scheme=scheme)
    browser.get(path.as_uri())
    if PICTURES:
        (Path(PICTURES) / f"eval-{size}-{scheme}.png").write_bytes(picture(browser))
    errors: list[Any] = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium's own
    assert errors == []
    assert browser.title != "planted"
    assert run(browser, LOW_CONTRASTS) == []
    width = run(browser, "return document.documentElement.scrollWidth - window.innerWidth")
    assert width <= 0
    drawn = "return [...document.querySelectorAll('.curve')].map(e => e.getTotalLength() > 50)"
    assert run(browser, drawn) == [True, True]
    dot = "return getComputedStyle(document.querySelector('circle')).fill"
    assert run(browser, dot) != "rgb(0, 0, 0)"


def test_axis_of_money_has_no_ticks_between_nano_dollars() -> None:
    free = axis_around([0.0, 0.0], str, floor=0.0, unit=1.0)
    assert free.ticks() == [0.0]
    assert axis_around([0.0, 40.0], str, floor=0.0, unit=1.0).ticks() == [0.0, 20.0, 40.0]
