"""The golden decisions and their explanations, byte for byte (written by ``make golden`` only)."""

import importlib.util
import json
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"
spec = importlib.util.spec_from_file_location("make_decisions", GOLDEN / "make_decisions.py")
make_decisions = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_decisions)


@pytest.mark.parametrize("name", list(make_decisions.SCENARIOS))
def test_decisions_and_explanations_are_the_golden_ones(name):
    for file, content in make_decisions.texts(name).items():
        assert content == (GOLDEN / "decisions" / file).read_text(), f"{file} changed: if it should have, make golden and say why"


def test_no_golden_file_is_left_over():
    known = {f"{name}.{suffix}" for name in make_decisions.SCENARIOS for suffix in ("ndjson", "txt")}
    assert {path.name for path in (GOLDEN / "decisions").iterdir()} == known


def test_old_decisions_are_still_read():
    """What an earlier house wrote, a later one explains: goldens are decoded, not only compared."""
    from edgebms.decision.explain import explain
    from edgebms.decision.types import decode

    for path in sorted((GOLDEN / "decisions").glob("*.ndjson")):
        lines = path.read_text().splitlines()
        assert [json.loads(line)["schema"] for line in lines] == ["edgebms.decision/1"] * len(lines)
        told = "\n".join(explain(decode(line)) for line in lines)
        assert told == path.with_suffix(".txt").read_text()
