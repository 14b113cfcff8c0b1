"""Corpora: readable, reproducible, with their truth; and which faults can be seen at all."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from edgebms.cellcard import load_card
from edgebms.telemetry import bdf
from hil.__main__ import main
from hil.plant.batches import told_of
from hil.plant.corpus import FIELDS, first, label, write
from hil.plant.draws import Ranges
from hil.plant.episodes import Episode, Mix, Plan, episodes, run_batch
from hil.plant.faults import FAULTS, KINDS

SMALL = Ranges(cells=(16,), cards=("lg_hg2",), period_s=(5.0,))
PLAN = Plan(seed=3, hours=0.3, ranges=SMALL)


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hil.plant.episodes.BATCH_CELLS", 640)
        yield


@pytest.fixture(scope="module")
def batch(small_batches) -> list[Episode]:
    return list(run_batch(PLAN, 0, 0))


def read(table) -> list[dict[str, str]]:
    with table.open() as file:
        return list(csv.DictReader(file))


def digest(folder) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_same_seed_gives_the_same_bytes_and_a_longer_corpus_begins_alike(tmp_path, batch):
    def quiet(_line: str) -> None: ...

    write(first(iter(batch), 4), tmp_path / "a", said=quiet)
    write(first(episodes(PLAN), 6), tmp_path / "b", said=quiet)
    a, b = digest(tmp_path / "a"), digest(tmp_path / "b")
    assert {name: b[name] for name in a if name != "tests.csv"} == {name: a[name] for name in a if name != "tests.csv"}
    assert (tmp_path / "b" / "tests.csv").read_text().startswith((tmp_path / "a" / "tests.csv").read_text())
    other = next(run_batch(replace(PLAN, seed=4), 0, 0))
    assert not np.array_equal(other.cell_voltage_v[:50], batch[0].cell_voltage_v[:50])


def test_a_corpus_is_read_as_any_recording_and_carries_its_truth(tmp_path, capsys):
    out = tmp_path / "corpus"
    kinds = ["--kinds", "ordinary", "short_constant", "heater_runaway"]
    assert main(["corpus", "--packs", "5", "--seed", "2", "--hours", "0.2", "--period", "10", "--out", str(out), *kinds]) == 0
    assert "cell-hours" in capsys.readouterr().out
    rows = list(csv.DictReader((out / "tests.csv").open()))
    assert tuple(rows[0]) == FIELDS
    assert {row["kind"] for row in rows} <= {"ordinary", "short_constant", "heater_runaway"}
    for row in rows:
        path = out / f"{row['test']}.parquet"
        cells, probes = bdf.shape(path)
        assert (cells, probes) == (int(row["cells"]), int(row["probes"]))
        assert row["cause"] == ("healthy" if row["kind"] == "ordinary" else str(KINDS[row["kind"]].cause))
        if row["cell"]:
            assert 1 <= int(row["cell"]) <= cells
        if row["kind"] != "ordinary":
            assert 0 < float(row["onset_second"]) < 720
            assert row["detectable"] in ("0", "1")
        else:
            assert row["detectable"] == row["onset_second"] == ""
    import pyarrow.parquet as pq

    table = pq.read_table(out / f"{rows[0]['test']}.parquet")
    assert json.loads(table.schema.metadata[b"bdf"])["rate"] == "one snapshot every 10 s"
    assert table.num_rows == 72
    assert {"test_time_second", "voltage_volt", "current_ampere", "soc_reference", "fault_label"} <= set(table.column_names)


def test_a_corpus_that_was_broken_off_goes_on_and_is_the_same_whatever_the_number_of_processes(tmp_path, capsys):
    how = ["corpus", "--seed", "5", "--hours", "0.1", "--period", "10", "--cells", "16", "16", "--batch", "2"]

    def run(name: str, packs: int, *more: str) -> list[str]:
        assert main([*how, "--packs", str(packs), "--out", str(tmp_path / name), *more]) == 0
        capsys.readouterr()
        return sorted(path.name for path in (tmp_path / name).iterdir())

    run("once", 5)
    run("side_by_side", 5, "--jobs", "2")
    assert digest(tmp_path / "once") == digest(tmp_path / "side_by_side")
    # three packs (the second batch half), then killed while the fourth's line was being written
    broken = tmp_path / "broken"
    run("broken", 3)
    (broken / "tests.csv").rename(broken / "tests.csv.part")
    with (broken / "tests.csv.part").open("a") as file:
        file.write("plant_circuit,pack_0000")
    made = (broken / "pack_000001.parquet").stat().st_mtime_ns
    assert "tests.csv.part" not in run("broken", 5)
    assert digest(broken) == digest(tmp_path / "once")
    assert (broken / "pack_000001.parquet").stat().st_mtime_ns == made
    # a file that is gone is made again, with its batch
    (broken / "pack_000003.parquet").unlink()
    run("broken", 5)
    assert digest(broken) == digest(tmp_path / "once")
    assert (broken / "pack_000001.parquet").stat().st_mtime_ns == made
    # another plan in the same folder keeps nothing of it
    assert main([*how[:2], "6", *how[3:], "--packs", "5", "--out", str(broken)]) == 0
    assert (broken / "pack_000001.parquet").stat().st_mtime_ns != made
    assert main([*how, "--packs", "2", "--jobs", "0", "--out", str(broken)]) != 0
    assert "--jobs" in capsys.readouterr().err


def test_other_measured_cycles_are_another_corpus():
    one, other = (replace(PLAN, cycles=(np.full(10, c_rate),)) for c_rate in (0.5, 1.0))
    assert len({told_of(plan) for plan in (PLAN, one, other)}) == 3


@pytest.mark.parametrize("card", ["lipo_5450", "lg_hg2", "generic_lfp"])
def test_no_pack_begins_fuller_than_its_card_charges(card):
    """LiPo's card stops at 4.1 V, below full."""
    plan = replace(PLAN, hours=0.02, mix=Mix(1.0, 0.0, ()), ranges=replace(SMALL, cards=(card,), soc=(0.9, 1.0)))
    for episode in islice(episodes(plan), 30):
        assert np.nanmax(episode.cell_voltage_v[0]) <= load_card(card).limits.voltage_max_v, episode.number


