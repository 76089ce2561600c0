"""llama.cpp in this process: its low-level functions, silent, with its complaints kept."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

from agentkit.errors import ExtraMissing

_ERROR_LEVEL = 4
_KEPT_LINES = 12
_LINE_LENGTH = 300

_lock = threading.Lock()
_library: Any = None
_callback: Any = None  # llama.cpp keeps the pointer: the object must outlive every model
_errors: list[str] = []


def llama_cpp() -> Any:
    """The low-level module of llama-cpp-python, loaded and silenced once.

    Raises ExtraMissing where it is not installed.
    """
    global _library, _callback
    with _lock:
        if _library is None:
            try:
                from llama_cpp import llama_cpp as library
            except ImportError as error:
                raise ExtraMissing(what="a local model", extra="local") from error
            _callback = library.llama_log_callback(_keep_errors)
            library.llama_log_set(_callback, ctypes.c_void_p(0))
            library.llama_backend_init()
            _library = library
    return _library


def forget_errors() -> None:
    """Start a new record of error lines."""
    _errors.clear()


def first_error() -> str:
    """What llama.cpp complained about first, which is the cause; an empty string for nothing."""
    return _errors[0] if _errors else ""


def _keep_errors(level: int, text: bytes, _user_data: Any) -> None:
    if level == _ERROR_LEVEL:
        line = text.decode("utf-8", "replace").strip()[:_LINE_LENGTH]
        if line and len(_errors) < _KEPT_LINES:
            _errors.append("".join(c if c.isprintable() else "?" for c in line))
