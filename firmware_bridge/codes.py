"""The codes and sizes of the serial protocol (protocol.md).

Written by `make codes` from edgebms/vocabulary.py and firmware_bridge/protocol.toml: do not edit.
"""

from __future__ import annotations

import enum
from typing import Final

VERSION: Final = 1
HEADER_BYTES: Final = 5
CRC_BYTES: Final = 4
PAYLOAD_BYTES_MAX: Final = 240
MAC_BYTES: Final = 8
KEY_BYTES: Final = 16
FRESHNESS_MAX: Final = 0xFFFFFFFFFFFF
FLAG_ACK_WANTED: Final = 1
LIMIT_UNSTATED: Final = 0xFFFF
VOLTAGE_INVALID_100UV: Final = 0xFFFF
VOLTAGE_SATURATED_100UV: Final = 0xFFFE
TEMPERATURE_INVALID_DC: Final = 0x7FFF
TEMPERATURE_SATURATED_DC: Final = 0x7FFE
CURRENT_INVALID_MA: Final = -0x80000000
PACK_VOLTAGE_INVALID_MV: Final = 0xFFFFFFFF
UTC_INVALID_MS: Final = 0xFFFFFFFFFFFFFFFF
CELLS_PER_PAGE: Final = 110
PROBES_PER_PAGE: Final = 110
HEARTBEAT_PERIOD_MS: Final = 200
HEARTBEAT_TIMEOUT_MS: Final = 1000
HELLO_PERIOD_MS: Final = 1000
EXPIRY_MAX_MS: Final = 60000
ISSUED_AHEAD_MAX_MS: Final = 500
ACK_TIMEOUT_MS: Final = 150
SENDS_MAX: Final = 3
CAN_ID_ADVICE: Final = 1008
CAN_ID_ACK: Final = 1009
CAN_ID_GATEWAY_HEARTBEAT: Final = 1010
CAN_ID_MCU_HEARTBEAT: Final = 1011
CAN_SEGMENT_TIMEOUT_MS: Final = 100
HELLO_BYTES: Final = 28
HEARTBEAT_BYTES: Final = 10
ACK_BYTES: Final = 4
TIME_SYNC_BYTES: Final = 13
ADVICE_BYTES: Final = 42
PACK_BYTES: Final = 30
CELLS_BYTES: Final = 9
PROBES_BYTES: Final = 9
TIME_REPLY_BYTES: Final = 8


class Type(enum.IntEnum):
    HELLO = 1
    HEARTBEAT = 2
    ACK = 3
    TIME_SYNC = 16
    ADVICE = 17
    PACK = 64
    CELLS = 65
    PROBES = 66
    COUNTERS = 67
    TIME_REPLY = 68


class Role(enum.IntEnum):
    GATEWAY = 0
    MCU = 1


class Verdict(enum.IntEnum):
    ACCEPTED = 0
    BAD_COBS = 1
    BAD_FRAME_LENGTH = 2
    BAD_CRC = 3
    BAD_VERSION = 4
    UNKNOWN_TYPE = 5
    BAD_LENGTH = 6
    BAD_VALUE = 7
    NOT_LINKED = 8
    OTHER_MCU = 9
    OTHER_GATEWAY = 10
    UNKNOWN_KEY = 11
    FORGED = 12
    REPLAYED = 13
    STALE = 14
    BAD_EXPIRY = 15
    STORE_FAILED = 16


class McuState(enum.IntEnum):
    STARTING = 0
    ALONE = 1
    ADVISED = 2
    LOWERING = 3
    OPEN_ON_ADVICE = 4
    OPEN_ON_FAULT = 5


class FaultBit(enum.IntEnum):
    OVER_VOLTAGE = 0
    UNDER_VOLTAGE = 1
    OVER_TEMPERATURE = 2
    UNDER_TEMPERATURE = 3
    OVER_CURRENT_CHARGE = 4
    OVER_CURRENT_DISCHARGE = 5
    FRONT_END_LOST = 6
    STORE_FAILED = 7
    OPENED_UNDER_LOAD = 8


class Action(enum.IntEnum):
    NONE = 0
    SERVICE = 1
    COOL = 2
    BALANCE = 3
    LIMIT = 4
    STOP_CHARGE = 5
    STOP_DISCHARGE = 6
    OPEN_CONTACTORS = 7


class Mode(enum.IntEnum):
    COMMAND = 0
    ADVICE = 1


class Contactor(enum.IntEnum):
    UNKNOWN = 0
    OPEN = 1
    PRECHARGE = 2
    CLOSED = 3
