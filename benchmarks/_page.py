"""How long the page takes over a large ledger, in a real Chromium, from outside its process.

`page_ms` is from the navigation until figures and list are on the screen; `first_paint_ms` is the
browser's own first contentful paint, of the page without figures. `filter_ms` is from an input to
the screen that shows its effect. Each is the median of several. `start_s` is what the server takes
to read the ledger once, before it can serve it.

    python benchmarks/_page.py LEDGER.db    # all of them, as JSON

`benchmarks/reports.py` takes the first and the third.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.view.chromium import eventually, look_as, missing, open_chromium, run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

_NAVIGATIONS = 7
_SEARCHES = ("support", "u1", "classify", "acme/web", "sup", "suppo", "support u2")
_CHOICES = (
    ("by-feature", "support"),
    ("by-outcome", "landed"),
    ("by-feature", ""),
    ("by-outcome", ""),
)
_FILTER = """
const [id, value, done] = arguments;
const element = document.getElementById(id);
element.value = value;
const began = performance.now();
const kind = element.tagName === "SELECT" ? "change" : "input";
element.dispatchEvent(new Event(kind, {bubbles: true}));
requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
"""


def measure(ledger: Path) -> tuple[float | None, float | None]:
    """`page_ms` and `filter_ms`; None where no browser can be driven."""
    found = measure_page(ledger)
    return (None, None) if found is None else (found["page_ms"], found["filter_ms"])


def measure_page(ledger: Path) -> dict[str, float] | None:
    """The page's times over the SQLite ledger at `ledger`; None where no browser can be driven."""
    if missing():
        print(f"the page was not measured: this wants {missing()}", file=sys.stderr)
        return None
    with _served(ledger) as (url, start_seconds):
        driver = open_chromium()
        try:
            look_as(driver)
            shown, painted = _navigations(driver, url)
            filtered = [_filtered(driver, "search", text) for text in (*_SEARCHES, "")]
            filtered += [_filtered(driver, element, value) for element, value in _CHOICES]
        finally:
            driver.quit()
    return {
        "page_ms": round(statistics.median(shown), 1),
        "first_paint_ms": round(statistics.median(painted), 1),
        "filter_ms": round(statistics.median(filtered), 1),
        "filter_ms_max": round(max(filtered), 1),
        "start_s": round(start_seconds, 2),
    }


def _navigations(driver: Chrome, url: str) -> tuple[list[float], list[float]]:
    shown: list[float] = []
    painted: list[float] = []
    for _ in range(_NAVIGATIONS):
        driver.get("about:blank")
        driver.get(url)
        told = eventually(lambda: run(driver, "return document.body.dataset.shownMs"), seconds=60)
        shown.append(float(told))
        first = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
        painted.append(float(run(driver, first)))
    return shown, painted


def _filtered(driver: Chrome, element: str, value: str) -> float:
    took: Any = driver.execute_async_script(_FILTER, element, value)
    return float(took)


@contextmanager
def _served(ledger: Path) -> Iterator[tuple[str, float]]:
    """`agentkit view` of the ledger, once it has read it."""
    command = [Path(sys.executable).with_name("agentkit"), "view", "--json", "--no-browser"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--ledger", f"sqlite:///{ledger.absolute()}"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        url: str = json.loads("".join(lines))["url"]
        with urllib.request.urlopen(  # noqa: S310  its own address
            url.replace("/?", "/api/book?"), timeout=300
        ) as response:
            response.read()
        yield url, time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


if __name__ == "__main__":
    print(json.dumps(measure_page(Path(sys.argv[1]))))
