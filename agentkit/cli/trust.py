"""May this project file do what it asks for? Asked once, then remembered until it asks for more.

Settings that only spend within the budget need no trust. Code to import, an address that keys and
requests would go to, and files outside the project's folder do.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import typer

from agentkit.cli.screen import printable
from agentkit.cli.settings import Flags, Settings, sqlite_file
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
    """Return where the project file is trusted with all that it asks for; else raise ConfigError.

    On a terminal, and where `ask`, the user decides; the answer is remembered.
    """
    wishes = list(wishes_of(settings, flags))
    if not wishes or flags.trust_config or _is_true(os.environ.get(TRUST_VARIABLE)):
        return
    file = str(settings.project.path)
    digest = hashlib.sha256("\n".join(wishes).encode()).hexdigest()
    known = _read_known()
    if known.get(file) == digest:
        return
    told = "".join(f"\n  - {printable(wish)}" for wish in wishes)
    if not ask or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            f"{printable(file)} wants to{told}\nIf it is yours, say so with --trust-config or "
            f"{TRUST_VARIABLE}=1; nothing was run"
        )
    question = f"{printable(file)} wants to{told}\nTrust it, now and later?"
    if not typer.confirm(question, default=False, err=True):
        raise ConfigError("the project file is not trusted, so nothing was run")
    _remember({**known, file: digest})


def wishes_of(settings: Settings, flags: Flags) -> Iterator[str]:
    """What the file asks for that flags do not override, in words."""
    project = settings.project
    if project.path is None:
        return
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
    yield from _places(settings, flags)


def _places(settings: Settings, flags: Flags) -> Iterator[str]:
    project = settings.project
    for what, flag, address, used in (
        ("ledger", flags.ledger, project.ledger.address, settings.ledger),
        ("checkpoints", flags.checkpoint, project.checkpoint.address, settings.checkpoint),
    ):
        if flag or not address or used is None or used == "memory://":
            continue
        file = sqlite_file(used)
        if file is None:
            yield f"keep the {what} at {address}"
        elif not _inside(file, project.folder):
            yield f"keep the {what} in {file}"
    trace = None if flags.trace or settings.trace == "otlp" else settings.trace
    if trace is not None and not _inside(Path(trace), project.folder):
        yield f"write traces to {trace}"


def _is_loopback(address: str) -> bool:
    parts = urlsplit(address)
    return parts.hostname in _LOOPBACK and parts.username is None


def _inside(file: Path, folder: Path) -> bool:
    return file.resolve().is_relative_to(folder.resolve())


def _is_true(value: str | None) -> bool:
    return (value or "").strip().lower() in ("1", "true", "yes", "on")


def _known_file() -> Path:
    return Path(typer.get_app_dir("agentkit")) / "trusted.json"


def _read_known() -> dict[str, str]:
    try:
        data = json.loads(_known_file().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(data, dict):
        return {}
    known = cast("dict[str, object]", data)
    return {file: digest for file, digest in known.items() if isinstance(digest, str)}


def _remember(known: dict[str, str]) -> None:
    file = _known_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(known, indent=1), "utf-8")
