"""May this project file do what it asks for? Asked once, then remembered until it asks for more.

What stays in the folder and within an ordinary budget needs no trust. Code to import, an address
that keys and requests would go to, files elsewhere, and prices or limits that could cost much do.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import typer

from agentkit.cli.screen import printable
from agentkit.cli.settings import DEFAULT_USD, Flags, Settings, sqlite_file
from agentkit.errors import ConfigError

TRUST_VARIABLE = "AGENTKIT_TRUST_CONFIG"
_HARMLESS = frozenset(
    (
        "effort",
        "frequency_penalty",
        "kv_tokens",
        "max_completion_tokens",
        "max_tokens",
        "n_ctx",
        "n_gpu_layers",
        "n_threads",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning",
        "reasoning_effort",
        "seed",
        "sequences",
        "service_tier",
        "stop",
        "temperature",
        "thinking",
        "timeout",
        "top_k",
        "top_p",
        "use_responses_api",
        "verbosity",
    )
)
_ADDRESSES = frozenset(("base_url", "openai_api_base", "anthropic_api_url"))
_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


def require_trust(settings: Settings, flags: Flags, *, ask: bool) -> None:
    """Return where the project file is trusted with all that a run needs; else raise ConfigError.

    On a terminal, and where `ask`, the user decides; the answer is remembered.
    """
    _require(settings, flags, list(wishes_of(settings, flags)), ask=ask)


def require_trusted_ledger(settings: Settings, flags: Flags, *, ask: bool) -> None:
    """As `require_trust`, for commands that only look into the ledger."""
    _require(settings, flags, list(_ledger_wishes(settings, flags)), ask=ask)


def wishes_of(settings: Settings, flags: Flags) -> Iterator[str]:
    """What the file asks for that flags do not override, in words."""
    if settings.project.path is None:
        return
    yield from _code_wishes(settings, flags)
    yield from _money_wishes(settings, flags)
    yield from _ledger_wishes(settings, flags)
    yield from _file_wishes(settings, flags)


def _require(settings: Settings, flags: Flags, wishes: list[str], *, ask: bool) -> None:
    if not wishes or flags.trust_config or _is_true(os.environ.get(TRUST_VARIABLE)):
        return
    file = str(settings.project.path)
    known = _read_known()
    granted = set(known.get(file, ()))
    new = [wish for wish in wishes if _digest(wish) not in granted]
    if not new:
        return
    told = "".join(f"\n  - {printable(wish)}" for wish in new)
    if not ask or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            f"{printable(file)} wants to{told}\nIf it is yours, say so with --trust-config or "
            f"{TRUST_VARIABLE}=1; nothing was run"
        )
    question = f"{printable(file)} wants to{told}\nTrust it, now and later?"
    if not typer.confirm(question, default=False, err=True):
        raise ConfigError("the project file is not trusted, so nothing was run")
    _remember({**known, file: sorted(granted | {_digest(wish) for wish in new})})


def _code_wishes(settings: Settings, flags: Flags) -> Iterator[str]:
    project = settings.project
    if not flags.tools:
        for reference in project.agent.tools:
            yield f"import and run code: tools {reference} from {project.folder}"
    for model in settings.models:
        for key, value in project.models.get(model, {}).items():
            if key in _ADDRESSES:
                if not _is_loopback(str(value)):
                    yield f"send the requests of {model}, and your key, to {value}"
            elif key not in _HARMLESS:
                yield f"set {key} of {model} to {value!r}"


def _money_wishes(settings: Settings, flags: Flags) -> Iterator[str]:
    """A budget is only worth what its prices and limits are."""
    project = settings.project
    usd = project.budget.usd
    if settings.spends_money and flags.usd is None:
        if usd is not None and usd > Decimal(DEFAULT_USD):
            yield f"spend up to {usd} USD a run"
        elif usd is None and settings.file_limits and not settings.flag_limits:
            yield "spend money without a limit in USD"
    if settings.spends_money and project.budget.unknown_price == "allow":
        yield "call models whose price nobody knows"
    if project.prices.file and not flags.prices:
        yield f"set the prices that a budget in USD relies on: {project.prices.file}"


def _ledger_wishes(settings: Settings, flags: Flags) -> Iterator[str]:
    address = settings.project.ledger.address
    if address and not flags.ledger:
        yield from _place(settings, "ledger", address, settings.ledger)


def _file_wishes(settings: Settings, flags: Flags) -> Iterator[str]:
    project = settings.project
    if project.checkpoint.address and settings.checkpoint and not flags.checkpoint:
        yield from _place(settings, "checkpoints", project.checkpoint.address, settings.checkpoint)
    if project.cache.address and settings.cache and not flags.cache:
        yield from _place(settings, "answers", project.cache.address, settings.cache)
    trace = None if flags.trace or settings.trace == "otlp" else settings.trace
    if trace is not None and not _inside(Path(trace), project.folder):
        yield f"write traces to {trace}"


def _place(settings: Settings, what: str, written: str, used: str) -> Iterator[str]:
    if used.startswith("memory://"):
        return
    file = sqlite_file(used)
    if file is None:
        yield f"keep the {what} at {written}"
    elif not _inside(file, settings.project.folder):
        yield f"keep the {what} in {file}"


def _is_loopback(address: str) -> bool:
    parts = urlsplit(address)
    return parts.hostname in _LOOPBACK and parts.username is None


def _inside(file: Path, folder: Path) -> bool:
    return file.resolve().is_relative_to(folder.resolve())


def _is_true(value: str | None) -> bool:
    return (value or "").strip().lower() in ("1", "true", "yes", "on")


def _known_file() -> Path:
    return Path(typer.get_app_dir("agentkit")) / "trusted.json"


def _digest(wish: str) -> str:
    return hashlib.sha256(wish.encode()).hexdigest()


def _read_known() -> dict[str, list[str]]:
    try:
        data = json.loads(_known_file().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(data, dict):
        return {}
    known = cast("dict[str, object]", data)
    return {
        file: [str(digest) for digest in cast("list[object]", digests)]
        for file, digests in known.items()
        if isinstance(digests, list)
    }


def _remember(known: Mapping[str, Sequence[str]]) -> None:
    file = _known_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(known, indent=1), "utf-8")
