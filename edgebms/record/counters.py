"""A pack's lifetime in figures: what it moved, how warm and how full it was, and for how long nobody looked.

Counted from the decisions, so from what was measured; what was not seen is not guessed but counted as
unobserved. So throughputs are at least these. The error that the estimator sees in its own counting
(the current sensor's offset) is summed beside them.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from edgebms.decision.types import Decision

TEMPERATURE_EDGES_C = (-20.0, -10.0, 0.0, 10.0, 20.0, 30.0, 40.0, 45.0, 50.0, 55.0, 60.0)
"""Edges of the time-at-temperature classes, by the warmest probe; below the first and above the last are classes too."""

SOC_LOW, SOC_HIGH = 0.1, 0.9
"""Time at extremes: the lowest cell below, the highest above."""

DEEP, REARMED = 0.05, 0.2
"""A deep discharge begins below DEEP and can begin again once the lowest cell was above REARMED."""

CHARGING_C_RATE = 0.02
COLD_C = 0.0
LONGEST_S = 120.0
"""Between two decisions further apart nobody looked."""


class Totals(msgspec.Struct):
    """All since ``begun``. observed_s: time that was counted; unobserved_s: time of which nothing is known (gateway off,
    current unknown), as far as clocks tell; unknown_gaps: gaps of unknown length. offset_ah: integral of the
    current sensor's offset as the estimator has it, the counting's own error. Ah and Wh at the pack's terminals."""

    begun_utc_ns: int | None = None
    observed_s: float = 0.0
    unobserved_s: float = 0.0
    unknown_gaps: int = 0
    charged_ah: float = 0.0
    discharged_ah: float = 0.0
    charged_wh: float = 0.0
    discharged_wh: float = 0.0
    offset_ah: float = 0.0
    deep_discharges: int = 0
    deep: bool = False
    low_soc_s: float = 0.0
    high_soc_s: float = 0.0
    soc_known_s: float = 0.0
    at_temperature_s: list[float] = msgspec.field(default_factory=lambda: [0.0] * (len(TEMPERATURE_EDGES_C) + 1))
    temperature_known_s: float = 0.0
    cold_charge_s: float = 0.0
    cold_charge_ah: float = 0.0
    hottest_c: float | None = None
    coldest_c: float | None = None


class Counters:
    """One pack's. ``take`` each decision. capacity_ah: the pack's, by its card."""

    def __init__(self, capacity_ah: float, totals: Totals | None = None) -> None:
        self._capacity_ah = capacity_ah
        self.totals = totals or Totals()
        self._last_ns: int | None = None

    def take(self, decision: Decision, utc_ns: int | None) -> None:
        totals, measured = self.totals, decision.measured
        if totals.begun_utc_ns is None:
            totals.begun_utc_ns = utc_ns
        last_ns, self._last_ns = self._last_ns, decision.mono_ns
        if last_ns is None:
            return
        dt_s = max(decision.mono_ns - last_ns, 0) * 1e-9
        current_a = measured.current_a
        if current_a is None or dt_s > LONGEST_S:
            totals.unobserved_s += dt_s
            return
        totals.observed_s += dt_s
        hours = dt_s / 3600.0
        self._move(current_a, measured.voltage_v, hours)
        if decision.soc.current_offset_a is not None:
            totals.offset_ah += abs(decision.soc.current_offset_a) * hours
        low, high = decision.soc.min, decision.soc.max
        if low is not None and high is not None:
            totals.soc_known_s += dt_s
            totals.low_soc_s += dt_s if low < SOC_LOW else 0.0
            totals.high_soc_s += dt_s if high > SOC_HIGH else 0.0
            if low < DEEP and not totals.deep:
                totals.deep_discharges += 1
                totals.deep = True
            elif low > REARMED:
                totals.deep = False
        coldest_c, hottest_c = measured.temperature_c.min, measured.temperature_c.max
        if coldest_c is not None and hottest_c is not None:
            totals.temperature_known_s += dt_s
            totals.at_temperature_s[sum(hottest_c >= edge for edge in TEMPERATURE_EDGES_C)] += dt_s
            totals.hottest_c = hottest_c if totals.hottest_c is None else max(hottest_c, totals.hottest_c)
            totals.coldest_c = coldest_c if totals.coldest_c is None else min(coldest_c, totals.coldest_c)
            if coldest_c < COLD_C and current_a > CHARGING_C_RATE * self._capacity_ah:
                totals.cold_charge_s += dt_s
                totals.cold_charge_ah += current_a * hours

    def _move(self, current_a: float, voltage_v: float | None, hours: float) -> None:
        totals = self.totals
        watts = current_a * voltage_v if voltage_v is not None else 0.0
        if current_a > 0.0:
            totals.charged_ah += current_a * hours
            totals.charged_wh += watts * hours
        else:
            totals.discharged_ah -= current_a * hours
            totals.discharged_wh -= watts * hours

    def gap(self, seconds: float, known: bool) -> None:
        """The gateway was off for ``seconds``; where no clock tells for how long, the gap alone is counted."""
        if known:
            self.totals.unobserved_s += seconds
        else:
            self.totals.unknown_gaps += 1

    def figures(self) -> dict[str, Any]:
        """As ``edgebms health`` prints them. equivalent_full_cycles: discharged Ah over the card's capacity; its
        uncertainty is the counting's own error, what was not observed comes on top."""
        totals = self.totals
        edges = (-math.inf, *TEMPERATURE_EDGES_C, math.inf)
        return {
            "observed_h": round(totals.observed_s / 3600.0, 3),
            "unobserved_h": round(totals.unobserved_s / 3600.0, 3),
            "gaps_of_unknown_length": totals.unknown_gaps,
            "charged_ah": round(totals.charged_ah, 3),
            "discharged_ah": round(totals.discharged_ah, 3),
            "uncertain_ah": round(totals.offset_ah, 3),
            "charged_kwh": round(totals.charged_wh / 1000.0, 3),
            "discharged_kwh": round(totals.discharged_wh / 1000.0, 3),
            "equivalent_full_cycles": round(totals.discharged_ah / self._capacity_ah, 3),
            "equivalent_full_cycles_uncertain": round(totals.offset_ah / self._capacity_ah, 3),
            "deep_discharges": totals.deep_discharges,
            "below_10_percent_h": round(totals.low_soc_s / 3600.0, 3),
            "above_90_percent_h": round(totals.high_soc_s / 3600.0, 3),
            "charged_below_0_degc_h": round(totals.cold_charge_s / 3600.0, 3),
            "charged_below_0_degc_ah": round(totals.cold_charge_ah, 3),
            "hottest_c": totals.hottest_c,
            "coldest_c": totals.coldest_c,
            "at_temperature_h": [
                {"from_c": low if low > -math.inf else None, "to_c": high if high < math.inf else None, "hours": round(seconds / 3600.0, 3)}
                for low, high, seconds in zip(edges, edges[1:], totals.at_temperature_s, strict=False)
                if seconds
            ],
        }
