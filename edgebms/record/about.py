"""What a black box says of the line that it was recorded from, and by which it knows that line again."""

from __future__ import annotations

from typing import Any

import msgspec

from edgebms.config import Config, PackConfig
from edgebms.loop import PackLine
from edgebms.record import checkpoint


def about_line(config: Config, pack: PackConfig, line: PackLine) -> dict[str, Any]:
    """What a box says of the line that it was recorded from."""
    return {
        "pack": checkpoint.pack_key(pack),
        "line": fingerprint_of_line(config, pack, line),
        "config": {
            "pack": [msgspec.to_builtins(pack)],
            "site": msgspec.to_builtins(config.site),
            "students": msgspec.to_builtins(config.students),
            "output": {"cells_every_s": config.output.cells_every_s},
        },
    }


def fingerprint_of_line(config: Config, pack: PackConfig, line: PackLine) -> str:
    """The same for two lines that decide alike from the same image."""
    return checkpoint.fingerprint(pack, config.site, config.students, config.output.cells_every_s, line.card)
