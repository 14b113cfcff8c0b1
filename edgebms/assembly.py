"""From a configuration to the packs' lines: the one place where the rooms are joined."""

from __future__ import annotations

from edgebms.cellcard import load_card
from edgebms.config import Config
from edgebms.loop import PackLine
from edgebms.pipeline import build
from edgebms.telemetry.assembler import Assembler
from edgebms.telemetry.profile import load_profile
from edgebms.telemetry.shunt import Shunt
from edgebms.worker import Ask, Late, never


def build_lines(config: Config, ask: Ask, late: Late = never) -> dict[str, PackLine]:
    """Pack name -> line. Raises ProfileError, CardError, ConfigError, ModelError."""
    lines = {}
    for pack in config.pack:
        card = load_card(pack.card)
        profile = load_profile(pack.profile, pack)
        shunt = Shunt(pack.shunt, pack) if pack.shunt is not None else None
        pipeline = build(config, pack, card, profile.period_s, ask, late)
        lines[pack.name] = PackLine(card, Assembler(profile, pack), pipeline, shunt=shunt)
    return lines
