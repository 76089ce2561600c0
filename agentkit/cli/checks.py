"""The single checks of `agentkit doctor`: what each found, and how to get what is missing."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from agentkit.cli.screen import one_line
from agentkit.cli.settings import Flags, Settings, read_settings, sqlite_file
from agentkit.errors import ConfigError

State = Literal["ok", "absent", "broken"]

_LEAST_SQLITE = (3, 35)  # RETURNING and friends
_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """`absent` is optional and not there; `broken` should work and does not."""

    name: str
    state: State
    detail: str
    advice: str = ""

    def to_dict(self) -> dict[str, str]:
        """The check as JSON types."""
        return asdict(self)


def run_checks(flags: Flags) -> Iterator[Check]:
    """Every check, in the order of what builds on what; none of them raises."""
    yield _python()
    settings = _read(flags)
    yield settings if isinstance(settings, Check) else _project(settings)
    yield _guarded("llama.cpp", _llama, "pip install --force-reinstall 'agentkit[local]'")
    yield _guarded("pocket model", _pocket, "install agentkit again: its model file is not usable")
    for provider in ("openai", "anthropic"):
        yield _provider(provider)
        yield _key(provider)
    yield _otlp()
    yield _guarded("prices", _prices, "pip install --upgrade genai-prices")
    yield _guarded("token tables", _token_tables, "install agentkit again: its tables are missing")
    yield _guarded("SQLite", _sqlite, "use a Python with SQLite 3.35 or later")
    if isinstance(settings, Settings):
        yield _ledger(settings, flags)
    yield _terminal()


def extra_version(package: str) -> str | None:
    """The installed version of `package`; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def key_is_set(provider: str) -> bool:
    """Whether the provider's key is in the environment; its value is never looked at."""
    return bool(os.environ.get(_KEYS[provider]))


def _python() -> Check:
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check(name="Python", state="ok", detail=f"{detail}, {os.cpu_count()} cores")


def _read(flags: Flags) -> Settings | Check:
    try:
        return read_settings(flags)
    except Exception as error:  # noqa: BLE001  a bad file is what a doctor should report
        return Check(
            name="project file",
            state="broken",
            detail=one_line(str(error)),
            advice="correct the file; docs/cli.md lists its tables and keys",
        )


def _project(settings: Settings) -> Check:
    path = settings.project.path
    if path is None:
        return Check(
            name="project file",
            state="absent",
            detail="no agentkit.toml here or above",
            advice="optional: it keeps models, tools and budget, see docs/cli.md",
        )
    return Check(name="project file", state="ok", detail=str(path))


def _guarded(name: str, look: Callable[[], Check | str], advice: str) -> Check:
    """A check whose own failure is its finding."""
    try:
        found = look()
    except Exception as error:  # noqa: BLE001  whatever breaks here is what the check is for
        told = f"{type(error).__name__}: {one_line(str(error))}"
        return Check(name=name, state="broken", detail=told, advice=advice)
    return Check(name=name, state="ok", detail=found) if isinstance(found, str) else found


def _llama() -> Check | str:
    installed = extra_version("llama-cpp-python")
    if installed is None:
        return Check(
            name="llama.cpp",
            state="absent",
            detail="llama-cpp-python is not installed, so local: models cannot run",
            advice='pip install "agentkit[local]" (it compiles for some minutes)',
        )
    started = time.perf_counter()
    import llama_cpp

    del llama_cpp
    return f"llama-cpp-python {installed}, imported in {time.perf_counter() - started:.1f} s"


def _pocket() -> Check | str:
    if extra_version("llama-cpp-python") is None:
        return Check(name="pocket model", state="absent", detail="needs llama.cpp")
    from agentkit.demo import tools
    from agentkit.models.factory import chat_model
    from agentkit.tools.catalogue import ToolCatalogue

    model = chat_model("local:pocket").bind_tools(list(ToolCatalogue(tools).openai_schemas()))
    started = time.perf_counter()
    answer = model.invoke("play some jazz")
    seconds = time.perf_counter() - started
    called = [call["name"] for call in getattr(answer, "tool_calls", [])]
    if called != ["play_music"]:
        raise RuntimeError(f"it called {called or 'nothing'} for 'play some jazz'")
    return f"called play_music for 'play some jazz' in {seconds * 1000:.0f} ms, loading included"


