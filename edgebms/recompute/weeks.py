"""What a pack's own weeks say, remembered and worked out with loops alone."""

from __future__ import annotations

import math
from typing import Any

from edgebms.evidence.past import Scale
from edgebms.recompute.own import current_at_rest
from edgebms.recompute.pack import of_pack
from edgebms.recompute.peers import Pair, Table, joined, ranked, read_cells, slope_v, stood_each
from edgebms.recompute.rows import Numbers, Row, Rows, deviation, filled, fit, median
from edgebms.vocabulary import Family

HOUR_S = 3600.0
PACK_PLACES = 6
Marks = tuple[list[Numbers], Numbers]
"""(three rows of values, their floors)."""


class Place:
    """What is usual of one number."""

    __slots__ = ("hours", "mean", "square")

    def __init__(self, hours: float = 0.0, mean: float = 0.0, square: float = 0.0) -> None:
        self.hours, self.mean, self.square = hours, mean, square

    def scatter(self) -> float:
        hours = max(self.hours, 1.0)
        return self.square * hours / max(hours - 1.0, 1.0)

    def sigma(self, floor: float, of_others: float) -> float:
        hours = max(self.hours, 1.0)
        shrunk = (hours * self.scatter() + 8.0 * (floor * floor + of_others)) / (hours + 8.0)
        return math.sqrt(shrunk * (1.0 + 1.0 / hours) + floor * floor)

    def take(self, value: float, floor: float, of_others: float) -> None:
        if not math.isfinite(value):
            return
        apart = value - self.mean
        if self.hours >= 3.0:
            most = 3.0 * self.sigma(floor, of_others)
            apart = max(-most, min(most, apart))
        self.hours += 1.0
        rate = 1.0 / min(self.hours, 336.0)
        self.mean += rate * apart
        self.square += rate * (apart * apart * (1.0 - rate) - self.square)


