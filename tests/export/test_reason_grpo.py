"""GRPO's arithmetic against hand-computed cases, and one step of it on both stock models, as training runs it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from edgebms.evidence.queries import OUTLIERS
from edgebms.reasoner.language import BINS, CAP, CAUSES, TOKENS
from edgebms.vocabulary import Cause
from export.reason.corpus import ROW

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch", reason="needs the export extra")
pytest.importorskip("transformers", reason="needs the export extra")

from export.reason import sft, student_model, teacher  # noqa: E402
from export.reason.decoder_graph import NANO  # noqa: E402

HEALTHY, SHORT, SENSOR = (CAUSES.index(cause) for cause in (Cause.HEALTHY, Cause.INTERNAL_SHORT, Cause.VOLTAGE_SENSOR))


def test_advantages_by_hand() -> None:
    # group 1: mean 0.75, deviations .25 .25 -.75 .25, root mean square 0.4330; group 2: all alike, nothing to learn from
    found = teacher.advantages(np.array([[1.0, 1.0, 0.0, 1.0], [0.3, 0.3, 0.3, 0.3]], dtype=np.float32))
    third = 1.0 / math.sqrt(3.0)
    np.testing.assert_allclose(found, [[third, third, -math.sqrt(3.0), third], [0.0, 0.0, 0.0, 0.0]], atol=1e-5)


def test_the_loss_by_hand() -> None:
    # trace 1 (advantage 1): ratios 1.5 and 0.9, clipped at 1.2: (1.2 + 0.9) / 2; trace 2 (advantage -2): ratio 1.5 counts whole, one token
    now = torch.log(torch.tensor([[0.6, 0.45], [0.6, 0.5]]))
    then = torch.log(torch.tensor([[0.4, 0.50], [0.4, 0.5]]))
    there = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    advantage = torch.tensor([1.0, -2.0])
    found = teacher.policy_loss(now, then, now, advantage, there, clip=0.2, pull=0.0)
    assert found.item() == pytest.approx(-((1.2 + 0.9) / 2 - 2.0 * 1.5) / 2)
    # the pull: k3 of a cold start twice as likely is 2 - log 2 - 1
    cold = now + math.log(2.0)
    with_pull = teacher.policy_loss(now, then, cold, advantage, there, clip=0.2, pull=0.1)
    assert with_pull.item() - found.item() == pytest.approx(0.1 * (2.0 - math.log(2.0) - 1.0), rel=1e-4)


def test_a_clipped_token_has_no_gradient() -> None:
    now = torch.log(torch.tensor([[0.6, 0.42]])).requires_grad_()
    then = torch.log(torch.tensor([[0.4, 0.40]]))
    teacher.policy_loss(now, then, now.detach(), torch.tensor([1.0]), torch.ones(1, 2), 0.2, 0.0).backward()
    assert now.grad[0, 0] == 0.0
    assert now.grad[0, 1] == pytest.approx(-0.5 * 0.42 / 0.40)


def test_rewards_by_hand() -> None:
    rows = np.zeros(4, dtype=ROW)
    rows["cause"] = [SHORT, SHORT, HEALTHY, SHORT]
    rows["cell"], rows["probe"] = [3, 3, -1, 3], [1, 1, -1, 1]
    recipe = teacher.GrpoRecipe(place_reward=0.2, query_cost=0.01)
    said = np.array([SHORT, SHORT, HEALTHY, SENSOR])
    found = teacher.rewards_of(rows, said, np.array([True, False, True, True]), np.array([3, 8, 2, 5]), recipe)
    np.testing.assert_allclose(found, [1.17, 0.92, 0.98, -0.05], atol=1e-6)


@pytest.fixture
def rows() -> np.ndarray:
    """What outlier question 0 answers tells a short from a healthy pack."""
    rng = np.random.default_rng(3)
    made = np.zeros(64, dtype=ROW)
    made["number"] = np.arange(64)
    made["chemistry"], made["cells"], made["probes"] = "NMC", 16, 4
    made["cause"] = np.where(np.arange(64) % 2, SHORT, HEALTHY)
    made["cell"] = np.where(np.arange(64) % 2, 7, -1)
    made["probe"], made["named"] = -1, -1
    made["numbers"] = rng.normal(0, 0.3, made["numbers"].shape)
    made["numbers"][:, OUTLIERS[0]] += np.where(np.arange(64) % 2, -3.0, 3.0)[:, None]
    made["named"][:, list(OUTLIERS)] = 7
    made["of_suspect"] = rng.normal(0, 0.3, made["of_suspect"].shape)
    made["to_critical_s"], made["severity"] = np.inf, np.where(np.arange(64) % 2, 2, 0)
    return made


CENTRES = np.broadcast_to(np.linspace(-5, 5, BINS), (len([t for t in TOKENS if t.startswith("ask:")]), 4, BINS)).astype(np.float32)


@pytest.mark.parametrize("fresh", [lambda: sft.qwen2(NANO), lambda: teacher.deepseek_v3(width=64, layers=2)], ids=["qwen2", "deepseek_v3"])
def test_grpo_learns_to_earn(fresh: object, rows: np.ndarray, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = fresh()  # type: ignore[operator]
    start = fresh()  # type: ignore[operator]
    start.load_state_dict(model.state_dict())
    recipe = teacher.GrpoRecipe(steps=12, packs=8, group=4, rate=2e-3)
    curve = teacher.grpo(model, start, rows, CENTRES, recipe, tmp_path / "grpo.pt")
    assert len(curve) == 12
    assert np.mean([point["reward"] for point in curve[-4:]]) > np.mean([point["reward"] for point in curve[:3]]) + 0.1


def test_only_traces_that_came_out_right_are_accepted(rows: np.ndarray) -> None:
    torch.manual_seed(0)
    model = sft.qwen2(NANO)
    some, share = teacher.accepted(model, rows, CENTRES, teacher.GrpoRecipe(), 2, np.random.default_rng(0))
    assert len(some) == round(share * len(rows)) < len(rows)
    assert (some.chances[:, CAP].argmax(axis=1) == some.cause).all()
    chosen = np.take_along_axis(some.falls, some.queries[:, :, None].astype(int), axis=2)
    assert (chosen == 0).all() and (some.falls.max(axis=2) == 0).all()


def test_the_shipped_form_is_the_stock_checkpoint(rows: np.ndarray, tmp_path: Path) -> None:
    """What is saved loads in transformers, and the runtime's graph of it gives the same logits."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from edgebms.estimator.student import open_session
    from export.reason.decoder_graph import decoder_graph

    torch.manual_seed(1)
    model = sft.qwen2(NANO).eval()
    student_model.save_checkpoint(model, tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(again).__name__ == "Qwen2ForCausalLM"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("<begin> cause:healthy where:pack").input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == ["<begin>", "cause:healthy", "where:pack"]
    mix = np.eye(len(TOKENS), dtype=np.float32)[ids]
    with torch.no_grad():
        wanted = again(torch.tensor([ids])).logits[0].numpy()
    graph = decoder_graph(sft.weights_of(again), sft.shape_of(again))
    session = open_session(graph, "graph")
    feeds = student_model.steps(graph, mix[None])
    found = np.concatenate([session.run(["logits"], feed)[0] for feed in feeds])
    np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_a_local_model_is_asked_through_its_chat_template(rows: np.ndarray, tmp_path: Path) -> None:
    """A tiny model that knows nothing: whatever it says is refused, and counted."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    from edgebms.errors import ModelError
    from export.reason.text_teacher import interviews, open_teacher

    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(("<pad>", "ask:me", "cause:healthy", "no"))}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<pad>")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 16}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=4, max_position_embeddings=4096, **shape))
    model.save_pretrained(tmp_path / "tiny")
    tokenizer.save_pretrained(tmp_path / "tiny")
    with pytest.raises(ModelError, match="no chat template"):
        open_teacher(f"hf:{tmp_path / 'tiny'}")
    tokenizer.chat_template = "{% for message in messages %}{{ message['role'] }} {{ message['content'] }} {% endfor %}"
    tokenizer.save_pretrained(tmp_path / "tiny")
    kept, tally = interviews(open_teacher(f"hf:{tmp_path / 'tiny'}"), rows[:3])
    assert not kept
    assert sum(tally.invalid.values()) == 3
    with pytest.raises(ModelError, match="is no language model"):
        open_teacher(f"hf:{tmp_path / 'none'}")
