"""From a scenario to the configuration of the daemon under test."""

from __future__ import annotations

from pathlib import Path

from hil.rig.link import End
from hil.rig.plant import daemon_card
from hil.scenario import Scenario

PACK = "pack-1"


def config_text(scenario: Scenario, end: End, folder: Path) -> str:
    """TOML. ``{folder}`` in the scenario's own part is the run's folder."""
    pack, site = scenario.pack, scenario.site
    lines = [
        "[[pack]]",
        f'name = "{PACK}"',
        f'profile = "{pack.profile}"',
        f'card = "{daemon_card(pack)}"',
        f"cells = {pack.told_cells or pack.cells}",
        f"probes = {pack.probes}",
        f"parallel = {pack.parallel}",
        f"period_s = {pack.period_s}",
    ]
    if pack.firmware is not None:
        lines.append(f'firmware = "{pack.told_firmware or pack.firmware}"')
    if pack.thresholds:
        lines += ["[pack.thresholds]", *(f"{row} = {value}" for row, value in pack.thresholds.items())]
    lines += ["[site]", f'kind = "{site.kind.value}"']
    if site.open_contactors is not None:
        lines.append(f'open_contactors = "{site.open_contactors.value}"')
    if site.stop_discharge is not None:
        lines.append(f'stop_discharge = "{site.stop_discharge.value}"')
    # the scenario's own part may go on with [site]
    own = scenario.config.replace("{folder}", str(folder))
    return "\n".join(lines) + "\n" + own + "\n" + end.bus("can0", transmit="outlet.can" in own)
