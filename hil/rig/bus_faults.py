"""What goes wrong between the pack and the gateway: frames of a sweep in, what really gets onto the bus out.

Each fault is a function of the sweep's frames and its own ``Scene``; ``KINDS`` knows them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from edgebms.inlet.frame import Frame
from edgebms.telemetry.checks import crc8_j1850
from hil.scenario import BusFault


@dataclass(slots=True)
class Scene:
    """What a fault may see. before: the sweeps before this one, the newest last. raw: bytes that go out beside the
    frames. period_s: between two sweeps. began: this is the first sweep under the fault."""

    fault: BusFault
    rng: np.random.Generator
    period_s: float
    before: list[list[Frame]] = field(default_factory=list)
    began: bool = True
    kept: list[Frame] = field(default_factory=list)
    raw: bytes = b""

    def hit(self) -> bool:
        """Is this frame one of the fault's share?"""
        return self.fault.share >= 1.0 or self.rng.random() < self.fault.share


Change = Callable[[list[Frame], Scene], list[Frame]]


def silence(frames: list[Frame], scene: Scene) -> list[Frame]:
    """The pack sends nothing."""
    return []


def id_missing(frames: list[Frame], scene: Scene) -> list[Frame]:
    """One arbitration id is gone."""
    return [frame for frame in frames if frame.arbitration_id != scene.fault.id]


def mux_missing(frames: list[Frame], scene: Scene) -> list[Frame]:
    """One multiplexer index (byte 0) of one id is gone."""
    return [frame for frame in frames if not (frame.arbitration_id == scene.fault.id and frame.data[:1] == bytes([scene.fault.mux or 0]))]


def lost(frames: list[Frame], scene: Scene) -> list[Frame]:
    """A share of all frames, at random."""
    return [frame for frame in frames if not scene.hit()]


def error_frames(frames: list[Frame], scene: Scene) -> list[Frame]:
    """Beside each frame ten error frames that bear its id's bits."""
    return [out for frame in frames for out in (*[frame._replace(error=True)] * 10, frame)]


def bus_off(frames: list[Frame], scene: Scene) -> list[Frame]:
    """The controller says error-passive, then bus-off, in the error frames of SocketCAN (linux/can/error.h); nothing else
    comes. Only a socketcan link tells what kind of error frame it is; udp carries that it is one."""
    if not scene.began:
        return []
    passive = Frame(0, 0x004, bytes((0, 0x10, 0, 0, 0, 0, 0, 0)), error=True)
    return [passive] * 20 + [Frame(0, 0x040, bytes(8), error=True)]


def error_passive(frames: list[Frame], scene: Scene) -> list[Frame]:
    """The controller warns that it is error-passive, again and again; the frames still come."""
    return [*[Frame(0, 0x004, bytes((0, 0x30, 0, 0, 0, 0, 130, 130)), error=True)] * 15, *frames]


