"""``edgebms replay LOG... -c gateway.toml``: recorded telemetry through the line, NDJSON on stdout."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebms.errors import ConfigError, LogError

if TYPE_CHECKING:
    from edgebms.config import Config
    from edgebms.decision.types import Decision
    from edgebms.loop import PackLine
    from edgebms.record.rerun import Start

BDF_SUFFIXES = (".parquet", ".bdf.csv")


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "replay",
        help="run recorded telemetry through the line and print decisions",
        description="Run CAN logs (candump .log, .asc, .blf, .trc, .csv, .mf4) or BDF files (.parquet, .csv) through the line. "
        "Decisions go to standard output, one JSON object a line.",
    )
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG")
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="gateway.toml")
    parser.add_argument("--speed", default="max", help="max, or a factor of recorded speed (1 = as recorded); default max")
    parser.add_argument("--pack", help="the pack that a BDF file belongs to (only needed when the config has several)")
    parser.add_argument("--state", type=Path, metavar="FILE", help="begin from a checkpoint, or run a black box again from its start.state")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    from edgebms import config as configuration

    config = configuration.load(args.config)
    from edgebms.outlet.stream import Stream

    stream = Stream(config.output.ndjson)
    try:
        totals = replay_files(
            args.logs,
            config,
            stream.write,
            speed=parse_speed(args.speed),
            pack=args.pack,
            progress=not args.quiet and sys.stderr.isatty(),
            state=args.state,
        )
    finally:
        stream.close()
    if not args.quiet:
        print(totals, file=sys.stderr)
    return 0


def parse_speed(text: str) -> float | None:
    """None = as fast as it goes."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < 1e6:
        raise ConfigError(f"{text!r} is not a speed", where="--speed", mend="give max, or a factor such as 1 or 10")
    return speed


def pacer(speed: float | None) -> Callable[[int], None] | None:
    """A function that sleeps until recorded time ``time_ns`` is due at ``speed``."""
    if speed is None:
        return None
    started: list[tuple[float, int]] = []

    def pace(time_ns: int) -> None:
        if not started:
            started.append((time.monotonic(), time_ns))
        wall_s, log_ns = started[0]
        delay_s = wall_s + (time_ns - log_ns) / 1e9 / speed - time.monotonic()
        if delay_s > 0:
            time.sleep(delay_s)

    return pace


def is_bdf(path: Path) -> bool:
    """Parquet, or a CSV whose first line has BDF's columns (python-can's own CSV logs have others)."""
    if path.suffix == ".parquet":
        return True
    if path.suffix != ".csv":
        return False
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.readline()
    except OSError:
        return False
    return "test_time_second" in head or "Test Time / s" in head


def replay_files(
    logs: list[Path],
    config: Config,
    write: Callable[[bytes], None],
    *,
    speed: float | None = None,
    pack: str | None = None,
    progress: bool = False,
    on_decision: Callable[[Decision], None] | None = None,
    state: Path | None = None,
) -> str:
    """Replay ``logs`` one after the other through one set of packs; returns a one-line summary. state: a checkpoint
    to begin from, or a black box's ``start.state``, which then decides again as it was recorded."""
    from edgebms.assembly import build_lines
    from edgebms.clock import LogClock
    from edgebms.decision.types import encode
    from edgebms.loop import Loop, replay, replay_snapshots
    from edgebms.worker import ask_inline

    if state is not None:
        from edgebms.record import rerun

        if rerun.is_box(state):
            return rerun_box(logs, config, write, rerun.load(state), progress=progress, on_decision=on_decision)
    lines = build_lines(config, ask_inline)
    decisions = 0

    def emit(decision: Decision) -> None:
        nonlocal decisions
        decisions += 1
        write(encode(decision))
        if on_decision is not None:
            on_decision(decision)

    clock = LogClock()
    loop = Loop(lines.values(), clock, emit, time.perf_counter_ns)
    before_first = resuming(state, config, lines) if state is not None else lambda source: source
    frames = snapshots = 0
    started_s = time.monotonic()
    with Bar(progress) as bar:
        for path in logs:
            if not path.is_file():
                raise LogError("no such file", where=str(path), mend="name a log file")
            if is_bdf(path):
                from edgebms.telemetry import bdf

                name = pack if pack is not None else config.pack[0].name
                if name not in lines or (pack is None and len(config.pack) > 1):
                    raise ConfigError(
                        "which pack is the BDF file of?", where=str(path), mend=f"give --pack with one of: {', '.join(lines)}"
                    )
                settings = next(entry for entry in config.pack if entry.name == name)
                line = lines[name]
                snapshots += replay_snapshots(before_first(bdf.snapshots(path, settings)), line, loop, clock, pace=pacer(speed))
            else:
                from edgebms.inlet.logfile import LogFile

                log = LogFile(path)
                frames += replay(before_first(bar.track(log, path.name)), loop, clock, pace=pacer(speed))
                if log.skipped:
                    print(f"edgebms: warning: {path}: {log.problems}", file=sys.stderr)
    seconds = max(time.monotonic() - started_s, 1e-9)
    parts = [f"{frames} frames ({frames / seconds:,.0f}/s)"] if frames else []
    parts += [f"{snapshots} snapshots"] if snapshots else []
    return f"edgebms: {', '.join(parts) or 'nothing read'}, {decisions} decisions in {seconds:.1f} s"


