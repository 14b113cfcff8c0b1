"""The state student at run time: what it answers, when it is silent, and which files it refuses."""

import hashlib
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from driven import CARD, drive, driven
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snapshots import make_snapshot

from edgebms.cellcard import load_card
from edgebms.config import PackConfig
from edgebms.errors import ModelError
from edgebms.estimator.estimator import Estimator
from edgebms.estimator.kalman import Kalman
from edgebms.estimator.student import FEATURES, load_student
from edgebms.model_store import model_folder
from edgebms.vocabulary import ReasonerStatus, Source
from edgebms.worker import ask_inline

LANE = 1e-3
"""Another lane of the vector unit may round the last bit otherwise, and int8 makes a step of it."""


@pytest.fixture(scope="module")
def student():
    return load_student("state")


@pytest.fixture
def copied(tmp_path):
    """A copy of the shipped model whose card ``change`` may rewrite; gives the path of the ONNX file."""

    def copy(model=None, **change):
        path = tmp_path / "state.onnx"
        shutil.copy(model_folder() / "state.onnx", path)
        card = json.loads((model_folder() / "state.json").read_text())
        if model is not None:
            path.write_bytes(model)
            card["sha256"] = hashlib.sha256(model).hexdigest()
        path.with_suffix(".json").write_text(json.dumps(card | change))
        return str(path)

    return copy


def walk(student, cells=8, seconds=120, order=None, **where):
    """Corrections, sigmas and hidden after a drive through features and run, cells taken in ``order``."""
    order = np.arange(cells) if order is None else order
    kalman, hidden = Kalman(CARD, cells), student.start(cells)
    for time_s, current, voltage, temperature in drive(cells, seconds, **where):
        kalman.step(time_s, current, voltage[order], temperature[order])
        correction, sigma, hidden = student.run(student.features(kalman, current), hidden)
    return correction, sigma, hidden


def test_it_answers_for_every_cell_with_finite_bounded_numbers(student):
    kalman, current = driven(96, 300)
    x = student.features(kalman, current)
    assert x.shape == (96, len(FEATURES)) and x.dtype == np.float32
    assert student.inside(x).all()
    correction, sigma, hidden = student.run(x, student.start(96))
    assert correction.shape == sigma.shape == (96,) and hidden.shape == student.start(96).shape
    assert (sigma > 0).all()
    assert (np.abs(correction) <= 3 * kalman.soc_sigma + 0.02 + 1e-6).all()


def test_the_same_input_gives_the_same_bits(student):
    for first, second in zip(walk(student), walk(load_student("state")), strict=True):
        np.testing.assert_array_equal(first, second)


def test_permuted_cells_give_permuted_answers(student):
    order = np.random.default_rng(3).permutation(13)
    for plain, permuted in zip(walk(student, 13), walk(student, 13, order=order), strict=True):
        np.testing.assert_allclose(permuted, plain[order], rtol=0, atol=LANE)


def test_a_cell_answers_the_same_alone_and_in_a_pack(student):
    kalman, current = driven(5, 60)
    x, hidden = student.features(kalman, current), student.start(5)
    together = student.run(x, hidden)
    alone = student.run(x[2:3], hidden[2:3])
    for one, many in zip(alone, together, strict=True):
        np.testing.assert_allclose(one[0], many[2], rtol=0, atol=LANE)


def test_run_keeps_nothing_and_leaves_its_inputs_alone(student):
    kalman, current = driven(4, 60)
    x, hidden = student.features(kalman, current), student.start(4)
    before = x.copy()
    first = student.run(x, hidden)
    student.run(x, first[2])
    np.testing.assert_array_equal(student.run(x, hidden)[0], first[0])
    np.testing.assert_array_equal(x, before)
    assert not hidden.any()


def test_an_unknown_voltage_temperature_or_current_is_outside_for_that_cell_alone(student):
    kalman = Kalman(CARD, 4)
    for time_s, current, voltage, temperature in drive(4, 60):
        voltage[1] = np.nan if time_s == 59 else voltage[1]
        temperature[2] = np.nan
        kalman.step(time_s, current, voltage, temperature)
    np.testing.assert_array_equal(student.inside(student.features(kalman, current)), [True, False, False, True])
    assert not student.inside(student.features(kalman, float("nan"))).any()


def test_before_the_first_voltage_every_cell_is_outside(student):
    kalman = Kalman(CARD, 3)
    assert not student.inside(student.features(kalman, 0.0)).any()
    kalman.step(0.0, 0.0, np.full(3, np.nan), np.full(3, 25.0))
    assert not student.inside(student.features(kalman, 0.0)).any()


def test_the_domain_ends_where_the_training_did(student):
    kalman, current = driven(1, 60)
    x = student.features(kalman, current)
    for i, (low, high) in enumerate(zip(student.card.domain_low, student.card.domain_high, strict=True)):
        for value, inside in ((low, True), (high, True), (low - 0.01 * (high - low), False), (high + 0.01 * (high - low), False)):
            at = x.copy()
            at[0, i] = value
            assert student.inside(at)[0] == inside, FEATURES[i]


def test_hours_after_a_start_are_still_inside(student):
    kalman, current = driven(1, 60)
    kalman.since_start_s += 30 * 86_400.0
    assert student.inside(student.features(kalman, current)).all()


