"""``edgebms audit DECISIONS --log LOG``: what a replay told is borne out by its log; altered, it is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "reasoner"))
from random_student import save_student

CELLS, PROBES, ROWS = 8, 4, 250


def edgebms(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "edgebms.cli", *words], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(decisions, log, configuration)."""
    folder = tmp_path_factory.mktemp("audit")
    student = save_student(folder, 0, commit=1.0)
    config = folder / "gateway.toml"
    config.write_text(
        f'[[pack]]\nname = "rack"\nprofile = "edgebms"\ncard = "lg_hg2"\ncells = {CELLS}\nprobes = {PROBES}\n'
        f'[students]\nstate = ""\nreasoner = "{student}"\n[output]\nndjson = "-"\n',
        encoding="utf-8",
    )
    rng = np.random.default_rng(1)
    names = ["test_time_second", "voltage_volt", "current_ampere"]
    names += [f"cell_voltage_{i + 1:03d}_volt" for i in range(CELLS)] + [f"temperature_{i + 1:03d}_celsius" for i in range(PROBES)]
    lines = [",".join(names)]
    for second in range(ROWS):
        current = 2.0 * np.sin(second / 30)
        cells = 3.7 + 0.02 * current + 1e-3 * rng.standard_normal(CELLS)
        row = [second, cells.sum(), current, *cells, *(25 + 0.1 * rng.standard_normal(PROBES))]
        lines.append(",".join(f"{value:.6f}" for value in row))
    log = folder / "log.bdf.csv"
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = edgebms("replay", str(log), "-c", str(config), "--quiet")
    assert done.returncode == 0, done.stderr
    decisions = folder / "decisions.ndjson"
    decisions.write_text(done.stdout, encoding="utf-8")
    return decisions, log, config


def numbers(line: str) -> list[dict]:
    """What a decision tells that is known and not nothing: questions of a day have no answer yet."""
    return [o for query in (json.loads(line)["reasoning"] or {"trace": ()})["trace"] for o in query["observed"] if o["value"]]


def test_what_was_told_is_so(replayed: tuple[Path, Path, Path]) -> None:
    decisions, log, config = replayed
    done = edgebms("audit", str(decisions), "--log", str(log), "-c", str(config))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert int(done.stderr.split()[1]) > 100
    assert sum(len(numbers(line)) for line in decisions.read_text(encoding="utf-8").splitlines()) > 100


def test_an_altered_decision_fails(replayed: tuple[Path, Path, Path], tmp_path: Path) -> None:
    decisions, log, config = replayed
    lines = decisions.read_text(encoding="utf-8").splitlines()
    at = max(i for i, line in enumerate(lines) if numbers(line))
    altered = json.loads(lines[at])
    number = next(o for query in altered["reasoning"]["trace"] for o in query["observed"] if o["value"])
    number["value"] *= 1.001
    lines[at] = json.dumps(altered)
    file = tmp_path / "altered.ndjson"
    file.write_text("\n".join(lines[at - 5 :]), encoding="utf-8")  # that the others pass is shown above
    done = edgebms("audit", str(file), "--log", str(log), "-c", str(config))
    assert done.returncode == 1
    assert f"seq {altered['seq']}" in done.stdout
    assert number["name"] in done.stdout


def test_a_decision_that_the_log_has_not_fails(replayed: tuple[Path, Path, Path], tmp_path: Path) -> None:
    decisions, log, config = replayed
    short = tmp_path / "short.bdf.csv"
    short.write_text("\n".join(log.read_text(encoding="utf-8").splitlines()[:100]) + "\n", encoding="utf-8")
    done = edgebms("audit", str(decisions), "--log", str(short), "-c", str(config))
    assert done.returncode == 1
    assert "no such snapshot" in done.stdout


def test_its_words_in_wrong_use_are_plain(replayed: tuple[Path, Path, Path], tmp_path: Path) -> None:
    decisions, log, config = replayed
    for words in (
        ("audit", str(decisions), "--log", str(log)),
        ("audit", str(log), "--log", str(log), "-c", str(config)),
        ("audit", str(decisions), "--log", str(tmp_path / "none"), "-c", str(config)),
    ):
        done = edgebms(*words)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr


