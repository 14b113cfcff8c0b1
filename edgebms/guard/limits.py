"""Limits as rows of data: what is watched, where the edge lies, how it trips, how it clears.

A limits file is TOML with ``[[row]]`` tables (see docs/guard.md). A threshold is a number in the
quantity's unit, or a value of the cell card or the pack with a margin:
``limit = { of = "voltage_max_v", times = 1.0, plus = 0.02 }``. Limits come from the card; a pack may
override a row's threshold by its name (``[pack.thresholds]``).
"""

from __future__ import annotations

import math
import tomllib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgebms.cellcard import CellCard
from edgebms.config import PackConfig
from edgebms.errors import ConfigError
from edgebms.guard.quantities import QUANTITIES
from edgebms.vocabulary import Action, Cause, Level

NonNegative = Annotated[float, Meta(ge=0)]
OWED = (
    ("cell_voltage_v", "above"),
    ("cell_voltage_v", "below"),
    ("temperature_c", "above"),
    ("cell_runaway_k_per_s", "above"),
    ("probe_runaway_k_per_s", "above"),
    ("startup_wait_s", "above"),
    ("cell_lost_s", "above"),
    ("cell_inconsistent_s", "above"),
    ("blind_s", "above"),
)
"""What any pack is owed: a limits file without one of these is refused."""

MEND = "see docs/guard.md for the fields of a limit row"


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value of the card or the pack (``sources``) times ``times`` plus ``plus``."""

    of: str
    times: float = 1.0
    plus: float = 0.0


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ``[[row]]`` as written. hysteresis: how far inside the limit a value must come to clear."""

    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")]
    quantity: str
    side: Literal["above", "below"]
    level: Literal["watch", "warning", "critical"]
    hazard: Cause
    action: Action
    limit: float | Threshold
    hysteresis: NonNegative
    when: Literal["always", "charging", "discharging"] = "always"
    debounce: Annotated[int, Meta(ge=1, le=1000)] = 2
    delay_s: NonNegative = 0.0
    recovery_s: NonNegative = 10.0
    latch: bool = False
    source: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    row: Annotated[tuple[_Row, ...], Meta(min_length=1)]


class LimitRow(msgspec.Struct, frozen=True):
    """A row with its numbers in place. ``limit`` and ``recovery`` are in ``unit``.

    Trips when the value is at or beyond ``limit`` in ``debounce`` samples in a row over at least
    ``delay_s``, while ``when`` holds. Clears when it is inside ``recovery`` for ``recovery_s``,
    whatever ``when`` says: a block that ended the charging it blocked would otherwise flap.
    """

    name: str
    quantity: str
    kind: str
    unit: str
    side: str
    level: Level
    hazard: Cause
    action: Action
    limit: float
    recovery: float
    when: str
    debounce: int
    delay_s: float
    recovery_s: float
    latch: bool

    @property
    def over(self) -> str:
        """When the cause of this row's alert is over."""
        side = "below" if self.side == "above" else "above"
        return f"{self.quantity} {side} {self.recovery:g} {self.unit} for {self.recovery_s:g} s"

    @property
    def exit(self) -> str:
        """The stated way out of this row's alert and of what it blocks."""
        if self.latch:
            return f"latched: a person acknowledges it after {self.over}"
        return f"clears by itself after {self.over}; unknown values do not clear it"


def sources(card: CellCard, pack: PackConfig) -> dict[str, float]:
    """What a threshold may lean on: the card's limits by name, and what follows for the pack."""
    limits = {name: float(value) for name, value in msgspec.structs.asdict(card.limits).items() if not isinstance(value, str)}
    ampere_hours = card.capacity_ah * pack.parallel
    return limits | {
        "charge_current_a": card.limits.charge_c_rate * ampere_hours,
        "discharge_current_a": card.limits.discharge_c_rate * ampere_hours,
        "one_c_a": ampere_hours,
        "pack_voltage_min_v": card.limits.voltage_min_v * pack.cells,
        "pack_voltage_max_v": card.limits.voltage_max_v * pack.cells,
        "startup_s": pack.startup_s,
    }


