"""The student: a stock ``Qwen2ForCausalLM``, taught by SFT on the oracle's interrogations.

It reads each question and its answer at one position, as the mix of their words' embeddings. At every prefix it learns the causes (so an
interrogation that is stopped early still ends well) and which question the oracle promises most from; behind a prefix of random length
the verdict's other words.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgebms.evidence.queries import QUERIES
from edgebms.reasoner.language import CAP, CAUSES, FIRST_CAUSE, FIRST_QUERY, TOKENS
from export.onnx_graph import Weights
from export.reason import corpus
from export.reason.decoder_graph import NANO, Shape
from export.reason.jitter import Jitter
from export.reason.oracle import Oracle, roll_out, softmax
from export.reason.traces import Targets, Traces, inputs, targets

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SftRecipe:
    steps: int = 3000
    batch: int = 192
    rate: float = 2e-3
    query_weight: float = 0.3
    word_weight: float = 0.15
    epsilon: float = 0.15
    fresh_every: int = 600
    """Steps after which the interrogations are rolled out anew."""
    seed: int = 0


def again(recipe: SftRecipe) -> SftRecipe:
    """A second, gentler round over other interrogations: at the end of the first the student still trailed its oracle by 1.5 points."""
    return replace(recipe, steps=recipe.steps * 2 // 3, rate=0.4 * recipe.rate, seed=recipe.seed + 100)


def qwen2(shape: Shape) -> Any:
    """A fresh stock model. Needs transformers."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=len(TOKENS),
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        intermediate_size=shape.inner,
        max_position_embeddings=32,
        rope_theta=shape.theta,
        rms_norm_eps=shape.epsilon,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
    )
    return Qwen2ForCausalLM(config)


def weights_of(model: Any) -> Weights:
    return {name: value.detach().numpy().astype(np.float32) for name, value in model.state_dict().items()}


def shape_of(model: Any) -> Shape:
    config = model.config
    return Shape(
        width=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        key_heads=config.num_key_value_heads,
        inner=config.intermediate_size,
        theta=config.rope_theta,
        epsilon=config.rms_norm_eps,
    )


def logits_of(model: Any, mix: Singles | Tensor) -> Tensor:
    """(n, positions, tokens). Behind a trace's end nothing is read: attention looks back only."""
    mix = torch.as_tensor(mix)
    out: Tensor = model(inputs_embeds=mix @ model.get_input_embeddings().weight, use_cache=False).logits
    return out


def of_causes(logits: Singles) -> Singles:
    """(n, causes) probabilities of logits (n, tokens)."""
    return softmax(logits[:, FIRST_CAUSE : FIRST_CAUSE + len(CAUSES)])


def loss_of(logits: Tensor, wanted: Targets, length: NDArray[np.intp], recipe: SftRecipe) -> tuple[Tensor, list[float]]:
    causes = logits[:, : CAP + 1, FIRST_CAUSE : FIRST_CAUSE + len(CAUSES)].log_softmax(-1)
    on_causes = weighted(-(torch.from_numpy(wanted.causes) * causes).sum(-1), wanted.causes_weight)
    asked = logits[:, :CAP, FIRST_QUERY : FIRST_QUERY + len(QUERIES)]
    asked = asked.masked_fill(torch.from_numpy(~wanted.may_ask), -1e9).log_softmax(-1)
    of_queries = weighted(-(torch.from_numpy(wanted.queries) * asked).sum(-1), wanted.queries_weight)
    each = torch.arange(len(logits))[:, None]
    behind = logits[each, torch.from_numpy(length)[:, None] + 1 + torch.arange(4)]
    words = behind.masked_fill(torch.from_numpy(~wanted.may), -1e9).log_softmax(-1)
    of_words = weighted(-(torch.from_numpy(wanted.words) * words.clamp(min=-50.0)).sum(-1), wanted.words_weight)
    loss = on_causes + recipe.query_weight * of_queries + recipe.word_weight * of_words
    return loss, [on_causes.item(), of_queries.item(), of_words.item()]


def weighted(losses: Tensor, weight: Singles) -> Tensor:
    share = torch.from_numpy(weight)
    return (losses * share).sum() / share.sum().clamp(min=1.0)


