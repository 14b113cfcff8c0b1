"""Trains the state student on the sequences of ``features``: truncated back-propagation, Gaussian likelihood and RMSE.

The torch side of ``onnx_graph.state_graph``: the same bounds, the same formulas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgebms.estimator.student import FEATURES
from export.cell import Recurrent, likelihood_and_rmse
from export.features import Sequences
from export.onnx_graph import Bounds

BOUNDS = Bounds()
SIGMA_AT = FEATURES.index("log_soc_sigma")
EARLY_S, EARLY = 60.0, 0.2
"""So long after a start nobody can know much: counts by this share."""
REGRET_FROM = 0.0005
"""Worse by less counts as no worse."""
CHUNK = 250
GROUP = 128
"""Sequences beside each other where nothing is learned."""
MARGIN = 0.05
"""The domain reaches beyond the range of the training by this share of its width; the network clips there anyway."""


@dataclass(frozen=True, slots=True)
class Recipe:
    hidden: int = 32
    epochs: int = 12
    batch: int = 136
    rate: float = 4e-3
    rmse: float = 10.0
    """Weight of the RMSE beside the likelihood."""
    regret: float = 30.0
    """Weight of being further off than the filter: where that is good already, it is to be left alone."""


@dataclass(frozen=True, slots=True)
class Teaching:
    """The teacher: the same network, wider, on the same sequences. The student is then drawn towards what it says."""

    hidden: int = 96
    epochs: int = 9
    rate: float = 3e-3
    follow: float = 10.0
    """Weight of the student's distance to the teacher's correction (RMSE), beside the truth."""
    follow_sigma: float = 0.3
    """Weight of the square of its distance to the teacher's log sigma."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """x = (feature - centre) / scale; low and high: the range of the training. (features,) each."""

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def scaling(data: Sequences) -> Scaling:
    x = data.x[data.valid].astype(np.float64)
    low, high = x.min(axis=0), x.max(axis=0)
    margin = MARGIN * (high - low)
    return Scaling(x.mean(axis=0), np.maximum(x.std(axis=0), 1e-3), low - margin, high + margin)


def answer(head: Tensor, log_sigma: Tensor, kept: float) -> tuple[Tensor, Tensor]:
    """Correction and log standard deviation from the head's two numbers. kept: 1 while it is learned, what ships has less."""
    log_base = log_sigma.clamp(math.log(BOUNDS.least), math.log(BOUNDS.most))
    correction = torch.tanh(head[..., 0]) * (kept * BOUNDS.times) * (log_base.exp() - BOUNDS.quiet).clamp(min=0.0)
    return correction, log_base + kept * (BOUNDS.shift + BOUNDS.spread * torch.tanh(head[..., 1]))


def tensors(data: Sequences, scale: Scaling) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scaled inputs, log sigma, what the correction should be, weight; (steps, sequences, ...)."""
    x = torch.from_numpy(np.nan_to_num((data.x - scale.centre.astype(np.float32)) / scale.scale.astype(np.float32)))
    log_sigma = torch.from_numpy(np.nan_to_num(data.x[:, :, SIGMA_AT]))
    target = torch.from_numpy(np.nan_to_num(data.soc - data.filter))
    since = np.arange(data.x.shape[0])[:, None] * data.step_s
    return (
        x,
        log_sigma,
        target,
        torch.from_numpy((data.valid * np.where(since < EARLY_S, EARLY, 1.0) * np.sqrt(data.step_s)).astype(np.float32)),
    )


def train(
    data: Sequences,
    scale: Scaling,
    seed: int,
    recipe: Recipe,
    checkpoint: Path,
    taught: tuple[Tensor, Tensor] | None = None,
    teaching: Teaching | None = None,
) -> Recurrent:
    """One network from ``seed``: the same data, seed and version of torch give the same weights.

    taught: a teacher's correction and log sigma on ``data``, (steps, sequences) each, to follow as ``teaching`` says.

    After each epoch all is put into ``checkpoint``; a training that was stopped goes on from there.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    net = Recurrent(len(FEATURES), recipe.hidden)
    torch.nn.init.constant_(net.head.bias[1:], -math.atanh(BOUNDS.shift / BOUNDS.spread))  # as sure as the filter, to begin with
    x, log_sigma, target, weight = tensors(data, scale)
    sequences = x.shape[1]
    batches = -(-sequences // recipe.batch)
    ends = data.valid.shape[0] - np.argmax(data.valid[::-1], axis=0)
    order = np.argsort(ends)  # sequences of like length beside each other: less padding
    groups = [torch.from_numpy(order[i::1][: recipe.batch].copy()) for i in range(0, sequences, recipe.batch)]
    chunks = sum(-(-int(ends[group.numpy()].max()) // CHUNK) for group in groups)
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=recipe.epochs * chunks)
    done = 0
    if checkpoint.is_file():
        kept = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(kept["net"])
        optimiser.load_state_dict(kept["optimiser"])
        schedule.load_state_dict(kept["schedule"])
        torch.set_rng_state(kept["random"])
        done = kept["done"]
    for epoch in range(done, recipe.epochs):
        for pick in torch.randperm(batches):
            group = groups[int(pick)]
            hidden = torch.zeros(group.numel(), recipe.hidden)
            for start in range(0, int(ends[group.numpy()].max()), CHUNK):
                part = slice(start, start + CHUNK)
                w = weight[part, group]
                # A student that starts late, or again, knows nothing either.
                hidden = hidden.detach() * (torch.rand(group.numel(), 1) > 0.05)
                head, hidden = net(x[part, group], hidden)
                correction, log_out = answer(head, log_sigma[part, group], 1.0)
                wrong = correction - target[part, group]
                regret = torch.relu(wrong.abs() - target[part, group].abs() - REGRET_FROM).mul(w).sum() / w.sum().clamp(min=1.0)
                loss = likelihood_and_rmse(wrong, log_out, w, recipe.rmse) + recipe.regret * regret
                if taught is not None and teaching is not None:
                    apart = (correction - taught[0][part, group]) ** 2
                    surer = (log_out - taught[1][part, group]) ** 2
                    total = w.sum().clamp(min=1.0)
                    loss = loss + teaching.follow * torch.sqrt(apart.mul(w).sum() / total + 1e-8)
                    loss = loss + teaching.follow_sigma * surer.mul(w).sum() / total
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimiser.step()
                schedule.step()
        states = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "schedule": schedule.state_dict()}
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        torch.save(states | {"random": torch.get_rng_state(), "done": epoch + 1}, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)
    return net


@torch.no_grad()
def correct(net: Recurrent, data: Sequences, scale: Scaling) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Correction as it ships and sigma over whole sequences, (steps, sequences) each."""
    x, log_sigma, _, _ = tensors(data, scale)
    head, _ = net(x, torch.zeros(x.shape[1], net.gru.hidden_size))
    correction, log_out = answer(head, log_sigma, BOUNDS.kept)
    return correction.numpy(), log_out.exp().numpy()


@torch.no_grad()
def lesson(net: Recurrent, data: Sequences, scale: Scaling) -> tuple[Tensor, Tensor]:
    """What the teacher says on the training's sequences: correction and log sigma, (steps, sequences) each."""
    x, log_sigma, _, _ = tensors(data, scale)
    parts = []
    for group in torch.arange(x.shape[1]).split(GROUP):
        head, _ = net(x[:, group], torch.zeros(group.numel(), net.gru.hidden_size))
        parts.append(answer(head, log_sigma[:, group], 1.0))
    return torch.cat([part[0] for part in parts], dim=1), torch.cat([part[1] for part in parts], dim=1)
