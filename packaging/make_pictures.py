"""Pictures of the page for the docs, from generated traffic: `python packaging/make_pictures.py`.

Wants Chromium and its driver. Traffic and sizes are fixed, so the same browser draws the same.
"""

from __future__ import annotations

import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agentkit.budgets.stores.sqlite import SqliteStore
from agentkit.reports.alert import RULES
from agentkit.view.alarms import alarms
from agentkit.view.book import CostBook
from agentkit.view.server import PageServer
from agentkit.view.story import TaskStories
from benchmarks._traffic import WASTEFUL, Played, traffic, write
from tests.view.chromium import eventually, look_as, missing, open_chromium, picture, run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
_CALLS, _DAYS, _DAY_USD = 20_000, 30, 20.0
_TASK_USD = "2"
_MOST_BYTES = 150_000


def main() -> None:
    """Write every picture anew and say how large each is."""
    if missing():
        raise SystemExit(f"this wants {missing()}")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger.db"
        write(ledger, map(_limited, traffic(WASTEFUL, calls=_CALLS, days=_DAYS)))
        store = SqliteStore(ledger)
        end = max(call.started_at for call in store.scan_calls())
        book = CostBook(
            store, name="acme.db", alerts=lambda: alarms(store, RULES, now=end, day_usd=_DAY_USD)
        )
        with PageServer(book, TaskStories(store)) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            driver = open_chromium()
            try:
                _draw(driver, server.url, store)
            finally:
                driver.quit()
                server.shutdown()
        store.close()


def _limited(played: Played) -> Played:
    """The task with a limit that its thirty uncached calls stay under."""
    return replace(played, task=replace(played.task, budget={"usd": _TASK_USD}))


def _draw(driver: Chrome, url: str, store: SqliteStore) -> None:
    escalated = next(call for call in store.scan_calls() if call.escalation and call.step == 2)
    long = max(store.tasks(limit=2_000), key=lambda task: (task.calls, task.task_id))
    for name, fragment, scheme, size in (
        ("overview-light", "", "light", "laptop"),
        ("overview-dark", "", "dark", "laptop"),
        ("task-dark", f"#task={long.task_id}", "dark", "laptop"),
        ("task-light", f"#task={escalated.task_id}", "light", "laptop"),
        ("overview-phone", "", "light", "phone"),
    ):
        look_as(driver, size=size, scheme=scheme)
        driver.get("about:blank")
        driver.get(f"{url}{fragment}")
        seen = "#view-title" if fragment else "#task-table tr[data-task]"
        eventually(
            lambda seen=seen: run(driver, "return !!document.querySelector(arguments[0])", seen)
        )
        _keep(name, picture(driver, most_height=900 if size == "laptop" else 1250))


def _keep(name: str, data: bytes) -> None:
    if len(data) > _MOST_BYTES:
        raise SystemExit(f"{name} has {len(data)} bytes; {_MOST_BYTES} are allowed")
    (PICTURES / f"{name}.png").write_bytes(data)
    print(f"{name}: {len(data) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