def _provider(provider: str) -> Check:
    package = f"langchain-{provider}"
    installed = extra_version(package)
    if installed is None:
        return Check(
            name=f"{provider}: models",
            state="absent",
            detail=f"{package} is not installed",
            advice=f'pip install "agentkit[{provider}]"',
        )
    return Check(name=f"{provider}: models", state="ok", detail=f"{package} {installed}")


def _key(provider: str) -> Check:
    variable = _KEYS[provider]
    if key_is_set(provider):
        return Check(name=f"{provider} key", state="ok", detail=f"{variable} is set (not tried)")
    return Check(
        name=f"{provider} key",
        state="absent",
        detail=f"{variable} is not set",
        advice=f"export {variable}=... to use {provider}: models",
    )


def _otlp() -> Check:
    try:
        found = find_spec("opentelemetry.exporter.otlp.proto.http.trace_exporter") is not None
    except ModuleNotFoundError:
        found = False
    if found:
        place = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
        return Check(name="OTLP traces", state="ok", detail=f"would go to {one_line(place)}")
    return Check(
        name="OTLP traces",
        state="absent",
        detail="the OTLP exporter is not installed; --trace FILE works without it",
        advice='pip install "agentkit[otlp]"',
    )


def _prices() -> str:
    from agentkit.budgets.price import PriceBook

    book = PriceBook()
    models = (("gpt-5-mini", "openai"), ("claude-sonnet-4-5", "anthropic"))
    unknown = [model for model, name in models if book.price(model, name).state != "priced"]
    if unknown:
        raise RuntimeError(f"the table does not know {', '.join(unknown)}")
    return f"genai-prices {version('genai-prices')}"


def _token_tables() -> str:
    from agentkit.budgets.tokens import count_text

    counts = count_text("tokens", "o200k_base"), count_text("tokens", "cl100k_base")
    if min(counts) < 1:
        raise RuntimeError(f"'tokens' counts as {counts}")
    return "o200k and cl100k load offline"


def _sqlite() -> str:
    if sqlite3.sqlite_version_info < _LEAST_SQLITE:
        raise RuntimeError(f"SQLite {sqlite3.sqlite_version} is too old")
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite3.connect(Path(folder) / "check.db")
        mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        db.close()
    if mode != "wal":
        raise RuntimeError(f"journal mode is {mode!r} where WAL was asked for")
    return f"{sqlite3.sqlite_version}, WAL works"


def _ledger(settings: Settings, flags: Flags) -> Check:
    from agentkit.cli.assembly import is_absent, open_ledger
    from agentkit.cli.trust import require_trusted_ledger

    name, advice = "ledger", "name another with --ledger sqlite:///file.db"
    try:
        require_trusted_ledger(settings, flags, ask=False)
    except ConfigError as error:
        return Check(name=name, state="absent", detail=one_line(str(error), most_chars=400))
    if not is_absent(settings):
        try:
            with open_ledger(settings) as book:
                held = len(book.store.held())
                latest = len(book.store.tasks(limit=1))
        except Exception as error:  # noqa: BLE001  as above
            return Check(name=name, state="broken", detail=one_line(str(error)), advice=advice)
        told = "has tasks" if latest else "is empty"
        return Check(
            name=name, state="ok", detail=f"{settings.ledger} {told}, {held} reservations open"
        )
    file = sqlite_file(settings.ledger) or Path()
    folder = next(parent for parent in file.parents if parent.exists())
    if not os.access(folder, os.W_OK):
        return Check(name=name, state="broken", detail=f"{folder} is read-only", advice=advice)
    return Check(name=name, state="ok", detail=f"will be made at {file}")


def _terminal() -> Check:
    encoding = (sys.stdout.encoding or "ascii").lower()
    kind = "a terminal" if sys.stderr.isatty() else "no terminal: no live line"
    state: State = "ok" if encoding.replace("-", "") == "utf8" else "absent"
    return Check(
        name="terminal",
        state=state,
        detail=f"{kind}, {encoding}",
        advice="set PYTHONUTF8=1 to see every character",
    )
