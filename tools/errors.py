"""What can go wrong with tools before a step runs.

ToolError
├── InvalidTool           a tool that cannot be offered: name, description or schema (a ValueError)
│   └── DuplicateTool     two tools of one catalogue share a name; rename one of them
├── InvalidLimits         timeouts or bounds that make no sense (also a ValueError)
├── InvalidPermissions    a grant, ask or deny that cannot be meant (also a ValueError)
├── InvalidPins           a file of pinned definitions that cannot be used (also a ValueError)
├── ServerUnavailable     a tool server cannot be reached or has ended (also a ConnectionError)
├── ToolExtraMissing      an optional package is not installed; names the extra (an ImportError)
└── ObservationStoreError the store of whole observations cannot be opened, or failed

A tool that fails while it runs raises none of these: its failure is an `Observation`, for the model
to read.
"""

from __future__ import annotations


class ToolError(Exception):
    """Parent of every error that agentkit.tools raises."""


class InvalidTool(ToolError, ValueError):  # noqa: N818  named by what is wrong
    """A tool that cannot be offered to a model; `tool` is its name, or its repr without one."""

    def __init__(self, message: str, *, tool: str) -> None:
        self.tool = tool
        super().__init__(message)


class DuplicateTool(InvalidTool):
    """Two tools share a name; `first` and `second` say where each was defined."""

    def __init__(self, name: str, *, first: str, second: str) -> None:
        self.first = first
        self.second = second
        super().__init__(
            f"two tools are named {name!r}: {first} and {second}; "
            "rename one with ToolSpec.of(tool, name=...)",
            tool=name,
        )


class InvalidLimits(ToolError, ValueError):  # noqa: N818  as above
    """A timeout or a bound that cannot be meant."""


class InvalidPermissions(ToolError, ValueError):  # noqa: N818  as above
    """A grant, ask or deny that cannot be meant, or names no tool."""


class InvalidPins(ToolError, ValueError):  # noqa: N818  as above
    """A file of pinned definitions that cannot be read or written."""


class ServerUnavailable(ToolError, ConnectionError):  # noqa: N818  as above
    """A tool server that cannot be reached or has ended; `server` is its name."""

    def __init__(self, message: str, *, server: str) -> None:
        self.server = server
        super().__init__(message)


class ToolExtraMissing(ToolError, ImportError):
    """An optional package that a source of tools needs is not installed."""

    def __init__(self, *, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f'{what} needs an optional package: pip install "agentkit[{extra}]"')
