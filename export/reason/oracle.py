"""The oracle: a network that reads any set of answers, says the causes, and how much each further question would tell.

A perceptron over the sum of what was asked: each number of each answer is the mix of two words, as a student reads it (a plain number a slot
lost to boosted trees: few layers draw few edges). Trained on every prefix of whole interrogations. Two heads: the causes, and for each question
the fall of the cross-entropy that asking it next would bring, regressed on the falls that came about. Its own policy (the largest promised
fall) is mixed into the interrogations that it learns from, more as it learns.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgebms.evidence.queries import NUMBERS
from edgebms.reasoner.language import BINS, CAP, CAUSES, FIRST_BIN
from export.reason import corpus
from export.reason.asking import COUNT, Asking
from export.reason.jitter import Jitter
from export.reason.traces import shares
from export.reason.trees import prompt

Singles = NDArray[np.float32]
PROMPT = 18


@dataclass(frozen=True, slots=True)
class OracleRecipe:
    steps: int = 3500
    batch: int = 112
    width: int = 320
    rate: float = 1.5e-3
    dropped: float = 0.1
    epsilon: tuple[float, float] = (1.0, 0.2)
    seed: int = 0


class Oracle(nn.Module):
    """centres: as a student's bins. asks (questions,): what it asks about, see ``corpus.answered``. forward (n, width), the sum of what was told -> causes' logits (n, causes), promised falls (n, questions)
    in nat."""

    def __init__(self, centres: NDArray[np.floating[Any]], width: int, asks: NDArray[np.bool_], dropped: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("asks", torch.from_numpy(asks.copy()))
        self.register_buffer("centres", torch.from_numpy(np.asarray(centres, dtype=np.float32)))
        self.words = nn.Embedding(COUNT * NUMBERS * (BINS + 1), width)
        self.asked = nn.Embedding(COUNT, width)
        self.told = nn.Linear(PROMPT, width)
        for table in (self.words, self.asked):
            nn.init.normal_(table.weight, std=0.1)
        self.body = nn.Sequential(nn.GELU(), nn.Dropout(dropped), nn.Linear(width, width), nn.GELU(), nn.Dropout(dropped))
        self.more = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(dropped))
        self.causes = nn.Linear(width, len(CAUSES))
        self.falls = nn.Linear(width, COUNT)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inside = self.body(x)
        inside = inside + self.more(inside)
        return self.causes(inside), self.falls(inside)

    def heard(self, queries: NDArray[np.intp], answers: Singles) -> Tensor:
        """(n, width): what answers (n, 4), asinh, to queries (n,) add to the sum."""
        left, right, share = shares(self.centres.numpy(), queries, answers)
        first = FIRST_BIN + np.arange(NUMBERS) * (BINS + 1)
        base = (queries[:, None] * NUMBERS + np.arange(NUMBERS)) * (BINS + 1)
        places = torch.from_numpy(np.concatenate((base + left - first, base + right - first), axis=1))
        weights = torch.from_numpy(np.concatenate((1.0 - share, share), axis=1))
        words = nn.functional.embedding_bag(places, self.words.weight, mode="sum", per_sample_weights=weights)
        out: Tensor = words + self.asked(torch.from_numpy(queries))
        return out


class Slots:
    """The oracle's input for ``Asking``, filled as it is asked: x (n, width), without gradients."""

    def __init__(self, oracle: Oracle, asking: Asking) -> None:
        self._oracle = oracle
        with torch.no_grad():
            self.x = oracle.told(torch.from_numpy(prompted(asking.rows)))

    @torch.no_grad()
    def put(self, queries: NDArray[np.intp], answers: Singles) -> None:
        self.x = self.x + self._oracle.heard(queries, answers)


def prompted(rows: NDArray[np.void]) -> Singles:
    """(n, PROMPT): chemistry, size and reach, one-hot."""
    out = np.zeros((len(rows), PROMPT), dtype=np.float32)
    told = prompt(rows).astype(int)
    each = np.arange(len(rows))
    out[each, told[:, 0]] = 1.0
    out[each, 9 + told[:, 1]] = 1.0
    out[each, 13 + told[:, 2]] = 1.0
    out[each, 16 + told[:, 3]] = 1.0
    return out