def test_labels_follow_onset_and_event(batch):
    for episode in batch:
        marks = label(episode)
        if episode.cause == "healthy":
            assert not (marks == 1).any()
        else:
            assert ((marks > 0) == (episode.time_s >= episode.fault.onset_s)).all() or episode.event_cell >= 0
        assert (marks == 2).any() == (episode.event_cell >= 0 and episode.event_s <= episode.time_s[-1])


def test_gross_faults_are_detectable_and_a_hopeless_short_is_not():
    def seen(kind: str, low: float, high: float) -> list[Episode]:
        mix = Mix(0.3, 0.0, (kind,))
        row = KINDS[kind]
        KINDS[kind] = replace(row, size=(low, high))
        try:
            return [episode for episode in run_batch(replace(PLAN, mix=mix), 0, 0) if episode.fault is not None][:20]
        finally:
            KINDS[kind] = row

    small = replace(PLAN, ranges=replace(SMALL, parallel=(1.0, 1.0)))
    assert small.ranges.parallel == (1.0, 1.0)
    gross = seen("short_constant", 0.5, 2.0)
    hopeless = seen("short_constant", 5000.0, 9000.0)
    assert np.mean([episode.detectable for episode in gross]) > 0.9
    assert np.mean([episode.detectable for episode in hopeless]) < 0.1
    assert all(np.isfinite(episode.sigmas) for episode in gross + hopeless)


def test_ordinary_use_is_ordinary():
    """A day's use of many packs: nothing runs away, nothing leaves the cells' limits, nothing is missing."""
    plan = replace(PLAN, hours=1.0, mix=Mix(1.0, 0.0, ()), ranges=replace(Ranges(), cells=(16,)))
    for episode in islice(run_batch(plan, 1, 0), 40):
        assert episode.cause == "healthy" and episode.fault is None and not episode.ran_away
        assert np.isfinite(episode.cell_voltage_v).all() and np.isfinite(episode.temperature_c).all()
        assert episode.cell_voltage_v.min() > 1.9 and episode.cell_voltage_v.max() < 4.26
        assert episode.temperature_c.min() > -30 and episode.temperature_c.max() < 66
        assert ((episode.soc > -0.05) & (episode.soc < 1.05)).all()
        assert np.isnan(episode.sigmas) and not episode.detectable


def test_a_mix_of_all_kinds_holds_all_kinds():
    from hil.plant.episodes import draw_kind

    rng = np.random.default_rng(0)
    drawn = [draw_kind(rng, Mix()) for _ in range(4000)]
    assert set(drawn) == {"ordinary", *KINDS}
    assert 0.2 < np.mean([kind == "ordinary" for kind in drawn]) < 0.3
    assert 0.5 < np.mean([kind in FAULTS for kind in drawn]) < 0.6


def test_a_small_batch_makes_a_corpus_of_many_cards(tmp_path, capsys):
    """Left to itself a folder of a few dozen packs is of one card and size."""
    for name, batch in (("one", ()), ("many", ("--batch", "2"))):
        arguments = ["corpus", "--packs", "12", "--seed", "5", "--hours", "0.1", "--period", "10", "--cells", "16", "32"]
        assert main([*arguments, "--kinds", "ordinary", "--out", str(tmp_path / name), *batch]) == 0
    kinds = {name: {(row["card"], row["cells"]) for row in read(tmp_path / name / "tests.csv")} for name in ("one", "many")}
    assert (len(kinds["one"]), len(kinds["many"]) >= 4) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--packs", "0"], "--packs: must be at least 1"),
        (["--seed", "-1"], "--seed: must not be negative"),
        (["--batch", "0"], "--batch: must be at least 1"),
        (["--hours", "0"], "--hours: must be from"),
        (["--period", "0.5"], "--period: must be a whole number of seconds"),
        (["--kinds", "gremlin"], "no kind called gremlin"),
        (["--cycles", "nowhere"], "nowhere: holds no parquet files"),
        (["--out", "/dev/null/x"], "/dev/null/x"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, said, tmp_path, capsys):
    given = {"--packs": "1", "--seed": "1", "--out": str(tmp_path / "out"), arguments[0]: arguments[1]}
    if arguments[0] == "--out":
        given |= {"--hours": "0.1", "--period": "60"}
    assert main(["corpus", *(word for pair in given.items() for word in pair)]) != 0
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_measured_drives_are_mixed_in(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from hil.plant.loads import measured_cycles, use

    pq.write_table(
        pa.table({"test_time_second": np.arange(0.0, 4000.0, 2.0), "current_ampere": np.full(2000, -7.5)}), tmp_path / "a.parquet"
    )
    cycles = measured_cycles(tmp_path, 3.0)
    assert [cycle[0] for cycle in cycles] == [-2.5]
    mixed = [use(np.random.default_rng(seed), 7200, cycles) for seed in range(12)]
    assert any((load == -2.5).sum() > 300 for load in mixed)
    assert not any((use(np.random.default_rng(seed), 7200) == -2.5).any() for seed in range(12))
