"""Writes a trained checkpoint as GGUF files: exact weights first, quantized by llama.cpp after."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from layout import CONTROL, PAD, READINGS, STOP, TokenTable

from agentkit.models.local.binding import llama_cpp

Weights = dict[str, np.ndarray]
QUANTIZATIONS = {
    "f16": "MOSTLY_F16",
    "q8_0": "MOSTLY_Q8_0",
    "q5_k_m": "MOSTLY_Q5_K_M",
    "q4_k_m": "MOSTLY_Q4_K_M",
}


_GGML_TYPE_Q6_K = 14


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """What the file says of the model's sizes."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    context: int
    rope_base: float
    epsilon: float


def write_gguf(
    path: Path,
    weights: Weights,
    decoder: Decoder,
    tokens: TokenTable,
    *,
    sum_floor: float | None = None,
) -> Path:
    """The model in full precision. `weights` are named as in model.py, and `table` is folded.

    `sum_floor` is kept with it: answers less likely than that should go to a better model.
    """
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("agentkit pocket")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(decoder.context)
    writer.add_embedding_length(decoder.width)
    writer.add_block_count(decoder.layers)
    writer.add_feed_forward_length(decoder.feed_forward)
    writer.add_head_count(decoder.heads)
    writer.add_head_count_kv(decoder.kv_heads)
    writer.add_layer_norm_rms_eps(decoder.epsilon)
    writer.add_rope_freq_base(decoder.rope_base)
    writer.add_rope_dimension_count(decoder.width // decoder.heads)
    writer.add_vocab_size(len(tokens))
    writer.add_uint32("agentkit.pocket.readings", READINGS)
    if sum_floor is not None:
        writer.add_float32("agentkit.pocket.sum_floor", sum_floor)
    _write_tokenizer(writer, tokens)
    for name, tensor in _tensors(weights, decoder):
        writer.add_tensor(name, np.ascontiguousarray(tensor, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def quantize(source: Path, target: Path, kind: str) -> Path:
    """`source` with its matrices in one of QUANTIZATIONS. Raises OSError where llama.cpp fails."""
    library = llama_cpp()
    settings = library.llama_model_quantize_default_params()
    settings.ftype = getattr(library, f"LLAMA_FTYPE_{QUANTIZATIONS[kind]}")
    settings.nthread = 1
    if kind == "q8_0":  # a third of the file is embeddings, and the wheel has a limit
        settings.token_embedding_type = settings.output_tensor_type = _GGML_TYPE_Q6_K
    status = library.llama_model_quantize(
        str(source).encode(), str(target).encode(), ctypes.byref(settings)
    )
    if status != 0:
        raise OSError(f"llama.cpp could not write {target} from {source}: status {status}")
    return target


def _write_tokenizer(writer: gguf.GGUFWriter, tokens: TokenTable) -> None:
    kinds = [
        gguf.TokenType.CONTROL if added in CONTROL else gguf.TokenType.USER_DEFINED
        for added in tokens.added
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*tokens.pieces, *tokens.added])
    writer.add_token_types([*[gguf.TokenType.NORMAL] * len(tokens.pieces), *kinds])
    writer.add_token_merges(list(tokens.merges))
    writer.add_eos_token_id(tokens.id(STOP))
    writer.add_pad_token_id(tokens.id(PAD))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)


def _tensors(weights: Weights, decoder: Decoder) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors under llama.cpp's names; fused matrices come apart."""
    yield "token_embd.weight", weights["table"]
    yield "output_norm.weight", weights["norm"]
    head_width = decoder.width // decoder.heads
    query_end = decoder.heads * head_width
    key_end = query_end + decoder.kv_heads * head_width
    for index in range(decoder.layers):
        inside, block = f"blocks.{index}.", f"blk.{index}."
        qkv, gate_up = weights[f"{inside}qkv"], weights[f"{inside}gate_up"]
        yield f"{block}attn_norm.weight", weights[f"{inside}attention_norm"]
        yield f"{block}attn_q.weight", qkv[:query_end]
        yield f"{block}attn_k.weight", qkv[query_end:key_end]
        yield f"{block}attn_v.weight", qkv[key_end:]
        yield f"{block}attn_output.weight", weights[f"{inside}out"]
        yield f"{block}ffn_norm.weight", weights[f"{inside}feed_norm"]
        yield f"{block}ffn_gate.weight", gate_up[: decoder.feed_forward]
        yield f"{block}ffn_up.weight", gate_up[decoder.feed_forward :]
        yield f"{block}ffn_down.weight", weights[f"{inside}down"]
