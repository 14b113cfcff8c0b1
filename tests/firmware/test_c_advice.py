"""The rules of ADVICE in C: who is obeyed, for how long, and what is kept."""

import pytest
from c_mcu import GATEWAY_ID, KEYS, MCU_ID, SESSION, Authority, advice, slots

from firmware_bridge.codes import EXPIRY_MAX_MS, FRESHNESS_MAX, HEARTBEAT_TIMEOUT_MS, LIMIT_UNSTATED, Action, Mode, Verdict

WRAP = 1 << 32
STARTS = (0, 5000, WRAP - 1, WRAP - 1500, WRAP // 2 - 1000)


def test_signed_and_fresh_advice_is_accepted_whole(c):
    made = Authority(c)
    told = advice(action=4, mode=0, cool=1, charge_da=10, discharge_da=20, charge_dv=30, discharge_dv=40)
    assert made.judge(told) is Verdict.ACCEPTED
    taken = made.advice(0)
    assert (taken.action, taken.mode, taken.cool) == (4, 0, True)
    limits = taken.limits
    assert (limits.charge_da, limits.discharge_da, limits.charge_dv, limits.discharge_dv) == (10, 20, 30, 40)
    assert (taken.issued_ms, taken.expiry_ms) == (0, 2000)
    assert c.lib.shim_stores == 1
    assert c.lib.shim_store_context == made.context
    assert c.lib.shim_stored[0].freshness_last == 1
    assert c.lib.shim_stored[0].used
    assert bytes(c.lib.shim_stored[0].key) == KEYS[1]


REFUSED = [
    (advice(mcu_id=MCU_ID + 1), Verdict.OTHER_MCU),
    (advice(mcu_id=MCU_ID + 1, gateway_id=GATEWAY_ID + 1), Verdict.OTHER_MCU),
    (advice(gateway_id=GATEWAY_ID + 1), Verdict.OTHER_GATEWAY),
    (advice(gateway_id=GATEWAY_ID + 1, key_id=3), Verdict.OTHER_GATEWAY),
    (advice(key_id=3), Verdict.UNKNOWN_KEY),
    (advice(key_id=0), Verdict.UNKNOWN_KEY),
    (advice(key=KEYS[2]), Verdict.FORGED),
    (advice(0, key=KEYS[2]), Verdict.FORGED),
    (advice(0), Verdict.REPLAYED),
    (advice(0, session=8), Verdict.REPLAYED),
    (advice(session=SESSION + 1), Verdict.STALE),
    (advice(session=SESSION + 1, expiry_ms=0), Verdict.STALE),
    (advice(expiry_ms=0), Verdict.BAD_EXPIRY),
    (advice(expiry_ms=EXPIRY_MAX_MS + 1), Verdict.BAD_EXPIRY),
    (advice(expiry_ms=WRAP - 1), Verdict.BAD_EXPIRY),
    (advice(expiry_ms=EXPIRY_MAX_MS + 1, issued_ms=WRAP - 70_000), Verdict.BAD_EXPIRY),
    (advice(issued_ms=WRAP - 2000), Verdict.STALE),
    (advice(issued_ms=WRAP - 2000, action=8), Verdict.STALE),
    (advice(issued_ms=501), Verdict.STALE),
    (advice(action=len(Action)), Verdict.BAD_VALUE),
    (advice(action=255), Verdict.BAD_VALUE),
    (advice(mode=len(Mode)), Verdict.BAD_VALUE),
    (advice(cool=2), Verdict.BAD_VALUE),
]


@pytest.mark.parametrize(("told", "verdict"), REFUSED)
def test_what_is_refused_changes_nothing(c, told, verdict):
    made = Authority(c)
    before = bytes(c.ffi.buffer(made.state))
    assert made.judge(told) is verdict
    assert bytes(c.ffi.buffer(made.state)) == before
    assert c.lib.shim_stores == 0
    assert made.advice(0) is None


@pytest.mark.parametrize(
    "told", [advice(expiry_ms=EXPIRY_MAX_MS), advice(issued_ms=500), advice(issued_ms=WRAP - 1999), advice(action=7), advice(mode=1)]
)
def test_what_is_just_within_is_accepted(c, told):
    assert Authority(c).judge(told) is Verdict.ACCEPTED


def test_any_one_changed_byte_is_no_longer_signed(c):
    from firmware_bridge.codec import pack_advice

    payload = pack_advice(advice())
    for at in range(len(payload)):
        made = Authority(c)
        wrong = payload[:at] + bytes((payload[at] ^ 1,)) + payload[at + 1 :]
        assert c.lib.ebms_authority_judge(made.state, wrong, 0) != Verdict.ACCEPTED
        assert made.advice(0) is None


def test_freshness_only_rises(c):
    made = Authority(c, (1, 5))
    assert made.judge(advice(5)) is Verdict.REPLAYED
    assert made.judge(advice(6)) is Verdict.ACCEPTED
    assert made.judge(advice(6)) is Verdict.REPLAYED
    assert made.judge(advice(1 << 40)) is Verdict.ACCEPTED
    assert made.judge(advice(7)) is Verdict.REPLAYED
    assert made.judge(advice(FRESHNESS_MAX)) is Verdict.ACCEPTED
    assert made.judge(advice(FRESHNESS_MAX)) is Verdict.REPLAYED
    assert made.judge(advice(0)) is Verdict.REPLAYED


def test_what_cannot_be_stored_is_not_obeyed_and_may_come_again(c):
    made = Authority(c)
    c.lib.shim_store_works = False
    assert made.judge(advice(9)) is Verdict.STORE_FAILED
    assert made.advice(0) is None
    c.lib.shim_store_works = True
    assert made.judge(advice(9)) is Verdict.ACCEPTED


@pytest.mark.parametrize("start", STARTS)
def test_advice_ends_at_its_expiry_whatever_the_clock_shows(c, start):
    made = Authority(c, now_ms=start)
    at = lambda ms: (start + ms) % WRAP  # noqa: E731
    assert made.judge(advice(issued_ms=at(0), expiry_ms=1500), at(100)) is Verdict.ACCEPTED
    assert made.left_ms(at(100)) == 1400
    made.heard(at(900))
    assert made.left_ms(at(1499)) == 1
    assert made.advice(at(1499)) is not None
    assert made.left_ms(at(1500)) == 0
    assert made.advice(at(1500)) is None
    made.tick(at(1500))
    made.heard(at(1600))
    assert made.advice(at(0)) is None  # over is over, also when the clock comes round again


@pytest.mark.parametrize("start", STARTS)
def test_issued_ahead_of_our_clock(c, start):
    made = Authority(c, now_ms=start)
    assert made.judge(advice(issued_ms=(start + 400) % WRAP, expiry_ms=100), start) is Verdict.ACCEPTED
    assert made.left_ms(start) == 500
    made.tick(start)
    assert made.left_ms((start + 499) % WRAP) == 1
    assert made.left_ms((start + 500) % WRAP) == 0


@pytest.mark.parametrize("start", STARTS)
def test_a_lost_heartbeat_ends_all_advice_for_good(c, start):
    at = lambda ms: (start + ms) % WRAP  # noqa: E731
    made = Authority(c, now_ms=start)
    assert made.judge(advice(issued_ms=start, expiry_ms=EXPIRY_MAX_MS), start) is Verdict.ACCEPTED
    made.tick(at(HEARTBEAT_TIMEOUT_MS - 1))
    assert made.advice(at(HEARTBEAT_TIMEOUT_MS - 1)) is not None
    made.tick(at(HEARTBEAT_TIMEOUT_MS))
    assert made.advice(at(HEARTBEAT_TIMEOUT_MS)) is None
    assert not made.state.linked
    made.heard(at(HEARTBEAT_TIMEOUT_MS + 1))
    assert made.advice(at(HEARTBEAT_TIMEOUT_MS + 1)) is None
    assert not made.state.linked
    assert made.judge(advice(2, issued_ms=at(1100)), at(1100)) is Verdict.NOT_LINKED
    made.heard(at(1200), greets=True)
    assert made.judge(advice(2, issued_ms=at(1200)), at(1200)) is Verdict.ACCEPTED


def test_a_heartbeat_too_late_does_not_save_the_advice(c):
    made = Authority(c)
    assert made.judge(advice(expiry_ms=EXPIRY_MAX_MS)) is Verdict.ACCEPTED
    made.heard(HEARTBEAT_TIMEOUT_MS)  # without a tick in between
    assert made.advice(HEARTBEAT_TIMEOUT_MS) is None


def test_a_judgement_too_late_finds_the_link_lost(c):
    made = Authority(c)
    assert made.judge(advice(issued_ms=1000), 1000) is Verdict.NOT_LINKED
    assert made.judge(advice(issued_ms=1000), 1000) is Verdict.NOT_LINKED  # refused advice used nothing up


def test_never_greeted_nothing_is_obeyed(c):
    made = Authority(c, linked=False)
    made.heard(10)
    assert made.judge(advice(), 10) is Verdict.NOT_LINKED


def test_drop_ends_it(c):
    made = Authority(c)
    made.judge(advice())
    c.lib.ebms_authority_drop(made.state)
    assert made.advice(0) is None
    assert made.left_ms(0) == 0


def test_the_first_advice_under_a_new_key_ends_the_old_one(c):
    made = Authority(c, (1, 50), (2, 0))
    assert made.judge(advice(51)) is Verdict.ACCEPTED
    assert made.state.slots[1].used  # the new one waits
    assert made.judge(advice(1, key_id=2)) is Verdict.ACCEPTED
    assert made.state.slot_in_use == 1
    assert made.judge(advice(52)) is Verdict.UNKNOWN_KEY
    assert bytes(made.state.slots[0].key) == bytes(16)
    assert bytes(c.lib.shim_stored[0].key) == bytes(16)
    assert c.lib.shim_stored[1].freshness_last == 1
    assert made.judge(advice(2, key_id=2)) is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("entries", "in_use"),
    [(((1, 0), None), 0), ((None, (2, 0)), 1), (((1, 9), (2, 0)), 0), (((1, 0), (2, 9)), 1), (((1, 0), (2, 1)), 1), (((1, 0), (2, 0)), 0)],
)
def test_the_key_in_use_is_known_after_a_reset(c, entries, in_use):
    assert Authority(c, *entries).state.slot_in_use == in_use


