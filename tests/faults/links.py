"""Faults of links: FACTS section 4, and what integrators report of today's gateways (section 5)."""

from __future__ import annotations

import signal
import socket
import time

import can
from adapter import PACK, Adapter, Pack, slcan_config, slcan_line
from scene import Row, Scene, hot, unknown


def clean_lost(scene):
    """Frames that were whole on the bus and did not arrive."""
    return max(0, scene.on_bus - scene.counts.get("can0", {}).get("frames", 0))


def noise(fault, injected, data, times=10, **settings):
    def run():
        with Scene(**settings) as scene:
            scene.settle().begin()
            for _ in range(times):
                scene.adapter.write(data)
                time.sleep(0.02)
            scene.end()
            row = scene.row(fault, injected)
            row.frames_lost = clean_lost(scene)
            return row

    run.fault = fault
    return run


corrupt_line = noise("corrupt SLCAN line", "10 lines with a letter for a digit", b"t25g8AABBCCDDEEFF0011\r")
truncated = noise("truncated SLCAN frame", "10 frames of DLC 8 with 3 bytes", b"t1108AABBCC\r")
burst = noise("noise without line ends", "10 x 4 kB of zeros and ones", b"\x00\xff" * 2048 + b"\r")
bells = noise("adapter answers with errors", "10 x 50 bells", b"\a" * 50)
remote = noise("remote frames", "20 remote frames of a mapped id", b"r1108\r" * 2)
foreign = noise("another device's frames", "500 frames of unmapped ids", b"t7E01AA\rt7E11BB\r" * 25)


def vanish():
    with Scene() as scene:
        scene.settle().begin()
        scene.adapter.vanish()
        time.sleep(3.0)
        scene.adapter.plug_in()
        scene.end()
        return scene.row("USB adapter vanishes", "unplugged for 3 s")


def flap():
    with Scene() as scene:
        scene.settle().begin()
        for _ in range(5):
            scene.adapter.vanish()
            time.sleep(0.3)
            scene.adapter.plug_in()
            time.sleep(0.7)
        scene.end()
        return scene.row("USB adapter flaps", "5 times 0.3 s off, 0.7 s on")


def reset():
    """The adapter's own processor starts again: the port stays, the channel is closed until it is opened anew."""
    with Scene(bus="silent_s = 2") as scene:
        scene.settle().adapter.wait_open()
        scene.begin()
        scene.pack.pause()
        scene.adapter.wait_open(10)
        scene.pack.resume()
        scene.end()
        return scene.row("adapter loses its power for a moment", "mute until it is opened again (silent_s = 2)")


def absent_at_start():
    with Scene(plugged=False) as scene:
        scene.begin()
        decision, _ = scene.daemon.wait(lambda entry: "link_down.can0" in unknown(entry))
        calm = not decision["command"]["limits"]["charge_a"]
        scene.adapter.plug_in()
        scene.end()
        scene.settle()
        scene.begin()
        row = scene.row(
            "no adapter at start", "plugged in after the alert", more="ready all the same, limits 0 A" if calm else "LIMITS NOT 0"
        )
        row.did = f"link down.can0; {row.did}"
        return row


def silence():
    with Scene() as scene:
        scene.settle().begin()
        scene.pack.pause()
        time.sleep(7.0)
        scene.pack.resume()
        scene.end()
        row = scene.row("pack falls silent", "no frame for 7 s")
        row.frames_lost = clean_lost(scene)
        return row


def overloaded():
    with Scene() as scene:
        scene.settle().begin()
        scene.daemon.signal(signal.SIGSTOP)
        time.sleep(3.0)
        scene.daemon.signal(signal.SIGCONT)
        scene.end()
        row = scene.row("the machine stands still", "the process stopped for 3 s")
        row.frames_lost = clean_lost(scene)
        return row


def udp_garbage():
    with Scene(udp=True) as scene:
        scene.settle().begin()
        raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for number in range(30):
            raw.sendto(bytes([number]) * (number * 7 % 200), ("239.74.163.78", scene.port))
            time.sleep(0.01)
        raw.close()
        scene.end()
        row = scene.row("garbage datagrams", "30 datagrams that are no frames")
        row.frames_lost = clean_lost(scene)
        return row


def error_frames():
    with Scene(udp=True) as scene:
        scene.settle().begin()
        for _ in range(5000):
            scene.sender.send(can.Message(arbitration_id=0x110, is_error_frame=True))
        scene.end()
        row = scene.row("storm of error frames", "5,000 at once, with a mapped id's bits")
        row.frames_lost = clean_lost(scene)
        return row


def flood():
    with Scene(udp=True) as scene:
        scene.settle().begin()
        end_s = time.monotonic() + 3.0
        sent = 0
        while time.monotonic() < end_s:
            scene.sender.send(can.Message(arbitration_id=0x700 + sent % 64, data=b"babble", is_extended_id=False))
            sent += 1
        scene.end()
        row = scene.row("a node babbles", f"{sent / 3:,.0f} unmapped frames/s for 3 s beside the pack's")
        row.frames_lost = max(0, scene.on_bus + sent - scene.counts["can0"]["frames"])
        return row