def choose(falls: Singles, may: NDArray[np.bool_], epsilon: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """The largest promised fall among what may be asked; with probability epsilon any."""
    score = np.where(may, falls, -np.inf)
    any_of = np.where(may, rng.random(may.shape), -1.0)
    at_random = rng.random(len(may)) < epsilon
    return np.where(at_random, any_of.argmax(axis=1), score.argmax(axis=1))


@torch.no_grad()
def look(oracle: Oracle, x: Tensor) -> tuple[Singles, Singles]:
    causes, falls = oracle.eval()(x)
    return causes.numpy(), falls.numpy()


def train(rows: NDArray[np.void], beliefs: Singles, centres: NDArray[np.floating[Any]], recipe: OracleRecipe, kept: Path) -> Oracle:
    """beliefs (n, causes): what to learn of each row, see ``beliefs.soft``. Goes on from ``kept`` where it was broken off."""
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(1)
    oracle = Oracle(centres, recipe.width, corpus.answered(rows), recipe.dropped)
    optimiser = torch.optim.AdamW(oracle.parameters(), lr=recipe.rate, weight_decay=0.02)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=recipe.steps, pct_start=0.05)
    first = 0
    if kept.is_file():
        state = torch.load(kept, weights_only=True)
        if state["recipe"] == asdict(recipe) and state["packs"] == len(rows):
            oracle.load_state_dict(state["oracle"])
            optimiser.load_state_dict(state["optimiser"])
            plan.load_state_dict(state["plan"])
            first = state["step"]
    weight = corpus.weights(rows)
    weight = weight / weight.sum()
    cumulative = np.cumsum(weight)
    started_s, shown = time.monotonic(), np.zeros(3)
    for step in range(first, recipe.steps):
        rng = np.random.default_rng([recipe.seed, step])
        share = step / recipe.steps
        epsilon = recipe.epsilon[0] + (recipe.epsilon[1] - recipe.epsilon[0]) * min(2 * share, 1.0)
        places = np.searchsorted(cumulative, rng.random(recipe.batch)).clip(0, len(rows) - 1)
        shown += learn(oracle, optimiser, rows[places], beliefs[places], epsilon, rng)
        plan.step()
        if (step + 1) % 250 == 0:
            before, after, error = shown / 250
            print(
                f"oracle {step + 1}: {before:.3f} -> {after:.3f} nat, falls +-{error**0.5:.3f}, epsilon {epsilon:.2f}, "
                f"{time.monotonic() - started_s:.0f} s",
                file=sys.stderr, flush=True,
            )  # fmt: skip
            shown[:] = 0.0
            save(oracle, recipe, kept, optimiser=optimiser.state_dict(), plan=plan.state_dict(), step=step + 1, packs=len(rows))
    return oracle.eval()


