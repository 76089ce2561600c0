"""The page in a real Chromium: its figures are the ledger's, and text stays text."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from agentkit.budgets.journal_query import CallSums, JournalFilter
from agentkit.budgets.stores.sqlite import SqliteStore
from agentkit.view.book import CostBook
from agentkit.view.report_file import write_report
from agentkit.view.server import PageServer
from agentkit.view.story import TaskStories
from tests.view.chromium import (
    ELSEWHERE,
    LOW_CONTRASTS,
    NAMELESS,
    eventually,
    look_as,
    missing,
    open_chromium,
    picture,
    run,
)
from tests.view.ledgers import PLANTED, PLANTED_TASK, company, plant

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=f"the browser tests want {missing()}"),
    pytest.mark.timeout(240),
]
ALARMS: list[dict[str, object]] = [
    {
        "rule": "feature_concentration", "firing": True, "severity": "warning",
        "which": f"feature {PLANTED}", "text": f"too much {PLANTED}",
        "advice": "run `agentkit advise`", "tasks": [PLANTED_TASK],
    },
    {"rule": "burn_rate", "firing": False},
]  # fmt: skip
LOOKS = [(size, scheme) for size in ("phone", "desktop") for scheme in ("light", "dark")]
PICTURES = os.environ.get("AGENTKIT_PICTURES", "")


@dataclass
class Page:
    """The served page of a ledger, and a browser."""

    driver: Chrome
    store: SqliteStore
    server: PageServer

    def open(self, fragment: str = "", *, size: str = "desktop", scheme: str = "light") -> None:
        look_as(self.driver, size=size, scheme=scheme)
        self.driver.get("about:blank")
        self.driver.get(f"{self.server.url}{fragment}")
        wanted = "#view-title" if fragment else "#task-table tbody tr[data-task]"
        eventually(lambda: self.js("return !!document.querySelector(arguments[0])", wanted))

    def js(self, script: str, *arguments: object) -> Any:
        return run(self.driver, script, *arguments)

    def figure(self, name: str) -> float:
        """A key figure as the element holds it."""
        return float(
            self.js(
                "return document.querySelector(`[data-figure='${arguments[0]}']`).dataset.value",
                name,
            )
        )

    def values(self, selector: str) -> list[float]:
        """The values of the elements that `selector` finds."""
        return [
            float(value)
            for value in self.js(
                "return [...document.querySelectorAll(arguments[0])].map((e) => e.dataset.value)",
                selector,
            )
        ]

    def choose(self, element: str, value: str) -> None:
        self.js(
            "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
            "const kind = e.tagName === 'SELECT' ? 'change' : 'input';"
            "e.dispatchEvent(new Event(kind, {bubbles: true}))",
            element,
            value,
        )

    def keep(self, name: str) -> None:
        """A picture for people to look at, where they asked for it."""
        if PICTURES:
            Path(PICTURES, f"{name}.png").write_bytes(picture(self.driver))

    def sums(self, **where: Any) -> CallSums:
        (whole,) = self.store.sum_calls((), JournalFilter(**where))
        return whole.sums


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    store = company(tmp_path_factory.mktemp("ledger") / "ledger.db")
    plant(store)
    book = CostBook(store, name="ledger.db", alerts=lambda: ALARMS)
    with PageServer(book, TaskStories(store)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        driver = open_chromium()
        yield Page(driver, store, server)
        driver.quit()
        server.shutdown()
        thread.join()
    store.close()


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_figures_charts_and_tables_are_the_ledgers(size: str, scheme: str, page: Page) -> None:
    page.open(size=size, scheme=scheme)
    whole = page.sums()
    tasks = page.store.tasks(limit=100_000)
    answered = [task for task in tasks if task.outcome in ("resolved", "answered")]
    assert page.figure("spend") == whole.cost_nusd
    assert page.figure("per-task") == pytest.approx(whole.cost_nusd / len(tasks))
    assert page.figure("per-resolved") == pytest.approx(whole.cost_nusd / len(answered))
    assert page.figure("answered") == len(answered)
    assert page.figure("cached") == whole.cache_read_tokens
    assert page.figure("escalated") == whole.escalations
    assert page.figure("unconfirmed") == whole.unconfirmed_nusd
    assert sum(page.values("#panels .chart rect.fill")) == whole.cost_nusd
    assert sum(page.values("#spending-table tbody td:nth-child(2)")) == whole.cost_nusd
    assert sum(page.values("#where-table tbody td:nth-child(2)")) == whole.cost_nusd
    (saved,) = page.values("[data-lever=prompt_cache]")
    assert saved == whole.saved_prompt_cache
    (seen,) = page.values(".legend [data-name=observations]")
    assert seen == whole.observations
    assert page.values("#task-count") == [len(tasks)]
    width = page.js("return [document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    assert page.js(LOW_CONTRASTS) == []
    page.keep(f"overview-{size}-{scheme}")


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_a_tasks_timeline_is_its_calls(size: str, scheme: str, page: Page) -> None:
    task = max(page.store.tasks(limit=100_000), key=lambda task: task.calls)
    calls = page.store.calls(task.task_id)
    page.open(f"#task={task.task_id}", size=size, scheme=scheme)
    assert page.figure("task-cost") == task.cost_nusd
    assert page.values("#calls-table tbody td:nth-child(8)") == [call.cost_nusd for call in calls]
    assert page.values("#calls-table tbody td:nth-child(4)") == [
        c.usage.input_tokens for c in calls
    ]
    sent = sum(sum(n for part, n in call.components.items() if part != "output") for call in calls)
    returned = sum(call.usage.output_tokens for call in calls)
    assert sum(page.values(".task-view .column rect.fill")) == sent + returned
    left = page.values(".chart circle.dot")
    assert left[0] == 1_000_000_000
    assert left[-1] == 1_000_000_000 - task.cost_nusd
    width = page.js("return [document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    assert page.js(LOW_CONTRASTS) == []
    page.keep(f"task-{size}-{scheme}")


def test_an_escalation_is_marked_with_its_reason(page: Page) -> None:
    call = next(c for c in page.store.scan_calls() if c.escalation and c.task_id != PLANTED_TASK)
    page.open(f"#task={call.task_id}")
    assert page.js("return document.querySelectorAll('.chart .mark.up').length") == 2
    marks = page.js(
        "return [...document.querySelectorAll('.marks li.up')].map((e) => e.textContent)"
    )
    assert marks == [f"step {call.step}: to {call.provider}:{call.model}: {call.escalation}"]


def test_alerts_say_which_tasks_and_what_to_do(page: Page) -> None:
    page.open()
    rule = "return document.querySelector('[data-rule=feature_concentration]')?.textContent"
    told = eventually(lambda: page.js(rule))
    assert "feature concentration" in told
    assert "run agentkit advise" in told
    assert "1 of 2 rules firing" in page.js("return document.getElementById('alerts').textContent")
    page.js("document.querySelector('[data-rule] a').click()")
    eventually(lambda: page.js("return document.body.dataset.view") == "task")
    title = "return document.querySelector('#view-title .mono')?.textContent"
    assert eventually(lambda: page.js(title)) == PLANTED_TASK


def test_filters_narrow_every_figure(page: Page) -> None:
    page.open()
    page.choose("by-feature", "support")
    where = page.sums(tags={"feature": "support"})
    eventually(lambda: page.figure("spend") == where.cost_nusd)
    assert sum(page.values("#panels .chart rect.fill")) == where.cost_nusd
    tasks = page.store.tasks(limit=100_000, where=JournalFilter(tags={"feature": "support"}))
    assert page.values("#task-count") == [len(tasks)]
    page.choose("by-outcome", "landed")
    landed = [task for task in tasks if task.outcome == "landed"]
    eventually(lambda: page.values("#task-count") == [len(landed)])
    page.js("document.getElementById('clear-filters').click()")
    eventually(lambda: page.figure("spend") == page.sums().cost_nusd)
    page.choose("by-model", "openai:gpt-5-mini")
    few = {
        str(g.key[0])
        for g in page.store.sum_calls(("task",), JournalFilter(model="openai:gpt-5-mini"))
    }
    eventually(lambda: page.values("#task-count") == [len(few)])


def test_search_finds_by_id_tag_and_scope(page: Page) -> None:
    tasks = page.store.tasks(limit=100_000)
    page.open()
    page.choose("search", f"{tasks[5].task_id[4:].upper()}")
    eventually(lambda: page.values("#task-count") == [1])
    assert (
        page.js("return document.querySelector('#task-table .id a').textContent")
        == tasks[5].task_id
    )
    page.choose("search", "faq acme/web/u2")
    found = [
        task for task in tasks if task.tags.get("feature") == "faq" and "acme/web/u2" in task.scope
    ]
    eventually(lambda: page.values("#task-count") == [len(found)])
    page.choose("search", "no such thing")
    eventually(lambda: page.values("#task-count") == [0])
    assert "No task fits" in page.js("return document.querySelector('#task-table').textContent")


def test_two_tasks_are_compared(page: Page) -> None:
    first, second = sorted(page.store.tasks(limit=100_000), key=lambda task: -task.calls)[:2]
    page.open(f"#compare={first.task_id},{second.task_id}")
    costs = page.values("#compare-table tbody tr:first-child td")
    assert costs == [first.cost_nusd, second.cost_nusd, second.cost_nusd - first.cost_nusd]
    page.keep("compare")


def test_only_rows_in_sight_are_in_the_page(page: Page) -> None:
    page.open()
    rows = "return document.querySelectorAll('#task-table tr[data-task]').length"
    assert page.js(rows) < 80
    page.js("const r = document.getElementById('task-rows'); r.scrollTop = r.scrollHeight")
    first = min(page.store.tasks(limit=100_000), key=lambda task: task.started_at)
    last = "return [...document.querySelectorAll('#task-table tr[data-task]')].at(-1).dataset.task"
    eventually(lambda: page.js(last) == first.task_id)
    assert page.js(rows) < 80


def test_the_list_sorts_by_cost(page: Page) -> None:
    page.open()
    page.js("document.querySelector('#task-table th.nusd .sort').click()")
    shown = page.values("#task-table tr[data-task] td.nusd")
    dearest = sorted((t.cost_nusd for t in page.store.tasks(limit=100_000)), reverse=True)
    assert shown == dearest[: len(shown)]
    order = "return document.querySelector('#task-table th.nusd').getAttribute('aria-sort')"
    assert page.js(order) == "descending"


@pytest.mark.parametrize("way", ["served", "file"])
def test_planted_markup_stays_text(way: str, page: Page, tmp_path: Path) -> None:
    address = page.server.url
    if way == "file":
        path = tmp_path / "report.html"
        write_report(
            CostBook(page.store, name=PLANTED), TaskStories(page.store), path, most_calls=10
        )
        address = path.as_uri()
    for fragment in (
        "",
        f"#task={quote(PLANTED_TASK)}",
        f"#compare={quote(PLANTED_TASK)},{quote(PLANTED_TASK)}",
    ):
        page.driver.get("about:blank")
        page.driver.get(address + fragment)
        eventually(
            lambda: page.js("return document.body.textContent.includes(arguments[0])", PLANTED)
        )
        assert page.js("return window.planted ?? null") is None
        assert page.js("return document.querySelectorAll('main img, main script').length") == 0
    assert not [line for line in page.driver.get_log("browser") if line["level"] == "SEVERE"]


def test_a_file_opens_from_disk_with_the_same_figures(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(CostBook(page.store, name="x"), TaskStories(page.store), path, most_calls=200)
    page.driver.get(path.as_uri())
    eventually(lambda: page.js("return !!document.querySelector('#task-table tr[data-task]')"))
    assert page.figure("spend") == page.sums().cost_nusd
    fetched = page.js("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert [name for name in fetched if not name.startswith("data:")] == []
    latest = page.store.tasks(limit=2)[1]
    page.js("location.hash = `task=${arguments[0]}`", latest.task_id)
    eventually(lambda: page.js("return !!document.getElementById('view-title')"))
    assert page.figure("task-cost") == latest.cost_nusd
    oldest = min(page.store.tasks(limit=100_000), key=lambda task: task.started_at)
    page.js("location.hash = `task=${arguments[0]}`", oldest.task_id)
    eventually(lambda: page.js("return document.body.textContent.includes('not in this file')"))


class Elsewhere(BaseHTTPRequestHandler):
    """Another site that has learnt the address, token and all."""

    target = ""

    def do_GET(self) -> None:
        page = ELSEWHERE.replace("TARGET", self.target)
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_another_origin_gets_nothing_though_it_knows_the_token(page: Page) -> None:
    Elsewhere.target = page.server.url
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        page.driver.get(f"http://127.0.0.1:{server.server_address[1]}/")
        got = dict(eventually(lambda: (g := page.js("return window.got")) and len(g) >= 4 and g))
        server.shutdown()
        thread.join()
    assert got == {"cors": "refused", "no-cors": "refused", "frame": "closed", "script": "refused"}


def test_without_the_token_there_is_nothing_to_see(page: Page) -> None:
    page.driver.get(page.server.url.partition("?")[0])
    assert "open the address that agentkit view printed" in page.js(
        "return document.body.textContent"
    )
    assert page.js("return document.querySelectorAll('script').length") == 0


def test_the_keyboard_reaches_everything(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.open()
    body = page.driver.switch_to.active_element
    body.send_keys(Keys.TAB)
    assert page.js("return document.activeElement.className") == "skip"
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.js("return document.activeElement.id") == "main"
    page.driver.switch_to.active_element.send_keys("/")
    assert page.js("return document.activeElement.id") == "search"
    page.driver.switch_to.active_element.send_keys("support", Keys.ESCAPE)
    tasks = page.store.tasks(limit=100_000, where=JournalFilter(tags={"feature": "support"}))
    eventually(lambda: page.values("#task-count") == [len(tasks)])
    page.js("document.querySelector('#task-table .id a').focus()")
    for _ in range(40):
        page.driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    focused = page.js("return document.activeElement.textContent")
    assert focused == tasks[40].task_id
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    eventually(lambda: page.js("return document.activeElement.id") == "view-title")
    assert focused in page.js("return document.activeElement.textContent")
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    eventually(lambda: page.js("return document.body.dataset.view") == "overview")


def test_everything_has_a_name_for_a_screen_reader(page: Page) -> None:
    for fragment in ("", f"#task={page.store.tasks(limit=2)[1].task_id}"):
        page.open(fragment)
        nameless = page.js(NAMELESS)
        assert nameless == []
        headings = page.js("return [...document.querySelectorAll('h1, h2')].map((e) => e.tagName)")
        assert headings[0] == "H1"
        assert headings.count("H1") == 1
        assert page.js("return document.querySelectorAll('main').length") == 1
        untold = page.js(
            "return [...document.querySelectorAll('table')].filter((t) => !t.caption).length"
        )
        assert untold == 0


def test_nothing_moves_for_those_who_asked_for_that(page: Page) -> None:
    page.open()
    page.js("document.getElementById('live').dataset.state = 'running'")
    assert (
        page.js("return getComputedStyle(document.querySelector('#live i')).animationName")
        == "none"
    )


def test_the_colours_can_be_turned(page: Page) -> None:
    page.open(scheme="light")
    colour = "return getComputedStyle(document.body).backgroundColor"
    before = page.js(colour)
    page.js("document.getElementById('theme').click()")
    assert page.js(colour) != before
    assert page.js(LOW_CONTRASTS) == []
    assert page.js("return document.getElementById('theme').getAttribute('aria-pressed')") == "true"


def test_a_call_that_settles_while_the_page_is_open_appears(page: Page) -> None:
    import time

    from agentkit.budgets.journal import CallRecord, TaskRecord
    from agentkit.budgets.usage import Usage
    from tests.view.ledgers import record_call

    page.open()
    before = page.figure("spend")
    now = time.time()
    page.store.put_task(TaskRecord(task_id="fresh", scope="acme", started_at=now))
    call = CallRecord(
        call_id="fresh.1", task_id="fresh", scope="acme", step=1, index=1, model="gpt-5-mini",
        provider="openai", started_at=now, usage=Usage(input_tokens=9), cost_nusd=5_000_000,
        cost_source="table",
    )  # fmt: skip
    record_call(page.store, call)
    eventually(lambda: page.figure("spend") == before + 5_000_000)
    eventually(
        lambda: "1 task running" in page.js("return document.getElementById('live').textContent")
    )


def test_an_answer_that_is_markup_stays_text(page: Page, tmp_path: Path) -> None:
    from agentkit.budgets import Ledger
    from agentkit.checkpoint import ThreadedSqliteSaver, open_checkpointer
    from agentkit.view.texts import CheckpointTexts
    from tests.view.test_texts import run_two_tasks

    ledger, address = Ledger("memory://"), f"sqlite:///{tmp_path}/checkpoints.db"
    task_id, _ = run_two_tasks(ledger, address)
    saver = open_checkpointer(address)
    path = tmp_path / "report.html"
    stories = TaskStories(ledger.store, CheckpointTexts(saver))
    write_report(CostBook(ledger.store, name="x"), stories, path, most_calls=10)
    page.driver.get("about:blank")
    page.driver.get(f"{path.as_uri()}#task={task_id}")
    eventually(lambda: page.js("return !!document.getElementById('texts')"))
    page.js("document.querySelectorAll('#texts details').forEach((e) => (e.open = true))")
    assert page.js("return document.getElementById('texts').innerText").count(PLANTED) == 1
    assert page.js("return window.planted ?? null") is None
    assert page.js("return document.querySelectorAll('main img, main script').length") == 0
    assert isinstance(saver, ThreadedSqliteSaver)
    saver.conn.close()


def test_a_task_of_thousands_of_calls_can_be_opened(page: Page, tmp_path: Path) -> None:
    from dataclasses import replace

    from benchmarks._traffic import Played, write

    source = max(page.store.tasks(limit=100_000), key=lambda task: task.calls)
    call = page.store.calls(source.task_id)[0]
    calls = [replace(call, call_id=f"c{n}", step=n, index=n) for n in range(1, 2_501)]
    task = replace(source, calls=len(calls))
    write(tmp_path / "ledger.db", [Played(task=task, calls=tuple(calls), events=())])
    store = SqliteStore(tmp_path / "ledger.db")
    path = tmp_path / "report.html"
    write_report(CostBook(store, name="x"), TaskStories(store), path, most_calls=5_000)
    store.close()
    page.driver.get(f"{path.as_uri()}#task={source.task_id}")
    eventually(lambda: page.js("return !!document.getElementById('view-title')"))
    assert page.figure("task-cost") == 2_500 * call.cost_nusd
    assert page.js("return document.querySelectorAll('.task-view .column').length") <= 240
    sent = sum(tokens for part, tokens in call.components.items() if part != "output")
    drawn = sum(page.values(".task-view .column rect.fill"))
    assert drawn == 2_500 * (sent + call.usage.output_tokens)
    assert page.js("return document.querySelectorAll('#calls-table tbody tr').length") == 2_000
