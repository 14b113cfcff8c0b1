"""The figures of a decision: extremes and where, fractions, what is unknown and why."""

import numpy as np
import pytest
from decided import CELLS, PROBES, Decider, make_state
from snapshots import reading

from edgebms.telemetry.snapshot import Extreme, Extremes, RunawayView
from edgebms.vocabulary import Contactor, Reason, ReasonerStatus, Source

NAN = float("nan")


def told(value, index=-1, reason=Reason.VALID):
    return Extreme(value, index, 0.1, reason)


def decide(**telemetry):
    return Decider().at(0.0, **telemetry)


def test_extremes_are_named_with_their_place_counted_from_one():
    voltages, degrees = np.full(CELLS, 3.7), np.array([25.0, 31.0, 24.5, 30.0])
    voltages[0], voltages[CELLS - 1] = 3.61, 3.79
    measured = decide(voltage_v=voltages, temperature_c=degrees).measured
    volts, probes = measured.cell_voltage_v, measured.temperature_c
    assert (volts.min, volts.min_cell, volts.max, volts.max_cell) == (3.61, 1, 3.79, CELLS)
    assert (probes.min, probes.min_probe, probes.max, probes.max_probe) == (24.5, 3, 31.0, 2)


def test_unknown_places_are_left_out_of_the_extremes():
    voltages = np.full(CELLS, NAN)
    voltages[4], voltages[9] = 3.9, 3.8
    volts = decide(voltage_v=voltages, temperature_c=[NAN, 20.0, NAN, NAN]).measured.cell_voltage_v
    assert (volts.min, volts.min_cell, volts.max, volts.max_cell) == (3.8, 10, 3.9, 5)


@pytest.mark.parametrize(
    ("broadcast", "expected"),
    [
        (told(3.5, 0), (3.5, 1)),
        (told(3.5, 6), (3.5, 7)),
        (told(3.5, -1), (3.5, None)),
        (told(3.6999, 6), (3.6999, 7)),
        (told(3.7, 6), (3.7, 1)),
        (told(3.71, 6), (3.7, 1)),
        (told(NAN, 6, Reason.STALE), (3.7, 1)),
        (None, (3.7, 1)),
    ],
)
def test_a_broadcast_lowest_voltage_counts_where_it_lies_further_out(broadcast, expected):
    volts = decide(voltage_v=3.7, extremes=Extremes(voltage_min_v=broadcast)).measured.cell_voltage_v
    assert (volts.min, volts.min_cell) == expected
    assert (volts.max, volts.max_cell) == (3.7, 1)


@pytest.mark.parametrize(
    ("broadcast", "expected"),
    [
        (told(40.0, 0), (40.0, 1)),
        (told(40.0, 2), (40.0, 3)),
        (told(40.0), (40.0, None)),
        (told(25.0, 2), (25.0, 1)),
        (told(20.0, 2), (25.0, 1)),
        (told(NAN, 2, Reason.SATURATED), (25.0, 1)),
    ],
)
def test_a_broadcast_highest_temperature_counts_where_it_lies_further_out(broadcast, expected):
    probes = decide(extremes=Extremes(temperature_max_c=broadcast)).measured.temperature_c
    assert (probes.max, probes.max_probe) == expected
    assert (probes.min, probes.min_probe) == (25.0, 1)


def test_a_pack_that_sends_extremes_alone_has_extremes():
    every = Extremes(told(3.2, 3), told(3.4, 8), told(18.0), told(22.0, 0))
    measured = decide(voltage_v=NAN, temperature_c=NAN, extremes=every).measured
    volts, probes = measured.cell_voltage_v, measured.temperature_c
    assert (volts.min, volts.min_cell, volts.max, volts.max_cell) == (3.2, 4, 3.4, 9)
    assert (probes.min, probes.min_probe, probes.max, probes.max_probe) == (18.0, None, 22.0, 1)


def test_scalars_are_what_the_bus_said():
    measured = decide(
        current_a=-41.25, pack_voltage_v=58.7, insulation_ohm=5e5, reported_soc=reading(0.41), contactors=Contactor.PRECHARGE
    ).measured
    assert (measured.current_a, measured.voltage_v, measured.insulation_ohm, measured.reported_soc) == (-41.25, 58.7, 5e5, 0.41)
    assert measured.contactors is Contactor.PRECHARGE


def test_soc_of_the_pack_is_what_can_be_taken_out_of_what_can_be_moved():
    soc, sigma = np.full(CELLS, 0.5), np.full(CELLS, 0.01)
    soc[0], soc[7] = 0.3, 0.6
    sigma[0], sigma[7], sigma[3] = 0.02, 0.03, 0.9
    out = Decider().at(0.0, state=make_state(soc=soc, soc_sigma=sigma, source=Source.STUDENT, current_offset_a=0.1234567)).soc
    assert out.pack == round(0.3 / (0.3 + 0.4), 5)
    assert (out.min, out.max, out.sigma, out.source, out.current_offset_a) == (0.3, 0.6, 0.03, "student", 0.12346)
    sigma[0] = 0.05
    assert Decider().at(0.0, state=make_state(soc=soc, soc_sigma=sigma)).soc.sigma == 0.05
    sigma[7] = NAN
    assert Decider().at(0.0, state=make_state(soc=soc, soc_sigma=sigma)).soc.sigma is None