def draw(traces: Traces, places: NDArray[np.intp], rng: np.random.Generator) -> tuple[Traces, NDArray[np.intp], NDArray[np.intp]]:
    """(traces at ``places``, where each ends, the cause that its verdict says: half the truth, half what the oracle holds likeliest)."""
    some = Traces(*(getattr(traces, name)[places] for name in Traces.__dataclass_fields__))
    n = len(places)
    length = np.where(rng.random(n) < 0.5, CAP, rng.integers(CAP + 1, size=n))
    likely = some.chances[np.arange(n), length].astype(np.float32).argmax(axis=1)
    return some, length, np.where(rng.random(n) < 0.5, some.cause, likely)


def train(
    fresh: Callable[[], Any],
    lessons: Callable[[np.random.Generator], Traces],
    centres: Singles,
    recipe: SftRecipe,
    kept: Path,
    ask: bool = True,
) -> Any:
    """The trained model, in eval mode; goes on from ``kept`` where it was broken off. fresh: makes the model; lessons: makes the traces, anew
    now and then. ask: False = the questions are given, only the verdict is learnt."""
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(1)
    model = fresh()
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=0.01, betas=(0.9, 0.98))
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=recipe.steps, pct_start=0.05)
    first = 0
    if kept.is_file():
        state = torch.load(kept, weights_only=True)
        if state["recipe"] == asdict(recipe):
            model.load_state_dict(state["model"])
            optimiser.load_state_dict(state["optimiser"])
            plan.load_state_dict(state["plan"])
            first = state["step"]
    traces: Traces | None = None
    cumulative = np.zeros(0)
    started_s, shown = time.monotonic(), np.zeros(3)
    for step in range(first, recipe.steps):
        if traces is None or step % recipe.fresh_every == 0:
            traces = lessons(np.random.default_rng([recipe.seed, step // recipe.fresh_every, 1]))
            cumulative = np.cumsum(corpus.weights_of(traces.cause))
            cumulative /= cumulative[-1]
        rng = np.random.default_rng([recipe.seed, step, 2])
        places = np.searchsorted(cumulative, rng.random(recipe.batch)).clip(0, len(traces) - 1)
        some, length, said_cause = draw(traces, places, rng)
        wanted, said = targets(some, length, said_cause)
        if not ask:
            wanted.queries_weight[:] = 0.0
        loss, parts = loss_of(logits_of(model, inputs(some, centres, length, said)), wanted, length, recipe)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        plan.step()
        shown += parts
        if (step + 1) % 100 == 0:
            told = ", ".join(f"{name} {value:.3f}" for name, value in zip(("causes", "questions", "words"), shown / 100, strict=True))
            print(f"{kept.stem} {step + 1}: {told} nat, {time.monotonic() - started_s:.0f} s", file=sys.stderr, flush=True)
            shown[:] = 0.0
            save(kept, model, recipe, optimiser=optimiser.state_dict(), plan=plan.state_dict(), step=step + 1)
    return model.eval()


def rolled(
    oracle: Oracle,
    rows: NDArray[np.void],
    epsilon: float,
    rng: np.random.Generator,
    fixed: list[int] | None = None,
    beliefs: Singles | None = None,
    jitter: Callable[[int, np.random.Generator], Jitter] | None = None,
) -> Traces:
    """The oracle's interrogations of ``rows``. jitter: of n of them. beliefs (n, causes): where given, they stand for the truth in what a cause's target is."""
    out: Traces | None = None
    for part in np.array_split(np.arange(len(rows)), max(len(rows) // 4000, 1)):
        done = roll_out(oracle, rows[part], epsilon, rng, fixed=fixed, jitter=jitter(len(part), rng) if jitter else None)
        some = Traces.of(done.asking, done.chances, done.falls, None if beliefs is None else beliefs[part])
        out = some if out is None else out.joined(some)
    assert out is not None
    return out


def save(path: Path, model: Any, recipe: SftRecipe, **more: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    torch.save({"model": model.state_dict(), "recipe": asdict(recipe)} | more, partial)
    partial.replace(path)


def read(path: Path, shape: Shape = NANO) -> Any:
    model = qwen2(shape)
    model.load_state_dict(torch.load(path, weights_only=True)["model"])
    return model.eval()
