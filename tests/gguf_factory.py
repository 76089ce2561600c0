"""Tiny real GGUF files for tests: one with random weights, one that writes what it is told.

The scripted model has no attention: each token has one successor, so its answer is known. Scripted
pieces are tokens of their own, and the first follows the last token of the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import gguf
import numpy as np

CHATML = (
    "{%- if tools %}<|im_start|>system\nTools:\n"
    "{%- for tool in tools %}\n{{ tool | tojson }}{% endfor %}<|im_end|>\n{% endif %}"
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}"
    "{%- for call in message.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n'
    "</tool_call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTROL = ("<|im_start|>", "<|im_end|>")
MARKERS = ("<tool_call>", "</tool_call>")
END = "<|im_end|>"
_WIDTH = 64


def random_model(
    path: Path, *, context: int = 2048, template: str | None = CHATML, pools: bool = False
) -> Path:
    """A llama with random weights, for what does not depend on sense: caches, counts, streams.

    One that `pools` is an embedding model.
    """
    rng = np.random.default_rng(7)
    tokens, types = _vocabulary(())
    weights = {name: rng.normal(0, 0.12, shape) for name, shape in _shapes(len(tokens), _WIDTH, 2)}
    return _write(
        path, tokens, types, weights, width=_WIDTH, context=context, template=template, pools=pools
    )


def scripted_model(
    path: Path,
    script: Sequence[str],
    *,
    after: str = "\n",
    context: int = 1024,
    template: str | None = CHATML,
    markers: Sequence[str] = MARKERS,
    endless: bool = False,
) -> Path:
    """A model that writes `script`, piece by piece, wherever the prompt ends with `after`.

    An `endless` one begins again where the script ends.
    """
    tokens, types = _vocabulary(script, markers)
    width = -(-len(tokens) // 32) * 32
    weights = {name: np.zeros(shape) for name, shape in _shapes(len(tokens), width, 1)}
    weights["token_embd.weight"][:, : len(tokens)] = np.eye(len(tokens))
    end = tokens.index(END)
    successors = np.full(len(tokens), end)
    chain = [tokens.index(_spelled(text)) for text in (after, *script)]
    last = chain[1] if endless else end
    for token, successor in zip(chain, [*chain[1:], last], strict=True):
        successors[token] = successor
    weights["output.weight"][successors, np.arange(len(tokens))] = 1.0
    return _write(path, tokens, types, weights, width=width, context=context, template=template)


def _vocabulary(
    pieces: Sequence[str], markers: Sequence[str] = MARKERS
) -> tuple[list[str], list[int]]:
    """Bytes in GPT-2's spelling, then control words, markers and scripted pieces."""
    bytes_ = list(_byte_letters().values())
    known = {*bytes_, *CONTROL, *markers}
    extra = [p for p in dict.fromkeys(map(_spelled, pieces)) if p not in known]
    tokens = [*bytes_, *CONTROL, *markers, *extra]
    normal, control, defined = (
        int(gguf.TokenType.NORMAL), int(gguf.TokenType.CONTROL), int(gguf.TokenType.USER_DEFINED)
    )  # fmt: skip
    types = [normal] * len(bytes_) + [control] * len(CONTROL) + [defined] * len(markers)
    return tokens, types + [normal] * len(extra)


def _spelled(text: str) -> str:
    if text in CONTROL or text in MARKERS or text.startswith("["):
        return text
    letters = _byte_letters()
    return "".join(letters[byte] for byte in text.encode())


def _byte_letters() -> Mapping[int, str]:
    """GPT-2's printable stand-ins for bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable}
    return letters | {byte: chr(256 + index) for index, byte in enumerate(hidden)}


def _shapes(vocabulary: int, width: int, layers: int) -> list[tuple[str, tuple[int, ...]]]:
    half = width // 2
    shapes: list[tuple[str, tuple[int, ...]]] = [
        ("token_embd.weight", (vocabulary, width)),
        ("output.weight", (vocabulary, width)),
    ]
    for layer in range(layers):
        block = f"blk.{layer}"
        shapes += [
            (f"{block}.attn_q.weight", (width, width)),
            (f"{block}.attn_k.weight", (half, width)),
            (f"{block}.attn_v.weight", (half, width)),
            (f"{block}.attn_output.weight", (width, width)),
            (f"{block}.ffn_gate.weight", (width, width)),
            (f"{block}.ffn_up.weight", (width, width)),
            (f"{block}.ffn_down.weight", (width, width)),
        ]
    return shapes


def _write(
    path: Path,
    tokens: Sequence[str],
    types: Sequence[int],
    weights: Mapping[str, np.ndarray],
    *,
    width: int,
    context: int,
    template: str | None,
    pools: bool = False,
) -> Path:
    layers = sum(name.endswith("attn_q.weight") for name in weights)
    heads = 4
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(path.stem)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(width)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(width // heads)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(list(tokens))
    writer.add_token_types(list(types))
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(tokens.index(END))
    writer.add_add_bos_token(False)
    if pools:
        writer.add_pooling_type(gguf.PoolingType.MEAN)
    if template is not None:
        writer.add_chat_template(template)
    for name, values in weights.items():
        writer.add_tensor(name, values.astype(np.float32))
    norms = [f"blk.{n}.{kind}_norm.weight" for n in range(layers) for kind in ("attn", "ffn")]
    for name in ("output_norm.weight", *norms):
        writer.add_tensor(name, np.ones(width, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
