"""Lifetime counters against sums done by hand; what nobody saw is not counted as if it had been."""

import json

import msgspec
import pytest
from recorded import Gateway, drive, settings

from edgebms.decision.types import decode
from edgebms.record.counters import DEEP, LONGEST_S, REARMED, Counters, Totals

HOUR = 3600 * 10**9


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A decision of the real line."""
    gateway = Gateway(settings(tmp_path_factory.mktemp("t"))).run(drive(1.0))
    gateway.record.close()
    return decode(gateway.lines[-1])


class Life:
    def __init__(self, template, counters=None):
        self.template, self.counters, self.now_ns = template, counters or Counters(30.0), 10**9

    def spend(self, hours, current_a=0.0, voltage_v=50.0, soc=(0.5, 0.5), temperature_c=(20.0, 25.0), offset_a=None, step_s=60.0):
        measured, t = self.template.measured, self.template
        measured = msgspec.structs.replace(
            measured,
            current_a=current_a,
            voltage_v=voltage_v,
            temperature_c=msgspec.structs.replace(measured.temperature_c, min=temperature_c[0], max=temperature_c[1]),
        )
        state = msgspec.structs.replace(t.soc, min=soc[0], max=soc[1], current_offset_a=offset_a)
        for _ in range(round(hours * 3600 / step_s)):
            self.now_ns += round(step_s * 1e9)
            self.counters.take(msgspec.structs.replace(t, mono_ns=self.now_ns, measured=measured, soc=state), None)
        return self

    @property
    def figures(self):
        return self.counters.figures()


def test_throughput_cycles_and_their_own_error(template):
    life = Life(template).spend(1 / 60).spend(2.0, current_a=15.0, voltage_v=60.0, offset_a=0.1).spend(4.0, current_a=-7.5, offset_a=-0.1)
    figures = life.figures
    assert figures["charged_ah"] == pytest.approx(30.0) and figures["discharged_ah"] == pytest.approx(30.0)
    assert figures["charged_kwh"] == pytest.approx(1.8) and figures["discharged_kwh"] == pytest.approx(1.5)
    assert figures["equivalent_full_cycles"] == pytest.approx(1.0)
    assert figures["uncertain_ah"] == pytest.approx(0.6), "0.1 A of offset over six hours, either sign"
    assert figures["equivalent_full_cycles_uncertain"] == pytest.approx(0.02)
    assert figures["observed_h"] == pytest.approx(6.0) and figures["unobserved_h"] == 0.0


def test_what_nobody_saw_is_unobserved(template):
    life = Life(template).spend(1 / 60).spend(1.0, current_a=None).spend(1.0, current_a=-5.0, step_s=LONGEST_S + 30.0)
    assert life.figures["discharged_ah"] == 0.0 and life.figures["unobserved_h"] == pytest.approx(2.0)
    life.counters.gap(7200.0, known=True)
    life.counters.gap(86400.0, known=False)
    assert life.figures["unobserved_h"] == pytest.approx(4.0) and life.figures["gaps_of_unknown_length"] == 1
    blind = Life(template).spend(1 / 60).spend(1.0, soc=(None, None), temperature_c=(None, None))
    totals = blind.counters.totals
    assert totals.soc_known_s == totals.temperature_known_s == 0.0 and blind.figures["coldest_c"] is None


def test_deep_discharges_are_counted_once_each(template):
    life = Life(template).spend(1 / 60)
    for low in (0.5, DEEP, DEEP - 0.01, DEEP + 0.02, DEEP - 0.02, REARMED, DEEP - 0.01, REARMED + 0.01, DEEP - 0.01):
        life.spend(0.1, soc=(low, 0.6))
    assert life.figures["deep_discharges"] == 2, "between two of them it was charged to more than REARMED"


def test_time_at_extremes_and_charge_in_the_cold(template):
    life = Life(template).spend(1 / 60).spend(1.0, soc=(0.05, 0.5)).spend(2.0, soc=(0.5, 0.95)).spend(3.0, soc=(0.1, 0.9))
    assert (life.figures["below_10_percent_h"], life.figures["above_90_percent_h"]) == (1.0, 2.0)
    cold = Life(template).spend(1 / 60).spend(1.0, current_a=3.0, temperature_c=(-1.0, 2.0))
    cold.spend(1.0, current_a=3.0, temperature_c=(0.0, 2.0)).spend(1.0, current_a=-3.0, temperature_c=(-9.0, -3.0))
    cold.spend(1.0, current_a=0.5, temperature_c=(-9.0, -3.0))
    assert (cold.figures["charged_below_0_degc_h"], cold.figures["charged_below_0_degc_ah"]) == (1.0, 3.0), "0.5 A is noise of a 30 Ah pack"
    assert (cold.figures["coldest_c"], cold.figures["hottest_c"]) == (-9.0, 2.0)
    hours = {(entry["from_c"], entry["to_c"]): entry["hours"] for entry in cold.figures["at_temperature_h"]}
    assert hours == {(0.0, 10.0): 2.0, (-10.0, 0.0): 2.0}


def test_totals_survive_the_file(template):
    life = Life(template).spend(1 / 60).spend(2.0, current_a=-15.0)
    again = msgspec.convert(msgspec.msgpack.decode(msgspec.msgpack.encode(msgspec.to_builtins(life.counters.totals))), Totals)
    assert Counters(30.0, again).figures() == life.figures
    json.dumps(life.figures)
