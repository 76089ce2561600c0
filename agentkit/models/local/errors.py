"""What can go wrong with a model that runs in this process.

LocalModelError
├── ModelFileMissing      no file at the path
├── ModelFileInvalid      not a GGUF file, cut short, or made to harm
├── ModelUnsupported      a sound file that llama.cpp cannot run
├── ModelSettingsInvalid  a window, a limit or another setting that cannot work
├── ContextOverflow       the request is longer than the model's window
├── ChatTemplateInvalid   the file's chat template fails, or does too much
└── GenerationFailed      llama.cpp gave up in the middle
"""

from __future__ import annotations


class LocalModelError(Exception):
    """Parent of the errors of local models.

    None is a ValueError: pydantic would hide it in a ValidationError of its own.
    """


class ModelFileMissing(LocalModelError, FileNotFoundError):
    """No model file at the path."""


class ModelFileInvalid(LocalModelError):
    """The file is no GGUF file that may be given to llama.cpp."""

    def __init__(self, path: str, problem: str, *, advice: str = "") -> None:
        self.path = path
        self.problem = problem
        told = advice or "download it again, or check where it came from"
        super().__init__(f"{path}: {problem}; {told}")


class ModelUnsupported(LocalModelError):
    """A sound file that this build of llama.cpp cannot run."""


class ModelSettingsInvalid(LocalModelError):
    """A setting that cannot work with this model."""


class ContextOverflow(LocalModelError):
    """The request fills the model's window before a word is generated."""

    def __init__(self, *, prompt_tokens: int, n_ctx: int, model: str) -> None:
        self.prompt_tokens = prompt_tokens
        self.n_ctx = n_ctx
        self.model = model
        super().__init__(
            f"the request has {prompt_tokens} tokens and the window of {model} holds {n_ctx}; "
            "send less, raise n_ctx up to what the model was trained for, or use another model"
        )


class ChatTemplateInvalid(LocalModelError):
    """The chat template of a model file cannot be used."""


class GenerationFailed(LocalModelError):
    """llama.cpp gave up in the middle of a generation."""
