"""The real `agentkit` command in a folder of its own, with a clean environment and no keys."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("agentkit"))
_KEPT = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "TMPDIR", "VIRTUAL_ENV")
_TIMEOUT_SECONDS = 60


def environment(home: Path, **extra: str) -> dict[str, str]:
    """A person's environment: `home` is theirs alone, and there are no keys in it."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), **extra}


def agentkit(
    *arguments: str,
    folder: Path,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run the command in `folder` to its end."""
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env=environment(folder, **(env or {})),
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )


def write_project(folder: Path, base_url: str, *, rest: str = "", tools: str = "") -> None:
    """An agentkit.toml with one frontier tier behind `base_url`."""
    named = f'tools = ["{tools}"]\n' if tools else ""
    (folder / "agentkit.toml").write_text(
        f'[agent]\nmodels = ["openai:gpt-5-mini"]\n{named}\n'
        f'[models."openai:gpt-5-mini"]\nbase_url = "{base_url}"\n{rest}',
        "utf-8",
    )


def write_tools(folder: Path) -> None:
    """shop.py with a function, a list of them and a module-level surprise."""
    (folder / "shop.py").write_text(
        '''"""Tools of a test."""


def stock(item: str) -> str:
    """How many of an item are there."""
    return f"12 {item} in stock"


def price(item: str) -> str:
    """What an item costs."""
    return f"{item}: 3 EUR"


everything = [stock, price]
number = 7
''',
        "utf-8",
    )
