"""The sender on a real bus: it falls silent by itself, yields to another node, misses its inverter; and the daemon as a process."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack

import can
import msgspec
import pytest
from adapter import PACK, Adapter, Pack, Process, faults, free_port, seen, slcan_config, slcan_line
from inverters import decision, read, settings

from edgebms.clock import MonotonicClock
from edgebms.config import BusConfig, CanOutlet, Site, parse
from edgebms.errors import ConfigError
from edgebms.inlet.bus import Bus
from edgebms.inlet.inbox import Inbox
from edgebms.outlet.can_out import CanOut
from edgebms.outlet.outlet import Gateway
from edgebms.outlets import wanted
from edgebms.vocabulary import Level

GROUP = "239.74.163.79"


class Live:
    """A sender on a multicast bus with a listener beside it; ``heard`` is (time, id, data) of all that passed."""

    def __init__(self, site=None, **more):
        port = free_port()
        options = {"interface": "udp_multicast", "channel": GROUP}
        self.inbox = Inbox()
        self.bus = Bus(BusConfig(name="can0", transmit=True, options={"port": port}, **options), MonotonicClock(), self.inbox)
        self.bus.start()
        self.outlets = {}
        self.gateway = Gateway(lambda: {"can0": self.bus}, lambda: self.outlets, lambda pack: None)
        self.out = CanOut(
            CanOutlet(bus="can0", **more), [settings(1)], site or Site(loss_hold_s=1.0, loss_fade_s=1.5), self.gateway, period_s=0.1
        )
        self.other = can.Bus(port=port, ignore_config=True, **options)
        self.heard = []
        self.until(lambda: self.bus.up)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.out.close()
        self.bus.close()
        self.other.shutdown()

    def listen(self, seconds):
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            message = self.other.recv(left_s)
            if message is not None:
                self.heard.append((time.monotonic(), message.arbitration_id, bytes(message.data)))

    def until(self, predicate, timeout_s=20.0):
        end_s = time.monotonic() + timeout_s
        while not predicate():
            assert time.monotonic() < end_s
            self.listen(0.05)

    def say(self, **said):
        self.out.offer(msgspec.structs.replace(decision(**({"expires_ms": 300} | said)), mono_ns=time.monotonic_ns()), b"")

    def limits(self):
        return [(at_s, read(0x351, data)) for at_s, identifier, data in self.heard if identifier == 0x351]

    def faults(self):
        return {fault.rule: fault for fault in self.out.faults(time.monotonic_ns())}


def test_a_loop_that_hangs_is_a_fade_and_then_silence():
    with Live() as live:
        live.listen(0.3)
        assert not live.heard, "silent before the first decision"
        live.say()
        last_s = time.monotonic()
        live.until(lambda: time.monotonic() - last_s > 3.8)
        told = live.limits()
        assert len(told) > 8
        currents = [frame["DischargeCurrent"] for _, frame in told]
        assert currents[0] == 150 and currents == sorted(currents, reverse=True) and currents[-1] < 60
        assert len(set(currents)) > 4, "a fade, not a step"
        assert max(at_s for at_s, _, _ in live.heard) - last_s < 3.5, "0.3 s until it expires, 1 s hold, 1.5 s fade; then nothing"
        assert len(live.inbox) == 0, "its own frames come back on this bus and are no telemetry"
        live.say(discharge_a=99.0)
        live.until(lambda: live.limits()[-1][1]["DischargeCurrent"] == 99)


def test_another_node_with_our_ids_ends_the_sending():
    with Live() as live:
        live.say(expires_ms=60_000)
        live.until(lambda: live.limits())
        live.other.send(can.Message(arbitration_id=0x351, data=bytes(8), is_extended_id=False))
        live.until(lambda: live.bus.conflict)
        live.listen(0.1)
        live.heard.clear()
        live.listen(0.5)
        assert not live.heard
        assert any(fault.rule == "address_conflict.can0" for fault in live.bus.faults(time.monotonic_ns()))


def test_an_inverter_that_is_not_heard_is_a_fault_until_it_is():
    with Live(keep_alive_s=0.6) as live:
        assert "inverter_silent.can0" not in live.faults()
        live.until(lambda: "inverter_silent.can0" in live.faults())
        assert live.faults()["inverter_silent.can0"].level is Level.WARNING
        live.other.send(can.Message(arbitration_id=0x305, data=bytes(8), is_extended_id=False))
        live.until(lambda: "inverter_silent.can0" not in live.faults())
    with Live(keep_alive_s=0) as live:
        live.listen(0.3)
        assert not live.faults()


def test_a_reload_in_the_middle_of_a_loss_goes_on_with_it():
    with Live(site=Site(loss_hold_s=0.0, loss_fade_s=60.0)) as live:
        live.say()
        live.until(lambda: live.limits() and live.limits()[-1][1]["DischargeCurrent"] < 149)
        old, live.outlets["can-can0"] = live.out, live.out
        live.out = CanOut(
            CanOutlet(bus="can0", name="new name"), [settings(1)], Site(loss_hold_s=0.0, loss_fade_s=30.0), live.gateway, period_s=0.1
        )
        old.close()
        live.heard.clear()
        live.until(lambda: any(identifier == 0x370 and data == b"new name" for _, identifier, data in live.heard))
        assert 100 < live.limits()[-1][1]["DischargeCurrent"] < 149


def test_frames_that_do_not_go_out_are_a_fault_and_close_ends_at_once():
    with Live() as live:
        live.say(expires_ms=60_000)
        live.until(lambda: live.limits())
        live.bus.close()
        live.until(lambda: live.out.faults(time.monotonic_ns() + 6_000_000_000))
        assert live.out.faults(time.monotonic_ns() + 6_000_000_000)[0].rule == "outlet_down.can-can0" and live.out.dropped
        before_s = time.monotonic()
        live.out.close()
        assert time.monotonic() - before_s < 1.0


def test_what_can_never_work_is_refused_before_anything_starts():
    def refusal(more="", bus="transmit = true", pack="", outlet='bus = "can0"'):
        text = slcan_config("/dev/null", bus=bus, more=f"[[outlet.can]]\n{outlet}\n{more}")
        return refused(text.replace('name = "rack-1"', f'name = "rack-1"\n{pack}') if pack else text)

    def refused(text):
        with pytest.raises(ConfigError) as error:
            wanted(parse(text), Gateway(dict, dict, lambda pack: None))
        return str(error.value)

    assert "only listens" in refusal(bus="")
    assert "no bus is called" in refusal(outlet='bus = "can7"')
    assert "no pack is called 'rack-9'" in refusal(outlet='bus = "can0"\npacks = ["rack-9"]')
    assert "twice" in refusal(outlet='bus = "can0"\npacks = ["rack-1", "rack-1"]')
    assert "two inverters" in refusal(more='[[outlet.can]]\nbus = "can0"')
    high = slcan_config("/dev/null", bus="transmit = true", more='[[outlet.can]]\nbus = "can0"').replace("cells = 16", "cells = 90")
    assert "reaches 378 V" in refused(high)
    same = slcan_config("/dev/null", bus="transmit = true", more='[[outlet.can]]\nbus = "can0"')
    same = same.replace('profile = "edgebms"', 'profile = "victron_lv"').replace("probes = 4", "probes = 1")
    assert "0x355" in refused(same)
    offset = slcan_config("/dev/null", bus="transmit = true", more='[[outlet.can]]\nbus = "can0"')
    assert "0x351" in refused(offset.replace("parallel = 10", "parallel = 10\nid_offset = 0x200"))
    apart = same.replace('card = "lg_hg2"', 'card = "lg_hg2"\nchannel = "can1"') + '\n[[bus]]\nname = "can1"\n'
    assert "can-can0" in wanted(parse(apart), Gateway(dict, dict, lambda pack: None))


# ---- the daemon

SENDS = "transmit = true"
RACKS = [("rack-1", 10, 0), ("rack-2", 20, 0x100), ("rack-3", 10, 0x300)]
"""Name, parallel cells, offset of the ids: 0x200 would put a pack's frames on the inverter's ids, and is refused."""
OUT = '[site]\nkind = "grid_tied"\n[[outlet.can]]\nbus = "can0"\nname = "Rack one"\n'


def slcan_frames(said):
    """(id, data) of the complete lines in what an adapter was told."""
    return [(int(i, 16), bytes.fromhex(d.decode())) for i, d in re.findall(rb"t([0-9A-F]{3})[0-8]([0-9A-F]*)\r", said)]


def hear(adapter, predicate, timeout_s=30.0):
    end_s = time.monotonic() + timeout_s
    while not predicate(slcan_frames(adapter.said)):
        assert time.monotonic() < end_s, f"{slcan_frames(adapter.said)[-20:]}"
        adapter.hear()
        time.sleep(0.02)
    return slcan_frames(adapter.said)


def test_the_daemon_tells_an_inverter_the_sum_of_three_packs_over_slcan_and_stops_when_it_is_killed(tmp_path):
    adapter = Adapter(tmp_path / "ttyUSB0")

    def write(frames):
        adapter.write(b"".join(map(slcan_line, frames)))

    packs = "".join(
        PACK.replace("rack-1", name).replace("parallel = 10", f"parallel = {parallel}\nid_offset = {offset}")
        for name, parallel, offset in RACKS
    )
    with Process(tmp_path, slcan_config(adapter.path, pack=packs, bus=SENDS, more=OUT)) as daemon, ExitStack() as running:
        assert adapter.wait_open().endswith(b"O\r"), "not listen-only"
        sending = [running.enter_context(Pack(write, id_offset=offset)) for _, _, offset in RACKS]
        sending[1].current_a = -12.0
        for name, parallel, _ in RACKS:
            daemon.wait(
                lambda d, name=name, least=0.5 * parallel: d["pack"] == name and seen(d) and d["command"]["limits"]["discharge_a"] > least,
                30,
            )
        adapter.said = b""
        told = dict(hear(adapter, lambda frames: sum(identifier == 0x379 for identifier, _ in frames) >= 2))
        assert set(told) >= {0x351, 0x355, 0x356, 0x35A, 0x370, 0x372, 0x373, 0x379}
        assert (told[0x370] + told[0x371]).decode().strip() == "Rack one"
        recent = {name: [d["command"]["limits"] for d in daemon.decisions[-200:] if d["pack"] == name] for name, _, _ in RACKS}
        limits = read(0x351, told[0x351])
        for signal, field in (("DischargeCurrent", "discharge_a"), ("ChargeCurrent", "charge_a")):
            least, most = (40 * min(pick(said[field] for said in recent[name]) / n for name, n, _ in RACKS) for pick in (min, max))
            assert least - 0.1001 <= limits[signal] <= most + 1e-6 and most > 0, (
                "40 cells in parallel, each with what the weakest pack's may carry"
            )
        assert limits["ChargeVoltage"] <= max(said["charge_v"] for said in recent["rack-1"])
        measured = read(0x356, told[0x356])
        assert measured["Current"] == pytest.approx(-5 - 12 - 5) and measured["Voltage"] == pytest.approx(16 * 3.7, abs=0.01)
        assert read(0x372, told[0x372]) == {"Online": 3, "BlockingCharge": 0, "BlockingDischarge": 0, "Offline": 0}
        assert read(0x379, told[0x379])["Capacity"] == round(40 * 2.7782)
        assert told[0x374].startswith(b"P")
        daemon.process.kill()
        daemon.process.wait()
        adapter.hear()
        adapter.said = b""
        time.sleep(1.5)
        adapter.hear()
        assert not slcan_frames(adapter.said), "a killed daemon says nothing"


def test_the_daemon_over_udp_fades_when_its_pack_falls_silent_and_does_not_hear_itself(tmp_path):
    port = free_port()
    more = '[site]\nkind = "grid_tied"\nloss_hold_s = 0.5\nloss_fade_s = 3.5\n[[outlet.can]]\nbus = "can0"\nkeep_alive_s = 0\n'
    text = slcan_config(GROUP, bus=f"{SENDS}\noptions = {{ port = {port} }}", more=more)
    text = text.replace('"slcan"', '"udp_multicast"').replace("bitrate = 500000", "")
    other = can.Bus(interface="udp_multicast", channel=GROUP, port=port, ignore_config=True)

    def send(frames):
        for frame in frames:
            other.send(can.Message(arbitration_id=frame.arbitration_id, data=frame.data, is_extended_id=False))

    told = []

    def listen(until, timeout_s=40.0):
        end_s = time.monotonic() + timeout_s
        while not until():
            assert time.monotonic() < end_s, told[-5:]
            message = other.recv(0.05)
            if message is not None and message.arbitration_id in (0x351, 0x35A):
                told.append((time.monotonic(), read(message.arbitration_id, bytes(message.data))))

    try:
        with Process(tmp_path, text) as daemon, Pack(send) as pack:
            daemon.wait(lambda entry: seen(entry) and entry["command"]["limits"]["discharge_a"] > 10, 30)
            listen(lambda: sum("DischargeCurrent" in frame for _, frame in told) >= 2)
            assert not faults(daemon.decisions[-1])
            pack.pause()
            told.clear()
            listen(lambda: bool(told) and time.monotonic() - told[-1][0] > 2.2)
            currents = [frame["DischargeCurrent"] for _, frame in told if "DischargeCurrent" in frame]
            falling = currents[currents.index(max(currents)) :]
            assert falling == sorted(falling, reverse=True) and len(set(falling)) >= 3, "a fade, not a step"
            assert falling[-1] < 0.5 * falling[0]
            assert [frame for _, frame in told if "Bms" in frame][-1]["WarnBms"] == 0b01
            assert all(frame["ChargeVoltage"] >= 16 * 4.05 for _, frame in told if "ChargeVoltage" in frame), "float"
            assert daemon.decisions[-1]["command"]["limits"]["discharge_a"] == 0, "the decision itself says zero at once"
            assert not [w for w in daemon.decisions[-1]["quality"]["warnings"] if w["signal"] == "frames"]
            assert daemon.stop() == 0
    finally:
        other.shutdown()
