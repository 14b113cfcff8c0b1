"""When the contactors open and close."""

import pytest

from firmware_bridge.codes import CURRENT_INVALID_MA, LIMIT_UNSTATED, Action, McuState, Mode

WRAP = 1 << 32
LOW_MA, ADVICE_MS, FAULT_MS, CLOSE_MS = 1000, 5000, 500, 1000


class Box:
    """step(ms): the time since start."""

    def __init__(self, c, *, held_open=False, start=0):
        self.c, self.start, self.state = c, start, c.ffi.new("ebms_contactor *")
        settings = c.ffi.new("ebms_contactor_settings *", [LOW_MA, ADVICE_MS, FAULT_MS, CLOSE_MS])
        c.ffi.memmove(self.state, b"\1" * c.ffi.sizeof("ebms_contactor"), c.ffi.sizeof("ebms_contactor"))  # memory as it may be found
        c.lib.ebms_contactor_init(self.state, settings[0], held_open, start)

    def step(self, ms, *, faults=0, current_ma=0, action=None, mode=Mode.COMMAND, reset=False):
        self.advice = self.c.ffi.NULL
        if action is not None:
            self.advice = self.c.ffi.new("ebms_advice *", {"action": action, "mode": mode, "limits": [LIMIT_UNSTATED] * 4})
        self.c.lib.ebms_contactor_step(self.state, faults, current_ma, self.advice, reset, (self.start + ms) % WRAP)
        return bool(self.state.closed), McuState(self.state.state)

    def limits(self):
        own = self.c.ffi.new("ebms_limits *", [800, 1200, 672, 480])
        found = self.c.lib.ebms_contactor_limits(self.state, own[0], self.advice)
        return found.charge_da, found.discharge_da, found.charge_dv, found.discharge_dv


