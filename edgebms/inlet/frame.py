"""One CAN frame as the house sees it: the type at the first arrow."""

from __future__ import annotations

from typing import NamedTuple


class Frame(NamedTuple):
    """time_ns: receive time on the loop's clock. data: the payload bytes as received (its length is
    the frame's). extended: 29-bit identifier. error and remote frames carry no telemetry."""

    time_ns: int
    arbitration_id: int
    data: bytes
    extended: bool = False
    channel: str = ""
    error: bool = False
    remote: bool = False
