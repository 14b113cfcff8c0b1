"""Is a cell's voltage read wrongly, or is its charge another? A wrong reading is as far off at every state of charge."""

from __future__ import annotations

import numpy as np

from edgebms.evidence.cells import OFFSET_SHARE, SWING_C, moments, spread
from edgebms.evidence.own import NOISE_SHARE
from edgebms.evidence.past import LEAST_ROWS, Past, slopes_v
from edgebms.evidence.profile import Profile, profile
from edgebms.evidence.robust import Floats, median, standing


def through_zero(first: Floats, rate: Floats, values: Floats, squares: Floats) -> tuple[Floats, Floats, float]:
    """Each column of ``values`` (t, n) as a multiple of ``first`` (t,) and an answer to the current: (multiples (n,), squares left (n,),
    sigma of a multiple for unit noise in the rows). squares (n,): of the columns about zero."""
    design = np.stack((first, rate))
    plain = design @ design.T
    inverse = np.linalg.inv(plain + np.diag((0.0, len(rate) * SWING_C * SWING_C)))
    along = design @ values
    found = inverse @ along
    left = squares + (found * (plain @ found - 2.0 * along)).sum(axis=0)
    return found[0], np.maximum(left, 0.0), float(np.sqrt(inverse[0, 0]))


def sense_offset(past: Past, window_s: float) -> Profile | None:
    """Distance from the mean cell at no current if it is the same at every state of charge, V; if it is a charge of the cell's own (it then goes
    with the card's open-circuit slope), 1; how much better the first explains the rows than the second, V. Relative: z; z; in sigmas of a row."""
    seen, own = spread(past, window_s), moments(past, window_s)
    if seen is None or own is None or not seen.loaded or len(seen.time_s) < 2 * LEAST_ROWS:
        return None
    scale, rows = past.scale, len(seen.time_s)
    rate = seen.current_a / scale.capacity_ah
    slope = slopes_v(scale, seen.middle_v - scale.resistance_ohm * seen.current_a)
    squares = own.squares + rows * own.mean * own.mean
    offset_v, of_offset, floor_v = through_zero(np.ones(rows), rate, seen.apart_v, squares)
    charge, of_charge, floor_soc = through_zero(slope, rate, seen.apart_v, squares)
    share = OFFSET_SHARE / float(slope.mean())
    floors = scale.sensor_v * np.array([[np.hypot(OFFSET_SHARE, floor_v)], [np.hypot(share, floor_soc)]])
    z, apart = standing(np.stack((offset_v, charge)), floors)
    better = np.sign(of_charge - of_offset) * np.sqrt(np.abs(of_charge - of_offset))
    noise_v = np.hypot(median(np.sqrt(of_offset[seen.missing <= 0.5] / rows))[0], NOISE_SHARE * scale.sensor_v)
    return profile([apart[0], apart[1], better / np.sqrt(rows)], [z[0], z[1], better / noise_v], True, slice(0, 2))
