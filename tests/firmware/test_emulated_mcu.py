"""The reference firmware under QEMU, its contactors asserted through whatever happens on the line."""

import os
import time

import pytest
from emulated import GATEWAY_ID, KEY, KEY_ID, MCU_ID, Emulated, image
from speaker import Speaker

from firmware_bridge import codec
from firmware_bridge.advice import sign
from firmware_bridge.codec import Message
from firmware_bridge.codes import FRESHNESS_MAX, Action, FaultBit, McuState, Mode, Type, Verdict

pytestmark = pytest.mark.timeout(600)  # the first one may have to install QEMU and the compiler

OWN_CHARGE_DA, OWN_DISCHARGE_DA = 800, 1200
WRAP = 1 << 32


@pytest.fixture(scope="module")
def elf(tmp_path_factory):
    return image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def board(elf, tmp_path):
    with Emulated(elf, tmp_path) as emulated:
        yield emulated


@pytest.fixture
def gateway(board):
    speaker = Speaker(board.port, KEY, KEY_ID, gateway_id=GATEWAY_ID, mcu_id=MCU_ID)
    yield speaker
    speaker.close()


def closed(board):
    return bool(board.drive and board.drive.closed)


def ready(gateway, board):
    gateway.until(lambda: gateway.linked and closed(board))


def test_it_closes_by_itself_and_tells_what_it_measures(board, gateway):
    board.volts[3], board.wanted_a = 3.6512, -20.0
    ready(gateway, board)
    gateway.until(lambda: gateway.pack and gateway.pack.current_ma == -20_000 and gateway.cells)
    assert gateway.cells[3] == 36_512
    assert gateway.pack.voltage_mv == round(1000 * sum(board.volts))
    assert gateway.state is McuState.ALONE
    assert (gateway.pack.charge_da, gateway.pack.discharge_da) == (OWN_CHARGE_DA, OWN_DISCHARGE_DA)


def test_advice_makes_limits_stricter_and_never_looser(board, gateway):
    ready(gateway, board)
    assert gateway.tell(gateway.advice(Action.LIMIT, charge_da=123, discharge_da=60_000)) is Verdict.ACCEPTED
    gateway.until(lambda: board.drive.charge_da == 123)
    assert board.drive.discharge_da == OWN_DISCHARGE_DA
    assert gateway.tell(gateway.advice(Action.STOP_DISCHARGE)) is Verdict.ACCEPTED
    gateway.until(lambda: board.drive.discharge_da == 0)
    assert board.drive.charge_da == OWN_CHARGE_DA
    assert closed(board)
    # it expires by itself, with the heartbeat alive
    assert gateway.tell(gateway.advice(Action.STOP_CHARGE, expiry_ms=700)) is Verdict.ACCEPTED
    gateway.until(lambda: board.drive.charge_da == 0)
    assert gateway.until(lambda: board.drive.charge_da == OWN_CHARGE_DA) < 2
    assert gateway.linked


def test_a_lost_heartbeat_drops_all_advice_and_it_does_not_come_back(board, gateway):
    ready(gateway, board)
    assert gateway.tell(gateway.advice(Action.LIMIT, charge_da=0)) is Verdict.ACCEPTED
    gateway.until(lambda: board.drive.state == McuState.ADVISED)
    gateway.beats = False
    took = gateway.until(lambda: board.drive.state == McuState.ALONE)
    assert 0.5 < took < 3
    assert board.drive.charge_da == OWN_CHARGE_DA
    assert closed(board)
    gateway.beats = True
    gateway.until(lambda: gateway.linked)
    gateway.during(1, lambda: board.drive.state == McuState.ALONE and closed(board))