def resuming(state: Path, config: Config, lines: dict[str, PackLine]) -> Callable[[Iterable[Any]], Iterable[Any]]:
    """Wraps the frames (or snapshots) so that the checkpoint ``state`` is put back at the time of the first of them.
    Raises StateError where it cannot be used."""
    from edgebms.errors import StateError
    from edgebms.record import checkpoint

    saved = checkpoint.load(state)
    name = saved.pack
    settings = next((pack for pack in config.pack if pack.name == name), None)
    if settings is None:
        raise StateError(
            f"is of the pack {name!r}, the configuration has {', '.join(lines)}",
            where=str(state),
            mend="give the checkpoint of one of them",
        )
    pending = [settings]

    def begin(source: Iterable[Any]) -> Iterable[Any]:
        for item in source:
            if pending:
                now = checkpoint.Moment(item.time_ns, item.time_ns, item.time_ns, "")
                came = checkpoint.restore(saved, lines[name], pending.pop(), now, config.record.unknown_off_h * 3600.0)
                if came.refused:
                    raise StateError(f"cannot be used: {came.refused}", where=str(state), mend="give this pack's own, or leave it out")
            yield item

    return begin


def rerun_box(
    logs: list[Path],
    config: Config,
    write: Callable[[bytes], None],
    start: Start,
    *,
    progress: bool,
    on_decision: Callable[[Decision], None] | None,
) -> str:
    """The log of a black box, decided again as it was when it was recorded. Returns a one-line summary."""
    import msgspec

    from edgebms.assembly import build_lines
    from edgebms.clock import LogClock
    from edgebms.decision.types import encode
    from edgebms.errors import StateError
    from edgebms.inlet.logfile import LogFile
    from edgebms.loop import Loop
    from edgebms.record.rerun import Rerun

    settings = next((pack for pack in config.pack if pack.name == start.pack), None)
    if settings is None:
        raise StateError(
            f"was recorded from the pack {start.pack!r}, which the configuration has not",
            where=start.where,
            mend="give the gateway.toml of that day",
        )
    again = Rerun(start)
    (line,) = build_lines(msgspec.structs.replace(config, pack=(settings,)), again.ask).values()
    decisions = 0

    def emit(decision: Decision) -> None:
        nonlocal decisions
        decisions += 1
        write(encode(decision))
        if on_decision is not None:
            on_decision(decision)

    clock = LogClock()
    loop = Loop((line,), clock, emit, time.perf_counter_ns, again.faults)
    again.begin(config, settings, line)
    with Bar(progress) as bar:
        logged = (frame for path in logs for frame in bar.track(LogFile(path), path.name))
        frames = again.feed(logged, line, loop, clock)
    short = f", {again.missing} of its frames missing" if again.missing else ""
    return f"edgebms: black box of {start.pack}: {frames} frames{short}, {decisions} decisions"


class Bar:
    """A progress bar on standard error; nothing when ``shown`` is False."""

    def __init__(self, shown: bool) -> None:
        self._progress: Any = None
        if shown:
            from rich.console import Console
            from rich.progress import Progress

            self._progress = Progress(console=Console(stderr=True), transient=True)

    def __enter__(self) -> Bar:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def track(self, log: Any, name: str) -> Any:
        if self._progress is None:
            return log
        return self._tracked(log, name)

    def _tracked(self, log: Any, name: str) -> Any:
        task = self._progress.add_task(name, total=1.0)
        for count, frame in enumerate(log):
            if count % 5000 == 0:
                self._progress.update(task, completed=log.fraction())
            yield frame
        self._progress.update(task, completed=1.0)
