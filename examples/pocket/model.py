"""The pocket model in PyTorch: a llama decoder with an auxiliary head that tags request tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of the decoder; `tag_layer` is the number of blocks below the tagging head."""

    vocabulary: int
    tags: int
    width: int = 256
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 512
    tag_layer: int = 3
    context: int = 512
    rope_base: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        return self.width // self.heads


class Embedding(nn.Module):
    """Token vectors: a projection of fixed word vectors, a vector of the letter case, and a rest.

    A word that training shows rarely still moves with the projection that all words share. The sum
    is folded into one table at export.
    """

    words: Tensor
    cases: Tensor

    def __init__(self, shape: Shape, words: Tensor, cases: Tensor) -> None:
        super().__init__()
        self.register_buffer("words", words, persistent=False)
        self.register_buffer("cases", cases, persistent=False)
        self.projection = nn.Parameter(torch.randn(words.shape[1], shape.width) * 0.02)
        self.case = nn.Parameter(torch.randn(int(cases.max()) + 1, shape.width) * 0.005)
        self.own = nn.Parameter(torch.randn(shape.vocabulary, shape.width) * 0.015)

    def table(self) -> Tensor:
        return self.words @ self.projection + self.case[self.cases] + self.own


class Block(nn.Module):
    """Grouped-query attention, then a gated feed-forward part."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, kv = shape.width, shape.kv_heads * shape.head_width
        self.attention_norm = nn.Parameter(torch.ones(width))
        self.feed_norm = nn.Parameter(torch.ones(width))
        self.qkv = nn.Parameter(_matrix(width + 2 * kv, width))
        self.out = nn.Parameter(_matrix(width, width, gain=0.5 / math.sqrt(2 * shape.layers)))
        self.gate_up = nn.Parameter(_matrix(2 * shape.feed_forward, width))
        self.down = nn.Parameter(
            _matrix(width, shape.feed_forward, gain=0.5 / math.sqrt(2 * shape.layers))
        )

    def forward(self, hidden: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        shape = self.shape
        batch, length, width = hidden.shape
        normed = functional.rms_norm(
            hidden, (width,), self.attention_norm.to(hidden), shape.epsilon
        )
        mixed = functional.linear(normed, self.qkv.to(hidden))
        heads = mixed.view(batch, length, -1, shape.head_width).transpose(1, 2)
        turned = _rotated(heads[:, : shape.heads + shape.kv_heads], cosine, sine)
        query, key = turned[:, : shape.heads], turned[:, shape.heads :]
        value = heads[:, shape.heads + shape.kv_heads :]
        seen = _attended(query, key, value, mask)
        hidden = hidden + functional.linear(seen, self.out.to(hidden))
        normed = functional.rms_norm(hidden, (width,), self.feed_norm.to(hidden), shape.epsilon)
        gate, up = functional.linear(normed, self.gate_up.to(hidden)).chunk(2, -1)
        return hidden + functional.linear(functional.silu(gate) * up, self.down.to(hidden))


class PocketNet(nn.Module):
    """Hidden states for the next token, and tags of the tokens read."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, shape: Shape, words: Tensor, cases: Tensor) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = Embedding(shape, words, cases)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(shape.width))
        self.tag_norm = nn.Parameter(torch.ones(shape.width))
        self.tagger = nn.Parameter(torch.zeros(shape.tags, shape.width))
        pairs = torch.arange(0, shape.head_width, 2).float() / shape.head_width
        angles = torch.outer(torch.arange(shape.context).float(), shape.rope_base**-pairs)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)

    def forward(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Normed states of the last block and of the block below the tagging head."""
        length = embedded.shape[1]
        cosine, sine = self.cosine[:length].to(embedded), self.sine[:length].to(embedded)
        mask = embedded.new_full((length, length), -torch.inf).triu(1)
        hidden = tagged = embedded
        for index, block in enumerate(self.blocks):
            hidden = block(hidden, cosine, sine, mask)
            if index + 1 == self.shape.tag_layer:
                tagged = hidden
        return self._normed(hidden, self.norm), self._normed(tagged, self.tag_norm)

    def matrices(self) -> Iterator[nn.Parameter]:
        """The parameters that Muon moves: every matrix of the blocks."""
        yield from (parameter for parameter in self.blocks.parameters() if parameter.dim() == 2)

    def others(self) -> Iterator[nn.Parameter]:
        """The parameters that AdamW moves."""
        chosen = {id(parameter) for parameter in self.matrices()}
        yield from (parameter for parameter in self.parameters() if id(parameter) not in chosen)

    def _normed(self, hidden: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(
            hidden, (self.shape.width,), weight.to(hidden), self.shape.epsilon
        )


def _attended(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Causal attention by plain matrix products: on CPUs several times as fast as the fused kernel
    at these lengths. Query heads that share a key are stacked along the length."""
    batch, heads, length, width = query.shape
    shared = key.shape[1]
    stacked = query.reshape(batch, shared, -1, width) * width**-0.5
    scores = (stacked @ key.transpose(2, 3)).view(batch, heads, length, length) + mask
    weights = scores.softmax(-1).view(batch, shared, -1, length)
    seen: Tensor = weights @ value
    return seen.view(batch, heads, length, width).transpose(1, 2).flatten(2)


def _rotated(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """RoPE over neighbouring pairs, as llama.cpp does it: nothing is permuted at export."""
    even, odd = heads[..., 0::2], heads[..., 1::2]
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), -1).flatten(-2)


def _matrix(rows: int, columns: int, *, gain: float = 1.0) -> Tensor:
    return torch.randn(rows, columns) * (gain / math.sqrt(columns))