def learn(
    oracle: Oracle,
    optimiser: torch.optim.Optimizer,
    batch: NDArray[np.void],
    beliefs: Singles,
    epsilon: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """One step on whole interrogations, every prefix of them. Returns (nat without a question, nat at the end, squared error of the falls)."""
    asking = Asking.of(batch, Jitter.drawn(len(batch), rng))
    slots = Slots(oracle, asking)
    for _ in range(CAP):
        wanted = choose(look(oracle, slots.x)[1], asking.may_ask(), epsilon, rng)
        asking.ask(wanted)
        slots.put(wanted, asking.answers[:, -1])
    n = len(batch)
    oracle.train()
    heard = oracle.heard(asking.queries.T.reshape(-1), asking.answers.transpose(1, 0, 2).reshape(CAP * n, NUMBERS)).view(CAP, n, -1)
    told = oracle.told(torch.from_numpy(prompted(batch)))
    seen = torch.cat((told[None], told[None] + heard.cumsum(dim=0)))
    causes, promised = oracle(seen.view((CAP + 1) * n, -1))
    truth = torch.from_numpy(beliefs).repeat(CAP + 1, 1)
    losses = nn.functional.cross_entropy(causes, truth, reduction="none").view(CAP + 1, n)
    fell = (losses[:-1] - losses[1:]).detach().clamp(-2.0, 6.0)
    asked = torch.from_numpy(asking.queries.T.copy())
    error = (promised.view(CAP + 1, n, COUNT)[:-1].gather(2, asked[:, :, None])[:, :, 0] - fell).square().mean()
    optimiser.zero_grad()
    (losses.mean() + 0.5 * error).backward()
    nn.utils.clip_grad_norm_(oracle.parameters(), 1.0)
    optimiser.step()
    return np.array([losses[0].mean().item(), losses[-1].mean().item(), error.item()])


def save(oracle: Oracle, recipe: OracleRecipe, path: Path, **more: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    torch.save({"oracle": oracle.state_dict(), "recipe": asdict(recipe)} | more, partial)
    partial.replace(path)


def read(path: Path) -> Oracle:
    state = torch.load(path, weights_only=True)
    oracle = Oracle(state["oracle"]["centres"].numpy(), state["recipe"]["width"], state["oracle"]["asks"].numpy())
    oracle.load_state_dict(state["oracle"])
    return oracle.eval()


@dataclass(frozen=True, slots=True, eq=False)
class RollOut:
    """asking: done. chances (n, t + 1, causes): before the first question and after each. falls (n, t, questions): promised at each,
    -inf where it may not be asked."""

    asking: Asking
    chances: Singles
    falls: Singles


def roll_out(
    oracle: Oracle,
    rows: NDArray[np.void],
    epsilon: float,
    rng: np.random.Generator,
    cap: int = CAP,
    fixed: list[int] | None = None,
    jitter: Jitter | None = None,
) -> RollOut:
    """``cap`` questions to each row. fixed: these, in this order, in place of the oracle's own."""
    asking = Asking.of(rows, jitter)
    slots, asks = Slots(oracle, asking), oracle.asks.numpy()
    chances, promised = [], []
    for at in range(cap + 1):
        causes, falls = look(oracle, slots.x)
        chances.append(softmax(causes))
        if at == cap:
            break
        may = asking.may_ask()
        falls[:, ~asks] = -1.0
        promised.append(np.where(may, falls, -np.inf).astype(np.float32))
        wanted = choose(falls, may & asks, epsilon, rng) if fixed is None else np.full(len(rows), fixed[at])
        asking.ask(wanted)
        slots.put(wanted, asking.answers[:, -1])
    return RollOut(asking, np.stack(chances, axis=1), np.stack(promised, axis=1))


def softmax(logits: Singles) -> Singles:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    out: Singles = weights / weights.sum(axis=-1, keepdims=True)
    return out


def best_fixed(oracle: Oracle, rows: NDArray[np.void], count: int = CAP) -> list[int]:
    """``count`` places in QUERIES asked of every pack in this order, each the one that lets the cross-entropy fall most."""
    weight = corpus.weights(rows)
    each = np.arange(len(rows))
    asking, chosen = Asking.of(rows), []
    slots = Slots(oracle, asking)
    for _ in range(count):
        scores = {}
        for query in range(COUNT):
            wanted = np.full(len(rows), query)
            if not asking.may_ask()[:, query].mean() > 0.5:
                continue
            numbers, _ = asking.answer(wanted)
            kept = slots.x
            slots.put(wanted, numbers)
            said = softmax(look(oracle, slots.x)[0])[each, rows["cause"]]
            scores[query] = float(np.average(-np.log(np.maximum(said, 1e-6)), weights=weight))
            slots.x = kept
        best = min(scores, key=lambda query: scores[query])
        chosen.append(best)
        asking.ask(np.full(len(rows), best))
        slots.put(np.full(len(rows), best), asking.answers[:, -1])
    return chosen