class Remembered:
    """``learn`` after each snapshot; cells and probes: three rows of places each, pack: six places."""

    def __init__(self, cells: int, probes: int) -> None:
        self.cells = [[Place() for _ in range(cells)] for _ in range(3)]
        self.probes = [[Place() for _ in range(probes)] for _ in range(3)]
        self.pack = [Place() for _ in range(PACK_PLACES)]
        self._last_s = math.nan
        self._rows = Rows()

    def hour(self) -> list[Row] | None:
        """The last hour's means, which marks are of, whatever a question's window."""
        return self._rows.window(HOUR_S)

    def learn(self, rows: Rows, scale: Scale, time_s: float) -> None:
        self._rows = rows
        if time_s - self._last_s < HOUR_S:
            return
        self._last_s = time_s
        window = rows.window(HOUR_S)
        if window is None:
            return
        for places, marks in ((self.cells, cell_marks(window, scale)), (self.probes, probe_marks(window, scale))):
            if marks is None:
                continue
            for row, values, floor in zip(places, *marks, strict=True):
                others = median([place.scatter() for place in row])
                for place, value in zip(row, values, strict=True):
                    place.take(value, floor, others)
        for place, value in zip(self.pack, pack_marks(window, scale), strict=True):
            place.take(value, 0.5, 0.0)

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint. Raises KeyError, TypeError, ValueError where it is another version's or pack's."""

        def row(kept: dict[str, Any], at: int) -> list[Place]:
            return [Place(*map(float, three)) for three in zip(kept["hours"][at], kept["mean"][at], kept["square"][at], strict=True)]

        cells, probes = ([row(state[name], at) for at in range(3)] for name in ("cells", "probes"))
        kept = state["pack"]
        pack = [Place(*map(float, three)) for three in zip(kept["hours"], kept["mean"], kept["square"], strict=True)]
        if [len(part) for part in cells + probes + [pack]] != [len(part) for part in self.cells + self.probes + [self.pack]]:
            raise ValueError("weeks of another pack")
        self.cells, self.probes, self.pack = cells, probes, pack


def cell_marks(rows: list[Row], scale: Scale) -> Marks | None:
    seen = read_cells(rows, scale, HOUR_S)
    if seen is None or not seen.loaded:
        return None
    one = seen.lines[0]
    middle = fit(seen.middle_v, seen.current_a, seen.time_s, 0.02 * scale.capacity_ah, 0.1 * HOUR_S)
    ohm = max(middle.per_a, 0.3 * scale.resistance_ohm)
    left = median([line.residual for line, lost in zip(seen.lines, seen.missing, strict=True) if lost <= 0.5])
    noise_v = math.hypot(left, 0.05 * scale.sensor_v)
    slope = slope_v(scale, median(seen.middle_v))
    of_ohm, at_rest_v = noise_v * one.floor_per_a / ohm, math.hypot(0.1 * scale.sensor_v, noise_v * one.floor_at_rest)
    values = [
        from_median([line.per_a / ohm if of_ohm <= 0.05 else math.nan for line in seen.lines]),
        from_median([line.at_rest for line in seen.lines]),
        from_median([line.at_rest / slope for line in seen.lines]),
    ]
    return values, [of_ohm, at_rest_v, at_rest_v / slope]


def from_median(values: Numbers) -> Numbers:
    middle = median(values)
    return [value - middle for value in values]


def probe_marks(rows: list[Row], scale: Scale) -> Marks | None:
    if scale.probes < 1:
        return None
    time_s, nothing = [row.time_s for row in rows], [0.0] * len(rows)
    columns, missing = filled([[row.probes[i] for row in rows] for i in range(scale.probes)])
    level = [fit(column, nothing, time_s, 1.0, 0.1 * HOUR_S).mean for column in columns]
    beside = []
    for i in range(len(level)):
        known = [level[j] for j in (i - 1, i + 1) if 0 <= j < len(level) and not math.isnan(level[j])]
        beside.append(level[i] - sum(known) / len(known) if known else math.nan)
    moved = [math.log10(deviation(column) + 0.03) if lost <= 0.5 else math.nan for column, lost in zip(columns, missing, strict=True)]
    return [from_median(level), beside, from_median(moved)], [0.15, 0.2, 0.1]


def pack_marks(rows: list[Row], scale: Scale) -> Numbers:
    nothing: list[Pair] = [(math.nan, math.nan)] * 4
    charge = of_pack("charge_against_voltage", rows, scale, HOUR_S) or nothing
    rest = current_at_rest(rows, scale, HOUR_S) or nothing
    warm = of_pack("pack_warming", rows, scale, HOUR_S) or nothing
    return [charge[0][1], charge[1][1], rest[1][1], warm[0][1], warm[1][1], warm[2][1]]


def departures(family: str, scale: Scale, weeks: Remembered) -> Table | None:
    """Of cells or of probes."""
    of_cells, rows = family == Family.CELL_WEEKS, weeks.hour()
    marks = (cell_marks if of_cells else probe_marks)(rows, scale) if rows is not None else None
    if marks is None:
        return None
    told = []
    for row, values, floor in zip(weeks.cells if of_cells else weeks.probes, *marks, strict=True):
        others = median([place.scatter() for place in row])
        apart = [value - place.mean if place.hours >= 3.0 else math.nan for place, value in zip(row, values, strict=True)]
        told.append(stood_each(apart, [place.sigma(floor, others) for place in row]))
    table = ranked(joined(*told), of_cells)
    return None if all(math.isnan(value) for value in table.score) else table


def of_pack_weeks(scale: Scale, weeks: Remembered) -> list[Pair] | None:
    pairs, rows = [], weeks.hour()
    if rows is None:
        return None
    for place, value in zip(weeks.pack, pack_marks(rows, scale), strict=True):
        apart = value - place.mean if place.hours >= 3.0 else math.nan
        pairs.append((apart, apart / place.sigma(0.5, 0.0)))
    return None if all(math.isnan(value) for value, _ in pairs) else [pairs[at] for at in (0, 2, 4, 5)]
