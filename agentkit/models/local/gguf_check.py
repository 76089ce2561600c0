"""Is a GGUF file fit to be given to llama.cpp? A hostile one could end the process, so it is read
here first: counts, sizes and offsets, the shape of the model, the tokenizer's tables.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from agentkit.models.local.errors import ModelFileInvalid, ModelFileMissing
from agentkit.models.local.gguf_reader import GgufHeader, Value, read_header

_LONGEST_TOKEN_BYTES = 1024
_MOST_LAYERS = 512  # LLAMA_MAX_LAYERS
_MOST_EXPERTS = 1024
_LARGEST_WIDTH = 1 << 20
_LARGEST_CONTEXT = 1 << 31
_DEFAULT_ALIGNMENT = 32
_LARGEST_ALIGNMENT = 1 << 16
_LONGEST_TEMPLATE_BYTES = 1 << 18
_TOKENIZERS = frozenset({"llama", "gpt2", "bert", "t5", "rwkv", "plamo2"})
_ID_SUFFIX = "_token_id"
_TOKENS = "tokenizer.ggml.tokens"
_TEMPLATE = "tokenizer.chat_template"
_READINGS = "agentkit.pocket.readings"
_SUM_FLOOR = "agentkit.pocket.sum_floor"
_MOST_READINGS = 4

_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),
    28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip
"""Weights and bytes of a block by ggml's number of the type; ggml-common.h of November 2026."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GgufSummary:
    """What agentkit needs to know of a model before it is loaded.

    `stamp` changes with the file, so that a replaced file is not taken for the one in memory.
    A pocket model says how many times it wants to read the request (`readings`), and below which
    summed log-probability its answer should go to a better model (`sum_floor`).
    """

    path: str
    stamp: tuple[int, int]
    name: str
    architecture: str
    context_tokens: int
    vocab_size: int
    chat_template: str | None
    is_pocket: bool
    readings: int = 1
    sum_floor: float | None = None


def check_gguf(path: str) -> GgufSummary:
    """The summary of a sound file; the answer is kept until the file changes.

    Raises ModelFileMissing, or ModelFileInvalid with the first thing that is wrong.
    """
    try:
        status = os.stat(path)
        if not os.path.isfile(path):
            raise ModelFileInvalid(path, "not a file", advice="give the path of a .gguf file")
        return _checked(path, status.st_size, status.st_mtime_ns)
    except FileNotFoundError as error:
        raise ModelFileMissing(
            f"no model file at {path}; give the path of a GGUF file, or get one with "
            "'agentkit models pull hf:OWNER/REPO/FILE.gguf'"
        ) from error
    except OSError as error:
        told = error.strerror or type(error).__name__
        raise ModelFileInvalid(path, told, advice="make the file readable") from error


@lru_cache(maxsize=16)
def _checked(path: str, size: int, changed_ns: int) -> GgufSummary:
    return _Check(path, read_header(path)).summary((size, changed_ns))


