"""A pack on the bus for tests: frames of our own protocol, and the real line that they go through."""

from __future__ import annotations

import json

import numpy as np

from edgebms.assembly import build_lines
from edgebms.clock import LogClock
from edgebms.config import Config, PackConfig, Site, Students
from edgebms.decision.types import encode
from edgebms.loop import Loop, replay
from edgebms.telemetry.encode import Encoder
from edgebms.worker import ask_inline

CELLS, PROBES = 16, 4


def pack(name="rack-1", **settings):
    return PackConfig(
        **({"name": name, "profile": "edgebms", "card": "lg_hg2", "cells": CELLS, "probes": PROBES, "parallel": 10} | settings)
    )


def config(*packs, state="", site=None):
    return Config(pack=packs or (pack(),), students=Students(state=state), site=site or Site())


def frames(
    seconds=5.0, start_s=100.0, period_s=0.1, voltage_v=3.7, current_a=-5.0, temperature_c=25.0, encoder=None, cells=CELLS, probes=PROBES
):
    """Sweeps of a healthy pack, one each ``period_s``; voltages with 1 mV of noise, seeded."""
    encoder = encoder or Encoder("edgebms", cells, probes)
    random = np.random.default_rng(3)
    for sweep in range(round(seconds / period_s)):
        cell_v = voltage_v + random.normal(0, 0.001, cells)
        probe_c = temperature_c + random.normal(0, 0.05, probes)
        yield from encoder.encode(round((start_s + sweep * period_s) * 1e9), cell_v, probe_c, current_a, float(cell_v.sum()))


class Run:
    """``source`` through the real line on log time: decisions as objects and as parsed JSON."""

    def __init__(self, source, settings=None, ask=ask_inline):
        self.decisions, self.lines = [], []
        clock = LogClock()
        self.packs = build_lines(settings or config(), ask)
        replay(source, Loop(self.packs.values(), clock, self.emit, lambda: 0), clock)

    def emit(self, decision):
        self.decisions.append(decision)
        self.lines.append(encode(decision))

    @property
    def json(self):
        return [json.loads(line) for line in self.lines]