@pytest.mark.parametrize(
    ("low", "high", "pack"), [(-0.02, 0.5, 0.0), (0.5, 1.03, 1.0), (0.0, 1.0, 0.5), (1.02, 1.02, 1.0), (-0.01, -0.01, 0.0)]
)
def test_soc_beyond_the_card_reads_as_empty_or_full(low, high, pack):
    soc = np.full(CELLS, high)
    soc[2] = low
    out = Decider().at(0.0, state=make_state(soc=soc)).soc
    assert (out.pack, out.min, out.max) == (pack, low, high)


def test_one_cell_of_unknown_charge_makes_the_packs_unknown():
    soc = np.full(CELLS, 0.5)
    soc[5] = NAN
    out = Decider().at(0.0, state=make_state(soc=soc)).soc
    assert (out.pack, out.min, out.max) == (None, 0.5, 0.5)


def test_soh_is_the_weakest_cells():
    capacity, sigma, resistance = np.full(CELLS, 0.97), np.full(CELLS, 0.01), np.full(CELLS, 1.1)
    capacity[4], sigma[4], resistance[6] = 0.91, 0.04, 1.6
    soh = Decider().at(0.0, state=make_state(soh_capacity=capacity, soh_capacity_sigma=sigma, soh_resistance=resistance)).soh
    assert (soh.capacity, soh.sigma, soh.resistance) == (0.91, 0.04, 1.6)


def test_warnings_group_cells_and_probes_by_reason():
    reasons = np.zeros(CELLS, dtype=np.uint8)
    reasons[[0, 4]], reasons[15] = Reason.STALE, Reason.FROZEN
    values = np.where(reasons == 0, 3.7, NAN)
    decision = decide(
        voltage_v=values,
        cell_reason=reasons,
        temperature_c=[25.0, NAN, 25.0, 25.0],
        current_a=None,
        gas=NAN,
        refused_frames=(("checksum", 7),),
    )
    assert [(w.signal, w.reason, w.indices, w.count) for w in decision.quality.warnings] == [
        ("cell_voltage_v", "stale", (1, 5), 2),
        ("cell_voltage_v", "frozen", (16,), 1),
        ("temperature_c", "stale", (2,), 1),
        ("current_a", "not_in_profile", (), 1),
        ("gas", "stale", (), 1),
        ("frames", "checksum", (), 7),
    ]
    assert (decision.quality.valid_cells, decision.quality.cells) == (13, CELLS)
    assert (decision.quality.valid_probes, decision.quality.probes) == (3, PROBES)


def test_sensors_that_a_pack_does_not_have_are_no_warning_but_current_and_voltage_are():
    decision = decide(current_a=None, pack_voltage_v=None)
    assert [(w.signal, w.reason) for w in decision.quality.warnings] == [("current_a", "not_in_profile"), ("voltage_v", "not_in_profile")]
    assert decide().quality.warnings == ()


def test_a_broadcast_that_is_lost_is_a_warning():
    lost = Extremes(temperature_max_c=told(NAN, -1, Reason.SATURATED), voltage_min_v=told(3.7, 2))
    assert [(w.signal, w.reason) for w in decide(extremes=lost).quality.warnings] == [("broadcast.temperature_max_c", "saturated")]


def test_ages_and_the_runaway_view():
    quality = decide(cell_age_s=[0.25] * 15 + [float("inf")], complete=False, runaway_view=RunawayView(float("inf"), 3, True)).quality
    assert quality.oldest_ms == 250 and quality.complete is False
    assert (quality.runaway_view.worst_s, quality.runaway_view.uncovered_cells, quality.runaway_view.saturated) == (None, 3, True)
    assert decide(cell_age_s=float("inf")).quality.oldest_ms is None


def test_who_spoke_is_in_the_provenance():
    decider = Decider(state_model="state@sha256:0", reasoner_model="reasoner@sha256:1")
    provenance = decider.at(0.0, state=make_state(student=ReasonerStatus.OUT_OF_DOMAIN), status=ReasonerStatus.SKIPPED).provenance
    assert (provenance.state_model, provenance.reasoner_model) == ("state@sha256:0", "reasoner@sha256:1")
    assert (provenance.state_student, provenance.reasoner) == (ReasonerStatus.OUT_OF_DOMAIN, ReasonerStatus.SKIPPED)
    assert provenance.card == "test (generic)" and provenance.latency_us == 0
