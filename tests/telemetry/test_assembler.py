"""Frames to snapshots: what a user must be able to rely on."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import cantools.database
import numpy as np
import pytest

from edgebms.config import PackConfig
from edgebms.inlet.frame import Frame
from edgebms.telemetry.assembler import Assembler
from edgebms.telemetry.encode import Encoder
from edgebms.telemetry.profile import Profile, dbc_path, load_profile
from edgebms.telemetry.snapshot import Snapshot
from edgebms.vocabulary import Contactor, Reason

S = 1_000_000_000
PERIOD_NS = S // 10


@functools.cache
def compiled(profile: str, cells: int, probes: int, other: tuple[tuple[str, Any], ...]) -> tuple[PackConfig, Profile]:
    settings = PackConfig(name="pack", profile=profile, card="none", cells=cells, probes=probes, **dict(other))
    return settings, load_profile(profile, settings)


class Bench:
    """An assembler and an encoder of one pack of our own protocol."""

    def __init__(self, profile: str = "edgebms", cells: int = 16, probes: int = 4, sender_cells: int | None = None, **pack: Any) -> None:
        settings, ready = compiled(profile, cells, probes, tuple(pack.items()))
        self.assembler = Assembler(ready, settings)
        self.cells, self.probes = sender_cells or cells, probes
        self.encoder = Encoder(profile, self.cells, probes, id_offset=settings.id_offset, channel="can0")
        self.time_ns = 10 * S

    def frames(
        self, volts: Any = 3.7, degrees: Any = 25.0, current_a: float = -10.0, voltage_v: float | None = None, **other: Any
    ) -> list[Frame]:
        volts = np.broadcast_to(np.asarray(volts, dtype=float), (self.cells,))
        degrees = np.broadcast_to(np.asarray(degrees, dtype=float), (self.probes,))
        self.time_ns += PERIOD_NS
        return self.encoder.encode(
            self.time_ns, volts, degrees, current_a, float(np.nansum(volts)) if voltage_v is None else voltage_v, **other
        )

    def push(self, frames: Iterable[Frame]) -> list[Snapshot]:
        return [snapshot for frame in frames if (snapshot := self.assembler.push(frame)) is not None]

    def sweep(self, *args: Any, **kwargs: Any) -> Snapshot:
        snapshots = self.push(self.frames(*args, **kwargs))
        assert len(snapshots) == 1
        return snapshots[0]


def damaged(frame: Frame, place: int = 3) -> Frame:
    data = bytearray(frame.data)
    data[place] ^= 0x10
    return frame._replace(data=bytes(data))


@pytest.mark.parametrize("profile", ["edgebms", "edgebms_fd"])
@pytest.mark.parametrize(("cells", "probes"), [(16, 1), (17, 4), (96, 24), (400, 400), (1, 0)])
def test_what_was_encoded_is_what_is_read(profile: str, cells: int, probes: int) -> None:
    bench = Bench(profile, cells, probes)
    random = np.random.default_rng(cells)
    for sweep in range(70):  # past the end of the sweep counter
        volts = random.uniform(0.5, 5.0, cells)
        degrees = random.uniform(-40.0, 200.0, probes)
        if sweep == 5:
            volts[0] = math.nan
            degrees[-1:] = math.nan
        snapshot = bench.sweep(volts, degrees, current_a=123.456 - sweep, contactors=Contactor.CLOSED)
        assert snapshot.complete
        assert snapshot.seq == sweep
        np.testing.assert_allclose(snapshot.cell_voltage_v, volts, atol=0.5001e-4)
        np.testing.assert_allclose(snapshot.temperature_c, degrees, atol=0.05001)
        assert snapshot.current_a.value == pytest.approx(123.456 - sweep, abs=5e-4)
        assert snapshot.voltage_v.value == pytest.approx(np.nansum(volts), abs=5e-4)
        assert snapshot.contactors is Contactor.CLOSED
        assert snapshot.time_ns == bench.time_ns
        assert snapshot.refused_frames == ()
        if sweep == 5:
            assert snapshot.cell_reason[0] == Reason.INVALID_CODE
            assert snapshot.valid_cells == cells - 1


def test_all_signals_of_the_protocol_arrive() -> None:
    bench = Bench(cells=50)
    balancing = np.arange(50) % 3 == 0
    snapshot = bench.sweep(
        np.linspace(3.5, 3.7, 50),
        [20, 21, 22, 350],
        contactors=Contactor.PRECHARGE,
        reported_soc=0.5123,
        insulation_ohm=2_000_000,
        pressure_pa=101_300,
        gas=0.005,
        coolant_temperature_c=18.5,
        balancing=balancing,
    )
    assert snapshot.contactors is Contactor.PRECHARGE
    assert snapshot.reported_soc.value == pytest.approx(0.5123)
    assert snapshot.insulation_ohm.value == 2_000_000
    assert snapshot.pressure_pa.value == 101_300
    assert snapshot.gas.value == pytest.approx(0.005)
    assert snapshot.coolant_temperature_c.value == pytest.approx(18.5)
    assert snapshot.balancing is not None and snapshot.balancing.tolist() == balancing.tolist()
    low, high = snapshot.extremes.voltage_min_v, snapshot.extremes.voltage_max_v
    assert low is not None and high is not None
    assert (low.value, low.index, high.index) == (3.5, 0, 49)
    hot = snapshot.extremes.temperature_max_c
    assert hot is not None and (hot.value, hot.index) == (350.0, 3)


@pytest.mark.parametrize("profile", ["edgebms", "edgebms_fd"])
def test_a_damaged_frame_changes_nothing_but_a_counter(profile: str) -> None:
    bench = Bench(profile)
    bench.sweep(3.7)
    frames = bench.frames(np.linspace(3.0, 3.1, 16))
    at = next(i for i, frame in enumerate(frames) if frame.arbitration_id == 0x110)
    frames[at] = damaged(frames[at], 9 if profile == "edgebms_fd" else 3)
    assert bench.push(frames) == []  # the sweep never completes
    nxt = bench.push(bench.frames(3.7))
    assert [snapshot.complete for snapshot in nxt] == [False, True]
    old = nxt[0]
    assert dict(old.refused_frames) == {"checksum": 1}
    lost = slice(0, 16 if profile == "edgebms_fd" else 3)
    assert old.cell_voltage_v[lost].tolist() == pytest.approx([3.7] * len(old.cell_voltage_v[lost]))
    assert (old.cell_age_s[lost] > 0.09).all()  # the older value says its age
    assert (old.cell_reason == 0).all()
    assert nxt[1].refused_frames == ()


def test_every_bit_of_a_frame_is_under_its_checksum() -> None:
    bench = Bench()
    for frame in bench.frames(3.7):
        for place in range(8):
            for bit in range(8):
                data = bytearray(frame.data)
                data[place] ^= 1 << bit
                bench.assembler.push(frame._replace(data=bytes(data)))
    snapshot = bench.assembler.poll(0) or bench.assembler.poll(bench.time_ns + 100 * S)
    assert snapshot is not None
    assert snapshot.valid_cells == 0
    assert set(snapshot.cell_reason.tolist()) == {Reason.NEVER_RECEIVED}
    assert dict(snapshot.refused_frames) == {"checksum": 64 * len(bench.frames())}


def test_a_sender_that_repeats_itself_is_refused_and_goes_stale() -> None:
    bench = Bench()
    frames = bench.frames(3.7)
    bench.push(frames)
    repeated = 0
    snapshots = []
    for step in range(1, 20):
        for frame in frames:
            repeated += 1
            moved = frame._replace(time_ns=frame.time_ns + step * PERIOD_NS)
            snapshots.append(bench.assembler.poll(moved.time_ns))
            assert bench.assembler.push(moved) is None
    snapshots.append(bench.assembler.poll(bench.time_ns + 10 * S))
    last = snapshots[-1]
    assert last is not None
    assert set(last.cell_reason.tolist()) == {Reason.STALE}
    assert np.isnan(last.cell_voltage_v).all()
    assert last.current_a.reason is Reason.STALE
    assert math.isnan(last.current_a.value)
    assert last.contactors is Contactor.UNKNOWN
    assert not last.complete
    refused = [entry for snapshot in snapshots if snapshot is not None for entry in snapshot.refused_frames]
    assert {word for word, _ in refused} == {"counter"}
    assert sum(count for _, count in refused) == repeated


def test_a_sender_that_starts_again_at_the_same_count_is_heard() -> None:
    bench = Bench()
    first = bench.sweep(3.7)
    restarted = Encoder("edgebms", 16, 4, channel="can0")
    frames = restarted.encode(bench.time_ns + 60 * S, np.full(16, 3.8), np.full(4, 25.0), 0.0, 60.8)
    (snapshot,) = bench.push(frames)
    assert first.complete and snapshot.complete
    assert snapshot.cell_voltage_v.tolist() == pytest.approx([3.8] * 16)
    assert snapshot.refused_frames == ()


def test_short_error_and_remote_frames_are_counted_not_read() -> None:
    bench = Bench()
    frames = bench.frames(3.7)
    cell = next(frame for frame in frames if frame.arbitration_id == 0x110)
    for frame in (
        cell._replace(data=cell.data[:7]),
        cell._replace(data=b""),
        cell._replace(error=True),
        cell._replace(remote=True, data=b""),
    ):
        assert bench.assembler.push(frame) is None
    snapshots = bench.push(frames)
    assert len(snapshots) == 1
    assert dict(snapshots[0].refused_frames) == {"too_short": 2, "error_frame": 1, "remote_frame": 1}
    assert (snapshots[0].cell_reason == 0).all()


def test_a_longer_frame_is_read_by_its_beginning() -> None:
    bench = Bench("edgebms_fd")
    snapshots = bench.push(frame._replace(data=frame.data + b"\0\1") for frame in bench.frames(3.65))
    assert len(snapshots) == 1
    assert snapshots[0].cell_voltage_v.tolist() == pytest.approx([3.65] * 16)


def test_two_sweeps_never_mix_silently() -> None:
    bench = Bench(cells=96, probes=24)
    bench.sweep(3.7)
    first, second = bench.frames(3.0), bench.frames(4.0)
    snapshots = bench.push(first[: len(first) // 2] + second)
    assert [snapshot.complete for snapshot in snapshots] == [False, True]
    partial = snapshots[0]
    fresh = partial.cell_age_s < 0.05
    assert np.allclose(partial.cell_voltage_v[fresh], 3.0)
    assert np.allclose(partial.cell_voltage_v[~fresh], 3.7)
    assert fresh.any() and not fresh.all()
    assert np.allclose(snapshots[1].cell_voltage_v, 4.0)


def test_before_any_frame_the_pack_is_unknown_not_silent() -> None:
    bench = Bench()
    assert bench.assembler.poll(5 * S) is None
    assert bench.assembler.poll(5 * S + S // 2) is None
    snapshot = bench.assembler.poll(6 * S)
    assert snapshot is not None
    assert not snapshot.complete
    assert set(snapshot.cell_reason.tolist()) == set(snapshot.temperature_reason.tolist()) == {Reason.NEVER_RECEIVED}
    assert snapshot.current_a.reason is Reason.NEVER_RECEIVED
    assert snapshot.current_a.age_s == math.inf
    assert snapshot.oldest_s == math.inf
    assert math.isinf(snapshot.runaway_view.worst_s)
    assert snapshot.runaway_view.uncovered_cells == 16
    assert bench.assembler.poll(6 * S + S // 2) is None
    assert bench.assembler.poll(7 * S) is not None


def test_silence_makes_stale_and_says_since_when() -> None:
    bench = Bench()
    bench.sweep(3.7)
    end_ns = bench.time_ns
    seen = [snapshot for step in range(1, 40) if (snapshot := bench.assembler.poll(end_ns + step * PERIOD_NS)) is not None]
    assert not any(snapshot.complete for snapshot in seen)
    assert seen[0].time_ns - end_ns == 2 * PERIOD_NS  # at the first look after one and a half periods
    assert (seen[0].cell_reason == 0).all()
    late = [snapshot for snapshot in seen if snapshot.time_ns - end_ns > S // 2]
    assert late
    for snapshot in late:
        assert set(snapshot.cell_reason.tolist()) == {Reason.STALE}
        assert snapshot.oldest_s == pytest.approx((snapshot.time_ns - end_ns) / 1e9, abs=0.02)
    assert len(seen) >= 3
    assert bench.sweep(3.7).complete


def test_a_pack_period_stretches_what_counts_as_stale() -> None:
    bench = Bench(period_s=30.0)
    frames = bench.frames(3.7)
    (snapshot,) = bench.push(frames)
    assert snapshot.complete
    assert bench.assembler.poll(bench.time_ns + 44 * S) is None
    late = bench.assembler.poll(bench.time_ns + 46 * S)
    assert late is not None and (late.cell_reason == 0).all()
    gone = bench.assembler.poll(bench.time_ns + 200 * S)
    assert gone is not None and set(gone.cell_reason.tolist()) == {Reason.STALE}


@pytest.mark.parametrize("profile", ["edgebms", "edgebms_fd"])
def test_a_pack_with_more_cells_than_stated_is_unknown(profile: str) -> None:
    for cells in (17, 47, 96):  # in a frame's padding, in frames of their own
        bench = Bench(profile, cells=16, sender_cells=cells)
        bench.push(bench.frames(3.7, voltage_v=59.2))
        snapshot = bench.push(bench.frames(3.7, voltage_v=59.2))[-1]
        assert set(snapshot.cell_reason.tolist()) == {Reason.BEYOND_PROFILE}, cells
        assert np.isnan(snapshot.cell_voltage_v).all()


@pytest.mark.parametrize("profile", ["edgebms", "edgebms_fd"])
def test_probes_that_the_pack_does_not_state_are_not_overlooked(profile: str) -> None:
    bench = Bench(profile, cells=16, probes=0)
    bench.encoder, bench.probes = Encoder(profile, 16, 4), 4
    snapshot = bench.push(frame for frame in bench.frames(3.7) if (frame.arbitration_id, False) in bench.assembler.accepts())[-1]
    assert set(snapshot.cell_reason.tolist()) == {Reason.BEYOND_PROFILE}


def test_a_pack_with_fewer_cells_than_stated_is_unknown_where_it_has_none() -> None:
    bench = Bench(cells=96, sender_cells=81)
    snapshots = [bench.assembler.poll(frame.time_ns) or bench.assembler.push(frame) for _ in range(20) for frame in bench.frames(3.7)]
    last = [snapshot for snapshot in snapshots if snapshot is not None][-1]
    assert not last.complete
    assert (last.cell_reason[:81] == 0).all()
    assert set(last.cell_reason[81:].tolist()) <= {Reason.NEVER_RECEIVED, Reason.INVALID_CODE}
    assert np.isnan(last.cell_voltage_v[81:]).all()


def test_an_unknown_id_in_the_reserved_range_is_beyond_the_profile_and_passes() -> None:
    bench = Bench()
    bench.sweep(3.7)
    stray = Frame(bench.time_ns, 0x1FF, bytes(8))
    assert (0x1FF, False) in bench.assembler.accepts()
    bench.assembler.push(stray)
    snapshot = bench.sweep(3.7)
    assert set(snapshot.cell_reason.tolist()) == {Reason.BEYOND_PROFILE}
    assert dict(snapshot.refused_frames) == {"beyond_profile": 1}
    for _ in range(60):
        snapshot = bench.sweep(3.7)
    assert (snapshot.cell_reason == 0).all()


def test_ids_are_shifted_and_channels_kept_apart() -> None:
    bench = Bench(id_offset=0x200, channel="can0")
    assert all(0x300 <= identifier <= 0x3FF for identifier, _ in bench.assembler.accepts())
    frames = bench.frames(3.6)
    assert bench.push(frame._replace(channel="can1") for frame in frames) == []
    assert bench.push(frame._replace(arbitration_id=frame.arbitration_id - 0x200) for frame in frames) == []
    (snapshot,) = bench.push(frames)
    assert snapshot.cell_voltage_v.tolist() == pytest.approx([3.6] * 16)
    assert snapshot.refused_frames == ()


def test_saturated_probe_and_cell_are_unknown_with_the_reason() -> None:
    bench = Bench()
    snapshot = bench.sweep(np.r_[7.0, np.full(15, 3.7)], [900.0, 25, 25, -80.0], voltage_v=62.5)
    assert snapshot.cell_reason[0] == Reason.SATURATED
    assert snapshot.temperature_reason.tolist() == [Reason.SATURATED, 0, 0, Reason.SATURATED]
    assert np.isnan(snapshot.temperature_c[[0, 3]]).all()
    assert snapshot.runaway_view.saturated
    assert snapshot.runaway_view.uncovered_cells == 8


def test_a_sum_that_does_not_fit_the_pack_makes_all_cells_unknown() -> None:
    bench = Bench()
    for sweep in range(200):
        snapshot = bench.sweep(3.7, voltage_v=59.2 + 4.0)
        if sweep < 99:
            assert (snapshot.cell_reason == 0).all()
    assert set(snapshot.cell_reason.tolist()) == {Reason.SUM_MISMATCH}
    assert np.isnan(snapshot.cell_voltage_v).all()
    assert snapshot.voltage_v.valid
    # one cell unknown: the sum cannot be checked, and is not
    snapshot = bench.sweep(np.r_[math.nan, np.full(15, 3.7)], voltage_v=63.2)
    assert snapshot.cell_reason.tolist() == [Reason.INVALID_CODE] + [0] * 15
    assert (bench.sweep(3.7).cell_reason == 0).all()


def test_times_that_go_back_do_not_make_fresh_frames_stale() -> None:
    bench = Bench()
    bench.sweep(3.7)
    bench.time_ns -= 100 * S
    snapshot = bench.sweep(3.8)
    assert (snapshot.cell_reason == 0).all()
    assert snapshot.cell_voltage_v.tolist() == pytest.approx([3.8] * 16)


def test_foxbms_an_unknown_multiplexer_value_is_beyond_the_profile() -> None:
    settings = PackConfig(name="pack", profile="foxbms2", card="none", cells=8, probes=6, firmware="1.9.0")
    assembler = Assembler(load_profile("foxbms2", settings), settings)
    database: Any = cantools.database.load_file(dbc_path("foxbms2"), strict=True)

    def cells(mux: int, valid: int = 1) -> bytes:
        names = range(4 * mux, 4 * mux + 4)
        return database.encode_message(
            "CellVoltages",
            {
                "CellVoltages_Mux": mux,
                **{f"CellVoltage_{n:03d}": 3300 for n in names},
                **{f"CellVoltage_{n:03d}_Valid": valid for n in names},
            },
        )

    heat = database.encode_message(
        "CellTemperatures",
        {
            "CellTemperatures_Mux": 0,
            **{f"CellTemperature_{n:03d}": 25 for n in range(6)},
            **{f"CellTemperature_{n:03d}_Valid": 1 for n in range(6)},
        },
    )
    values = database.encode_message("PackValuesP0", {"BatteryVoltage": 26.4, "Current": 5.0})
    for at, (identifier, data) in enumerate(
        [(0x250, cells(0)), (0x250, cells(1)), (0x260, heat), (0x250, cells(2, valid=0)), (0x233, values)]
    ):
        snapshot = assembler.push(Frame(S + at, identifier, data))
    assert snapshot is not None and snapshot.complete
    assert (snapshot.cell_reason == 0).all()  # frames beyond the pack whose cells are all invalid are padding
    assert snapshot.current_a.value == -5.0  # discharge is positive on that bus
    assembler.push(Frame(S + 10, 0x250, cells(2)))
    snapshot = assembler.push(Frame(S + 11, 0x233, values))
    assert snapshot is not None and set(snapshot.cell_reason.tolist()) == {Reason.BEYOND_PROFILE}
    assembler.push(Frame(S + 20, 0x250, cells(2, valid=0)))
    snapshot = assembler.push(Frame(S + 21, 0x233, values))
    assert snapshot is not None and (snapshot.cell_reason == 0).all()
    assembler.push(Frame(S + 30, 0x250, bytes((0xC8,)) + bytes(7)))  # a value that no cell of the DBC has
    snapshot = assembler.push(Frame(S + 31, 0x233, values))
    assert snapshot is not None and set(snapshot.cell_reason.tolist()) == {Reason.BEYOND_PROFILE}
    assert dict(snapshot.refused_frames) == {"unknown_multiplexer": 1}


def test_a_cell_and_a_probe_that_stand_while_the_others_move_are_frozen() -> None:
    bench = Bench(period_s=1.0)
    random = np.random.default_rng(4)
    seen = []
    for second in range(900):
        bench.time_ns += 9 * PERIOD_NS
        load = 0.2 * np.sin(second / 40)
        volts = 3.7 + load + random.normal(0, 0.002, 16)
        degrees = 25 + second / 20 + random.normal(0, 0.2, 4)
        if second > 100:
            volts[5] = 3.65
            degrees[2] = 30.0
        snapshot = bench.sweep(volts, degrees, current_a=200 * np.sin(second / 40))
        seen.append((snapshot.cell_reason.tolist(), snapshot.temperature_reason.tolist()))
    assert all(not any(cells) and not any(probes) for cells, probes in seen[:160])
    assert all(cells == [Reason.FROZEN if cell == 5 else 0 for cell in range(16)] for cells, _ in seen[300:])
    assert all(probes == [0, 0, Reason.FROZEN, 0] for _, probes in seen[700:])
    assert math.isnan(snapshot.cell_voltage_v[5])
    bench.time_ns += 9 * PERIOD_NS
    assert not bench.sweep(3.7 + random.normal(0, 0.002, 16), [70, 70.1, 70.2, 70.3]).cell_reason.any()


def test_a_pack_that_repeats_all_its_cells_under_a_moving_current_is_frozen() -> None:
    bench = Bench(period_s=1.0)
    for second in range(120):
        bench.time_ns += 9 * PERIOD_NS
        snapshot = bench.sweep(3.7, current_a=100.0 if second % 20 < 10 else -50.0)
        if second < 60:
            assert not snapshot.cell_reason.any()
    assert set(snapshot.cell_reason.tolist()) == {Reason.FROZEN}


class Fox:
    """A foxBMS 2 of 8 cells and 12 probes on its own bus."""

    def __init__(self) -> None:
        self.pack = PackConfig(name="pack", profile="foxbms2", card="none", cells=8, probes=12, firmware="1.9.0")
        self.assembler = Assembler(load_profile("foxbms2", self.pack), self.pack)
        self.database: Any = cantools.database.load_file(dbc_path("foxbms2"), strict=True)
        self.time_ns = 10 * S

    def send(self, name: str, values: dict[str, float]) -> Snapshot | None:
        self.time_ns += 1_000_000
        message = self.database.get_message_by_name(name)
        return self.assembler.push(Frame(self.time_ns, message.frame_id, message.encode(values, strict=False)))

    def cycle(self, hottest: float = 30, coldest: float = 25, invalid: int = -1, silent: int = -1) -> Snapshot:
        self.send("PackMinMaxCellTemperature", {"MaximumCellTemperature": hottest, "MinimumCellTemperature": coldest})
        for mux in range(2):
            cells = range(4 * mux, 4 * mux + 4)
            self.send(
                "CellVoltages",
                {
                    "CellVoltages_Mux": mux,
                    **{f"CellVoltage_{n:03d}": 3300 for n in cells},
                    **{f"CellVoltage_{n:03d}_Valid": 1 for n in cells},
                },
            )
            probes = range(6 * mux, 6 * mux + 6)
            if mux != silent:
                flags = {f"CellTemperature_{n:03d}_Valid": int(n != invalid) for n in probes}
                self.send("CellTemperatures", {"CellTemperatures_Mux": mux, **{f"CellTemperature_{n:03d}": 26 for n in probes}, **flags})
        snapshot = self.send("PackValuesP0", {"BatteryVoltage": 26.4, "Current": 0})
        assert snapshot is not None
        self.time_ns += PERIOD_NS - 6_000_000
        return snapshot


def test_runaway_view_is_made_of_sweep_and_broadcast() -> None:
    fox = Fox()
    view = fox.cycle().runaway_view
    # the sweep of two frames takes 0.4 s; the broadcast sees the hottest each 0.1 s, others once they are 5 K warmer
    by_sweep, by_broadcast = 0.4 * 9 + 0.1, 5 + 3.3
    assert view.worst_s == pytest.approx(min(by_sweep, by_broadcast), abs=0.01)
    assert (view.uncovered_cells, view.saturated) == (0, False)
    assert fox.cycle(hottest=26, coldest=26).runaway_view.worst_s == pytest.approx(3.3, abs=0.02)
    # a probe that the BMS itself calls invalid is in no broadcast either: probe 1 watches cell 1
    assert fox.cycle(invalid=0).runaway_view.uncovered_cells == 1
    # one whose frame is lost is still in the broadcast
    for _ in range(30):
        view = fox.cycle(silent=1).runaway_view
    assert view.uncovered_cells == 0
    assert fox.cycle(hottest=127).runaway_view.saturated


def test_foxbms_saturated_broadcast_leaves_the_sweep_alone_to_watch() -> None:
    fox = Fox()
    fox.cycle()
    for _ in range(30):
        view = fox.cycle(hottest=127, silent=1).runaway_view
    assert view.saturated
    assert view.uncovered_cells == 4
    extreme = fox.cycle(hottest=127).extremes.temperature_max_c
    assert extreme is not None and extreme.reason is Reason.SATURATED and math.isnan(extreme.value)


def test_foxbms_a_part_that_never_came_is_said_by_the_time_out() -> None:
    fox = Fox()
    fox.assembler.poll(fox.time_ns)
    waited = []
    for _ in range(30):
        fox.send("PackMinMaxCellTemperature", {"MaximumCellTemperature": 30, "MinimumCellTemperature": 25})
        fox.send("PackValuesP0", {"BatteryVoltage": 26.4, "Current": 0})
        fox.time_ns += PERIOD_NS
        snapshot = fox.assembler.poll(fox.time_ns)
        if snapshot is not None:
            waited.append(snapshot)
    assert len(waited) > 10
    assert not any(snapshot.complete for snapshot in waited)
    assert {code for snapshot in waited for code in snapshot.cell_reason.tolist()} == {Reason.NEVER_RECEIVED}
    assert waited[-1].current_a.valid
