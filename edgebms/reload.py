"""A configuration read and built beside the running loop, and what a pack's new line takes over from its old one."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path

from edgebms import config as configuration
from edgebms.config import Config, PackConfig
from edgebms.errors import ConfigError, EdgebmsError, StateError
from edgebms.inlet.links import check_bus
from edgebms.loop import PackLine
from edgebms.record import image
from edgebms.record.checkpoint import fingerprint, pack_key


def load(path: Path) -> Config:
    """The configuration at ``path``, which must name a bus. Raises ConfigError, MissingExtra; ProfileError, CardError
    where inverter frames depend on one."""
    config = configuration.load(path)
    if not config.bus:
        raise ConfigError(
            "names no bus to listen to", where=f"{path}: bus", mend="add a [[bus]] with name, interface and channel (docs/integrator.md)"
        )
    for i, bus in enumerate(config.bus):
        check_bus(bus, f"{path}: bus[{i}]")
    if config.outlet.can:
        from edgebms.outlet.can_check import check

        check(config, str(path))
    if config.outlet.mcu:
        from edgebms.outlet import mcu_check

        mcu_check.check(config, str(path))
    return config


class Building:
    """A new configuration's lines, made beside the running loop."""

    def __init__(self, path: Path, build: Callable[[Config], dict[str, PackLine]]) -> None:
        self.config: Config | None = None
        self.lines: dict[str, PackLine] = {}
        self.error: EdgebmsError | None = None
        self.done = threading.Event()
        self._path, self._build = path, build
        threading.Thread(target=self._run, name="edgebms-reload", daemon=True).start()

    def _run(self) -> None:
        try:
            config = load(self._path)
            self.lines = self._build(config)
            self.config = config
        except EdgebmsError as error:
            self.error = error
        except Exception as error:  # whatever it is, the old configuration goes on
            self.error = ConfigError(f"{type(error).__name__}: {error}", where=str(self._path), mend="report it")
        finally:
            self.done.set()


def carry_over(old: PackLine, new: PackLine, was: PackConfig, now: PackConfig, now_ns: int) -> str:
    """Put ``old``'s moving state into ``new``, built anew; says what went over: "all", "state", "latches", "nothing".

    The same settings: everything, so that not even a sequence number is lost. Other settings of the same pack: what
    a checkpoint would have kept. Another card: the latches. Another pack under the old name: nothing.
    """
    if was == now:
        before = image.take(bare(new))
        try:
            image.put(image.take(bare(old)), bare(new))
            return "all"
        except StateError:  # another limits file, another profile: they are files beside the configuration
            image.put(before, bare(new))
    if pack_key(was) != pack_key(now):
        return "nothing"
    new.pipeline.guard.restore(old.pipeline.guard.state())
    new.pipeline.arbiter.restore(old.pipeline.arbiter.state())
    if fingerprint(old.card) != fingerprint(new.card):
        return "latches"
    try:
        new.pipeline.estimator.restore(old.pipeline.estimator.state(), now_ns / 1e9, 0.0)
    except ValueError:
        return "latches"
    return "state"


def bare(line: PackLine) -> PackLine:
    """Without its tape: that is the record's, not the pack's."""
    return dataclasses.replace(line, tape=None)
