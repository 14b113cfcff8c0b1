"""The test alarm of ``edgebms selftest``: a gateway fault that a person asked for, through the real way to every outlet.

It is marked as a test wherever it goes (rule "selftest", unit "s (test)"), is a warning and asks for service,
never more, and ends by itself.
"""

from __future__ import annotations

import math

from edgebms.clock import Clock
from edgebms.errors import GatewayError
from edgebms.gateway_fault import GatewayFault
from edgebms.vocabulary import Level

RULE, UNIT = "selftest", "s (test)"


class TestAlarm:
    """One at a time. All in the loop's thread."""

    __test__ = False  # no test case, whatever its name

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_ns = 0
        self._fault: GatewayFault | None = None

    def begin(self, seconds: float) -> tuple[int, int]:
        """(since, until) on the clock. Raises GatewayError while one stands."""
        now_ns = self._clock.now_ns()
        if now_ns < self._until_ns:
            raise GatewayError("a test alarm stands already", mend=f"wait {(self._until_ns - now_ns) / 1e9:.0f} s")
        self._until_ns = now_ns + round(seconds * 1e9)
        self._fault = GatewayFault(RULE, Level.WARNING, seconds, math.nan, UNIT, now_ns)
        return now_ns, self._until_ns

    def faults(self, now_ns: int) -> tuple[GatewayFault, ...]:
        return (self._fault,) if self._fault is not None and now_ns < self._until_ns else ()
