"""The scenarios can fail: each defect of the runtime turns the scenarios red that are named for it, which pass without it.

``make test-mutants`` (SHORT=1: the quick ones, a scenario each).
"""

from __future__ import annotations

import sys
from pathlib import Path

import mutants
import pytest

from hil.rig.runner import run_one
from hil.rig.verbs import SCENARIOS
from hil.scenario import load

pytestmark = pytest.mark.slow


def reds(mutant: mutants.Mutant, folder: Path) -> dict[str, str]:
    """Scenario -> its first failed check, "" where it did not turn red."""
    package = mutants.plant(mutant, folder)
    found = {}
    for name in mutant.red:
        result = run_one(load(SCENARIOS / f"{name}.yaml"), package=package)
        assert not result.skipped, result.skipped
        found[name] = f"{result.wrong[0].asked}: {result.wrong[0].says}" if result.wrong else ""
    return found


def show(mutant: mutants.Mutant, found: dict[str, str]) -> None:
    print(f"\n{mutant.name}", file=sys.stderr)
    for name, why in found.items():
        print(f"    {name}: {why or 'NOT RED'}", file=sys.stderr)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", [m for m in mutants.MUTANTS if m.short], ids=lambda m: m.name.replace(" ", "_"))
def test_short_defect_turns_its_scenario_red(mutant, tmp_path):
    """The quick ones, one scenario each."""
    short = mutants.Mutant(mutant.name, mutant.file, mutant.old, mutant.new, mutant.red[:1])
    found = reds(short, tmp_path)
    show(short, found)
    assert all(found.values()), found


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda m: m.name.replace(" ", "_"))
def test_every_defect_turns_its_scenarios_red(mutant, tmp_path):
    found = reds(mutant, tmp_path)
    show(mutant, found)
    assert all(found.values()), found


def test_short_unchanged_copy_is_green(tmp_path):
    """What turns red does so of the defect, not of being a copy."""
    same = "RATE_K_PER_S = 1.0"
    package = mutants.plant(mutants.Mutant("none", "guard/runaway.py", same, same, ()), tmp_path)
    result = run_one(load(SCENARIOS / "cold_charge_held.yaml"), package=package)
    assert result.verdict == "pass", result.wrong
