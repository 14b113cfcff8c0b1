"""The cell card: all that a new cell needs. One TOML file, parsed strictly once, frozen afterwards.

Currents are per *cell* (a pack multiplies by its parallel count), temperatures in degrees Celsius.
Every table carries its source, its method and its valid range.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edgebms.errors import CardError
from edgebms.vocabulary import Chemistry

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Words = Annotated[str, Meta(min_length=1)]
Axis = Annotated[tuple[float, ...], Meta(min_length=1, max_length=400)]
Row = Annotated[tuple[float, ...], Meta(min_length=1, max_length=400)]
Rows = Annotated[tuple[Row, ...], Meta(min_length=1, max_length=64)]

SOC_RANGE = (-0.2, 1.2)
TEMPERATURE_RANGE_C = (-60.0, 120.0)


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

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} is not a finite number")
        if not self.voltage_min_v < self.voltage_float_v <= self.voltage_max_v:
            raise ValueError("voltage_min_v < voltage_float_v <= voltage_max_v does not hold")
        if not self.charge_temperature_min_c < self.charge_temperature_max_c:
            raise ValueError("charge_temperature_min_c is not below charge_temperature_max_c")
        if not self.discharge_temperature_min_c < self.discharge_temperature_max_c:
            raise ValueError("discharge_temperature_min_c is not below discharge_temperature_max_c")


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A quantity over temperature and SOC: ``value[t][s]`` at ``temperature_c[t]`` and ``soc[s]``.

    One temperature or one SOC = the same everywhere along that axis. source: where the numbers come
    from ("fitted: ...", "generic NMC", a data sheet). method: how. valid_*: where they may be trusted;
    beyond, the nearest value serves with a larger uncertainty.
    """

    source: Words
    method: Words
    valid_soc: tuple[float, float]
    valid_temperature_c: tuple[float, float]
    soc: Axis
    temperature_c: Axis
    value: Rows

    def __post_init__(self) -> None:
        check_axis("soc", self.soc, SOC_RANGE)
        check_axis("temperature_c", self.temperature_c, TEMPERATURE_RANGE_C)
        check_axis("valid_soc", self.valid_soc, SOC_RANGE)
        check_axis("valid_temperature_c", self.valid_temperature_c, TEMPERATURE_RANGE_C)
        check_rows("value", self.value, len(self.temperature_c), len(self.soc))


