"""An embedding model in a GGUF file, run by llama.cpp in this process."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import ExtraMissing
from agentkit.models.local.errors import ModelUnsupported
from agentkit.models.local.gguf_check import check_gguf

_CONTEXT_TOKENS = 512
_MAX_TEXT_CHARS = 2_000


class GgufEmbedding:
    """Vectors by a GGUF embedding model, such as `agentkit models pull` brings.

    Give it to `Provisioning(embedding=...)`. The model is loaded at the first text, and computes
    one text at a time, whatever thread asks.
    """

    def __init__(self, path: str | Path) -> None:
        """`path` may begin with "local:". Raises ModelFileMissing or ModelFileInvalid."""
        self._path = Path(str(path).removeprefix("local:")).expanduser()
        check_gguf(str(self._path))
        self._lock = threading.Lock()
        self._model: Any = None

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the file."""
        with self._path.open("rb") as file:
            return f"gguf-{hashlib.file_digest(file, 'sha256').hexdigest()[:32]}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row of length 1 a text, of which 2,000 characters and the window's tokens count.

        Raises ModelUnsupported where the file holds no embedding model, and ExtraMissing.
        """
        with self._lock:
            if self._model is None:
                self._model = self._loaded()
            rows = [self._row(text) for text in texts]
        return np.asarray(rows, dtype=np.float32).reshape(len(texts), -1)

    def _row(self, text: str) -> list[float]:
        said = text[:_MAX_TEXT_CHARS].encode("utf-8", "replace").decode().replace("\0", " ")
        row: list[Any] = self._model.embed(said.strip() or ".", normalize=True, truncate=True)
        if row and isinstance(row[0], list):
            raise ModelUnsupported(
                f"{self._path} gives a vector for each token and none for a text; choose the GGUF "
                "of an embedding model"
            )
        return row

    def _loaded(self) -> Any:
        try:
            import llama_cpp
        except ImportError as error:
            raise ExtraMissing(what="a GGUF embedding", extra="local") from error
        try:
            return llama_cpp.Llama(
                str(self._path),
                embedding=True,
                n_ctx=_CONTEXT_TOKENS,
                n_batch=_CONTEXT_TOKENS,
                n_ubatch=_CONTEXT_TOKENS,
                verbose=False,
            )
        except ValueError as error:  # what llama_cpp raises for a file that it cannot load
            raise ModelUnsupported(
                f"llama.cpp cannot load {self._path} as an embedding model"
            ) from error