def test_replayed_forged_and_others_commands_move_no_contactor(board, gateway):
    ready(gateway, board)
    opens = gateway.advice(Action.OPEN_CONTACTORS)
    harmless = gateway.advice()
    assert gateway.tell(harmless) is Verdict.ACCEPTED
    assert gateway.tell(opens) is Verdict.REPLAYED  # held back on the way: a newer one was accepted since
    assert gateway.tell(harmless) is Verdict.REPLAYED
    assert gateway.tell(gateway.advice(Action.NONE)._replace(action=Action.OPEN_CONTACTORS)) is Verdict.FORGED
    assert gateway.tell(sign(gateway.advice(Action.OPEN_CONTACTORS), bytes(16))) is Verdict.FORGED
    assert gateway.tell(gateway.advice(Action.OPEN_CONTACTORS, gateway_id=GATEWAY_ID + 1)) is Verdict.OTHER_GATEWAY
    assert gateway.tell(gateway.advice(Action.OPEN_CONTACTORS, mcu_id=MCU_ID + 1)) is Verdict.OTHER_MCU
    assert gateway.tell(gateway.advice(Action.OPEN_CONTACTORS, key_id=KEY_ID + 1)) is Verdict.UNKNOWN_KEY
    assert gateway.tell(gateway.advice(Action.OPEN_CONTACTORS, session=gateway.hello.session + 1)) is Verdict.STALE
    late = gateway.advice(Action.OPEN_CONTACTORS)
    late = gateway.advice(Action.OPEN_CONTACTORS, issued_ms=(late.issued_ms - 5000) % WRAP, expiry_ms=4000)
    assert gateway.tell(late) is Verdict.STALE
    assert gateway.tell(gateway.advice(Action.OPEN_CONTACTORS, expiry_ms=0)) is Verdict.BAD_EXPIRY
    gateway.until(lambda: gateway.refusals()[Verdict.BAD_EXPIRY])
    counted = gateway.refusals()
    del counted[Verdict.NOT_LINKED]  # the first heartbeats, before the HELLO
    assert counted == {
        Verdict.REPLAYED: 2, Verdict.FORGED: 2, Verdict.OTHER_GATEWAY: 1, Verdict.OTHER_MCU: 1, Verdict.UNKNOWN_KEY: 1,
        Verdict.STALE: 2, Verdict.BAD_EXPIRY: 1,
    }  # fmt: skip
    gateway.during(0.5, lambda: closed(board))
    since_closed = [drive.closed for _, drive in board.drives if drive.state != McuState.STARTING]
    assert all(since_closed)


@pytest.mark.slow
def test_told_to_open_it_takes_the_current_to_zero_first_and_stays_open(board, gateway):
    board.wanted_a = -30.0
    ready(gateway, board)
    gateway.until(lambda: gateway.pack and gateway.pack.current_ma == -30_000)
    assert gateway.tell(gateway.advice(Action.OPEN_CONTACTORS, mode=Mode.ADVICE)) is Verdict.ACCEPTED
    gateway.during(1, lambda: closed(board))  # to a person: no act of the firmware's
    assert gateway.tell(gateway.advice(Action.OPEN_CONTACTORS)) is Verdict.ACCEPTED
    gateway.until(lambda: not closed(board))
    states = [drive.state for _, drive in board.drives]
    assert McuState.LOWERING in states
    assert board.drive.state == McuState.OPEN_ON_ADVICE
    assert not board.drive.faults & (1 << FaultBit.OPENED_UNDER_LOAD)
    # neither a lost gateway nor a reset closes them
    gateway.beats = False
    gateway.during(2, lambda: not closed(board))
    board.reset()
    gateway.during(3, lambda: not closed(board))
    gateway.beats = True
    gateway.until(lambda: gateway.linked)
    gateway.during(1, lambda: not closed(board))
    # a command below opening does
    assert gateway.tell(gateway.advice()) is Verdict.ACCEPTED
    gateway.until(lambda: closed(board))


@pytest.mark.slow
def test_current_that_does_not_fall_is_cut_when_the_time_is_up(board, gateway):
    board.follows, board.current_a = False, -30.0
    ready(gateway, board)
    board.current_a = -30.0
    gateway.until(lambda: gateway.pack and gateway.pack.current_ma == -30_000)
    assert gateway.tell(gateway.advice(Action.OPEN_CONTACTORS)) is Verdict.ACCEPTED
    took = gateway.until(lambda: not closed(board))
    assert 4 < took < 30
    assert board.drive.faults & (1 << FaultBit.OPENED_UNDER_LOAD)


@pytest.mark.parametrize(
    ("fault", "spoil"),
    [
        (FaultBit.OVER_VOLTAGE, lambda board: board.volts.__setitem__(5, 4.26)),
        pytest.param(FaultBit.UNDER_VOLTAGE, lambda board: board.volts.__setitem__(5, 2.79), marks=pytest.mark.slow),
        pytest.param(FaultBit.OVER_TEMPERATURE, lambda board: board.degrees.__setitem__(5, 60.1), marks=pytest.mark.slow),
        pytest.param(FaultBit.UNDER_TEMPERATURE, lambda board: board.degrees.__setitem__(5, -20.1), marks=pytest.mark.slow),
        (FaultBit.FRONT_END_LOST, lambda board: setattr(board, "silent", True)),
    ],
)
def test_its_own_protection_opens_whatever_the_gateway_says(board, gateway, fault, spoil):
    ready(gateway, board)
    assert gateway.tell(gateway.advice(Action.NONE)) is Verdict.ACCEPTED
    spoil(board)
    assert gateway.until(lambda: not closed(board)) < 9
    assert board.drive.faults & (1 << fault)
    board.volts[5], board.degrees[5], board.silent = 3.7, 25.0, False
    assert gateway.tell(gateway.advice(Action.NONE)) is Verdict.ACCEPTED
    gateway.during(1.5, lambda: not closed(board) and board.drive.faults & (1 << fault))  # why is told while it stands open
    board.reset_pressed = True
    gateway.until(lambda: closed(board) and not board.drive.faults)


