"""Quantizes a GGUF file by llama.cpp's own quantizer, in a process of its own.

The source is checked before llama.cpp sees it, and the result before it takes its place; a file
that ends the quantizer ends that process alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkit.errors import ConfigError, ExtraMissing
from agentkit.models.local.errors import LocalModelError, ModelFileInvalid
from agentkit.models.local.gguf_check import check_gguf
from agentkit.models.local.gguf_reader import read_header

KINDS: Mapping[str, int] = {
    "f16": 1, "q4_0": 2, "q8_0": 7, "q5_0": 8, "q3_k_m": 12, "q4_k_s": 14, "q4_k_m": 15,
    "q5_k_s": 16, "q5_k_m": 17, "q6_k": 18,
}  # fmt: skip
"""llama.cpp's numbers of its formats (`enum llama_ftype`, llama.h)."""
_TENSOR_TYPES = {
    0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0", 10: "q2_k",
    11: "q3_k", 12: "q4_k", 13: "q5_k", 14: "q6_k", 15: "q8_k", 30: "bf16",
}  # fmt: skip
_WHOLE = frozenset(("f32", "f16", "bf16"))
_LONGEST_SECONDS = 6 * 3600.0


class QuantizeFailed(LocalModelError):
    """llama.cpp did not make the file, or made one that does not pass."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizedFile:
    """A file that was made; `tensors` counts them by type: llama.cpp falls back where a width does
    not divide into a format's blocks."""

    path: Path
    kind: str
    size_bytes: int
    source_bytes: int
    tensors: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "path": str(self.path),
            "model": f"local:{self.path}",
            "kind": self.kind,
            "bytes": self.size_bytes,
            "source_bytes": self.source_bytes,
            "tensors": dict(self.tensors),
        }


def target_of(source: Path, kind: str, folder: Path | None = None) -> Path:
    """Where the file goes: `NAME-q4_k_m.gguf` for `NAME.gguf` and for `NAME-f16.gguf`."""
    stem = source.stem
    for each in (*KINDS, "f32", "bf16"):
        if stem.lower().endswith((f"-{each}", f".{each}")):
            stem = stem[: -len(each) - 1]
            break
    return (folder or source.parent) / f"{stem}-{kind}.gguf"


def quantize(
    source: Path, target: Path, kind: str, *, force: bool = False, requantize: bool = False
) -> QuantizedFile:
    """Write `source` in the format `kind` to `target`, which appears whole or not at all.

    Raises ConfigError for a kind that is none, a target that is there (without `force`), and a
    source that is quantized already (without `requantize`); ModelFileInvalid for a source that may
    not be given to llama.cpp; QuantizeFailed.
    """
    if kind not in KINDS:
        raise ConfigError(f"{kind!r} is no format; use {', '.join(KINDS)}")
    check_gguf(str(source))
    if target.exists() and (target.resolve() == source.resolve() or not force):
        raise ConfigError(f"{target} is there already; name another folder, or say --force")
    types = tensor_types(source)
    if not requantize and not set(types) <= _WHOLE:
        told = ", ".join(sorted(set(types) - _WHOLE))
        raise ConfigError(
            f"{source} is quantized already ({told}), and quantizing twice loses twice; take the "
            "f16 file, or say --requantize"
        )
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        _run(source, draft, kind, requantize)
        checked = _checked(draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return QuantizedFile(
        path=target,
        kind=kind,
        size_bytes=target.stat().st_size,
        source_bytes=source.stat().st_size,
        tensors=checked,
    )


def tensor_types(path: Path) -> dict[str, int]:
    """How many tensors of a checked file are of each type."""
    header = read_header(str(path))
    found = Counter(_TENSOR_TYPES.get(tensor.type, str(tensor.type)) for tensor in header.tensors)
    return dict(found.most_common())


def _checked(path: Path) -> dict[str, int]:
    try:
        check_gguf(str(path))
        return tensor_types(path)
    except (LocalModelError, OSError) as error:
        raise QuantizeFailed(f"what llama.cpp wrote is no sound model ({error})") from error


def _run(source: Path, draft: Path, kind: str, requantize: bool) -> None:
    """llama.cpp may end its process on a file that it does not like: not this one."""
    order = {
        "source": str(source.resolve()),
        "target": str(draft.resolve()),
        "kind": KINDS[kind],
        "requantize": requantize,
    }
    program = Path(__file__).with_name("quantizer.py")  # by its path: it needs no more of agentkit
    command = [sys.executable, "-P", str(program), json.dumps(order)]
    try:
        done = subprocess.run(  # noqa: S603  this interpreter and our own module
            command, capture_output=True, timeout=_LONGEST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise QuantizeFailed(f"{source} took over {_LONGEST_SECONDS:.0f} s") from error
    if done.returncode == _NO_PACKAGE:
        raise ExtraMissing(what="agentkit models quantize", extra="local")
    if done.returncode != 0 or not draft.is_file():
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise QuantizeFailed(f"llama.cpp cannot quantize {source}: {lines[-1][:300]}")


_NO_PACKAGE = 78

__all__ = [
    "KINDS",
    "ModelFileInvalid",
    "QuantizeFailed",
    "QuantizedFile",
    "quantize",
    "target_of",
    "tensor_types",
]
