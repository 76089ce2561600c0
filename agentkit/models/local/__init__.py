"""Models that run in this process, through llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentkit.models.local.chat import LocalChatModel
from agentkit.models.local.errors import (
    ChatTemplateInvalid,
    ContextOverflow,
    GenerationFailed,
    LocalModelError,
    ModelFileInvalid,
    ModelFileMissing,
    ModelSettingsInvalid,
    ModelUnsupported,
)

__all__ = [
    "ChatTemplateInvalid",
    "ContextOverflow",
    "GenerationFailed",
    "LocalChatModel",
    "LocalModelError",
    "ModelFileInvalid",
    "ModelFileMissing",
    "ModelSettingsInvalid",
    "ModelUnsupported",
    "local_model",
]

_POCKET = Path(__file__).parents[2] / "pocket" / "pocket-q8_0.gguf"


def local_model(name: str, **kwargs: Any) -> LocalChatModel:
    """The model at the path `name`, or the one shipped with agentkit for `"pocket"`."""
    if name == "pocket":
        kwargs = {"model_name": "pocket", "max_tokens": 96, **kwargs}
        return LocalChatModel(model_path=str(_POCKET), **kwargs)
    return LocalChatModel(model_path=str(Path(name).expanduser()), **kwargs)
