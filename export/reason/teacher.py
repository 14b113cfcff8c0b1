"""The teacher: mini-R1, a small stock ``DeepseekV3ForCausalLM`` (mixture of experts, multi-head latent attention).

Cold start on the oracle's interrogations (``sft``), then GRPO with verifiable rewards (Shao et al. 2024, arXiv:2402.03300; DeepSeek-R1,
Nature 645): G interrogations of each pack, sampled; reward = right cause + right place - what the questions cost; advantage = reward
against the group's mean over its deviation; clipped ratio, a small pull to the cold start. The verdict's cross-entropy is kept on: without
it the verdict does not follow where the questions lead. Then rejection sampling: the interrogations that came out right teach the student.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgebms.evidence.queries import QUERIES
from edgebms.reasoner.language import CAP, CAUSES, FIRST_CAUSE, FIRST_QUERY, TOKENS
from export.reason import corpus
from export.reason.asking import OUTLIER_RANK, Asking, right_place
from export.reason.judge import HEALTHY
from export.reason.sft import logits_of
from export.reason.traces import Traces, inputs

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GrpoRecipe:
    """packs a step, each interrogated ``group`` times; commit: the runtime's own rule for stopping. Rates as in R1, scaled to so small a
    model."""

    steps: int = 150
    packs: int = 24
    group: int = 8
    rate: float = 1e-4
    clip: float = 0.2
    pull: float = 0.001
    verdict_weight: float = 0.5
    entropy_weight: float = 0.002
    place_reward: float = 0.2
    query_cost: float = 0.01
    commit: float = 0.9
    seed: int = 0


def deepseek_v3(width: int = 128, layers: int = 3) -> Any:
    """A fresh stock model of about 1 M parameters. Needs transformers."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    config = DeepseekV3Config(
        vocab_size=len(TOKENS),
        hidden_size=width,
        intermediate_size=3 * width,
        moe_intermediate_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        n_shared_experts=1,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        routed_scaling_factor=1.0,
        first_k_dense_replace=1,
        q_lora_rank=64,
        kv_lora_rank=32,
        qk_nope_head_dim=24,
        qk_rope_head_dim=8,
        v_head_dim=32,
        max_position_embeddings=32,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
    )
    return DeepseekV3ForCausalLM(config)


def advantages(rewards: Singles, least: float = 1e-4) -> Singles:
    """(packs, group): each reward less its group's mean, over its group's standard deviation; 0 where all are alike.

    >>> advantages(np.array([[1.0, 0.0, 1.0, 0.0], [0.5, 0.5, 0.5, 0.5]], dtype=np.float32)).round(3).tolist()
    [[1.0, -1.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0]]
    """
    apart = rewards - rewards.mean(axis=1, keepdims=True)
    deviation = rewards.std(axis=1, keepdims=True)
    out: Singles = np.where(deviation > least, apart / np.maximum(deviation, least), 0.0).astype(np.float32)
    return out


def policy_loss(now: Tensor, then: Tensor, start: Tensor, advantage: Tensor, there: Tensor, clip: float, pull: float) -> Tensor:
    """GRPO's loss of log-probabilities (traces, tokens): under the weights now, those that sampled, and the cold start's; advantage (traces,);
    there (traces, tokens): 1 where a token was sampled. Mean over each trace's tokens, then over traces. pull: of the k3 estimate of KL."""
    ratio = (now - then).exp()
    gain = torch.minimum(ratio * advantage[:, None], ratio.clamp(1.0 - clip, 1.0 + clip) * advantage[:, None])
    divergence = (start - now).exp() - (start - now) - 1.0
    each = ((gain - pull * divergence) * there).sum(-1) / there.sum(-1).clamp(min=1.0)
    return -each.mean()


def rewards_of(
    rows: NDArray[np.void], cause: NDArray[np.intp], named: NDArray[np.bool_], asked: NDArray[np.intp], recipe: GrpoRecipe
) -> Singles:
    """1 for the right cause, ``place_reward`` where it has a place and a question named it, less ``query_cost`` a question."""
    right = cause == rows["cause"]
    placed = right & ((rows["cell"] >= 0) | (rows["probe"] >= 0)) & named
    out: Singles = (right + recipe.place_reward * placed - recipe.query_cost * asked).astype(np.float32)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """n interrogations. length (n,): questions asked before the verdict; cause (n,) sampled; logp (n, 9): of each question, and of the cause
    at ``length``; may (n, 8, questions); chances (n, 9, causes)."""

    asking: Asking
    length: NDArray[np.intp]
    cause: NDArray[np.intp]
    chances: Singles
    may: NDArray[np.bool_]


