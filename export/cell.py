"""The students' recurrent network in torch: one GRU cell and a linear head. ``onnx_graph`` writes the same in ONNX."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

CLIP = 4.0
"""Inputs beyond so many of their standard deviations count as that many: keeps the int8 grid fine."""


class Recurrent(nn.Module):
    """x (steps, cells, inputs), hidden (cells, hidden) -> head (steps, cells, 2), hidden after the last step.

    The head starts at zero: an untrained student moves the filter's estimate nowhere.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs, hidden)
        self.head = nn.Linear(hidden, 2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        states, last = self.gru(x.clamp(-CLIP, CLIP), hidden[None])
        return self.head(states), last[0]

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """For ``onnx_graph``: input (inputs, 3 hidden), recurrent (hidden, 3 hidden), their biases, head. Gates: r, z, n."""
        gru = self.gru
        tensors = {
            "input": gru.weight_ih_l0.T,
            "input_bias": gru.bias_ih_l0,
            "recurrent": gru.weight_hh_l0.T,
            "recurrent_bias": gru.bias_hh_l0,
            "head": self.head.weight.T,
            "head_bias": self.head.bias,
        }
        return {name: np.ascontiguousarray(tensor.detach().numpy()) for name, tensor in tensors.items()}


def likelihood_and_rmse(wrong: Tensor, log_sigma: Tensor, weight: Tensor, rmse: float) -> Tensor:
    """Gaussian negative log likelihood (without its constant) plus ``rmse`` times the RMSE, over the weighted rows."""
    total = weight.sum().clamp(min=1.0)
    likelihood = (0.5 * wrong**2 * torch.exp(-2.0 * log_sigma) + log_sigma).mul(weight).sum() / total
    return likelihood + rmse * torch.sqrt((wrong**2).mul(weight).sum() / total + 1e-8)