def through_the_estimator(student, temperature_c):
    """The estimator's last state and the filter's SOC after two minutes."""
    pack = PackConfig(name="p", profile="edgebms", card="lg_hg2", cells=4, probes=1)
    estimator = Estimator(CARD, pack, student, ask_inline)
    for time_s, current, voltage, _ in drive(4, 120):
        snapshot = make_snapshot(4, 1, time_s=time_s, voltage_v=voltage, temperature_c=temperature_c, current_a=current)
        state = estimator.step(snapshot, snapshot.time_ns)
    return state, estimator.kalman


def test_in_the_estimator_it_leads_inside_its_domain(student):
    state, kalman = through_the_estimator(student, 25.0)
    assert state.student is ReasonerStatus.OK and state.source is Source.STUDENT
    assert np.isfinite(state.soc).all() and np.abs(state.soc - kalman.soc).max() > 0
    assert not np.array_equal(state.soc_sigma, kalman.soc_sigma)


def test_in_the_estimator_the_filter_stands_alone_outside(student):
    state, kalman = through_the_estimator(student, 70.0)
    assert state.student is ReasonerStatus.OUT_OF_DOMAIN and state.source is not Source.STUDENT
    np.testing.assert_array_equal(state.soc, kalman.soc)
    np.testing.assert_array_equal(state.soc_sigma, kalman.soc_sigma)


@pytest.mark.parametrize("temperature_c", [25.0, 0.0])
def test_int8_answers_as_float_does(student, temperature_c):
    precise = load_student("state_float")
    kalman = Kalman(CARD, 16)
    hidden = {model: model.start(16) for model in (student, precise)}
    apart = []
    for time_s, current, voltage, temperature in drive(16, 900, seed=1, temperature_c=temperature_c):
        kalman.step(time_s, current, voltage, temperature)
        answers = []
        for model in (student, precise):
            correction, sigma, hidden[model] = model.run(model.features(kalman, current), hidden[model])
            answers.append((correction, np.log(sigma)))
        apart.append(np.abs(np.array(answers[0]) - np.array(answers[1])))
    shift = np.array(apart)[60:]
    assert np.quantile(shift[:, 0], 0.999) < 0.005, "one sample in a thousand is moved by more than 0.5 % SOC"
    assert shift[:, 0].mean() < 0.001
    assert np.quantile(shift[:, 1], 0.999) < 0.2


def test_it_knows_the_cards_that_trained_it_and_no_other(student, copied):
    assert all(student.knows(load_card(name)) for name in ("lg_hg2", "panasonic_18650pf", "dmegc_inr18650"))
    assert not student.knows(load_card("generic_nmc"))
    assert not student.knows(msgspec.structs.replace(CARD, capacity_ah=CARD.capacity_ah * 1.01))
    assert load_student(str(copied(filter=None))).knows(load_card("generic_nmc"))


def test_describe_and_digest_name_the_model(student):
    sha = hashlib.sha256((model_folder() / "state.onnx").read_bytes()).hexdigest()
    assert student.digest == f"state@sha256:{sha}"
    assert f"state@sha256:{sha[:12]}" in student.describe()


def test_a_changed_model_is_refused(copied):
    path = copied()
    Path(path).write_bytes(Path(path).read_bytes()[:-1] + b"\x00")
    with pytest.raises(ModelError, match=r"sha256 .* differs"):
        load_student(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "reasoner"}, "'reasoner' model"),
        ({"features": FEATURES[::-1]}, "'log_step' stands where 'innovation_per_sigma'"),
        ({"features": (FEATURES[1], FEATURES[0], *FEATURES[2:])}, "stands where"),
        ({"domain_low": [0.0]}, "do not fit"),
        ({"scale": [0.0] * len(FEATURES)}, "scale"),
        ({"domain_high": [-1e9] * len(FEATURES)}, "domain"),
        ({"hidden": 7}, "shape"),
        ({"hidden": 0}, "no model card"),
        ({"period_s": 0}, "no model card"),
        ({"sha256": "short"}, "no model card"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(copied, change, said):
    with pytest.raises(ModelError, match=said):
        load_student(copied(**change))


def test_features_of_another_number_are_refused(copied):
    short = {"features": FEATURES[:-1]}
    for name in ("centre", "scale", "domain_low", "domain_high"):
        short[name] = json.loads((model_folder() / "state.json").read_text())[name][:-1]
    with pytest.raises(ModelError, match="other inputs"):
        load_student(copied(**short))


def test_another_networks_file_is_refused(copied):
    with pytest.raises(ModelError, match="shape"):
        load_student(copied(model=(model_folder() / "gru.onnx").read_bytes()))


def test_a_model_that_is_not_there_is_one_sentence():
    with pytest.raises(ModelError, match="cannot be read"):
        load_student("nowhere/state.onnx")
    with pytest.raises(ModelError, match='state = "" for none'):
        load_student("no_such_model")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=400), st.integers(0, 8000)))
def test_random_bytes_and_torn_files_as_model_give_only_a_model_error(copied, data):
    model = data if isinstance(data, bytes) else (model_folder() / "state.onnx").read_bytes()[:data]
    with pytest.raises(ModelError):
        load_student(copied(model=model))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.binary(max_size=300), st.recursive(st.none() | st.floats() | st.text(max_size=8), st.lists, max_leaves=8)))
def test_random_bytes_as_card_give_only_a_model_error(copied, text):
    path = copied()
    Path(path).with_suffix(".json").write_bytes(text if isinstance(text, bytes) else json.dumps(text).encode())
    with pytest.raises(ModelError):
        load_student(path)