def test_weeks_are_worked_out_from_the_checkpoint_that_the_log_goes_on_from(tmp_path: Path) -> None:
    """A student that asks about weeks: with the checkpoint its answers are borne out, without it the log alone knows of none."""
    from edgebms import config as configuration
    from edgebms.assembly import build_lines
    from edgebms.evidence.baseline import Baseline
    from edgebms.evidence.queries import QUERIES
    from edgebms.record import checkpoint, statefile
    from edgebms.record.counters import Counters
    from edgebms.worker import ask_inline

    asks = {"cell_weeks.outlier.3600s", "weeks_survey.pack.3600s"}
    student = save_student(tmp_path, 0, commit=1.0, unasked=[query.word for query in QUERIES if query.word not in asks])
    config = tmp_path / "gateway.toml"
    config.write_text(
        f'[[pack]]\nname = "rack"\nprofile = "edgebms"\ncard = "lg_hg2"\ncells = {CELLS}\nprobes = {PROBES}\n'
        f'[students]\nstate = ""\nreasoner = "{student}"\n[output]\nndjson = "-"\n',
        encoding="utf-8",
    )
    settings = configuration.load(config)
    line = build_lines(settings, ask_inline)["rack"]
    assert line.pipeline.reasoner is not None
    weeks = Baseline(CELLS, PROBES).weeks
    for memory in weeks:
        for _ in range(50):
            memory.take(np.full(memory.hours.shape, 0.01), np.full(memory.hours.shape, 0.01))
    line.pipeline.reasoner.baseline.weeks = weeks
    moment = checkpoint.Moment(0, 0, 0, "")
    statefile.replace(tmp_path / "checkpoint.state", statefile.join(checkpoint.collect(line, settings.pack[0], Counters(1.0), moment)))
    rng, lines = np.random.default_rng(2), []
    names = ["test_time_second", "voltage_volt", "current_ampere"]
    names += [f"cell_voltage_{i + 1:03d}_volt" for i in range(CELLS)] + [f"temperature_{i + 1:03d}_celsius" for i in range(PROBES)]
    for second in range(0, 1160, 10):
        current = 2.0 * np.sin(second / 30)
        cells = 3.7 + 0.02 * current + 1e-3 * rng.standard_normal(CELLS)
        lines.append(
            ",".join(f"{value:.6f}" for value in [second, cells.sum(), current, *cells, *(25 + 0.1 * rng.standard_normal(PROBES))])
        )
    log, decisions = tmp_path / "log.bdf.csv", tmp_path / "decisions.ndjson"
    log.write_text("\n".join([",".join(names), *lines]) + "\n", encoding="utf-8")
    state = ("--state", str(tmp_path / "checkpoint.state"))
    done = edgebms("replay", str(log), "-c", str(config), "--quiet", *state)
    assert done.returncode == 0, done.stderr
    decisions.write_text(done.stdout, encoding="utf-8")
    assert sum(len(numbers(line)) for line in done.stdout.splitlines()) > 20
    audited = edgebms("audit", str(decisions), "--log", str(log), "-c", str(config), *state)
    assert (audited.returncode, audited.stdout) == (0, ""), audited.stderr
    some = [line for line in done.stdout.splitlines() if numbers(line)][-10:]
    decisions.write_text("\n".join(some), encoding="utf-8")
    without = edgebms("audit", str(decisions), "--log", str(log), "-c", str(config))
    assert without.returncode == 1
    assert "cell_weeks_of_outlier" in without.stdout
    config.write_text(config.read_text(encoding="utf-8").replace('"rack"', '"other"'), encoding="utf-8")
    of_another = edgebms("audit", str(decisions), "--log", str(log), "-c", str(config), *state)
    assert of_another.returncode == 9
    assert "is of the pack 'rack', the configuration has other" in of_another.stderr
