"""From a configuration to its outlets: the one place that knows them all."""

from __future__ import annotations

from collections.abc import Callable

from edgebms.config import Config
from edgebms.decision.types import Decision
from edgebms.inlet.bus import Bus
from edgebms.outlet.sink import Sink
from edgebms.outlet.stream import Stream


def open_outlets(config: Config, bus_of: Callable[[str], Bus | None]) -> list[Sink]:
    """An outlet for each part of ``config`` that names one. bus_of: the live bus of a name, for what is
    sent on a bus; asked anew each time, for a reload may have opened another. Raises ConfigError, MissingExtra."""
    del bus_of  # nothing here sends on a bus yet
    return [ndjson(config)]


def ndjson(config: Config) -> Sink:
    stream = Stream(config.output.ndjson)

    def write(decision: Decision, line: bytes) -> None:
        del decision
        stream.write(line)

    return Sink("ndjson", write, stream.close)