def bad_crc():
    with Scene() as scene:
        scene.settle().begin()
        plain = scene.pack.write

        def spoilt(frames):
            plain([frame._replace(data=bytes([frame.data[0] ^ 0x10]) + frame.data[1:]) for frame in frames])

        scene.pack.write = spoilt
        time.sleep(3.0)
        scene.pack.write = plain
        scene.end()
        return scene.row("frames with a wrong checksum", "every frame for 3 s")


def one_cell_missing():
    with Scene() as scene:
        scene.settle().begin()
        plain = scene.pack.write
        scene.pack.write = lambda frames: plain([frame for frame in frames if frame.arbitration_id != 0x110 + 3])
        time.sleep(8.0)
        scene.pack.write = plain
        scene.end()
        return scene.row("three cells' frame missing", "for 8 s, all others sent")


def other_bus_down():
    with Scene() as scene:
        second = Adapter(scene.folder / "ttyUSB1")
        one = slcan_config(scene.adapter.path, pack=PACK + 'channel = "can0"\n')
        other = PACK.replace("rack-1", "rack-2") + 'channel = "can1"\n'
        two = other + slcan_config(second.path, pack="").partition("[students]")[0].replace("can0", "can1")
        scene.daemon.config.write_text(one + two)
        scene.daemon.signal(signal.SIGHUP)
        with Pack(lambda frames: second.write(b"".join(map(slcan_line, frames)))):
            scene.wait(lambda entry: entry["pack"] == "rack-2" and entry["quality"]["valid_cells"])
            scene.wait(hot, 30)
            scene.begin()
            second.vanish()
            scene.wait(lambda entry: entry["pack"] == "rack-2" and "link_down.can1" in unknown(entry))
            second.plug_in()
            scene.end()
            first = [entry for entry in scene.daemon.decisions[scene.marks["begin"] :] if entry["pack"] == "rack-1"]
            row = scene.row("one of two buses fails", "the other pack's adapter unplugged", more="the first pack sees none of it")
            row.frames_lost = clean_lost(scene)
            row.wrong += " the first pack was told" if any(unknown(entry) for entry in first) else ""
            return row


def reload_bad():
    with Scene() as scene:
        scene.settle().begin()
        scene.daemon.config.write_text(scene.text + "\nnonsense = [")
        scene.daemon.signal(signal.SIGHUP)
        scene.wait(lambda entry: "config_refused" in str(entry["alerts"]))
        scene.daemon.config.write_text(scene.text)
        scene.daemon.signal(signal.SIGHUP)
        scene.end()
        row = scene.row("a bad configuration at a reload", "not TOML; mended and reloaded")
        row.frames_lost = clean_lost(scene)
        return row


def reload_in_outage():
    with Scene() as scene:
        scene.settle().begin()
        scene.adapter.vanish()
        time.sleep(1.5)
        scene.daemon.signal(signal.SIGHUP)
        scene.daemon.manager.wait("RELOADING=1")
        scene.daemon.manager.wait("READY=1")
        scene.adapter.plug_in()
        scene.end()
        return scene.row("a reload while the link is down", "SIGHUP 1.5 s after the adapter vanished")


def stop_in_outage():
    with Scene() as scene:
        scene.settle().begin()
        scene.adapter.vanish()
        time.sleep(1.5)
        scene.recovered_s = None
        began_s = time.monotonic()
        row = scene.row("stopped while the link is down", "SIGTERM 1.5 s after the adapter vanished")
        row.did += f"; ended with 0 within {time.monotonic() - began_s:.1f} s"
        return row


def manager_gone():
    with Scene() as scene:
        scene.settle().begin()
        scene.daemon.manager.path.unlink()
        scene.daemon.signal(signal.SIGHUP)
        time.sleep(2.0)
        scene.end()
        row = scene.row("the service manager's socket vanishes", "NOTIFY_SOCKET removed, then a reload")
        row.frames_lost = clean_lost(scene)
        return row


def no_such_interface():
    with Scene() as scene:
        text = slcan_config(scene.adapter.path) + '\n[[bus]]\nname = "can9"\ninterface = "socketcan"\nchannel = "can9"\n'
        scene.settle()
        scene.daemon.config.write_text(text)
        scene.begin()
        scene.daemon.signal(signal.SIGHUP)
        scene.wait(lambda entry: "link_down.can9" in unknown(entry))
        scene.end()
        row = scene.row("a SocketCAN interface that is not there", "a second [[bus]] on can9")
        row.frames_lost = clean_lost(scene)
        return row


FAULTS = [
    corrupt_line,
    truncated,
    burst,
    bells,
    remote,
    foreign,
    vanish,
    flap,
    reset,
    absent_at_start,
    silence,
    overloaded,
    udp_garbage,
    error_frames,
    flood,
    bad_crc,
    one_cell_missing,
    other_bus_down,
    reload_bad,
    reload_in_outage,
    stop_in_outage,
    manager_gone,
    no_such_interface,
]
SHORT = [corrupt_line, truncated, vanish, absent_at_start, overloaded, udp_garbage, error_frames, bad_crc, reload_bad, stop_in_outage]
__all__ = ["FAULTS", "SHORT", "Row"]
