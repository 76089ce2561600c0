"""Muon for the matrices of the blocks, AdamW for all else; both follow one schedule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

_MATRIX_RATE = 3e-3
_OTHER_RATE = 2.5e-3
_DECAY = 0.05
_MOMENTUM = 0.95
_NEWTON_SCHULZ_STEPS = 4
_LARGEST_NORM = 1.0


class Optimizer:
    """Steps of both methods. Fused matrices are moved as the matrices that they are made of."""

    def __init__(self, matrices: Sequence[nn.Parameter], others: Sequence[nn.Parameter]) -> None:
        self._matrices = list(matrices)
        self._momenta = [torch.zeros_like(matrix) for matrix in matrices]
        self._others = list(others)
        self._adam = torch.optim.AdamW(
            self._others, lr=_OTHER_RATE, betas=(0.9, 0.97), weight_decay=0.01
        )

    def step(self, scale: float) -> None:
        """Move along the gradients at `scale` of the full rate, and forget them."""
        torch.nn.utils.clip_grad_norm_(self._others, _LARGEST_NORM)
        for group in self._adam.param_groups:
            group["lr"] = _OTHER_RATE * scale
        self._adam.step()
        self._muon(scale)
        for parameter in (*self._matrices, *self._others):
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        return {"momenta": self._momenta, "adam": self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._momenta = state["momenta"]
        self._adam.load_state_dict(state["adam"])

    @torch.no_grad()
    def _muon(self, scale: float) -> None:
        """Keller Jordan's Muon, https://kellerjordan.github.io/posts/muon/, scaled as in Moonlight.

        Matrices of one size are made orthogonal in one batch.
        """
        sizes: dict[tuple[int, int], list[Tensor]] = {}
        places: list[tuple[tuple[int, int], slice]] = []
        for matrix, momentum in zip(self._matrices, self._momenta, strict=True):
            if matrix.grad is None:
                raise ValueError("a matrix has no gradient")
            momentum.lerp_(matrix.grad, 1 - _MOMENTUM)
            update = matrix.grad.lerp(momentum, _MOMENTUM)
            parts = _parts(update)
            size = (parts.shape[1], parts.shape[2])
            batch = sizes.setdefault(size, [])
            done = sum(len(each) for each in batch)
            places.append((size, slice(done, done + len(parts))))
            batch.append(parts)
        moved = {size: orthogonal(torch.cat(batch)) for size, batch in sizes.items()}
        for matrix, (size, place) in zip(self._matrices, places, strict=True):
            matrix.mul_(1 - _MATRIX_RATE * scale * _DECAY)
            rate = _MATRIX_RATE * scale * 0.2 * math.sqrt(max(size))
            matrix.add_(moved[size][place].reshape(matrix.shape), alpha=-rate)


def orthogonal(matrices: Tensor) -> Tensor:
    """About the nearest matrices whose singular values are all 1, by Newton-Schulz in bfloat16."""
    near = matrices.bfloat16()
    near = near / (near.norm(dim=(1, 2), keepdim=True) + 1e-7)
    tall = near.shape[1] > near.shape[2]
    near = near.mT if tall else near
    for _ in range(_NEWTON_SCHULZ_STEPS):
        square = near @ near.mT
        near = 3.4445 * near + (-4.7750 * square + 2.0315 * square @ square) @ near
    whole: Tensor = near.mT if tall else near
    return whole.float()


def _parts(update: Tensor) -> Tensor:
    """A fused matrix of r by c, r a multiple of c, as its square parts; any other whole."""
    rows, columns = update.shape
    return update.view(-1, columns, columns) if rows % columns == 0 else update.unsqueeze(0)