def test_after_a_reset_the_other_key_still_changes_it(c):
    made = Authority(c, (1, 0), (2, 9))
    assert made.judge(advice(1)) is Verdict.ACCEPTED
    assert not made.state.slots[1].used


def test_two_slots_of_one_key_id_use_the_first(c):
    made = Authority(c)
    c.ffi.memmove(made.state.slots, slots(c, (1, 3), (1, 0)), c.ffi.sizeof("ebms_key_slot[2]"))
    assert made.judge(advice(3)) is Verdict.REPLAYED


OWN = {"charge_da": 800, "discharge_da": 1200, "charge_dv": 672, "discharge_dv": 480}


def under(c, mode=Mode.COMMAND, action=Action.LIMIT, **limits):
    told = c.ffi.new("ebms_advice *", {"action": action, "mode": mode})
    told.limits = {**dict.fromkeys(OWN, LIMIT_UNSTATED), **limits}
    found = c.lib.ebms_limits_under(c.ffi.new("ebms_limits *", OWN)[0], told)
    return {name: getattr(found, name) for name in OWN}


def test_limits_without_advice_are_ones_own(c):
    found = c.lib.ebms_limits_under(c.ffi.new("ebms_limits *", OWN)[0], c.ffi.NULL)
    assert {name: getattr(found, name) for name in OWN} == OWN
    assert under(c) == OWN


@pytest.mark.parametrize("name", OWN)
def test_a_limit_is_the_stricter_of_the_two(c, name):
    stricter, looser = (1, -1) if name == "discharge_dv" else (-1, 1)
    assert under(c, **{name: OWN[name] + stricter}) == {**OWN, name: OWN[name] + stricter}
    assert under(c, **{name: OWN[name] + looser}) == OWN
    assert under(c, mode=Mode.ADVICE, **{name: OWN[name] + stricter}) == {**OWN, name: OWN[name] + stricter}


@pytest.mark.parametrize("action", Action)
def test_actions_stop_what_they_name_when_they_are_commands(c, action):
    zero = {
        Action.STOP_CHARGE: {"charge_da": 0},
        Action.STOP_DISCHARGE: {"discharge_da": 0},
        Action.OPEN_CONTACTORS: {"charge_da": 0, "discharge_da": 0},
    }.get(action, {})
    assert under(c, action=action) == {**OWN, **zero}
    assert under(c, mode=Mode.ADVICE, action=action) == OWN
