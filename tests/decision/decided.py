"""An arbiter over a stated card, the parts it hears, and hypothesis strategies for all that they could say."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from hypothesis import strategies as st
from snapshots import make_snapshot
from snapshots import reading as snapshot_reading

from edgebms.cellcard import CardLimits, load_card
from edgebms.config import PackConfig, Site
from edgebms.decision.arbiter import Arbiter
from edgebms.decision.types import Decision
from edgebms.estimator.state import CellState, PowerLimits
from edgebms.guard.finding import Finding
from edgebms.reasoner.verdict import Asked, Observed, Verdict
from edgebms.telemetry.snapshot import Extreme, Extremes, RunawayView, Snapshot
from edgebms.vocabulary import Action, Cause, Contactor, FrameFault, Level, Mode, Reason, ReasonerStatus, SiteKind, Source

CELLS, PROBES = 16, 4
LIMITS = CardLimits(
    voltage_min_v=2.5,
    voltage_max_v=4.2,
    voltage_float_v=4.0,
    charge_c_rate=1.0,
    discharge_c_rate=2.0,
    charge_temperature_min_c=0.0,
    charge_temperature_max_c=45.0,
    discharge_temperature_min_c=-20.0,
    discharge_temperature_max_c=60.0,
    temperature_runaway_c=80.0,
    source="tests",
)
CARD = msgspec.structs.replace(load_card("generic_nmc"), name="test", capacity_ah=5.0, limits=LIMITS)
PACK = PackConfig(name="rack-3", profile="edgebms", card="test", cells=CELLS, probes=PROBES, parallel=20)
FLOAT_V = CELLS * LIMITS.voltage_float_v
MAX_V = CELLS * LIMITS.voltage_max_v
POWER = PowerLimits(charge_a=80.0, discharge_a=120.0, charge_v=MAX_V, discharge_v=40.0, reasons=("charge_rate", "discharge_soc"))
UTC_NS = 1_764_000_000_123_456_789
GRID = Site(kind=SiteKind.GRID_TIED)


def make_state(
    *, soc: Any = 0.6, limits: PowerLimits = POWER, balance: tuple[int, ...] = (), cells: int = CELLS, **other: Any
) -> CellState:
    def full(value: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, dtype=np.float64), (cells,)).copy()

    return CellState(
        soc=full(soc),
        soc_sigma=full(other.get("soc_sigma", 0.01)),
        soh_capacity=full(other.get("soh_capacity", 0.95)),
        soh_capacity_sigma=full(other.get("soh_capacity_sigma", 0.02)),
        soh_resistance=full(other.get("soh_resistance", 1.1)),
        soh_resistance_sigma=full(0.05),
        source=other.get("source", Source.FILTER),
        since_anchor_s=full(60.0),
        innovation_v=full(0.0),
        current_offset_a=other.get("current_offset_a", 0.02),
        current_offset_sigma_a=0.01,
        limits=limits,
        balance=balance,
        student=other.get("student", ReasonerStatus.OK),
    )


def finding(
    hazard: Cause = Cause.OVER_TEMPERATURE,
    level: Level = Level.WARNING,
    action: Action = Action.LIMIT,
    *,
    kind: str = "cell",
    where: int = 3,
    rule: str = "rule",
    value: float = 61.5,
    limit: float = 60.0,
    unit: str = "degC",
    window_s: float = 0.0,
    since_s: float = 0.0,
    latched: bool = False,
) -> Finding:
    return Finding(rule, level, hazard, action, kind, where, value, limit, unit, window_s, round(since_s * 1e9), latched)


TRACE = (Asked("thermal_rate", 3, 60.0, (Observed("rate", 1.31, "K/min", 6.2),)),)


def verdict(
    cause: Cause = Cause.INTERNAL_SHORT,
    severity: Level = Level.WARNING,
    cell: int = 3,
    *,
    time_to_critical_s: float = 420.0,
    confidence: float = 0.98,
    trace: tuple[Asked, ...] = TRACE,
) -> Verdict:
    return Verdict(cause, cell, severity, time_to_critical_s, confidence, trace)


class Decider:
    """An arbiter and its time. ``at`` gives one decision."""

    def __init__(self, site: Site = GRID, *, pack: PackConfig = PACK, **settings: Any) -> None:
        self.arbiter = Arbiter(site, pack, CARD, **settings)

    def at(
        self,
        time_s: float,
        *findings: Finding,
        verdict: Verdict | None = None,
        status: ReasonerStatus | None = None,
        state: CellState | None = None,
        snapshot: Snapshot | None = None,
        utc: bool = True,
        **telemetry: Any,
    ) -> Decision:
        now_ns = round(time_s * 1e9)
        return self.arbiter.decide(
            snapshot if snapshot is not None else make_snapshot(CELLS, PROBES, time_s=time_s, **telemetry),
            findings,
            state if state is not None else make_state(),
            verdict,
            status if status is not None else (ReasonerStatus.ABSENT if verdict is None else ReasonerStatus.OK),
            now_ns,
            UTC_NS + now_ns if utc else None,
        )


def action_for(decision: Decision, action: Action) -> Any:
    """The entry of ``asked`` about ``action``."""
    (entry,) = (entry for entry in decision.command.asked if entry.action is action)
    return entry


# ---- all that the parts could say, wrong numbers included

anything = st.floats(allow_nan=True, allow_infinity=True, width=32)
voltages = st.floats(0, 5) | st.just(float("nan"))
causes = st.sampled_from(list(Cause))
levels = st.sampled_from(list(Level))
modes = st.none() | st.sampled_from(list(Mode))
sites = st.builds(Site, kind=st.sampled_from(list(SiteKind)), stop_discharge=modes, open_contactors=modes)


def mixtures(count: int, low: float, high: float, *, infinite: bool = True) -> st.SearchStrategy[np.ndarray]:
    """(count,) numbers between low and high, some of them (or none, or all) NaN or infinite: from a seed, which
    is much faster than a drawn list."""

    def make(seed: int, odd: float) -> np.ndarray:
        random = np.random.default_rng(seed)
        values = random.uniform(low, high, count)
        specials = [np.nan, np.inf, -np.inf] if infinite else [np.nan]
        return np.where(random.random(count) < odd, random.choice(specials, count), values)

    return st.builds(make, st.integers(0, 10_000), st.sampled_from([0.0, 0.2, 1.0]))


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    kind, count = draw(st.sampled_from([("cell", CELLS), ("probe", PROBES), ("pack", 0)]))
    return Finding(
        rule=draw(st.sampled_from(["over_temperature", "cell_lost", "fast_rise"])),
        level=draw(st.sampled_from([Level.WATCH, Level.WARNING, Level.CRITICAL])),
        hazard=draw(causes),
        action=draw(st.sampled_from(list(Action))),
        kind=kind,
        where=draw(st.integers(0, count - 1)) if count else -1,
        value=draw(anything),
        limit=draw(anything),
        unit="V",
        window_s=draw(st.sampled_from([0.0, 60.0])),
        since_ns=draw(st.integers(0, 10**9)),
        latched=draw(st.booleans()),
    )


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    observed = st.builds(Observed, st.sampled_from(["rate", "spread"]), anything, st.just("K/min"), anything)
    asked = st.builds(
        Asked,
        st.sampled_from(["thermal_rate", "voltage_gap"]),
        st.integers(-1, CELLS - 1),
        anything,
        st.lists(observed, max_size=3).map(tuple),
    )
    return Verdict(
        cause=draw(causes),
        cell=draw(st.integers(-2, CELLS)),
        severity=draw(levels),
        time_to_critical_s=draw(anything),
        confidence=draw(st.floats(0, 1) | st.just(float("nan"))),
        trace=tuple(draw(st.lists(asked, max_size=3))),
    )


@st.composite
def states(draw: st.DrawFn) -> CellState:
    array = lambda: draw(mixtures(CELLS, -0.1, 1.1))  # noqa: E731

    return CellState(
        soc=array(),
        soc_sigma=array(),
        soh_capacity=array(),
        soh_capacity_sigma=array(),
        soh_resistance=array(),
        soh_resistance_sigma=array(),
        source=draw(st.sampled_from(list(Source))),
        since_anchor_s=array(),
        innovation_v=array(),
        current_offset_a=draw(anything),
        current_offset_sigma_a=draw(anything),
        limits=PowerLimits(draw(anything), draw(anything), draw(anything), draw(anything), ("charge_rate",)),
        balance=tuple(draw(st.lists(st.integers(0, CELLS - 1), max_size=CELLS, unique=True))),
        student=draw(st.sampled_from(list(ReasonerStatus))),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    extreme = st.none() | st.builds(Extreme, voltages, st.integers(-1, CELLS - 1), st.floats(0, 10), st.sampled_from(list(Reason))).map(
        believable
    )
    scalar = st.none() | st.floats(-1000, 1000) | st.just(float("nan"))
    return make_snapshot(
        CELLS,
        PROBES,
        seq=draw(st.integers(0, 2**40)),
        voltage_v=draw(mixtures(CELLS, 0.0, 5.0, infinite=False)),
        temperature_c=draw(mixtures(PROBES, -40.0, 125.0, infinite=False)),
        current_a=draw(scalar),
        pack_voltage_v=draw(scalar),
        insulation_ohm=draw(scalar),
        gas=draw(scalar),
        reported_soc=snapshot_reading(draw(scalar)),
        cell_age_s=draw(st.floats(0, 100) | st.just(float("inf"))),
        contactors=draw(st.sampled_from(list(Contactor))),
        extremes=draw(st.builds(Extremes, extreme, extreme, extreme, extreme)),
        complete=draw(st.booleans()),
        runaway_view=RunawayView(draw(st.floats(0, 100) | st.just(float("inf"))), draw(st.integers(0, CELLS)), draw(st.booleans())),
        refused_frames=tuple(
            draw(st.lists(st.tuples(st.sampled_from([fault.word for fault in FrameFault]), st.integers(1, 9)), max_size=2))
        ),
    )


def believable(extreme: Extreme) -> Extreme:
    """As telemetry promises: a value that is not valid is NaN, a valid one is a number."""
    if extreme.reason is Reason.VALID and np.isnan(extreme.value):
        return Extreme(extreme.value, extreme.index, extreme.age_s, Reason.STALE)
    if extreme.reason is not Reason.VALID:
        return Extreme(float("nan"), extreme.index, extreme.age_s, extreme.reason)
    return extreme
