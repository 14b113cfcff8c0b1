"""The plain GRU that every table shows beside our own: volts, amperes and degrees in, SOC out, about 8,000 weights.

Trained on the same logs as the state student, joined at random rows, once a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.cell import Recurrent, likelihood_and_rmse
from export.features import LEAST_S, Log

CENTRE = (3.65, -1.5, 10.0)
SCALE = (0.35, 2.5, 20.0)
"""x = (measured - CENTRE) / SCALE for voltage, current per cell, temperature: round figures of the set."""
ROWS = 3000
CHUNK = 250
SETTLE_S = 60


@dataclass(frozen=True, slots=True)
class GruRecipe:
    hidden: int = 48
    epochs: int = 40
    joins: int = 4
    """Joins of each log in an epoch."""
    batch: int = 34
    rate: float = 6e-3
    rmse: float = 30.0


def draw(logs: list[Log], joins: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Scaled inputs (rows, sequences, 3), reference SOC and weight (rows, sequences): joins at random rows, a tenth at the start."""
    count = joins * len(logs)
    x, soc, weight = np.zeros((ROWS, count, 3)), np.zeros((ROWS, count)), np.zeros((ROWS, count))
    for i in range(count):
        log = logs[i % len(logs)]
        start = 0 if rng.uniform() < 0.1 else int(rng.integers(0, log.time_s.size - int(LEAST_S)))
        part = slice(start, start + ROWS)
        measured = np.stack((log.voltage_v[part], log.current_a[part], log.temperature_c[part]), axis=1)
        measured += rng.normal(size=3) * (0.002, 0.02, 0.5)
        rows = measured.shape[0]
        x[:rows, i] = (measured - CENTRE) / SCALE
        soc[:rows, i] = np.nan_to_num(log.soc[part])
        weight[:rows, i] = np.isfinite(log.soc[part])
    weight[:SETTLE_S] = 0.0
    return tuple(torch.from_numpy(array.astype(np.float32)) for array in (x, soc, weight))  # type: ignore[return-value]


def train(logs: list[Log], seed: int, recipe: GruRecipe) -> Recurrent:
    """One network from ``seed``: the same logs, seed and version of torch give the same weights."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    net = Recurrent(3, recipe.hidden)
    torch.nn.init.constant_(net.head.bias[:1], 0.5)
    torch.nn.init.constant_(net.head.bias[1:], -3.0)
    batches = -(-recipe.joins * len(logs) // recipe.batch)
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=recipe.epochs * batches * (ROWS // CHUNK))
    for _ in range(recipe.epochs):
        x, soc, weight = draw(logs, recipe.joins, rng)
        for group in torch.randperm(x.shape[1]).split(recipe.batch):
            hidden = torch.zeros(group.numel(), recipe.hidden)
            for start in range(0, ROWS, CHUNK):
                part = slice(start, start + CHUNK)
                head, hidden = net(x[part, group], hidden.detach())
                loss = likelihood_and_rmse(head[..., 0] - soc[part, group], head[..., 1].clamp(-6.0, 0.0), weight[part, group], recipe.rmse)
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimiser.step()
                schedule.step()
    return net


@torch.no_grad()
def estimate(net: Recurrent, raw: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """SOC and sigma, (rows, sequences) each, from voltage, current and temperature (rows, sequences, 3) once a second."""
    x = torch.from_numpy((raw - np.float32(CENTRE)) / np.float32(SCALE))
    head, _ = net(x, torch.zeros(raw.shape[1], net.gru.hidden_size))
    return head[..., 0].numpy(), head[..., 1].clamp(-6.0, 0.0).exp().numpy()
