"""The oracle's second stage: what each question would tell, learnt of all questions at once.

A corpus row holds every answer, so at a prefix the fall that each question would bring is known of all of them, not only of the one that was asked. Learnt from
the asked one alone, the promises of seldom asked questions stay noise, and the largest of so many is a lucky one: behind the fourth question the
first stage asks for what tells nothing.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgebms.reasoner.language import CAP
from export.reason import corpus
from export.reason.asking import COUNT, Asking
from export.reason.jitter import Jitter
from export.reason.oracle import Oracle, OracleRecipe, Slots, choose, look, prompted, save

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RefineRecipe:
    steps: int = 1200
    batch: int = 112
    rate: float = 6e-4
    epsilon: float = 0.15
    weight: float = 2.0
    """Of the squared error of the falls, nat, against the causes' cross-entropy."""
    seed: int = 1


@torch.no_grad()
def falls_of_all(oracle: Oracle, asking: Asking, x: Tensor, beliefs: Tensor) -> tuple[Tensor, Tensor]:
    """(n, questions): the fall of the cross-entropy that each question would bring now, nat; and which of them may be asked."""
    n = len(asking.rows)
    answers = np.stack([asking.answer(np.full(n, query))[0] for query in range(COUNT)], axis=1)
    heard = oracle.heard(np.tile(np.arange(COUNT), n), answers.reshape(n * COUNT, -1))
    before = nn.functional.cross_entropy(oracle(x)[0], beliefs, reduction="none")
    causes = oracle((x[:, None] + heard.view(n, COUNT, -1)).view(n * COUNT, -1))[0]
    after = nn.functional.cross_entropy(causes, beliefs.repeat_interleave(COUNT, dim=0), reduction="none").view(n, COUNT)
    return (before[:, None] - after).clamp(-2.0, 6.0), torch.from_numpy(asking.may_ask())


def refine(oracle: Oracle, rows: NDArray[np.void], beliefs: Singles, recipe: RefineRecipe, base: OracleRecipe, kept: Path) -> Oracle:
    """``oracle``, taught on; written to ``kept``."""
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(1)
    optimiser = torch.optim.AdamW(oracle.parameters(), lr=recipe.rate, weight_decay=0.02)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=recipe.steps, pct_start=0.1)
    cumulative = np.cumsum(corpus.weights(rows) / len(rows))
    began_s, shown = time.monotonic(), np.zeros(3)
    for step in range(recipe.steps):
        rng = np.random.default_rng([recipe.seed, step, 7])
        places = np.searchsorted(cumulative, rng.random(recipe.batch)).clip(0, len(rows) - 1)
        shown += learn(oracle, optimiser, rows[places], torch.from_numpy(beliefs[places]), recipe, rng)
        plan.step()
        if (step + 1) % 100 == 0:
            before, after, error = shown / 100
            told = f"{before:.3f} -> {after:.3f} nat, falls +-{error**0.5:.3f}, {time.monotonic() - began_s:.0f} s"
            print(f"oracle, all questions at once, {step + 1}: {told}", file=sys.stderr, flush=True)
            shown[:] = 0.0
    save(oracle, base, kept)
    return oracle.eval()


def learn(
    oracle: Oracle,
    optimiser: torch.optim.Optimizer,
    batch: NDArray[np.void],
    beliefs: Tensor,
    recipe: RefineRecipe,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """One step: the causes at every prefix of whole interrogations, the falls of all questions at one of them."""
    asking, at = Asking.of(batch, Jitter.drawn(len(batch), rng)), int(rng.integers(CAP))
    slots, n = Slots(oracle, asking), len(batch)
    fell, may = torch.zeros(0), torch.zeros(0)
    for t in range(CAP):
        if t == at:
            fell, may = falls_of_all(oracle.eval(), asking, slots.x, beliefs)
        wanted = choose(look(oracle, slots.x)[1], asking.may_ask(), recipe.epsilon, rng)
        asking.ask(wanted)
        slots.put(wanted, asking.answers[:, -1])
    oracle.train()
    heard = oracle.heard(asking.queries.T.reshape(-1), asking.answers.transpose(1, 0, 2).reshape(CAP * n, -1)).view(CAP, n, -1)
    told = oracle.told(torch.from_numpy(prompted(batch)))
    seen = torch.cat((told[None], told[None] + heard.cumsum(dim=0)))
    causes, promised = oracle(seen.view((CAP + 1) * n, -1))
    losses = nn.functional.cross_entropy(causes, beliefs.repeat(CAP + 1, 1), reduction="none").view(CAP + 1, n)
    error = (promised.view(CAP + 1, n, COUNT)[at] - fell)[may].square().mean()
    optimiser.zero_grad()
    (losses.mean() + recipe.weight * error).backward()
    nn.utils.clip_grad_norm_(oracle.parameters(), 1.0)
    optimiser.step()
    return np.array([losses[0].mean().item(), losses[-1].mean().item(), error.item()])
