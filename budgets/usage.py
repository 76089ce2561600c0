"""Tokens of one or more model calls, by the classes that providers price apart."""

from __future__ import annotations

from dataclasses import dataclass, fields

from agentkit.budgets.errors import InvalidLimit


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens by class, as OpenTelemetry and LangChain count them.

    `input_tokens` is the whole input, cache reads and writes included; `output_tokens` is the whole
    output, reasoning included. All are 0 or more.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def __post_init__(self) -> None:
        if self.reasoning_tokens > self.output_tokens or self.fresh_input_tokens < 0:
            raise InvalidLimit(f"parts exceed their whole in {self!r}")
        if min(self.input_tokens, self.cache_read_tokens, self.output_tokens) < 0:
            raise InvalidLimit(f"negative tokens in {self!r}")
        if min(self.cache_write_5m_tokens, self.cache_write_1h_tokens, self.reasoning_tokens) < 0:
            raise InvalidLimit(f"negative tokens in {self!r}")

    @property
    def fresh_input_tokens(self) -> int:
        """Input tokens billed at the plain input price."""
        return (
            self.input_tokens
            - self.cache_read_tokens
            - self.cache_write_5m_tokens
            - self.cache_write_1h_tokens
        )

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in _CLASSES})

    def to_dict(self) -> dict[str, int]:
        """The token classes by name."""
        return {name: getattr(self, name) for name in _CLASSES}


_CLASSES = tuple(field.name for field in fields(Usage))
