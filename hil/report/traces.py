"""A run's frames as BLF and MF4 (what measurement tools open), its decisions as NDJSON."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgebms.decision.types import encode
from edgebms.errors import MissingExtra
from edgebms.inlet.frame import Frame
from hil.rig.run_log import RunLog


def write(folder: Path, run: RunLog) -> list[Path]:
    """``NAME.blf``, ``NAME.mf4``, ``NAME.ndjson`` in ``folder``. Raises MissingExtra without the mf4 extra."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = sorted(
        [*run.frames, *(frame._replace(time_ns=round(at_s * 1e9)) for at_s, frame in run.sent)], key=lambda frame: frame.time_ns
    )
    name = run.scenario.name
    paths = [folder / f"{name}.blf", folder / f"{name}.mf4", folder / f"{name}.ndjson"]
    for path in paths[:2]:
        log(path, frames)
    paths[2].write_bytes(b"".join(encode(decision) + b"\n" for _, decision in run.decisions))
    return paths


def log(path: Path, frames: Iterable[Frame]) -> None:
    import can

    try:
        writer = can.Logger(str(path))
    except (ImportError, NotImplementedError):
        raise MissingExtra("needs asammdf", where=str(path), mend="pip install 'edgebms[mf4]'") from None
    with writer:
        for frame in frames:
            writer.on_message_received(
                can.Message(
                    timestamp=frame.time_ns / 1e9,
                    arbitration_id=frame.arbitration_id,
                    data=frame.data,
                    is_extended_id=frame.extended,
                    is_error_frame=frame.error,
                    is_remote_frame=frame.remote,
                    is_fd=len(frame.data) > 8,
                    channel=0,
                )
            )
