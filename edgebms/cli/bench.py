"""``edgebms bench``: the whole line on one core, from encoded frames to JSON bytes.

Latency counts from a snapshot's last frame to the bytes of its decision; cpu_us is the processor time
of the same stretch, which neighbours on a shared machine do not lengthen. Beside it stands a peer on the
same frames in the same run: cantools' own decode, which does nothing of the rest. quietest_us are the
percentiles of that fifth of the run whose p99.9 is lowest: what the line needs while the neighbours rest.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgebms.inlet.frame import Frame

SWEEP_S = 0.1
CHUNK_S = 20.0
"""Frames are encoded in chunks outside the timed part. The first second after one is left out of the latencies:
what the encoder did to the caches is none of the line's business."""
SEGMENTS = 5


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "bench", help="time the whole line on this machine", description="Time the whole line, frames to JSON bytes, on one core."
    )
    parser.add_argument("--cells", type=int, nargs="+", default=[96], metavar="N", help="cells in series, one run each (16..400)")
    parser.add_argument("--seconds", type=float, default=120.0, help="simulated seconds at ten sweeps a second")
    parser.add_argument("--profile", default="edgebms", choices=("edgebms", "edgebms_fd"))
    parser.add_argument("--card", default="lg_hg2")
    parser.add_argument("--no-student", action="store_true", help="the filter alone")
    parser.add_argument("--json", action="store_true", help="one JSON object a run")
    parser.set_defaults(func=run)


@dataclass(frozen=True, slots=True)
class Result:
    cells: int
    profile: str
    state_student: str
    reasoner: str
    latency_us: dict[str, float]
    cpu_us: dict[str, float]
    quietest_us: dict[str, float]
    decisions_per_s: float
    frames_per_s: float
    frames_per_snapshot: float
    peer_cantools_frames_per_s: float
    ratio_to_peer: float
    rss_mb: float
    ready_s: float
    instructions: int | None
    decisions: int


def run(args: argparse.Namespace) -> int:
    from edgebms.errors import ConfigError

    if not all(1 <= cells <= 400 for cells in args.cells) or not args.seconds >= 1:
        raise ConfigError(
            "cells must lie between 1 and 400 and seconds must be at least 1",
            where="bench",
            mend="for example: edgebms bench --cells 96 --seconds 60",
        )
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for cells in args.cells:
        result = measure(cells, args.profile, args.card, "" if args.no_student else "state", args.seconds)
        if args.json:
            print(json.dumps(asdict(result)), flush=True)
        else:
            latency = result.latency_us
            print(
                f"{result.cells:4d} cells  p50 {latency['p50']:6.0f} us  p99 {latency['p99']:6.0f} us  p99.9 {latency['p999']:6.0f} us "
                f"(quietest fifth {result.quietest_us['p50']:.0f}/{result.quietest_us['p99']:.0f}/{result.quietest_us['p999']:.0f})  "
                f"{result.frames_per_s:8,.0f} frames/s  {result.decisions_per_s:6,.0f} decisions/s  x{result.ratio_to_peer:.2f} of cantools' decode alone  "
                f"RSS {result.rss_mb:.0f} MB  ready {result.ready_s:.2f} s",
                flush=True,
            )
    return 0


