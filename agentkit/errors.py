"""What can go wrong above the budget.

AgentError
├── ModelNotFound      a model string that names nothing usable; says what to do
├── ExtraMissing       an optional package is not installed; names the extra
├── ConfigError        agentkit.toml, a tool reference or an argument that cannot be understood
├── PromptTooLong      a request that does not fit the model's window
├── NotResumable       no stored state under this thread or task
└── ListChanged        a fan-out was begun under this name with other requests
"""

from __future__ import annotations


class AgentError(Exception):
    """Parent of the errors that agentkit raises itself; budgets and tools have their own."""


class ModelNotFound(AgentError):
    """A model string that names nothing usable."""


class ExtraMissing(AgentError, ImportError):
    """An optional package is needed and not installed."""

    def __init__(self, *, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f'{what} needs an optional package: pip install "agentkit[{extra}]"')


class ConfigError(AgentError, ValueError):
    """A configuration value that cannot be understood."""


class PromptTooLong(AgentError):
    """A request that does not fit the model's window, found out before it is sent."""

    def __init__(self, *, model: str, prompt_tokens: int, window_tokens: int) -> None:
        self.model = model
        self.prompt_tokens = prompt_tokens
        self.window_tokens = window_tokens
        super().__init__(
            f"a prompt of {prompt_tokens:,} tokens does not fit the {window_tokens:,} tokens of "
            f"{model}; shorten the request, or put a model with a larger window in models=[...]"
        )


class NotResumable(AgentError):
    """Nothing is stored under this thread or task."""


class ListChanged(AgentError):
    """A fan-out of this name was begun with other requests, or under another scope."""
