"""Tools named as `module:name`: imported from the installed packages or the project's folder."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from agentkit.cli.screen import one_line
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.tools.catalogue import ToolCatalogue, ToolSpec
    from agentkit.tools.functions import ToolSource

_REFERENCE = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*)")


def load_tools(references: Sequence[str], folder: Path) -> ToolCatalogue:
    """The tools behind `references`; each is a function, a tool, a list of them, a catalogue or
    MCP servers.

    `folder` becomes importable, after everything that is installed. Raises ConfigError.
    """
    from agentkit.tools.catalogue import ToolCatalogue
    from agentkit.tools.mcp import McpServers

    found: list[ToolSource | ToolSpec] = []
    for reference in references:
        value = resolved(reference, folder)
        many = isinstance(value, list | tuple | ToolCatalogue | McpServers)
        found += cast("Iterable[ToolSource]", value if many else [value])
    return ToolCatalogue(found)  # which refuses what is no tool


def resolved(reference: str, folder: Path) -> object:
    """What `module:name` names; `folder` becomes importable. Raises ConfigError."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ConfigError(
            f"tools {reference!r}: write module:name, like --tools shop:search_orders for the "
            "function search_orders in shop.py"
        )
    module = _imported(match["module"], folder)
    if not hasattr(module, match["name"]):
        names = [name for name in vars(module) if not name.startswith("_")]
        close = difflib.get_close_matches(match["name"], names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "check its spelling"
        raise ConfigError(f"{match['module']!r} has no {match['name']!r}; {hint}")
    value: object = getattr(module, match["name"])
    return value


def _imported(name: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            raise ConfigError(
                f"there is no module {missing!r}, neither installed nor in {folder}; run the "
                "command from the folder that holds it"
            ) from error
        raise ConfigError(
            f"tools from {name!r} need the module {missing!r}, which is not installed"
        ) from error
    except (Exception, SystemExit) as error:  # the user's own module may raise anything
        raise ConfigError(
            f"importing {name!r} raised {type(error).__name__}: {one_line(str(error))}"
        ) from error
