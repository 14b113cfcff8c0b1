"""A transformer of the student's size that is told all evidence at once, for comparison: does asking cost anything, or is it the model?

A stock ``Qwen2ForCausalLM`` reads the prompt, then each question with its answer in the order of their tokens (those about a suspect for the
cell that most outlier questions name), and says the cause behind the last one.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgebms.evidence.queries import NUMBERS
from edgebms.reasoner.language import CAUSES, FIRST_CAUSE, FIRST_QUERY
from export.reason import corpus, sft
from export.reason.traces import prompt_words, shares
from export.reason.trees import bundles

Singles = NDArray[np.float32]
Places = NDArray[np.intp]
STEPS, BATCH, RATE = 1500, 64, 2e-3


def embedded(model: Any, asked: Places, centres: Singles, prompts: NDArray[np.uint16], answers: Singles) -> Tensor:
    """(n, 1 + questions, width): prompts (n, 5), answers (n, queries, 4) asinh, as the sum of their words' embeddings."""
    table = model.get_input_embeddings().weight
    n, count = len(answers), len(asked)
    queries = np.broadcast_to(asked, (n, count))
    left, right, share = shares(centres, queries, answers[:, asked])
    words = np.concatenate(((FIRST_QUERY + queries)[..., None], left, right), axis=-1).reshape(n * count, 1 + 2 * NUMBERS)
    weights = np.concatenate((np.ones((n, count, 1), np.float32), 1.0 - share, share), axis=-1).reshape(n * count, 1 + 2 * NUMBERS)
    told = nn.functional.embedding_bag(torch.from_numpy(words), table, mode="sum", per_sample_weights=torch.from_numpy(weights))
    first = nn.functional.embedding(torch.from_numpy(prompts.astype(np.int64)), table).sum(dim=1, keepdim=True)
    return torch.cat((first, told.view(n, count, -1)), dim=1)


def logits_of(model: Any, asked: Places, centres: Singles, prompts: NDArray[np.uint16], answers: Singles) -> Tensor:
    """(n, causes) behind the last answer."""
    inside = model.model(inputs_embeds=embedded(model, asked, centres, prompts, answers), use_cache=False).last_hidden_state[:, -1]
    out: Tensor = model.lm_head(inside)[:, FIRST_CAUSE : FIRST_CAUSE + len(CAUSES)]
    return out


def train(rows: NDArray[np.void], beliefs: Singles, centres: Singles, kept: Path, steps: int = STEPS, seed: int = 0) -> Any:
    """beliefs (n, causes): as the other networks are taught."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    model, asked = sft.qwen2(sft.NANO), np.flatnonzero(corpus.answered(rows))
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, betas=(0.9, 0.98))
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.05)
    answers, prompts = bundles(rows).astype(np.float16), prompt_words(rows)
    cumulative = np.cumsum(corpus.weights(rows))
    cumulative /= cumulative[-1]
    started_s, shown = time.monotonic(), 0.0
    for step in range(steps):
        rng = np.random.default_rng([seed, step, 3])
        places = np.searchsorted(cumulative, rng.random(BATCH)).clip(0, len(rows) - 1)
        said = logits_of(model, asked, centres, prompts[places], answers[places].astype(np.float32))
        loss = nn.functional.cross_entropy(said, torch.from_numpy(beliefs[places]))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        plan.step()
        shown += loss.item()
        if (step + 1) % 100 == 0:
            print(f"{kept.stem} {step + 1}: {shown / 100:.3f} nat, {time.monotonic() - started_s:.0f} s", file=sys.stderr, flush=True)
            shown = 0.0
    kept.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model.state_dict(), "asked": torch.from_numpy(asked)}, kept)
    return model.eval()


@torch.no_grad()
def chances(model: Any, asked: Places, rows: NDArray[np.void], centres: Singles) -> Singles:
    """(n, causes)."""
    answers, prompts = bundles(rows), prompt_words(rows)
    parts = np.array_split(np.arange(len(rows)), max(len(rows) // 256, 1))
    said = [logits_of(model, asked, centres, prompts[part], answers[part]).softmax(-1).numpy() for part in parts]
    out: Singles = np.concatenate(said)
    return out