def full_load(frames: list[Frame], scene: Scene) -> list[Frame]:
    """A babbling node fills the bus: 4,000 frames/s of unmapped ids are all that 500 kbit/s hold."""
    count = min(round(4000 * scene.period_s), 4000)
    noise = [Frame(0, 0x400 + int(i) % 0x300, bytes(scene.rng.bytes(8))) for i in scene.rng.integers(0, 0x300, count)]
    every = max(1, count // max(len(frames), 1))
    return [out for i, frame in enumerate(frames) for out in (*noise[i * every : (i + 1) * every], frame)]


def duplicated(frames: list[Frame], scene: Scene) -> list[Frame]:
    """Every frame twice."""
    return [frame for frame in frames for _ in range(2)]


def reordered(frames: list[Frame], scene: Scene) -> list[Frame]:
    """The frames of a sweep in any order."""
    return [frames[i] for i in scene.rng.permutation(len(frames))]


def truncated(frames: list[Frame], scene: Scene) -> list[Frame]:
    """Frames of three bytes."""
    return [frame._replace(data=frame.data[:3]) if scene.hit() else frame for frame in frames]


def checksum(frames: list[Frame], scene: Scene) -> list[Frame]:
    """One bit of the payload turned over."""
    return [flipped(frame, scene.rng) if scene.hit() else frame for frame in frames]


def frozen(frames: list[Frame], scene: Scene) -> list[Frame]:
    """The sender hangs and repeats its last sweep, counter and all."""
    if scene.began:
        scene.kept = scene.before[-1] if scene.before else frames
    return scene.kept


def counter_frozen(frames: list[Frame], scene: Scene) -> list[Frame]:
    """The values go on, the counter stands: a gateway in between fills old envelopes. Our own profile's counter and checksum."""
    if scene.began:
        scene.kept = frames
    stood = scene.kept[0].data[1] & 0x3F
    return [sealed(frame, stood) for frame in frames]


def counter_jumps(frames: list[Frame], scene: Scene) -> list[Frame]:
    """Every other sweep is one of three sweeps ago: its counter goes back."""
    return scene.before[-3] if len(scene.before) >= 3 and scene.rng.random() < 0.5 else frames


def delayed(frames: list[Frame], scene: Scene) -> list[Frame]:
    """Each sweep comes three sweeps late."""
    return scene.before[-3] if len(scene.before) >= 3 else []


def spoofed(frames: list[Frame], scene: Scene) -> list[Frame]:
    """A second node sends the pack's ids too, with the pack's values of when it began: its counter stands still."""
    if scene.began:
        scene.kept = scene.before[-1] if scene.before else frames
    return [out for pair in zip(frames, scene.kept, strict=False) for out in pair]


def remote_frames(frames: list[Frame], scene: Scene) -> list[Frame]:
    """Somebody asks for each of the pack's frames."""
    return [out for frame in frames for out in (Frame(frame.time_ns, frame.arbitration_id, b"", remote=True), frame)]


def garbage(frames: list[Frame], scene: Scene) -> list[Frame]:
    """Noise on the serial line, or datagrams that are no frames."""
    scene.raw = bytes(scene.rng.bytes(400)) + b"\rt100812345\rt1F\r"
    return frames


def our_ids(frames: list[Frame], scene: Scene) -> list[Frame]:
    """A second gateway sends the inverter's limits too."""
    return [*frames, Frame(0, scene.fault.id or 0x351, bytes.fromhex("f401e803e803a401"))]


def unplugged(frames: list[Frame], scene: Scene) -> list[Frame]:
    """The adapter is gone: the rig pulls it, nothing is sent."""
    return []


KINDS: dict[str, Change] = {
    change.__name__: change
    for change in (
        silence,
        id_missing,
        mux_missing,
        lost,
        error_frames,
        error_passive,
        bus_off,
        full_load,
        duplicated,
        reordered,
        truncated,
        checksum,
        frozen,
        counter_frozen,
        counter_jumps,
        delayed,
        spoofed,
        remote_frames,
        garbage,
        our_ids,
        unplugged,
    )
}


def sealed(frame: Frame, sweep: int) -> Frame:
    """``frame`` with another sweep number and a checksum that fits (docs/protocol-can.md)."""
    body = bytes((frame.data[1] & 0xC0 | sweep,)) + frame.data[2:]
    return frame._replace(data=bytes((crc8_j1850(frame.arbitration_id.to_bytes(2, "big") + body),)) + body)


def flipped(frame: Frame, rng: np.random.Generator) -> Frame:
    data = bytearray(frame.data)
    data[-1 - int(rng.integers(0, min(len(data), 6)))] ^= 1 << int(rng.integers(0, 8))
    return frame._replace(data=bytes(data))


class BusFaults:
    """The bus faults of a scenario, applied to each sweep in turn."""

    def __init__(self, faults: tuple[BusFault, ...], period_s: float, rng: np.random.Generator) -> None:
        self._scenes = [Scene(fault, rng, period_s) for fault in faults]
        self._before: list[list[Frame]] = []

    def apply(self, frames: list[Frame], time_s: float) -> tuple[list[Frame], bytes]:
        """What gets onto the bus at ``time_s``, and raw bytes beside it."""
        out, raw = frames, b""
        for scene in self._scenes:
            if stands(scene.fault, time_s):
                scene.before, scene.raw = self._before, b""
                out = KINDS[scene.fault.kind](out, scene)
                scene.began = False
                raw += scene.raw
        self._before = [*self._before[-4:], frames]
        return out, raw

    def unplugged(self, time_s: float) -> bool:
        return any(scene.fault.kind == "unplugged" and stands(scene.fault, time_s) for scene in self._scenes)


def stands(fault: BusFault, time_s: float) -> bool:
    return fault.at_s <= time_s < fault.at_s + (fault.for_s if fault.for_s is not None else 1e12)
