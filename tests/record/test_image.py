"""The image of a line: taken anywhere, put into a new line, it goes on as if nothing had been."""

import json
from importlib import resources
from pathlib import Path

import msgspec
import numpy as np
import pytest
from lines import config, pack
from recorded import drive

from edgebms.assembly import build_lines
from edgebms.clock import LogClock
from edgebms.decision.types import encode
from edgebms.errors import StateError
from edgebms.inlet.logfile import LogFile
from edgebms.loop import Loop
from edgebms.record import image
from edgebms.telemetry.silence import TICK_NS
from edgebms.worker import ask_inline

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "frames"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.json"))


def ran(line, frames, clock):
    """A look before each frame that is TICK_NS behind the last look, as in a live loop: no state but the line's."""
    out = []
    loop = Loop((line,), clock, lambda decision: out.append(encode(decision)), lambda: 0)
    for frame in frames:
        if frame.time_ns // TICK_NS != clock.now_ns() // TICK_NS:
            clock.set_ns(frame.time_ns)
            loop.look(line, frame.time_ns)
        clock.set_ns(frame.time_ns)
        loop.frame(frame)
    return out


def split(settings, frames, at):
    """Decisions behind frame ``at``: of the line that saw all, and of a new one that an image was put into."""
    (line,) = build_lines(settings, ask_inline).values()
    clock = LogClock()
    ran(line, frames[:at], clock)
    packed = msgspec.msgpack.encode(image.take(line))
    there = clock.now_ns()
    whole = ran(line, frames[at:], clock)
    (other,) = build_lines(settings, ask_inline).values()
    image.put(msgspec.msgpack.decode(packed), other)
    clock = LogClock()
    clock.set_ns(there)
    return whole, ran(other, frames[at:], clock)


@pytest.mark.parametrize("name", NAMES)
def test_every_profiles_line_goes_on_from_its_image(name):
    about = json.loads((GOLDEN / f"{name}.json").read_text())["pack"]
    frames = list(LogFile(GOLDEN / f"{name}.log"))
    settings = config(pack(**{"probes": 0, "parallel": 1, "card": "generic_lfp"} | about))
    for share in (0.3, 0.7):
        whole, again = split(settings, frames, int(len(frames) * share))
        assert whole == again and whole


@pytest.mark.parametrize("seed", range(3))
def test_a_line_in_trouble_goes_on_from_its_image(seed):
    frames = list(drive(24.0, hot_from_s=2.0, dip_at_s=14.0, high_v=(8.0, 12.0), seed=seed))
    at = int(np.random.default_rng(seed).integers(1, len(frames)))
    whole, again = split(config(state="state"), frames, at)
    assert whole == again and whole


def test_an_image_does_not_move_with_the_line():
    (line,) = build_lines(config(), ask_inline).values()
    frames = list(drive(4.0))
    clock = LogClock()
    ran(line, frames[:200], clock)
    taken = image.take(line)
    before = msgspec.msgpack.encode(taken)
    ran(line, frames[200:], clock)
    assert msgspec.msgpack.encode(taken) == before


def test_another_lines_image_is_refused_and_changes_nothing(tmp_path):
    (line,) = build_lines(config(), ask_inline).values()
    ran(line, list(drive(2.0)), LogClock())
    taken = image.take(line)
    limits = tmp_path / "limits.toml"
    text = (resources.files("edgebms") / "catalogue" / "limits" / "default.toml").read_text()
    limits.write_text(
        text + text[text.index("[[row]]") :].split("[[row]]")[1].join(("[[row]]", "")).replace('name = "', 'name = "another_', 1)
    )
    (other,) = build_lines(config(pack(limits=str(limits))), ask_inline).values()
    (same,) = build_lines(config(), ask_inline).values()
    for spoil in (
        lambda entry: entry["objects"].clear(),
        lambda entry: entry["objects"][0][3]["pipeline"][3]["guard"][3].pop("_valid"),
        lambda entry: entry["objects"][0][3]["pipeline"].__setitem__(2, "edgebms.outlet.stream:Stream"),
        lambda entry: entry["objects"][0][3].__setitem__("assembler", ["e", "os:system", 1]),
        lambda entry: entry["memory"].clear(),
    ):
        spoilt = msgspec.msgpack.decode(msgspec.msgpack.encode(taken))
        spoil(spoilt)
        before = msgspec.msgpack.encode(image.take(same))
        with pytest.raises(StateError, match="does not fit the line"):
            image.put(spoilt, same)
        assert shape(image.take(same)) == shape(msgspec.msgpack.decode(before))
    with pytest.raises(StateError):
        image.put(taken, other)


def shape(taken):
    """An image without the names of its stretches of memory, which are addresses."""
    memory = {str(key): value for key, value in taken["memory"].items()}

    def plain(value):
        if isinstance(value, (list, tuple)):
            if value and value[0] in ("a", "b"):
                return [value[0], [bytes(part) if isinstance(part, bytes) else part for part in memory[str(value[1])]], *value[2:]]
            return [plain(entry) for entry in value]
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        return value

    return repr(plain(taken["objects"]))