@torch.no_grad()
def sample(
    model: Any, rows: NDArray[np.void], centres: Singles, commit: float, rng: np.random.Generator, temperature: float = 1.0
) -> Sampled:
    """One interrogation of each row; temperature 0: the likeliest question and cause."""
    n = len(rows)
    asking = Asking.of(rows)
    length = np.full(n, CAP)
    chances, mays = [], []
    running = np.ones(n, dtype=bool)
    for at in range(CAP + 1):
        some = blank(asking)
        logits = logits_of(model, inputs(some, centres, np.full(n, at))[:, : at + 1])[:, -1]
        chances.append(logits[:, FIRST_CAUSE : FIRST_CAUSE + len(CAUSES)].softmax(-1).numpy())
        stops = running & (at > 0) & (chances[-1].max(axis=1) >= commit)
        length[stops] = at
        running &= ~stops
        if at == CAP:
            break
        may = asking.may_ask()
        mays.append(may)
        asked = logits[:, FIRST_QUERY : FIRST_QUERY + len(QUERIES)].masked_fill(torch.from_numpy(~may), -1e9).numpy()
        asking.ask(drawn(asked, temperature, rng))
    said = np.stack(chances, axis=1)
    final = np.log(np.maximum(said[np.arange(n), length], 1e-9))
    return Sampled(asking, length, drawn(final, temperature, rng), said, np.stack(mays, axis=1))


def drawn(logits: Singles, temperature: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Sampled by the Gumbel trick."""
    if temperature <= 0:
        return logits.argmax(axis=1)
    noise = -np.log(-np.log(rng.uniform(1e-9, 1.0 - 1e-9, logits.shape)))
    return (logits / temperature + noise).argmax(axis=1)


def blank(asking: Asking, chances: Singles | None = None, falls: Singles | None = None) -> Traces:
    """Traces of interrogations that may still go on, their questions filled up to the cap with any."""
    n, asked = asking.queries.shape
    left = CAP - asked
    whole = Asking.of(asking.rows)
    whole.queries = np.concatenate((asking.queries, np.zeros((n, left), dtype=np.intp)), axis=1)
    whole.answers = np.concatenate((asking.answers, np.full((n, left, 4), np.nan, dtype=np.float32)), axis=1)
    whole.cells = np.concatenate((asking.cells, np.full((n, left), -1, dtype=np.intp)), axis=1)
    nothing = np.zeros((n, CAP + 1, len(CAUSES)), dtype=np.float32)
    return Traces.of(
        whole, nothing if chances is None else chances, np.zeros((n, CAP, len(QUERIES)), np.float32) if falls is None else falls
    )


def logps(model: Any, done: Sampled, mix: Singles) -> tuple[Tensor, Tensor, Tensor]:
    """(of what was sampled (n, 9): questions, then the cause behind them; causes' (n, causes) at the end; entropy of the questions (n, 8))."""
    n = len(mix)
    logits = logits_of(model, mix[:, : CAP + 1])
    asked = logits[:, :CAP, FIRST_QUERY : FIRST_QUERY + len(QUERIES)].masked_fill(torch.from_numpy(~done.may), -1e9).log_softmax(-1)
    of_query = asked.gather(2, torch.from_numpy(done.asking.queries)[:, :, None])[:, :, 0]
    each = torch.arange(n)
    causes = logits[each, torch.from_numpy(done.length), FIRST_CAUSE : FIRST_CAUSE + len(CAUSES)].log_softmax(-1)
    of_cause = causes[each, torch.from_numpy(done.cause)]
    entropy = -(asked.exp() * asked).sum(-1)
    return torch.cat((of_query, of_cause[:, None]), dim=1), causes, entropy


def grpo(model: Any, start: Any, rows: NDArray[np.void], centres: Singles, recipe: GrpoRecipe, kept: Path) -> list[dict[str, float]]:
    """Sharpen ``model`` from its cold ``start``; goes on from ``kept``. Returns its curve: reward, accuracy, questions, entropy."""
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=0.0)
    curve: list[dict[str, float]] = []
    if kept.is_file():
        state = torch.load(kept, weights_only=True)
        if state["recipe"] == asdict(replace(recipe, steps=0)) and state["step"] <= recipe.steps:
            model.load_state_dict(state["model"])
            optimiser.load_state_dict(state["optimiser"])
            curve = state["curve"]
    weight = corpus.weights(rows)
    cumulative = np.cumsum(weight / weight.sum())
    started_s = time.monotonic()
    for step in range(len(curve), recipe.steps):
        rng = np.random.default_rng([recipe.seed, step, 3])
        places = np.searchsorted(cumulative, rng.random(recipe.packs)).clip(0, len(rows) - 1)
        curve.append(learn(model, start, optimiser, rows[np.repeat(places, recipe.group)], centres, recipe, rng))
        if (step + 1) % 10 == 0:
            told = {name: round(float(np.mean([point[name] for point in curve[-10:]])), 3) for name in curve[-1]}
            print(f"grpo {step + 1}: {json.dumps(told)}, {time.monotonic() - started_s:.0f} s", file=sys.stderr, flush=True)
            kept.parent.mkdir(parents=True, exist_ok=True)
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "curve": curve}
            torch.save(state | {"recipe": asdict(replace(recipe, steps=0)), "step": step + 1}, kept)
    return curve


