"""What an image can count at most in input tokens, by model, as dated data.

Collected November 2026 from the providers' documentation on images. OpenAI counts an image by tiles
of 512 pixels, at most 8 of them, or by patches of 32, at most 1,536 (10,000 in the newest models,
which read them in full); Anthropic by patches of 28, at most 1,568, and 4,784 from Opus 4.7 on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast


class ImageTokens(NamedTuple):
    """The most that one image counts, in full and where `detail="low"` is asked for."""

    most: int
    low: int

    def of(self, block: Mapping[str, Any]) -> int:
        """The most that the image of a content block counts."""
        inner: Any = block.get("image_url")
        told = cast("Mapping[str, Any]", inner) if isinstance(inner, dict) else block
        return self.low if told.get("detail") == "low" else self.most


_TILES = ImageTokens(1_500, 100)
_OPENAI = (
    ("gpt-4o-mini", ImageTokens(48_200, 2_833)),
    ("gpt-4.1-mini", ImageTokens(2_500, 420)),
    ("gpt-4.1-nano", ImageTokens(3_800, 640)),
    ("gpt-5-mini", ImageTokens(2_500, 420)),
    ("gpt-5-nano", ImageTokens(3_800, 640)),
    ("o4-mini", ImageTokens(2_700, 450)),
    ("gpt-4o", _TILES),
    ("gpt-4.1", _TILES),
    ("gpt-5-2025", _TILES),
    ("gpt-5-chat", _TILES),
    ("o1", _TILES),
    ("o3", _TILES),
)
"""By the beginning of a model's name; the first that fits holds."""
_ANTHROPIC_SMALL = (
    "claude-3",
    "claude-haiku-4-5",
    "claude-opus-4-0",
    "claude-opus-4-1",
    "claude-opus-4-2",
    "claude-opus-4-5",
    "claude-opus-4-6",
    "claude-sonnet-4-0",
    "claude-sonnet-4-2",
    "claude-sonnet-4-5",
    "claude-sonnet-4-6",
)
"""Those that do not read images in high resolution; `-2` begins the dates of Claude 4."""
_STRANGERS = ImageTokens(24_600, 2_900)
"""Of a model that is not known: 10,000 patches at the highest factor of any."""


def image_tokens(provider: str, model: str) -> ImageTokens:
    """The bounds of a model; wide ones where it is not known."""
    if provider == "anthropic":
        most = 1_600 if model.startswith(_ANTHROPIC_SMALL) else 4_800
        return ImageTokens(most, most)
    if provider in ("openai", "azure"):
        if model == "gpt-5":
            return _TILES
        return next((tokens for name, tokens in _OPENAI if model.startswith(name)), _STRANGERS)
    return _STRANGERS
