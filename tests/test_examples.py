"""Every example runs without a key, and so does the code in the documentation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

EXPECTED = {
    "quickstart.py": ["answered: Lisbon: sunny, 24 degrees", "failed: no offered tool fits"],
    "langgraph_metered.py": [
        "a table for 4 in Oslo is booked",
        "in Lima for 4 people' was not sent: asked 1 call",
        "4 calls in 'acme'",
    ],
    "langgraph_context.py": [
        "found W12-217|customer 217 asked 1 times|759.5",
        "14 calls, at most 1,",
        "tools said 257,859",
    ],
    "callbacks.py": [
        "SCRIPTED server",
        "-> 0.005 USD more, once",
        "of 0.015 USD is spent",
        "landed: From what I found so far",
    ],
    "two_frontier_tiers.py": [
        "SCRIPTED server",
        "tier 0 gpt-5-mini: 0.000",
        "gave way: call to unknown tool 'compare_orders'",
        "tier 1 claude-sonnet-4-5: 0.00",
        "1 escalations",
    ],
    "mcp_server.py": ["may shop__refund run?", "answered Your lamp is refunded."],
    "traces_to_file.py": ["holds 5 spans", "invoke_workflow agent", "execute_tool play_music"],
}


def run_python(*arguments: str, folder: Path, **variables: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in KEYS}
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", *arguments],
        cwd=folder,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


def test_every_example_is_expected() -> None:
    found = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert found - {"scripted.py"} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_example(name: str, tmp_path: Path) -> None:
    output = run_python(str(ROOT / "examples" / name), folder=tmp_path)
    for expected in EXPECTED[name]:
        assert expected in output


def test_the_example_of_traces_writes_where_it_is_told(tmp_path: Path) -> None:
    run_python(str(ROOT / "examples" / "traces_to_file.py"), "here.jsonl", folder=tmp_path)
    assert len((tmp_path / "here.jsonl").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/quickstart.md",
        "docs/budgets.md",
        "docs/models.md",
        "docs/telemetry.md",
        "docs/graph.md",
        "docs/context.md",
        "docs/cache.md",
        "docs/routing.md",
    ],
)
def test_the_code_of_a_page_runs(page: str, tmp_path: Path) -> None:
    """The blocks of a page are one program; the keys are made up, and nothing is sent."""
    blocks = PYTHON_BLOCK.findall((ROOT / page).read_text())
    assert blocks
    (tmp_path / "page.py").write_text("\n".join(blocks))
    run_python("page.py", folder=tmp_path, OPENAI_API_KEY="none", ANTHROPIC_API_KEY="none")


LINK = re.compile(r"\]\(([^)#]+)?(#[^)]*)?\)")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), target
        assert found.is_relative_to(ROOT)
        if anchor:
            assert anchor.removeprefix("#") in anchors(found)


def anchors(page: Path) -> set[str]:
    """The names that a page's headings get."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
