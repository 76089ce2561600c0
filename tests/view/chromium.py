"""A real Chromium without a window, over WebDriver; browser and driver are Debian's packages."""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

SIZES = {"phone": (390, 844), "laptop": (1160, 800), "desktop": (1360, 900)}
T = TypeVar("T")


def missing() -> str:
    """What is not here to drive a browser; empty where all is."""
    wanted = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if importlib.util.find_spec("selenium") is None:
        wanted.append("selenium (make setup)")
    return ", ".join(wanted)


def open_chromium() -> Chrome:
    """A browser with a profile of its own, which nothing of this machine's user is in."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_script_timeout(30)
    return driver


def look_as(driver: Chrome, *, size: str = "desktop", scheme: str = "light") -> None:
    """Take a screen's size and a colour scheme."""
    width, height = SIZES[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def picture(driver: Chrome, *, most_height: int = 2400) -> bytes:
    """The page as a PNG, from its top, as high as it is up to `most_height`."""
    import base64

    page = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = {
        "x": 0,
        "y": 0,
        "width": page["width"],
        "height": min(page["height"], most_height),
        "scale": 1,
    }
    shot = driver.execute_cdp_cmd(
        "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
    )
    return base64.b64decode(shot["data"])


def eventually(look: Callable[[], T], *, seconds: float = 30) -> T:
    """What `look` answers once that is something."""
    until = time.monotonic() + seconds
    while True:
        found = look()
        if found or time.monotonic() > until:
            assert found, "the page did not come to it"
            return found
        time.sleep(0.05)


def run(driver: Chrome, script: str, *arguments: object) -> Any:
    """What a script in the page returns."""
    return driver.execute_script(script, *arguments)


_HERE = Path(__file__).parent
LOW_CONTRASTS = (_HERE / "low_contrasts.js").read_text()
NAMELESS = (_HERE / "nameless.js").read_text()
ELSEWHERE = (_HERE / "elsewhere.html").read_text()
