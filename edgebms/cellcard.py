"""The cell card: all that a new cell needs. One TOML file, parsed strictly once, frozen afterwards.

Currents are per *cell* (a pack multiplies by its parallel count), temperatures in degrees Celsius.
Every table carries its source, its method and its valid range.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edgebms.errors import CardError
from edgebms.vocabulary import Chemistry

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]


class CardLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cell's operating limits, from its data sheet or stated as cautious defaults of the chemistry.

    voltage_float_v: the voltage to rest at when charging must stop; charge limits never go below it.
    charge_c_rate, discharge_c_rate: continuous limits in multiples of capacity per hour (1/h).
    temperature_runaway_c: the maker's maximum, the temperature of the runaway event rule.
    """

    voltage_min_v: Positive
    voltage_max_v: Positive
    voltage_float_v: Positive
    charge_c_rate: Positive
    discharge_c_rate: Positive
    charge_temperature_min_c: float
    charge_temperature_max_c: float
    discharge_temperature_min_c: float
    discharge_temperature_max_c: float
    temperature_runaway_c: float
    source: str


class CellCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """quality: "fitted" (own characterisation), "declared" (generic curves, the cell's own sheet) or
    "generic" (the chemistry's)."""

    name: str
    cell: str
    chemistry: Chemistry
    quality: Annotated[str, Meta(pattern="^(fitted|declared|generic)$")]
    capacity_ah: Positive
    limits: CardLimits


def load_card(name: str) -> CellCard:
    """A card by its catalogue name or by a path that ends in .toml. Raises CardError."""
    if name.endswith(".toml"):
        path: Path = Path(name)
        try:
            text, where = path.read_text(encoding="utf-8"), name
        except (OSError, UnicodeDecodeError) as error:
            raise CardError(f"cannot be read: {error}", where=name, mend="name a readable TOML file") from None
    else:
        folder = resources.files("edgebms") / "catalogue" / "cards"
        file = folder / f"{name}.toml"
        if "/" in name or not file.is_file():
            known = sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))
            raise CardError(f"no card called {name!r} in the catalogue", where="card", mend=f"known: {', '.join(known)}; or give a path that ends in .toml")
        text, where = file.read_text(encoding="utf-8"), f"catalogue/cards/{name}.toml"
    return parse_card(text, where)


def parse_card(text: str, where: str) -> CellCard:
    """Parse TOML ``text``; ``where`` names it in errors. Raises CardError."""
    try:
        return msgspec.convert(tomllib.loads(text), CellCard)
    except tomllib.TOMLDecodeError as error:
        raise CardError(f"not valid TOML: {error}", where=where, mend="mend the line named") from None
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        raise CardError(what, where=where + (f": {path.strip('`').lstrip('.')}" if path else ""), mend="see docs/bms-engineer.md for the fields of a card") from None
