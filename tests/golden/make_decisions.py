"""Write the golden decisions, their explanations and the shipped schema again: ``make golden``.

Look at the difference and explain it in the commit. ``tests/decision/test_golden_decisions.py`` compares.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "decisions"
SCHEMA = HERE.parents[1] / "edgebms" / "decision" / "decision.schema.json"
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "decision")]

from decided import GRID, Decider, finding, make_state, verdict  # noqa: E402
from snapshots import blind_snapshot  # noqa: E402

from edgebms.config import Site  # noqa: E402
from edgebms.decision.explain import explain  # noqa: E402
from edgebms.decision.types import Decision, encode  # noqa: E402
from edgebms.vocabulary import Action, Cause, Contactor, Level, SiteKind  # noqa: E402

NAN = float("nan")
SHORT = finding(
    Cause.INTERNAL_SHORT,
    Level.WARNING,
    Action.STOP_CHARGE,
    rule="cell_voltage_low_of_median",
    value=-0.31,
    limit=-0.3,
    unit="V",
    window_s=10.0,
)
RUNAWAY = finding(
    Cause.THERMAL_RUNAWAY,
    Level.CRITICAL,
    Action.OPEN_CONTACTORS,
    rule="thermal_runaway",
    value=1.31,
    limit=1.0,
    unit="K/s",
    window_s=3.0,
    latched=True,
)
WATCH = finding(
    Cause.OVER_TEMPERATURE, Level.WATCH, Action.COOL, kind="probe", where=1, rule="over_temperature_watch", value=56.0, limit=55.0
)
BLIND = finding(
    Cause.LOSS_OF_DATA, Level.WARNING, Action.STOP_CHARGE, kind="pack", where=-1, rule="pack_blind", value=6.0, limit=5.0, unit="s"
)


def healthy() -> list[Decision]:
    decider = Decider()
    return [decider.at(float(t), seq=t, current_a=-41.0) for t in range(2)]


def blind() -> list[Decision]:
    nothing = make_state(soc=NAN, soc_sigma=NAN, soh_capacity=NAN, soh_capacity_sigma=NAN, soh_resistance=NAN)
    return [Decider().at(6.0, BLIND, snapshot=blind_snapshot(time_s=6.0, seq=60), state=nothing, utc=False)]


def cold() -> list[Decision]:
    return [Decider().at(0.0, temperature_c=[4.0, -2.5, NAN, 3.0], voltage_v=[3.6] * 15 + [NAN], current_a=None)]


def student_alone() -> list[Decision]:
    decider = Decider()
    return [
        decider.at(0.0),
        decider.at(1.0, verdict=verdict(Cause.INTERNAL_SHORT, Level.CRITICAL)),
        decider.at(62.0, verdict=verdict(Cause.HEALTHY, Level.NONE, -1)),
    ]


def guard_and_student() -> list[Decision]:
    return [Decider().at(2.0, SHORT, WATCH, verdict=verdict(Cause.INTERNAL_SHORT, Level.CRITICAL), state=make_state(balance=(3, 7)))]


def opening() -> list[Decision]:
    decider = Decider(GRID)
    currents = ((0.0, -41.0), (1.0, -12.0), (2.0, -1.2))
    lowered = [decider.at(t, WATCH, RUNAWAY, current_a=current, seq=int(t)) for t, current in currents]
    return [*lowered, decider.at(3.0, RUNAWAY, current_a=0.0, contactors=Contactor.OPEN, seq=3)]


def under_load() -> list[Decision]:
    decider = Decider(GRID)
    return [decider.at(t, RUNAWAY, current_a=-41.0) for t in (0.0, 7.0)]


def island() -> list[Decision]:
    return [Decider(Site(SiteKind.ISLANDED)).at(0.0, RUNAWAY, WATCH, current_a=-41.0)]


def balancing() -> list[Decision]:
    return [Decider().at(0.0, state=make_state(balance=(1, 2, 9)), voltage_v=[3.6] * 15 + [3.64])]


SCENARIOS: dict[str, Callable[[], list[Decision]]] = {
    scenario.__name__: scenario
    for scenario in (healthy, blind, cold, student_alone, guard_and_student, opening, under_load, island, balancing)
}


def texts(name: str) -> dict[str, str]:
    """File name -> content of one scenario."""
    decisions = SCENARIOS[name]()
    return {
        f"{name}.ndjson": "".join(encode(decision).decode() + "\n" for decision in decisions),
        f"{name}.txt": "\n".join(explain(decision) for decision in decisions),
    }


def main() -> None:
    from edgebms.cli.schema import text

    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for name in SCENARIOS:
        for file, content in texts(name).items():
            (FOLDER / file).write_text(content)
    SCHEMA.write_text(text())


if __name__ == "__main__":
    main()