@pytest.mark.slow
def test_one_frame_in_ten_is_spoiled(board, gateway):
    ready(gateway, board)
    gateway.spoil = 0.1
    accepted_at, longest, last_ack = time.monotonic(), 0.0, 0
    end = time.monotonic() + 8
    asked, told = {}, 0.0
    while time.monotonic() < end:
        gateway.pump()
        if gateway.linked and time.monotonic() - told > 0.1:
            told = time.monotonic()
            asked[gateway.send(Type.ADVICE, codec.pack_advice(gateway.advice(Action.LIMIT, charge_da=100)), ack=True)] = told
        for sequence in [sequence for sequence in asked if gateway.acks.get(sequence) == Verdict.ACCEPTED]:
            del asked[sequence]
            longest, accepted_at, last_ack = max(longest, time.monotonic() - accepted_at), time.monotonic(), last_ack + 1
    assert last_ack > 30
    assert longest < 1
    assert gateway.refusals()[Verdict.BAD_CRC] + gateway.refusals()[Verdict.BAD_COBS] > 3
    assert gateway.refusals()[Verdict.FORGED] == 0
    assert all(drive.closed and drive.charge_da in (100, OWN_CHARGE_DA) for _, drive in board.drives[-30:])


@pytest.mark.slow
def test_noise_on_the_line_changes_nothing(board, gateway):
    ready(gateway, board)
    for _ in range(20):
        os.write(gateway._line, os.urandom(300))
        gateway.pump()
    assert gateway.tell(gateway.advice(Action.LIMIT, charge_da=50)) in (Verdict.ACCEPTED, Verdict.NOT_LINKED)
    gateway.until(lambda: gateway.linked)
    assert gateway.tell(gateway.advice(Action.LIMIT, charge_da=50)) is Verdict.ACCEPTED
    assert closed(board)


@pytest.mark.slow
def test_the_last_freshness_ends_the_key(board, gateway):
    ready(gateway, board)
    gateway.freshness = FRESHNESS_MAX - 1
    assert gateway.tell(gateway.advice(Action.LIMIT, charge_da=50)) is Verdict.ACCEPTED
    gateway.freshness = 0  # a counter that wrapped
    assert gateway.tell(gateway.advice(Action.OPEN_CONTACTORS)) is Verdict.REPLAYED
    assert closed(board)


def test_a_reset_makes_what_was_sent_before_it_stale(board, gateway):
    ready(gateway, board)
    held_back = gateway.advice(Action.OPEN_CONTACTORS)
    assert gateway.tell(held_back._replace(mac=bytes(8))) is Verdict.FORGED
    session = gateway.hello.session
    board.reset()
    gateway.until(lambda: gateway.linked and gateway.hello.session == session + 1 and closed(board))
    assert gateway.tell(held_back) is Verdict.STALE
    assert gateway.tell(gateway.advice(Action.LIMIT, charge_da=70)) is Verdict.ACCEPTED
    board.reset()
    gateway.until(lambda: gateway.linked and gateway.hello.session == session + 2)
    assert gateway.hello.freshness_last == gateway.freshness  # kept over the reset
    gateway.freshness -= 1
    assert gateway.tell(gateway.advice(Action.OPEN_CONTACTORS)) is Verdict.REPLAYED
    gateway.until(lambda: closed(board))


@pytest.mark.slow
def test_another_gateway_is_not_linked(board):
    other = Speaker(board.port, KEY, KEY_ID, gateway_id=GATEWAY_ID + 1, mcu_id=MCU_ID)
    try:
        other.until(lambda: closed(board))
        other.until(lambda: other.refusals()[Verdict.OTHER_GATEWAY] > 0)
        other.raw(codec.frame(Message(Type.HEARTBEAT, 0, 1, bytes(10))))
        assert not other.beat.linked
    finally:
        other.close()
