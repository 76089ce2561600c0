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
from agentkit.models.local.pocket import MOST_OUTPUT_TOKENS

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
    """The model shipped as `"pocket"`, one pulled as `"hf:OWNER/REPO/FILE.gguf"`, or a path.

    `kwargs` are the fields of LocalChatModel. Raises ModelFileMissing, ModelFileInvalid and
    ModelSettingsInvalid at once; the model itself is loaded at its first call.
    """
    if name == "pocket":
        kwargs = {"model_name": "pocket", "max_tokens": MOST_OUTPUT_TOKENS, **kwargs}
        return LocalChatModel(model_path=str(_POCKET), **kwargs)
    if name.startswith("hf:"):
        return LocalChatModel(model_path=str(_pulled(name)), **kwargs)
    return LocalChatModel(model_path=str(Path(name).expanduser()), **kwargs)


def _pulled(name: str) -> Path:
    from agentkit.models.pull import pulled

    path = pulled(name)
    if path is None:
        raise ModelFileMissing(f"{name} is not on this machine; run: agentkit models pull {name}")
    return path
