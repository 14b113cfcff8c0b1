"""The student that ships, in the whole line, on the demo's recorded short: the right cell, with reasons that the audit finds again."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from edgebms.cli.main import main
from edgebms.reasoner.language import CAP

CELL, SHORT_FROM = 11, 150

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(config, log, decisions)."""
    folder = tmp_path_factory.mktemp("shipped")
    demo = Path(str(resources.files("edgebms") / "catalogue/demo"))
    config, decisions = folder / "gateway.toml", folder / "decisions.ndjson"
    told = (demo / "gateway.toml").read_text(encoding="utf-8")
    config.write_text(told + '\n[students]\nstate = ""\nreasoner = "reasoner"\n', encoding="utf-8")
    with decisions.open("w") as file, redirect_stdout(file):
        assert main(["replay", "-c", str(config), "--quiet", str(demo / "demo.log.gz")]) == 0
    return config, demo / "demo.log.gz", decisions


@pytest.fixture(scope="module")
def spoken(replayed: tuple[Path, Path, Path]) -> list[tuple[int, dict[str, Any]]]:
    """(seconds since the log's start, what the reasoner said)."""
    rows = [json.loads(line) for line in replayed[2].read_text().splitlines()]
    first = rows[0]["mono_ns"]
    return [((row["mono_ns"] - first) // 10**9, row["reasoning"]) for row in rows if row["reasoning"] is not None]


def test_it_is_calm_before_the_short_and_names_its_cell_after(spoken: list[tuple[int, dict[str, Any]]]) -> None:
    """Ten minutes are too few for what it is sure of to be more than a watch (docs/reasoning.md, *Before it warns*); the guard warns."""
    assert [said["severity"] for at_s, said in spoken if at_s < SHORT_FROM and said["severity"] != "none"] == []
    raised = [said for _, said in spoken if said["severity"] != "none"]
    assert raised and raised[0]["cell"] == CELL
    assert sum(said["cell"] == CELL for said in raised) >= 0.9 * len(raised)


def test_each_verdict_says_what_it_read(spoken: list[tuple[int, dict[str, Any]]]) -> None:
    for _, said in spoken:
        assert 1 <= len(said["trace"]) <= CAP
        assert all(asked["observed"] for asked in said["trace"])
        assert 0.0 <= said["confidence"] <= 1.0


def test_the_audit_finds_every_number_again_and_refuses_an_altered_one(
    replayed: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, log, decisions = replayed
    rows = [json.loads(line) for line in decisions.read_text().splitlines()]
    rows = [row for row in rows if row["reasoning"] is not None][4:60:25]  # a naive audit is slow
    some = tmp_path / "some.ndjson"
    number = next(n for asked in rows[-1]["reasoning"]["trace"] for n in asked["observed"] if n["value"])
    number["value"] *= 1.05
    some.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    capsys.readouterr()
    assert main(["audit", str(some), "--log", str(log), "-c", str(config)]) == 1
    told = capsys.readouterr()
    observations = sum(len(row["reasoning"]["trace"]) for row in rows)
    assert "1 differences" in told.err and number["name"] in told.out
    assert int(told.err.split("edgebms: ")[1].split()[0]) >= observations