def measure(cells: int, profile: str, card: str, student: str, seconds: float) -> Result:
    from edgebms.assembly import build_lines
    from edgebms.clock import LogClock
    from edgebms.config import Config, PackConfig, Students
    from edgebms.decision.types import Decision, encode
    from edgebms.loop import Loop
    from edgebms.worker import ask_inline

    probes = max(1, cells // 4)
    config = Config(
        pack=(PackConfig(name="bench", profile=profile, card=card, cells=cells, probes=probes, parallel=20),),
        students=Students(state=student),
    )
    latencies_ns: list[int] = []
    cpu_ns: list[int] = []
    started_ns = started_cpu_ns = 0
    status = ""

    def emit(decision: Decision) -> None:
        nonlocal status
        encode(decision)
        latencies_ns.append(time.perf_counter_ns() - started_ns)
        cpu_ns.append(time.thread_time_ns() - started_cpu_ns)
        status = str(decision.provenance.state_student)

    clock = LogClock()
    loop = Loop(build_lines(config, ask_inline).values(), clock, emit, time.perf_counter_ns)
    ready_s = since_start_s()
    frames = 0
    busy_ns = 0
    rss = 0
    peer_frames: list[Frame] = []
    gc.collect()
    gc.freeze()  # as the daemon does: what start-up built is not walked again at every collection
    for number, chunk in enumerate(sweeps(cells, probes, profile, seconds)):
        if number == 0:
            peer_frames = chunk[:3000]
        mark = len(latencies_ns)
        begun_ns = time.perf_counter_ns()
        for frame in chunk:
            started_cpu_ns = time.thread_time_ns()
            started_ns = time.perf_counter_ns()
            clock.set_ns(frame.time_ns)
            loop.tick()
            loop.frame(frame)
            loop.settle()
        busy_ns += time.perf_counter_ns() - begun_ns
        frames += len(chunk)
        for times_ns in (latencies_ns, cpu_ns):
            del times_ns[mark : mark + round(1.0 / SWEEP_S)]
        rss = max(rss, rss_bytes())
    peer = cantools_frames_per_s(profile, peer_frames)
    frames_per_s = frames / busy_ns * 1e9
    decisions = round(seconds / SWEEP_S)
    return Result(
        cells, profile, status, "absent", percentiles_us(latencies_ns), percentiles_us(cpu_ns),
        quietest_us(latencies_ns), decisions / busy_ns * 1e9, frames_per_s, frames / decisions,
        peer, frames_per_s / peer, rss / 1e6, ready_s, None, len(latencies_ns),
    )  # fmt: skip


def percentiles_us(times_ns: list[int]) -> dict[str, float]:
    return {name: round(float(np.percentile(times_ns, q)) / 1e3, 1) for name, q in (("p50", 50), ("p99", 99), ("p999", 99.9))}


def quietest_us(times_ns: list[int]) -> dict[str, float]:
    size = max(len(times_ns) // SEGMENTS, 1)
    return min(
        (percentiles_us(times_ns[i : i + size]) for i in range(0, size * SEGMENTS, size) if times_ns[i : i + size]), key=lambda p: p["p999"]
    )


def sweeps(cells: int, probes: int, profile: str, seconds: float) -> Iterator[list[Frame]]:
    """Chunks of frames of a pack under a drive-like load: 0.1 Hz current, noise, slow warming."""
    from edgebms.telemetry.encode import Encoder

    encoder = Encoder(profile, cells, probes)
    random = np.random.default_rng(1)
    spread_v = random.normal(0, 0.005, cells)
    total = round(seconds / SWEEP_S)
    chunk: list[Frame] = []
    for sweep in range(total):
        time_s = sweep * SWEEP_S
        current_a = -40.0 + 60.0 * math.sin(0.63 * time_s)
        voltage_v = 3.7 + spread_v + 0.0008 * current_a - 1e-5 * time_s + random.normal(0, 0.001, cells)
        temperature_c = 25.0 + 0.001 * time_s + random.normal(0, 0.05, probes)
        chunk += encoder.encode(int(time_s * 1e9) + 1_000_000_000, voltage_v, temperature_c, current_a, float(voltage_v.sum()))
        if (sweep + 1) % round(CHUNK_S / SWEEP_S) == 0 or sweep + 1 == total:
            yield chunk
            chunk = []


def cantools_frames_per_s(profile: str, frames: list[Frame]) -> float:
    """The peer: cantools decodes the same frames, one by one, and throws the values away."""
    import cantools.database

    from edgebms.telemetry.profile import dbc_path

    database: Any = cantools.database.load_file(dbc_path(profile), strict=True)
    begun_ns = time.perf_counter_ns()
    for frame in frames:
        database.decode_message(frame.arbitration_id, frame.data, decode_choices=False)
    return len(frames) / (time.perf_counter_ns() - begun_ns) * 1e9


def rss_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def since_start_s() -> float:
    """Seconds since this process was started (Linux), start-up of the interpreter counted in."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return math.nan
    return uptime_s - ticks / os.sysconf("SC_CLK_TCK")
