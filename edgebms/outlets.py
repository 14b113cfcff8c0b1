"""From a configuration to its outlets: the one place that knows them all."""

from __future__ import annotations

from edgebms.config import Config
from edgebms.decision.types import Decision
from edgebms.outlet.sink import Sink
from edgebms.outlet.stream import Stream


def open_outlets(config: Config) -> list[Sink]:
    """An outlet for each part of ``config`` that names one. Raises ConfigError, MissingExtra."""
    return [ndjson(config)]


def ndjson(config: Config) -> Sink:
    stream = Stream(config.output.ndjson)

    def write(decision: Decision, line: bytes) -> None:
        del decision
        stream.write(line)

    return Sink("ndjson", write, stream.close)