class Ocv(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Open-circuit voltage, V, the mean of charge and discharge branch.

    voltage: over SOC and temperature; beyond its temperatures entropic_v_per_k goes on.
    entropic_v_per_k: dU/dT at the SOCs of ``voltage``. hysteresis_v: half the distance between the
    branches at the same SOCs. hysteresis_swing: change of SOC in which the voltage goes over from one
    branch to the other by a factor e.
    """

    voltage: Table
    entropic_v_per_k: Row
    hysteresis_v: Row
    hysteresis_swing: Annotated[float, Meta(gt=0, le=1)]

    def __post_init__(self) -> None:
        width = len(self.voltage.soc)
        if width < 2 or self.voltage.soc[0] > 0.1 or self.voltage.soc[-1] < 0.9:
            raise ValueError("the SOCs of the open-circuit voltage must span at least 0.1 to 0.9")
        check_rows("entropic_v_per_k", (self.entropic_v_per_k,), 1, width)
        check_rows("hysteresis_v", (self.hysteresis_v,), 1, width)
        for row in self.voltage.value:
            if min(row) < 0.5 or max(row) > 6.0:
                raise ValueError("an open-circuit voltage is outside 0.5 to 6 V")
            if any(b < a for a, b in pairwise(row)):
                raise ValueError("the open-circuit voltage falls with rising SOC")
        if any(abs(value) > 0.01 for value in self.entropic_v_per_k):
            raise ValueError("entropic_v_per_k is beyond 10 mV/K")
        if any(not 0 <= value <= 0.3 for value in self.hysteresis_v):
            raise ValueError("hysteresis_v is outside 0 to 0.3 V")


class Relaxation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One RC pair: its resistance and its time constant at the temperatures of the resistance."""

    resistance_ohm: Table
    tau_s: Row

    def __post_init__(self) -> None:
        check_between("resistance_ohm", self.resistance_ohm, 0.0, 100.0)
        check_rows("tau_s", (self.tau_s,), 1, len(self.resistance_ohm.temperature_c))
        if any(not 0.01 <= tau <= 1e6 for tau in self.tau_s):
            raise ValueError("tau_s is outside 0.01 s to 1e6 s")


class Accuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the real cell may lie from the card (one standard deviation each).

    voltage_v: error of the model's voltage over SOC and temperature. resistance, capacity: relative.
    sensor_v: least error of a voltage measurement (the sensor's floor).
    """

    voltage_v: Table
    resistance: Annotated[float, Meta(gt=0, le=2)]
    capacity: Annotated[float, Meta(gt=0, le=1)]
    sensor_v: Annotated[float, Meta(gt=0, le=0.1)]

    def __post_init__(self) -> None:
        check_between("voltage_v", self.voltage_v, 1e-5, 1.0)


class AgedCharge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What aged cells of this model took between marks of voltage on a charge, and the capacity that they had.

    marks_v: rising; filled: (points, marks - 1), charge between neighbouring marks over capacity_ah. Capacity over
    capacity_ah = mean + sum over the points of weight * exp(-|difference of filled / spread|^2 / 2), a Gaussian process
    on chosen points (Rasmussen and Williams 2006, section 8.3.1). error: its standard deviation on cells not in it,
    width: that of the capacities. current_c (1/h), temperature_c: of those charges.
    """

    source: Words
    method: Words
    current_c: Positive
    temperature_c: float
    marks_v: Axis
    filled: Rows
    weight: Row
    spread: Row
    mean: Positive
    error: Positive
    width: Positive

    def __post_init__(self) -> None:
        if len(self.marks_v) < 2:
            raise ValueError("marks_v needs two marks or more")
        check_axis("marks_v", self.marks_v, (0.5, 6.0))
        check_rows("filled", self.filled, len(self.filled), len(self.marks_v) - 1)
        check_rows("weight", (self.weight,), 1, len(self.filled))
        check_rows("spread", (self.spread,), 1, len(self.marks_v) - 1)
        if min(self.spread) <= 0:
            raise ValueError("spread has a value that is not positive")
        if not all(map(math.isfinite, (self.current_c, self.temperature_c, self.mean, self.error, self.width))):
            raise ValueError("aged_charge holds a number that is not finite")


class CellCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """quality: "fitted" (own characterisation), "declared" (generic curves, the cell's own sheet) or
    "generic" (the chemistry's).

    capacity_ah: the reference capacity that SOC counts in, one value at all temperatures.
    resistance_ohm: the ohmic part. exchange_a: exchange current of the charge-transfer part,
    2RT/F asinh(I / 2 I0) (Butler-Volmer with symmetric coefficients). relaxation: RC pairs, fast to slow.
    aged_charge: where aged cells of the model were measured; without, a charge tells the capacity by the new cell's curve.
    """

    name: str
    cell: str
    chemistry: Chemistry
    quality: Annotated[str, Meta(pattern="^(fitted|declared|generic)$")]
    capacity_ah: Positive
    limits: CardLimits
    ocv: Ocv
    resistance_ohm: Table
    exchange_a: Table
    relaxation: Annotated[tuple[Relaxation, ...], Meta(min_length=1, max_length=3)]
    accuracy: Accuracy
    aged_charge: AgedCharge | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.capacity_ah) or self.capacity_ah > 1e5:
            raise ValueError("capacity_ah is beyond 100000 Ah")
        check_between("resistance_ohm", self.resistance_ohm, 0.0, 100.0)
        check_between("exchange_a", self.exchange_a, 1e-6, 1e6)


def check_axis(name: str, axis: tuple[float, ...], bounds: tuple[float, float]) -> None:
    if not all(bounds[0] <= value <= bounds[1] for value in axis):
        raise ValueError(f"{name} has a value outside {bounds[0]:g} to {bounds[1]:g}")
    if any(b <= a for a, b in pairwise(axis)):
        raise ValueError(f"{name} does not rise")


def check_rows(name: str, rows: tuple[tuple[float, ...], ...], height: int, width: int) -> None:
    if len(rows) != height:
        raise ValueError(f"{name} has {len(rows)} rows for {height} temperatures")
    for row in rows:
        if len(row) != width:
            raise ValueError(f"{name} has {len(row)} numbers in a row where {width} are needed")
        if not all(map(math.isfinite, row)):
            raise ValueError(f"{name} holds a number that is not finite")


def check_between(name: str, table: Table, low: float, high: float) -> None:
    if not all(low < value <= high for row in table.value for value in row):
        raise ValueError(f"{name} holds a value outside {low:g} to {high:g}")


def load_card(name: str) -> CellCard:
    """A card by its catalogue name or by a path that ends in .toml. Raises CardError."""
    if name.endswith(".toml"):
        path: Path = Path(name)
        try:
            text, where = path.read_text(encoding="utf-8"), name
        except OSError as error:
            raise CardError(f"cannot be read: {error.strerror}", where=name, mend="name a readable TOML file") from None
        except ValueError:  # not UTF-8, or a null byte in the name
            raise CardError("is not UTF-8 text", where=name, mend="name a TOML file") from None
    else:
        folder = resources.files("edgebms") / "catalogue" / "cards"
        file = folder / f"{name}.toml"
        if not name or any(mark in name for mark in "/\\\0") or not file.is_file():
            mend = f"known: {', '.join(card_names())}; or give a path that ends in .toml"
            raise CardError(f"no card called {name!r} in the catalogue", where="card", mend=mend)
        text, where = file.read_text(encoding="utf-8"), f"catalogue/cards/{name}.toml"
    return parse_card(text, where)


def card_digest(card: CellCard) -> str:
    """SHA-256 of all that the card says."""
    return hashlib.sha256(msgspec.json.encode(card)).hexdigest()


def card_names() -> list[str]:
    """Names of the catalogue's cards, sorted."""
    folder = resources.files("edgebms") / "catalogue" / "cards"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def parse_card(text: str, where: str) -> CellCard:
    """Parse TOML ``text``; ``where`` names it in errors. Raises CardError."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CardError(f"not valid TOML: {error}", where=where, mend="mend the line named") from None
    try:
        return msgspec.convert(data, CellCard)
    except (msgspec.ValidationError, RecursionError) as error:
        what, _, path = str(error).partition(" - at `$")
        field = f": {path.strip('`').lstrip('.')}" if path else ""
        raise CardError(what, where=where + field, mend="see docs/bms-engineer.md for the fields of a card") from None