class _Check:
    """Each method checks one thing and refuses the file where it is wrong."""

    def __init__(self, path: str, header: GgufHeader) -> None:
        self._path = path
        self._header = header
        self._architecture = self._text("general.architecture", longest=64)

    def summary(self, stamp: tuple[int, int]) -> GgufSummary:
        self._split()
        self._tensors()
        self._shape()
        vocab_size = self._vocabulary()
        self._special_tokens(vocab_size)
        name = self._header.metadata.get("general.name")
        tokens = self._tokens()
        return GgufSummary(
            path=self._path,
            stamp=stamp,
            name=name.decode("utf-8", "replace")[:200] if isinstance(name, bytes) else "",
            architecture=self._architecture,
            context_tokens=self._own("context_length", 1, _LARGEST_CONTEXT),
            vocab_size=vocab_size,
            chat_template=self._template(),
            is_pocket={b"no_tool", b"<|tools|>", b"<|do|>"} <= set(tokens),
            readings=self._integer(_READINGS, 1, _MOST_READINGS, 1),
            sum_floor=self._sum_floor(),
        )

    def _split(self) -> None:
        parts = self._header.metadata.get("split.count")
        if isinstance(parts, int) and parts > 1:
            self._refuse(f"one of {parts} parts", advice="merge them with llama-gguf-split")

    def _tensors(self) -> None:
        header = self._header
        alignment = self._integer("general.alignment", 1, _LARGEST_ALIGNMENT, _DEFAULT_ALIGNMENT)
        if alignment & (alignment - 1) or alignment % 8:
            self._refuse(f"an alignment of {alignment}")
        data_start = -(-header.end // alignment) * alignment
        data_size = header.file_size - data_start
        names: set[str] = set()
        expected = 0
        for tensor in header.tensors:
            size = self._tensor_bytes(tensor.name, tensor.dimensions, tensor.type)
            if tensor.name in names or not 0 < len(tensor.name) < 64:
                self._refuse(f"a tensor's name {tensor.name[:64]!r} is empty, too long or taken")
            names.add(tensor.name)
            if tensor.offset != expected:
                self._refuse(f"tensor {tensor.name!r} is not where the one before it ends")
            if tensor.offset + size > data_size:
                self._refuse(
                    f"cut short: tensor {tensor.name!r} ends "
                    f"{tensor.offset + size - data_size} bytes after the file"
                )
            expected = -(-(tensor.offset + size) // alignment) * alignment
        if "token_embd.weight" not in names:
            self._refuse("no token embeddings", advice="use a model for text generation")

    def _tensor_bytes(self, name: str, dimensions: tuple[int, ...], kind: int) -> int:
        weights, size = _BLOCKS.get(kind, (0, 0))
        if not weights:
            self._refuse(
                f"tensor {name[:64]!r} has the unknown type {kind}",
                advice="use one quantized in a common format such as Q4_K_M or Q8_0",
            )
        count = math.prod(dimensions)
        if not 0 < count < 1 << 48 or dimensions[0] % weights:
            self._refuse(f"tensor {name[:64]!r} has the impossible shape {dimensions}")
        return count // weights * size

    def _shape(self) -> None:
        """Numbers that llama.cpp divides by, allocates for or asserts on."""
        width = self._own("embedding_length", 1, _LARGEST_WIDTH)
        layers = self._own("block_count", 1, _MOST_LAYERS)
        heads = self._per_layer("attention.head_count", layers, None)
        kv_heads = self._per_layer("attention.head_count_kv", layers, heads)
        key_length = self._own("attention.key_length", 1, _LARGEST_WIDTH, 0)
        for own, shared in zip(heads, kv_heads, strict=True):
            if own and shared and own % shared:
                self._refuse(f"{own} attention heads over {shared} key heads")
            if own and not key_length and width % own:
                self._refuse(f"a width of {width} over {own} attention heads")
        head_width = key_length or (width // max(heads) if max(heads) else width)
        rotated = self._own("rope.dimension_count", 0, _LARGEST_WIDTH, head_width)
        if rotated % 2 or rotated > max(head_width, rotated if not max(heads) else 0):
            self._refuse(f"{rotated} rotated dimensions of {head_width}")
        experts = self._own("expert_count", 0, _MOST_EXPERTS, 0)
        if self._own("expert_used_count", 0, _MOST_EXPERTS, 0) > experts:
            self._refuse("more experts used than there are")
        for key in ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"):
            self._positive(key)
        for key in ("rope.freq_base", "rope.scaling.factor"):
            self._positive(key)
        embeddings = next(t for t in self._header.tensors if t.name == "token_embd.weight")
        if embeddings.dimensions[0] != width:
            self._refuse(f"embeddings of {embeddings.dimensions[0]} in a model of width {width}")

    def _vocabulary(self) -> int:
        model = self._text("tokenizer.ggml.model", longest=64)
        if model not in _TOKENIZERS:
            self._refuse(f"the unknown tokenizer {model[:40]!r}")
        tokens = self._tokens()
        written = [token for token in tokens if token]  # llama.cpp names empty ones itself
        if len(set(written)) != len(written) or any(b"\0" in token for token in written):
            self._refuse("a token stands twice, or contains a zero byte")
        if max(map(len, tokens)) > _LONGEST_TOKEN_BYTES:
            self._refuse("a token is absurdly long")
        self._require_utf8(tokens)
        for key in ("scores", "token_type"):
            values = self._header.metadata.get(f"tokenizer.ggml.{key}")
            if values is not None and not (isinstance(values, list) and len(values) == len(tokens)):
                self._refuse(f"the tokenizer's {key} do not go with its {len(tokens)} tokens")
        self._merges(model)
        self._bytes_of_spm(model, tokens)
        embeddings = next(t for t in self._header.tensors if t.name == "token_embd.weight")
        rows = embeddings.dimensions[1] if len(embeddings.dimensions) > 1 else 1
        if rows != len(tokens):
            self._refuse(f"{len(tokens)} tokens and embeddings for {rows}")
        return len(tokens)

    def _merges(self, model: str) -> None:
        merges = self._header.metadata.get("tokenizer.ggml.merges")
        if model != "gpt2":
            return
        if not isinstance(merges, list):
            self._refuse("a tokenizer without merges")
        texts = [merge for merge in merges if isinstance(merge, bytes)]
        if len(texts) != len(merges) or not all(b" " in merge[1:-1] for merge in texts):
            self._refuse("a merge of the tokenizer is not a pair")
        self._require_utf8(texts)

    def _bytes_of_spm(self, model: str, tokens: list[bytes]) -> None:
        """A SentencePiece vocabulary must be able to spell any byte; llama.cpp relies on it."""
        if model != "llama":
            return
        known = set(tokens)
        for byte in range(256):
            if b"<0x%02X>" % byte not in known and bytes([byte]) not in known:
                self._refuse(f"the tokenizer cannot spell the byte {byte}")

    def _require_utf8(self, texts: list[bytes]) -> None:
        try:
            b"\n".join(texts).decode("utf-8")
        except UnicodeDecodeError:
            self._refuse("the tokenizer's tables are not UTF-8")

    def _special_tokens(self, vocab_size: int) -> None:
        for key, value in self._header.metadata.items():
            if not (key.startswith("tokenizer.ggml.") and key.endswith(_ID_SUFFIX)):
                continue
            absent = value in (-1, 0xFFFFFFFF)
            if not absent and not (isinstance(value, int) and 0 <= value < vocab_size):
                self._refuse(f"{key} is no token of {vocab_size}")

    def _template(self) -> str | None:
        template = self._header.metadata.get(_TEMPLATE)
        if template is None:
            return None
        if not isinstance(template, bytes) or len(template) > _LONGEST_TEMPLATE_BYTES:
            self._refuse("a chat template that is no text, or a very long one")
        return template.decode("utf-8", "replace")

    def _sum_floor(self) -> float | None:
        value = self._header.metadata.get(_SUM_FLOOR)
        if value is None:
            return None
        if not isinstance(value, float) or not -1e6 < value <= 0:
            self._refuse(f"{_SUM_FLOOR} is {_short(value)}")
        return round(value, 4)

    def _tokens(self) -> list[bytes]:
        values = self._header.metadata.get(_TOKENS)
        tokens = (
            [token for token in values if isinstance(token, bytes)]
            if (isinstance(values, list))
            else []
        )
        if not tokens:
            self._refuse("no vocabulary", advice="use a model for text generation")
        return tokens

    def _per_layer(self, key: str, layers: int, default: list[int] | None) -> list[int]:
        value = self._header.metadata.get(f"{self._architecture}.{key}")
        if value is None and default is not None:
            return default
        values = value if isinstance(value, list) else [value] * layers
        whole = [item for item in values if isinstance(item, int) and 0 <= item <= 4096]
        if len(whole) != layers or (not isinstance(value, list) and 0 in whole):
            self._refuse(f"{key} is {_short(value)}")
        return whole

    def _own(self, key: str, least: int, most: int, default: int | None = None) -> int:
        return self._integer(f"{self._architecture}.{key}", least, most, default)

    def _integer(self, key: str, least: int, most: int, default: int | None = None) -> int:
        value = self._header.metadata.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            if value is default and default is not None:
                return default
            self._refuse(f"{key} is {_short(value)}")
        return value

    def _positive(self, key: str) -> None:
        value = self._header.metadata.get(f"{self._architecture}.{key}")
        if value is None:
            return
        if not isinstance(value, int | float) or not 0 < value < 1e12:
            self._refuse(f"{key} is {_short(value)}")

    def _text(self, key: str, *, longest: int) -> str:
        value = self._header.metadata.get(key)
        if not isinstance(value, bytes) or not 0 < len(value) <= longest:
            self._refuse(f"{key} is {_short(value)}")
        return value.decode("utf-8", "replace")

    def _refuse(self, problem: str, *, advice: str = "") -> NoReturn:
        raise ModelFileInvalid(self._path, problem, advice=advice)


def _short(value: Value | None) -> str:
    return "missing" if value is None else repr(value)[:60]
