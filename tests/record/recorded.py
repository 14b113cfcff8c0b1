"""A gateway in small for the record's tests: the real line, a clock that runs beside the frames, the record on a folder."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import msgspec
import numpy as np
from lines import CELLS, PROBES, pack

from edgebms.assembly import build_lines
from edgebms.config import Config, Record, Students
from edgebms.decision.types import encode
from edgebms.loop import Loop
from edgebms.record.recorder import Recording
from edgebms.telemetry.encode import Encoder
from edgebms.worker import ask_inline

UTC_NS = 1_790_000_000 * 10**9


class Clock:
    """A live one: always a little behind the frame, synchronised or not."""

    def __init__(self, synchronised=True):
        self.at_ns, self.synchronised = 0, synchronised

    def now_ns(self):
        self.at_ns += 1237  # reading takes time
        return self.at_ns

    def utc_ns(self):
        return UTC_NS + self.at_ns if self.synchronised else None


def settings(folder, *packs, state="", **record):
    return Config(
        pack=packs or (pack(),),
        students=Students(state=state),
        record=Record(folder=str(folder), **({"before_s": 20.0, "after_s": 10.0} | record)),
    )


class Gateway:
    """``run`` frames; decisions are kept as bytes by pack."""

    def __init__(self, config, *, clock=None, restore=True, ask=ask_inline, faults=None, wall_ns=lambda: UTC_NS):
        self.config, self.clock = config, clock or Clock()
        self.said, self.lines, self.decisions = [], [], []
        self.record = Recording(config.record, self.clock, say=self.said.append, wall_ns=wall_ns)
        self.packs = self.record.attach(config, build_lines(config, ask), restore=restore)
        self.faults = faults or self.record.faults
        self.loop = Loop(self.packs.values(), self.clock, self.emit, self.clock.now_ns, self.faults)
        self.random = np.random.default_rng(5)

    def emit(self, decision):
        line = encode(decision)
        self.decisions.append(decision)
        self.lines.append(line)
        self.record.offer(decision, line)

    def run(self, frames):
        """Frames arrive late by up to 30 ms, in clumps, and the clock ticks on its own."""
        ticked_ns = self.clock.at_ns
        for frame in frames:
            while frame.time_ns - ticked_ns > 150_000_000:
                ticked_ns = max(ticked_ns + 101_000_000, frame.time_ns - 3_000_000_000)
                self.clock.at_ns = max(self.clock.at_ns, ticked_ns)
                self.loop.tick()
            late_ns = int(self.random.exponential(3e6))
            self.clock.at_ns = max(self.clock.at_ns, frame.time_ns + late_ns)
            if self.clock.at_ns - ticked_ns > 100_000_000:
                ticked_ns = self.clock.at_ns
                self.loop.tick()
            self.loop.frame(frame)
        return self

    def close(self):
        self.record.close()
        return self


def drive(seconds, start_s=100.0, period_s=0.2, hot_from_s=None, seed=7, encoder=None, dip_at_s=None, current_a=None, high_v=None):
    """A pack in use. hot_from_s: probe 2 rises by 2 K/s from then on until it stands at 85 degC. high_v: (from s, to s):
    cell 5 stands above its limit meanwhile. dip_at_s: for 4 s nothing is sent."""
    encoder = encoder or Encoder("edgebms", CELLS, PROBES)
    random = np.random.default_rng(seed)
    for sweep in range(round(seconds / period_s)):
        at_s = sweep * period_s
        cell_v = 3.7 + random.normal(0, 0.001, CELLS)
        probe_c = 25.0 + random.normal(0, 0.05, PROBES)
        if hot_from_s is not None and at_s >= hot_from_s:
            probe_c[1] += min(2.0 * (at_s - hot_from_s), 60.0)
        if high_v is not None and high_v[0] <= at_s < high_v[1]:
            cell_v[4] = 4.35
        if dip_at_s is not None and dip_at_s <= at_s < dip_at_s + 4.0:
            continue
        load_a = -20.0 + 15.0 * np.sin(at_s / 3.0) if current_a is None else current_a
        yield from encoder.encode(round((start_s + at_s) * 1e9), cell_v, probe_c, load_a, float(cell_v.sum()))


def boxes(folder, name="rack-1"):
    return sorted((Path(folder) / name / "boxes").glob("*"))


def recorded(box):
    """The decisions in a box."""
    return gzip.decompress((box / "decisions.ndjson.gz").read_bytes()).splitlines()


def without_latency(line):
    return re.sub(rb'"latency_us":\d+', b'"latency_us":0', line)


def toml(value):
    """A TOML value of JSON's kinds; dicts are inline tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(entry)}" for key, entry in value.items() if entry is not None) + " }"
    return json.dumps(value)


def write_config(config, path):
    """``config`` as a TOML file."""
    lines = []
    for name, value in msgspec.to_builtins(config).items():
        for entry in value if isinstance(value, (list, tuple)) else [value]:
            lines.append(f"[[{name}]]" if isinstance(value, (list, tuple)) else f"[{name}]")
            lines += [f"{key} = {toml(field)}" for key, field in entry.items() if field is not None]
    path.write_text("\n".join(lines) + "\n")
    return path
