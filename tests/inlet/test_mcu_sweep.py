"""Pages of a microcontroller as frames of our own protocol: the same bytes as the encoder's, and nothing invented."""

import numpy as np
import pytest

from edgebms.config import PackConfig
from edgebms.inlet.frame import Frame
from edgebms.inlet.mcu_sweep import Sweeps
from edgebms.telemetry.assembler import Assembler
from edgebms.telemetry.encode import Encoder
from edgebms.telemetry.profile import load_profile
from edgebms.vocabulary import Contactor as Word
from edgebms.vocabulary import Reason
from firmware_bridge.codec import PackState, Page
from firmware_bridge.codes import Contactor


def pages(values, sweep, size=110):
    return [Page(0, sweep, first, tuple(values[first : first + size])) for first in range(0, len(values), size)]


def state(sweep, cells, probes, current_ma=-41_000, voltage_mv=352_100, contactor=Contactor.CLOSED):
    return PackState(0, sweep, current_ma, voltage_mv, contactor, 1, 0, cells, probes, 0, 0, 0)


@pytest.mark.parametrize(("cells", "probes", "size"), [(1, 0, 110), (16, 4, 110), (96, 24, 110), (96, 24, 7), (400, 400, 110)])
def test_a_whole_sweep_is_the_encoders(cells, probes, size):
    random = np.random.default_rng(cells)
    encoder, sweeps = Encoder("edgebms_fd", cells, probes, spacing_ns=0), Sweeps()
    for sweep in range(3):
        raw_cells, raw_probes = random.integers(20_000, 45_000, cells), random.integers(-450, 1200, probes)
        expected = encoder.encode(0, raw_cells / 1e4, raw_probes / 10, -41.0, 352.1, contactors=Word.CLOSED)
        got = []
        for page in pages(raw_cells.tolist(), sweep, size):
            got += sweeps.cells(page)
        for page in pages(raw_probes.tolist(), sweep, size):
            got += sweeps.probes(page)
        assert got == []
        got = sweeps.pack(state(sweep, cells, probes))
        assert got == [(frame.arbitration_id, frame.data) for frame in expected]


def assembled(cells=16, probes=4, **settings):
    pack = PackConfig(name="rack-1", profile="edgebms_fd", card="lg_hg2", cells=cells, probes=probes)
    assembler, sweeps = Assembler(load_profile("edgebms_fd", pack), pack), Sweeps()

    def take(due, time_ns):
        found = [assembler.push(Frame(time_ns, identifier, data)) for identifier, data in due]
        return [snapshot for snapshot in found if snapshot is not None]

    return sweeps, take


def test_what_the_microcontroller_does_not_know_is_not_known():
    sweeps, take = assembled()
    sweeps.cells(Page(0, 1, 0, (36_000, 0xFFFF, 0xFFFE, *(36_000,) * 13)))
    sweeps.probes(Page(0, 1, 0, (250, 0x7FFF, 0x7FFE, -600)))
    (snapshot,) = take(sweeps.pack(state(1, 16, 4, -(1 << 31), 0xFFFFFFFF, Contactor.UNKNOWN)), 10**9)
    assert snapshot.cell_reason[:3].tolist() == [Reason.VALID, Reason.INVALID_CODE, Reason.SATURATED]
    assert snapshot.temperature_reason.tolist() == [Reason.VALID, Reason.INVALID_CODE, Reason.SATURATED, Reason.SATURATED]
    assert np.isnan(snapshot.current_a.value)
    assert np.isnan(snapshot.voltage_v.value)
    assert snapshot.contactors is Word.UNKNOWN


def test_a_lost_page_leaves_its_cells_as_old_as_they_are_and_fills_nothing_in():
    sweeps, take = assembled(96, 24)
    volts = [37_000] * 96
    for sweep in (1, 2):
        for page in pages(volts, sweep, 48)[: 2 if sweep == 1 else 1]:
            sweeps.cells(page)
        sweeps.probes(Page(0, sweep, 0, (250,) * 24))
        found = take(sweeps.pack(state(sweep, 96, 24, voltage_mv=355_200)), sweep * 10**8)
    assert found == []
    due = sweeps.cells(Page(0, 3, 0, (36_000,) * 48))
    assert due == []
    sweeps.cells(Page(0, 3, 48, (36_000,) * 48))
    sweeps.probes(Page(0, 3, 0, (250,) * 24))
    torn, whole = take(sweeps.pack(state(3, 96, 24, voltage_mv=345_600)), 3 * 10**8)
    assert not torn.complete
    assert whole.complete
    assert torn.cell_age_s[40] > torn.cell_age_s[0]


def test_a_sweep_without_its_pack_message_goes_out_with_the_next():
    sweeps, _ = assembled()
    sweeps.cells(Page(0, 1, 0, (36_000,) * 16))
    sweeps.probes(Page(0, 1, 0, (250,) * 4))
    assert [identifier for identifier, _ in sweeps.pack(state(1, 16, 4))] == [0x120, 0x110, 0x100]
    sweeps.cells(Page(0, 2, 0, (36_000,) * 16))
    sweeps.probes(Page(0, 2, 0, (250,) * 4))
    assert [identifier for identifier, _ in sweeps.cells(Page(0, 3, 0, (36_000,) * 16))] == [0x120, 0x110]


@pytest.mark.parametrize("more", [17, 400, 500])
def test_more_cells_than_the_pack_has_make_all_unknown(more):
    sweeps, take = assembled()
    for page in pages([36_000] * more, 1):
        sweeps.cells(page)
    sweeps.probes(Page(0, 1, 0, (250,) * 4))
    (snapshot,) = take(sweeps.pack(state(1, 16, 4)), 10**9)
    assert snapshot.valid_cells == 0
    assert set(snapshot.cell_reason.tolist()) == {Reason.BEYOND_PROFILE}


def test_currents_and_voltages_that_do_not_fit_are_unknown_and_not_wrapped():
    sweeps, _take = assembled()
    for current_ma, voltage_mv in ((1 << 24, 352_100), (-41_000, 1 << 24)):
        sweeps.cells(Page(0, 1, 0, (36_000,) * 16))
        sweeps.probes(Page(0, 1, 0, (250,) * 4))
        due = sweeps.pack(state(1, 16, 4, current_ma, voltage_mv))
        assert due[-1][0] == 0x100
        head = due[-1][1]
        assert (head[4:7] == b"\x00\x00\x80") == (current_ma > 0)
        assert (head[7:10] == b"\xff\xff\xff") == (voltage_mv >= 1 << 24)