def load_limits(name_or_path: str, card: CellCard, pack: PackConfig) -> tuple[LimitRow, ...]:
    """The rows of a catalogue name or of a path that ends in .toml, for ``card`` and ``pack``. Raises ConfigError."""
    if name_or_path.endswith(".toml"):
        file: Traversable = Path(name_or_path)
        where = name_or_path
    else:
        folder = resources.files("edgebms") / "catalogue" / "limits"
        known = sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))
        if name_or_path not in known:
            raise ConfigError(
                f"no limits called {name_or_path!r} in the catalogue",
                where=f"pack {pack.name}: limits",
                mend=f"known: {', '.join(known)}; or give a path that ends in .toml",
            )
        file, where = folder / f"{name_or_path}.toml", f"catalogue/limits/{name_or_path}.toml"
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=where, mend="name a readable TOML file") from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", where=where, mend="name a TOML file") from None
    return parse_limits(text, where, card, pack)


def parse_limits(text: str, where: str, card: CellCard, pack: PackConfig) -> tuple[LimitRow, ...]:
    """Parse TOML ``text``; ``where`` names it in errors. Raises ConfigError."""
    try:
        rows = msgspec.convert(tomllib.loads(text), _File).row
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", where=where, mend="mend the line named") from None
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        raise ConfigError(what, where=where + (f": {path.strip('`').lstrip('.')}" if path else ""), mend=MEND) from None
    names = [row.name for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two rows are called {name!r}", where=f"{where}: row", mend="give each row a name of its own")
    for name, value in pack.thresholds.items():
        if name not in names:
            raise ConfigError(f"no limit row called {name!r}", where=f"pack {pack.name}: thresholds", mend=f"known: {', '.join(names)}")
        if not math.isfinite(value):
            raise ConfigError(
                f"{value} is not a limit", where=f"pack {pack.name}: thresholds.{name}", mend="give a finite number in the row's unit"
            )
    known = sources(card, pack)
    resolved = tuple(_resolve(row, f"{where}: row {row.name}", known, pack) for row in rows)
    _check_order(resolved, where)
    for quantity, side in OWED:
        if not any(row.quantity == quantity and row.side == side for row in resolved):
            raise ConfigError(
                f"no row watches {quantity} {side} a limit", where=where, mend="take the row over from catalogue/limits/default.toml"
            )
    return resolved


def _resolve(row: _Row, where: str, known: dict[str, float], pack: PackConfig) -> LimitRow:
    quantity = QUANTITIES.get(row.quantity)
    if quantity is None:
        raise ConfigError(f"unknown quantity {row.quantity!r}", where=f"{where}: quantity", mend=f"known: {', '.join(QUANTITIES)}")
    if row.name in pack.thresholds:
        limit = pack.thresholds[row.name]
    elif isinstance(row.limit, Threshold):
        if row.limit.of not in known:
            raise ConfigError(f"unknown threshold {row.limit.of!r}", where=f"{where}: limit.of", mend=f"known: {', '.join(known)}")
        limit = known[row.limit.of] * row.limit.times + row.limit.plus
    else:
        limit = row.limit
    if not (math.isfinite(limit) and math.isfinite(row.hysteresis)):
        raise ConfigError("limit and hysteresis must be finite", where=f"{where}: limit", mend=f"give a number in {quantity.unit}")
    return LimitRow(
        name=row.name,
        quantity=row.quantity,
        kind=quantity.kind,
        unit=quantity.unit,
        side=row.side,
        level=Level[row.level.upper()],
        hazard=row.hazard,
        action=row.action,
        limit=limit,
        recovery=limit - row.hysteresis if row.side == "above" else limit + row.hysteresis,
        when=row.when,
        debounce=row.debounce,
        delay_s=row.delay_s,
        recovery_s=row.recovery_s,
        latch=row.latch,
    )


def _check_order(rows: tuple[LimitRow, ...], where: str) -> None:
    """A higher level must lie further out: an override that turns them round is a slip."""
    for low in rows:
        for high in rows:
            if (low.quantity, low.side, low.when) != (high.quantity, high.side, high.when) or low.level >= high.level:
                continue
            if (high.limit < low.limit) if low.side == "above" else (high.limit > low.limit):
                raise ConfigError(
                    f"limit {high.limit:g} {high.unit} is reached before row {low.name!r} at {low.limit:g} {low.unit}",
                    where=f"{where}: row {high.name}",
                    mend="put the higher level further out, in the file or in the pack's thresholds",
                )
