"""What is left of a pack's limits when its data goes, and several packs as one battery."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inverters import RULE, S, decision, pack, read, unknown

from edgebms.config import Site
from edgebms.outlet import inverter_frames, pylontech, victron
from edgebms.outlet.battery import Alarm, join
from edgebms.outlet.loss import OF_KIND, LossRule, rule_of
from edgebms.outlet.standing import Standing
from edgebms.vocabulary import Level, SiteKind

FLOAT_V = 54.0


def battery(*packs, at_s=0.0, end="silence"):
    return join([one.share(round(at_s * S)) for one in packs], end)


def given_pack(number=1, at_s=0.0, parallel=1, **said):
    one = pack(number, parallel)
    one.take(decision(f"p{number}", at_s, **said))
    return one


# ---- one pack


def test_nothing_is_said_before_the_first_decision_that_knows_its_cells():
    one = pack()
    assert battery(one) is None
    one.take(unknown(at_s=0.0))
    assert battery(one) is None and battery(one, end="zero") is None
    one.take(decision(at_s=0.1))
    assert battery(one, at_s=0.1).discharge_a == 150


def test_a_decision_that_expired_holds_then_fades_then_falls_silent():
    """expires after 2 s, hold 10 s, fade 30 s: as when the loop hangs."""
    one = given_pack(charge_a=100.0, discharge_a=150.0, charge_v=57.6)
    told = {at_s: battery(one, at_s=at_s) for at_s in (1.9, 2.1, 11.9, 22.0, 27.0, 41.9)}
    assert [told[at_s].discharge_a for at_s in (1.9, 2.1, 11.9)] == [150, 150, 150]
    assert Alarm.BMS not in told[1.9].alarms
    assert all(told[at_s].alarms[Alarm.BMS] is Level.WARNING for at_s in (2.1, 11.9, 22.0, 41.9))
    assert told[27.0].discharge_a == pytest.approx(75.0) and told[27.0].charge_a == pytest.approx(50.0)
    assert told[11.9].charge_v == 57.6 and told[22.0].charge_v == FLOAT_V and told[41.9].charge_v == FLOAT_V
    assert 0 < told[41.9].discharge_a < 2
    assert battery(one, at_s=42.1) is None
    assert battery(one, at_s=42.1, end="zero") is None, "no frame outlives its decisions for ever"


def test_a_pack_that_says_unknown_fades_like_one_that_says_nothing_and_may_end_in_zeros():
    one = given_pack()
    one.take(unknown(at_s=1.0))
    assert battery(one, at_s=1.5).discharge_a == 150
    for at_s in range(2, 100):
        one.take(unknown(at_s=float(at_s)))
    assert battery(one, at_s=99.0) is None
    zero = battery(one, at_s=99.0, end="zero")
    assert (zero.charge_a, zero.discharge_a, zero.charge_v) == (0, 0, FLOAT_V)
    assert zero.alarms[Alarm.BMS] is Level.CRITICAL
    assert (zero.online, zero.offline, zero.blocking_charge, zero.blocking_discharge) == (0, 1, 1, 1)
    one.take(decision(at_s=100.0))
    assert battery(one, at_s=100.0).discharge_a == 150


def test_the_loss_begins_with_the_expiry_where_decisions_stopped_before_they_said_unknown():
    one = given_pack()
    one.take(unknown(at_s=20.0))
    assert battery(one, at_s=27.0).discharge_a == pytest.approx(75.0), "lost since 2 s, not since 20 s"


def test_a_stop_is_obeyed_at_once_also_while_data_is_lost():
    one = given_pack()
    one.take(unknown(at_s=1.0, reasons=("charge_unknown", "discharge_unknown", "discharge_stopped")))
    assert battery(one, at_s=1.1).discharge_a == 0 and battery(one, at_s=1.1).charge_a == 100
    one.take(unknown(at_s=1.2, reasons=("charge_unknown", "discharge_unknown", "charge_stopped")))
    assert battery(one, at_s=1.3).charge_a == 0 and battery(one, at_s=1.3).discharge_a == 150


def test_a_derating_said_during_a_loss_halves_what_is_held_and_no_more_where_it_was_halved_before():
    reasons = ("charge_unknown", "discharge_unknown", "derated")
    one = given_pack()
    one.take(unknown(at_s=1.0, reasons=reasons))
    assert battery(one, at_s=1.1).discharge_a == 75
    one = given_pack(discharge_a=75.0, reasons=("discharge_rate", "derated"))
    one.take(unknown(at_s=1.0, reasons=reasons))
    assert battery(one, at_s=1.1).discharge_a == 75


def test_no_charge_is_asked_for_at_a_temperature_that_nobody_knows():
    one = given_pack()
    one.take(unknown(at_s=1.0, reasons=("charge_unknown", "discharge_unknown", "charge_temperature_unknown")))
    told = battery(one, at_s=1.1)
    assert told.charge_a == 0 and told.discharge_a == 150


def test_advice_leaves_the_discharge_limit_and_sets_the_alarm():
    told = battery(given_pack(action="stop_discharge", mode="advice"))
    assert told.discharge_a == 150 and told.alarms[Alarm.GENERAL] is Level.CRITICAL
    assert Alarm.GENERAL not in battery(given_pack(action="stop_discharge", mode="command", discharge_a=0.0)).alarms


def test_alarms_outlive_the_decision_that_raised_them():
    one = given_pack(alerts=[("internal_short", "critical")])
    assert battery(one, at_s=20.0).alarms[Alarm.SHORT] is Level.CRITICAL


def test_lost_data_is_no_alarm_to_stop_at_while_the_limits_fade():
    one = given_pack(alerts=[("loss_of_data", "critical")])
    assert battery(one).alarms[Alarm.BMS] is Level.CRITICAL
    one.take(unknown(at_s=1.0, alerts=[("loss_of_data", "critical"), ("overcharge", "critical")]))
    told = battery(one, at_s=1.5)
    assert told.alarms[Alarm.BMS] is Level.WARNING and told.alarms[Alarm.OVER_VOLTAGE] is Level.CRITICAL
    assert pylontech.alarms(told)[1].hex() == "02000208" + "01504e00"


def test_what_was_measured_is_left_out_when_it_is_old_but_the_state_of_charge_is_held():
    told = battery(given_pack(), at_s=5.0)
    assert told.soc == 0.6 and told.voltage_v is None and told.current_a is None and told.cell_min_v is None
    assert [identifier for identifier, _ in victron.frames(told, "x")] == [
        0x351, 0x355, 0x35A, 0x35E, 0x35F, 0x370, 0x371, 0x372, 0x379,
    ]  # fmt: skip


def test_an_island_hears_nothing_until_the_discharge_limit_has_stopped_rising():
    one = pack(patient=True)
    for step, discharge_a in enumerate((0.0, 7.5, 15.0, 22.5)):
        one.take(decision(at_s=float(step), discharge_a=discharge_a))
        assert battery(one, at_s=float(step)) is None
    one.take(decision(at_s=4.0, discharge_a=22.5))
    assert battery(one, at_s=4.0).discharge_a == 22.5
    slow = pack(patient=True)
    for step in range(23):
        slow.take(decision(at_s=float(step), discharge_a=1.0 + step))
    assert battery(slow, at_s=22.0) is not None, "and not for ever"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["known", "unknown", "nothing", "stop"]), st.floats(0.05, 20.0), st.floats(0, 300)), max_size=12),
    st.sampled_from([RULE, LossRule(0.0, 0.0, "silence"), LossRule(0.0, 5.0, "zero")]),
)
def test_whatever_happens_charge_voltage_is_never_below_float_and_no_limit_is_above_the_last_known(events, rule):
    one, at_s, last_a = pack(rule=rule), 0.0, 0.0
    for kind, wait_s, amperes in events:
        at_s += wait_s
        if kind == "known":
            last_a = amperes
            one.take(decision(at_s=at_s, charge_a=amperes, discharge_a=amperes, charge_v=57.0))
        elif kind == "unknown":
            one.take(unknown(at_s=at_s))
        elif kind == "stop":
            one.take(unknown(at_s=at_s, reasons=("charge_unknown", "discharge_unknown", "charge_stopped", "discharge_stopped")))
        share = one.share(round(at_s * S))
        told = join([share], rule.end)
        if told is None:
            assert share.standing in (Standing.NEVER, Standing.ENDED)
            continue
        _, data = inverter_frames.limits(told)
        frame = read(0x351, data)
        assert 54.0 <= frame["ChargeVoltage"] <= 57.6
        assert 0 <= frame["ChargeCurrent"] <= last_a + 1e-6 and 0 <= frame["DischargeCurrent"] <= last_a + 1e-6
        assert kind != "stop" or frame["DischargeCurrent"] == frame["ChargeCurrent"] == 0


def test_limits_beyond_the_field_are_held_at_its_end():
    huge = battery(given_pack(charge_a=5000.0, discharge_a=1e6, current_a=-9000.0, voltage_v=400.0))
    assert read(0x351, inverter_frames.limits(huge)[1])["DischargeCurrent"] == pytest.approx(3276.7)
    ((_, data),) = inverter_frames.measured(huge)
    assert read(0x356, data)["Current"] == pytest.approx(-3276.8)
    assert read(0x356, data)["Voltage"] == pytest.approx(327.67)


# ---- several packs


def test_unequal_packs_are_bound_by_the_one_that_reaches_its_limit_first():
    told = battery(given_pack(1, discharge_a=100.0), given_pack(2, discharge_a=20.0))
    assert told.discharge_a == 40, "half of any current flows through each"


def test_a_pack_of_twice_the_resistance_takes_half_the_current():
    told = battery(given_pack(1, discharge_a=100.0, resistance=1.0), given_pack(2, discharge_a=100.0, resistance=2.0))
    assert told.discharge_a == 150


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 5),
            st.floats(0, 300),
            st.floats(0, 300),
            st.sampled_from([None, 0.8, 1.0, 2.5]),
            st.sampled_from(["closed", "unknown", "open"]),
            st.sampled_from(["known", "lost", "gone", "never"]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_no_pack_of_any_mixture_carries_more_than_its_own_limit(mixture):
    packs = []
    for number, (parallel, charge_a, discharge_a, resistance, contactors, state) in enumerate(mixture, 1):
        one = pack(number, parallel)
        if state != "never":
            said = {"charge_a": charge_a, "discharge_a": discharge_a, "resistance": resistance, "contactors": contactors}
            one.take(decision(f"p{number}", {"known": 99.5, "lost": 80.0, "gone": 0.0}[state], **said))
        packs.append(one)
    shares = [one.share(100 * S) for one in packs]
    told = join(shares, "silence")
    carrying = [share for share in shares if share.standing in (Standing.KNOWN, Standing.LOST)]
    if told is None:
        assert not carrying and not any(share.standing is Standing.OPEN for share in shares)
        return
    assert told.online + told.offline == len(packs)
    assert told.blocking_discharge >= len(packs) - len(carrying)
    conductance = {
        share.number: share.capacity_ah / (share.resistance if all(s.resistance for s in carrying) else 1.0) for share in carrying
    }
    for share in carrying:
        part = conductance[share.number] / sum(conductance.values())
        assert told.discharge_a * part <= share.discharge_a + 1e-9
        assert told.charge_a * part <= share.charge_a + 1e-9
    assert told.charge_v >= FLOAT_V


def test_a_full_pack_ends_the_charge_and_a_stopped_one_stops_all_while_it_is_connected():
    assert battery(given_pack(1), given_pack(2, charge_a=0.0)).charge_a == 0
    stopped = {"discharge_a": 0.0, "reasons": ("charge_rate", "discharge_stopped")}
    assert battery(given_pack(1), given_pack(2, **stopped)).discharge_a == 0
    told = battery(given_pack(1), given_pack(2, contactors="open", **stopped))
    assert told.discharge_a == 150 and (told.online, told.blocking_discharge) == (2, 1)


def test_losing_one_pack_of_three_never_raises_the_limits_and_ends_with_two():
    packs = [given_pack(number) for number in (1, 2, 3)]
    told = []
    for at_s in range(60):
        for number, one in enumerate(packs[:2], 1):
            one.take(decision(f"p{number}", float(at_s)))
        told.append(battery(*packs, at_s=float(at_s)))
    assert told[0].discharge_a == 450 and told[-1].discharge_a == 300
    assert all(later.discharge_a <= earlier.discharge_a for earlier, later in pairwise(told))
    assert (told[-1].online, told[-1].offline) == (2, 1)
    assert told[-1].charge_v == FLOAT_V, "the lost pack is still on the bus"
    assert told[-1].soc == 0.6


def test_the_state_of_charge_leans_to_the_pack_that_ends_the_charge_or_the_discharge():
    assert battery(given_pack(1, soc=0.3), given_pack(2, soc=0.5, parallel=3)).soc == pytest.approx(0.45)
    assert battery(given_pack(1, soc=0.0), given_pack(2, soc=0.5)).soc == 0
    assert battery(given_pack(1, soc=0.05), given_pack(2, soc=0.45)).soc == pytest.approx(0.15), "half-way to the emptiest"
    assert battery(given_pack(1, soc=1.0), given_pack(2, soc=0.8)).soc == 1
    assert battery(given_pack(1, soc=0.0), given_pack(2, soc=1.0)).soc == 0, "empty goes before full"
    assert battery(given_pack(1, soc=None), given_pack(2, soc=0.5)).soc is None


def test_a_current_that_one_pack_does_not_know_makes_the_sum_unknown():
    assert battery(given_pack(1, current_a=5.0), given_pack(2, current_a=6.0)).current_a == 11
    assert battery(given_pack(1, current_a=5.0), given_pack(2, current_a=None)).current_a is None


def test_each_kind_of_site_has_times_of_its_own_and_may_state_others():
    assert set(OF_KIND) == set(SiteKind)
    assert rule_of(Site(kind=SiteKind.ISLANDED)).hold_s > rule_of(Site(kind=SiteKind.GRID_TIED)).hold_s
    assert rule_of(Site(kind=SiteKind.ISLANDED)).end == "silence", "a zero would be the blackout"
    assert rule_of(Site(loss_hold_s=1.0, loss_end="zero")) == LossRule(1.0, 30.0, "zero")