@pytest.fixture(params=[0, WRAP - 600, WRAP // 2 - 1])
def box(c, request):
    return Box(c, start=request.param)


@pytest.fixture
def shut(box):
    assert box.step(CLOSE_MS) == (True, McuState.ALONE)
    return box


def test_they_close_when_no_fault_stood_for_a_time(box):
    assert (box.state.closed, box.state.state, box.state.under_load) == (False, McuState.STARTING, False)
    assert box.step(0) == (False, McuState.STARTING)
    assert box.limits() == (0, 0, 672, 480)
    assert box.step(500, faults=64) == (False, McuState.STARTING)
    assert box.step(500 + CLOSE_MS - 1) == (False, McuState.STARTING)
    assert box.step(500 + CLOSE_MS) == (True, McuState.ALONE)
    assert box.limits() == (800, 1200, 672, 480)
    assert box.step(3000, action=Action.NONE) == (True, McuState.ADVISED)
    assert box.step(3000, action=Action.OPEN_CONTACTORS, mode=Mode.ADVICE) == (True, McuState.ADVISED)


def test_told_to_open_they_wait_for_the_current(shut):
    assert shut.step(2000, current_ma=-30_000, action=Action.OPEN_CONTACTORS) == (True, McuState.LOWERING)
    assert shut.limits() == (0, 0, 672, 480)
    assert shut.step(2000 + ADVICE_MS - 1, current_ma=LOW_MA + 1, action=Action.OPEN_CONTACTORS) == (True, McuState.LOWERING)
    assert shut.step(2000 + ADVICE_MS - 1, current_ma=LOW_MA, action=Action.OPEN_CONTACTORS) == (False, McuState.OPEN_ON_ADVICE)
    assert shut.limits() == (0, 0, 672, 480)
    assert not shut.state.under_load
    assert shut.state.held_open


@pytest.mark.parametrize("current_ma", [LOW_MA + 1, -LOW_MA - 1, CURRENT_INVALID_MA, -CURRENT_INVALID_MA - 1])
def test_when_the_time_is_up_they_open_under_load(shut, current_ma):
    shut.step(2000, current_ma=current_ma, action=Action.OPEN_CONTACTORS)
    assert shut.step(2000 + ADVICE_MS - 1, current_ma=current_ma, action=Action.OPEN_CONTACTORS)[0]
    assert shut.step(2000 + ADVICE_MS, current_ma=current_ma, action=Action.OPEN_CONTACTORS) == (False, McuState.OPEN_ON_ADVICE)
    assert shut.state.under_load


@pytest.mark.parametrize("current_ma", [-LOW_MA, LOW_MA, 0])
def test_low_current_opens_at_once(shut, current_ma):
    assert shut.step(2000, current_ma=current_ma, action=Action.OPEN_CONTACTORS) == (False, McuState.OPEN_ON_ADVICE)


def test_advice_that_ends_while_the_current_falls_leaves_them_closed(shut):
    shut.step(2000, current_ma=9000, action=Action.OPEN_CONTACTORS)
    assert shut.step(2100, current_ma=9000) == (True, McuState.ALONE)
    # the next time it waits anew
    shut.step(9000, current_ma=9000, action=Action.OPEN_CONTACTORS)
    assert shut.step(9100, current_ma=9000, action=Action.OPEN_CONTACTORS) == (True, McuState.LOWERING)


def test_a_fault_opens_sooner_and_needs_a_person(shut):
    assert shut.step(2000, faults=1, current_ma=9000) == (True, McuState.LOWERING)
    assert shut.step(2000 + FAULT_MS - 1, faults=1, current_ma=9000) == (True, McuState.LOWERING)
    assert shut.step(2000 + FAULT_MS, faults=1, current_ma=9000) == (False, McuState.OPEN_ON_FAULT)
    assert shut.state.under_load
    assert not shut.state.held_open
    assert shut.step(20_000, action=Action.NONE) == (False, McuState.OPEN_ON_FAULT)
    assert shut.limits() == (0, 0, 672, 480)
    assert shut.step(30_000, reset=True) == (False, McuState.STARTING)
    assert shut.step(30_000 + CLOSE_MS - 1) == (False, McuState.STARTING)
    assert shut.step(30_000 + CLOSE_MS) == (True, McuState.ALONE)
    assert not shut.state.under_load  # it is told until they close again


def test_a_reset_while_the_fault_stands_closes_nothing(shut):
    shut.step(2000, faults=1)
    assert shut.step(3000, faults=1, reset=True) == (False, McuState.STARTING)
    assert shut.step(9000, faults=1) == (False, McuState.STARTING)
    assert shut.step(9000 + CLOSE_MS - 1) == (False, McuState.STARTING)


def test_a_fault_while_lowering_on_advice_cuts_the_wait(shut):
    shut.step(2000, current_ma=9000, action=Action.OPEN_CONTACTORS)
    assert shut.step(2000 + FAULT_MS, faults=2, current_ma=9000, action=Action.OPEN_CONTACTORS) == (False, McuState.OPEN_ON_FAULT)
    assert shut.state.held_open  # both hold them
    assert shut.step(4000, reset=True) == (False, McuState.STARTING)
    assert not shut.state.held_open


def opened(box):
    box.step(CLOSE_MS)
    assert box.step(2000, action=Action.OPEN_CONTACTORS) == (False, McuState.OPEN_ON_ADVICE)


def test_opened_on_command_they_stay_open_without_a_gateway(box):
    opened(box)
    assert box.step(100_000) == (False, McuState.OPEN_ON_ADVICE)
    assert box.step(100_000, action=Action.NONE, mode=Mode.ADVICE) == (False, McuState.OPEN_ON_ADVICE)
    assert box.step(100_000, action=Action.OPEN_CONTACTORS) == (False, McuState.OPEN_ON_ADVICE)
    assert box.step(100_000, action=Action.OPEN_CONTACTORS, mode=Mode.ADVICE) == (False, McuState.OPEN_ON_ADVICE)


@pytest.mark.parametrize("how", [{"action": Action.STOP_DISCHARGE}, {"reset": True}])
def test_a_weaker_command_or_a_person_lets_them_close(box, how):
    opened(box)
    assert box.step(100_000, **how) == (False, McuState.STARTING)
    assert not box.state.held_open
    assert box.step(100_000 + CLOSE_MS - 1) == (False, McuState.STARTING)
    assert box.step(100_000 + CLOSE_MS) == (True, McuState.ALONE)


def test_commands_that_go_on_do_not_put_off_the_closing(box):
    opened(box)
    box.step(100_000, action=Action.NONE)
    assert box.step(100_000 + CLOSE_MS, action=Action.NONE) == (True, McuState.ADVISED)


def test_a_fault_while_open_on_command(box):
    opened(box)
    assert box.step(3000, faults=4) == (False, McuState.OPEN_ON_FAULT)
    assert box.step(4000, action=Action.NONE) == (False, McuState.OPEN_ON_FAULT)


def test_held_open_outlives_a_reset_of_the_microcontroller(c):
    box = Box(c, held_open=True)
    assert box.state.state == McuState.OPEN_ON_ADVICE
    assert box.step(10 * CLOSE_MS) == (False, McuState.OPEN_ON_ADVICE)
    assert box.step(20_000, action=Action.NONE) == (False, McuState.STARTING)


def test_told_to_open_before_they_ever_closed(box):
    assert box.step(CLOSE_MS, action=Action.OPEN_CONTACTORS) == (False, McuState.OPEN_ON_ADVICE)
    assert box.state.held_open


def test_a_stop_of_charge_alone_leaves_them_closed(shut):
    assert shut.step(2000, action=Action.STOP_CHARGE) == (True, McuState.ADVISED)
    assert shut.limits() == (0, 1200, 672, 480)