def learn(
    model: Any,
    start: Any,
    optimiser: torch.optim.Optimizer,
    rows: NDArray[np.void],
    centres: Singles,
    recipe: GrpoRecipe,
    rng: np.random.Generator,
) -> dict[str, float]:
    """One step on groups of interrogations, one after the other in ``rows``."""
    done = sample(model, rows, centres, recipe.commit, rng)
    within = np.arange(CAP) < done.length[:, None]
    named = (right_place(rows, done.asking.cells) & (OUTLIER_RANK[done.asking.queries] >= 0) & within).any(axis=1)
    rewards = rewards_of(rows, done.cause, named, done.length, recipe)
    advantage = torch.from_numpy(advantages(rewards.reshape(-1, recipe.group)).reshape(-1))
    there = torch.from_numpy(np.concatenate((within, np.ones((len(rows), 1), dtype=bool)), axis=1).astype(np.float32))
    mix = inputs(blank(done.asking), centres, done.length)
    now, causes, entropy = logps(model, done, mix)
    with torch.no_grad():
        cold, _, _ = logps(start, done, mix)
    truth = torch.from_numpy(rows["cause"].astype(np.int64))
    of_verdict = torch.nn.functional.nll_loss(causes, truth)
    spread = (entropy * there[:, :CAP]).sum() / there[:, :CAP].sum().clamp(min=1.0)
    loss = policy_loss(now, now.detach(), cold, advantage, there, recipe.clip, recipe.pull)
    optimiser.zero_grad()
    (loss + recipe.verdict_weight * of_verdict - recipe.entropy_weight * spread).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return {
        "reward": float(rewards.mean()),
        "accuracy": float((done.cause == rows["cause"]).mean()),
        "questions": float(done.length.mean()),
        "entropy": spread.item(),
        "healthy_questions": float(done.length[rows["cause"] == HEALTHY].mean()) if (rows["cause"] == HEALTHY).any() else float("nan"),
    }


def accepted(
    model: Any, rows: NDArray[np.void], centres: Singles, recipe: GrpoRecipe, tries: int, rng: np.random.Generator
) -> tuple[Traces, float]:
    """Rejection sampling: of ``tries`` interrogations of each row, the one that earns most, where its cause is right; and the share of rows
    that have one. Its questions are the target of the next question, the teacher's probabilities that of the causes."""
    n = len(rows)
    again = np.repeat(np.arange(n), tries)
    done = sample(model, rows[again], centres, 1.0, rng)
    likely = done.chances[:, CAP].argmax(axis=1)
    named = (right_place(rows[again], done.asking.cells) & (OUTLIER_RANK[done.asking.queries] >= 0)).any(axis=1)
    truth = rows["cause"][again].astype(np.intp)
    # how soon the truth stands, not only whether: the sum over prefixes of its probability
    soon = done.chances[np.arange(len(again)), :, truth].mean(axis=1)
    score = (rewards_of(rows[again], likely, named, np.zeros(len(again), dtype=np.intp), recipe) + soon).reshape(n, tries)
    best = score.argmax(axis=1) + np.arange(n) * tries
    good = best[likely[best] == truth[best]]
    falls = np.where(done.may, -1.0, -np.inf).astype(np.float32)
    np.put_along_axis(falls, done.asking.queries[:, :, None], 0.0, axis=2)
    whole = Traces.of(done.asking, done.chances, falls)
    return Traces(*(getattr(whole, name)[good] for name in Traces.__dataclass_fields__)), len(good) / n
