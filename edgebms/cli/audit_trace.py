"""``edgebms audit DECISIONS --log LOG -c gateway.toml``: were the observations in the decisions' traces as the raw log has them?"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edgebms.errors import ConfigError, LogError, StateError

if TYPE_CHECKING:
    from edgebms.config import PackConfig
    from edgebms.decision.types import Decision
    from edgebms.evidence.past import Scale
    from edgebms.gateway_fault import GatewayFault
    from edgebms.pipeline import Pipeline
    from edgebms.recompute.weeks import Remembered
    from edgebms.telemetry.snapshot import Snapshot


def check(decisions: Path, logs: list[Path], config_path: Path, pack: str | None, state: Path | None) -> int:
    """0 = every observation is as the log has it; 1 = not, each told on a line. The log must begin where the gateway's memory began: at its start,
    or at a restart, with the checkpoint from which it went on (of its weeks; hours are not kept over one).

    Raises EdgebmsError.
    """
    import msgspec

    from edgebms import config as configuration
    from edgebms.assembly import build_lines
    from edgebms.cli.replay import is_bdf
    from edgebms.clock import LogClock
    from edgebms.config import Students
    from edgebms.evidence.past import Scale
    from edgebms.inlet.logfile import LogFile
    from edgebms.loop import Loop, replay, replay_snapshots
    from edgebms.record.checkpoint import load
    from edgebms.telemetry import bdf
    from edgebms.worker import ask_inline

    config = configuration.load(config_path)
    told = reasoned(decisions)
    lines = build_lines(msgspec.structs.replace(config, students=Students(state="", reasoner="")), ask_inline)
    watched = {}
    for entry in config.pack:
        line = lines[entry.name]
        watch = Watch(line.pipeline, told.get(entry.name, {}), Scale.of(line.card, entry), remembered(state, entry))
        watched[entry.name] = watch
        lines[entry.name] = dataclasses.replace(line, pipeline=cast("Pipeline", watch))
    if state is not None and (owner := load(state).pack) not in watched:
        raise StateError(
            f"is of the pack {owner!r}, the configuration has {', '.join(watched)}", where=str(state), mend="give one of theirs"
        )
    clock = LogClock()
    loop = Loop(lines.values(), clock, watching_only, lambda: 0)
    for path in logs:
        if not path.is_file():
            raise LogError("no such file", where=str(path), mend="name a log file")
        if not is_bdf(path):
            replay(LogFile(path), loop, clock)
            continue
        if pack is None and len(config.pack) > 1:
            raise ConfigError("which pack is the BDF file of?", where=str(path), mend=f"give --pack with one of: {', '.join(lines)}")
        settings = next((entry for entry in config.pack if pack in (None, entry.name)), None)
        if settings is None:
            raise ConfigError(f"no pack {pack!r}", where="--pack", mend=f"give one of: {', '.join(lines)}")
        replay_snapshots(bdf.snapshots(path, settings), lines[settings.name], loop, clock)
    wrong = [line for watch in watched.values() for line in watch.wrong]
    wrong += [f"{name} seq {seq}: the log has no such snapshot" for name, left in told.items() for seq in left]
    for line_told in wrong:
        print(line_told)
    checked = sum(watch.checked for watch in watched.values())
    print(f"edgebms: {checked} observations worked out again, {len(wrong)} differences", file=sys.stderr)
    return 1 if wrong else 0


def reasoned(path: Path) -> dict[str, dict[int, Decision]]:
    """Pack -> seq -> decision, of those that carry a trace. Raises LogError on a line that is no decision: an audit leaves out nothing."""
    import msgspec

    from edgebms.decision.types import decode

    try:
        data = path.read_bytes()
    except OSError as error:
        raise LogError(f"cannot be read: {error.strerror}", where=str(path), mend="name a file of decisions") from None
    found: dict[str, dict[int, Decision]] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            decision = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise LogError(
                f"is no decision of this version: {error}", where=f"{path}:{number}", mend="give decisions, one a line"
            ) from None
        if decision.reasoning is not None:
            found.setdefault(decision.pack, {})[decision.seq] = decision
    return found


def remembered(state: Path | None, pack: PackConfig) -> Remembered:
    """What ``pack`` knew of its weeks when the log began: by the checkpoint ``state``, if that is its. Raises StateError."""
    from edgebms.recompute.weeks import Remembered
    from edgebms.record.checkpoint import load, pack_key

    weeks = Remembered(pack.cells, pack.probes)
    if state is None:
        return weeks
    saved = load(state)
    kept = saved.body.get("weeks") if saved.pack == pack.name else None
    if saved.pack == pack.name and saved.header.get("pack") != pack_key(pack):
        raise StateError(f"is of another {pack.name!r} than the configuration's", where=str(state), mend="name the checkpoint of this log")
    try:
        if kept is not None:
            weeks.restore(kept)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StateError(
            f"its weeks do not hold what they should ({error})", where=str(state), mend="name the checkpoint of this log"
        ) from None
    return weeks


def watching_only(decision: Decision) -> None:
    """The log's own decisions go nowhere."""


class Watch:
    """Stands in a pack's line before its pipeline, and holds the decisions against the snapshots that pass."""

    def __init__(self, pipeline: Pipeline, told: dict[int, Decision], scale: Scale, weeks: Remembered) -> None:
        from edgebms.recompute.rows import Rows

        self._pipeline, self._told, self._scale, self._weeks = pipeline, told, scale, weeks
        self._rows = Rows()
        self.wrong: list[str] = []
        self.checked = 0

    def step(self, snapshot: Snapshot, now_ns: int, utc_ns: int | None = None, faults: tuple[GatewayFault, ...] = ()) -> Decision:
        from edgebms.recompute.trace import faults as differences

        decision = self._told.pop(snapshot.seq, None)
        if decision is not None and decision.reasoning is not None:
            self.checked += len(decision.reasoning.trace)
            found = differences(decision.reasoning, self._rows, self._scale, self._weeks)
            self.wrong += [f"{snapshot.pack} seq {snapshot.seq}: {line}" for line in found]
        self._rows.add(snapshot)
        self._weeks.learn(self._rows, self._scale, snapshot.time_ns * 1e-9)
        return self._pipeline.step(snapshot, now_ns, utc_ns, faults)

    def settle(self, now_ns: int) -> None:
        self._pipeline.settle(now_ns)
