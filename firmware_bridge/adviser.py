"""When advice is sent, and when again. No clock, no I/O: milliseconds on the gateway's clock are passed in.

The newest command alone counts: what was sent and got no answer is followed by what holds now, never repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from firmware_bridge.advice import sign
from firmware_bridge.codec import Advice
from firmware_bridge.codes import ACK_TIMEOUT_MS, EXPIRY_MAX_MS, MAC_BYTES, SENDS_MAX, Verdict
from firmware_bridge.keys import Key, KeyProblem

WRAP = 1 << 32
GAP_MS = 40
"""Between two messages of advice, however often the command changes."""


class Command(NamedTuple):
    """What a decision asks of the microcontroller, in ADVICE's units. decided_ms: on the gateway's clock; it holds until
    ``decided_ms + expires_ms``."""

    action: int
    mode: int
    cool: int
    charge_da: int
    discharge_da: int
    charge_dv: int
    discharge_dv: int
    decided_ms: int
    expires_ms: int

    def stricter(self, than: Command) -> bool:
        """Something else is asked for, or a limit fell (a lower discharge voltage is the looser one)."""
        return (
            self[:3] != than[:3]
            or any(new < old for new, old in zip(self[3:6], than[3:6], strict=True))
            or (self.discharge_dv > than.discharge_dv)
        )


class McuClock(NamedTuple):
    """The microcontroller's clock as last heard: its time_ms, and when that came on the gateway's clock."""

    session: int
    time_ms: int
    at_ms: int


class Adviser:
    """``tell`` it each command, ask ``due`` for what is to be sent, say what was ``answered``.

    every_ms: advice that has not changed is renewed so often. wire_ms: what a message and its answer take on the line.
    sent, accepted, unanswered: messages. refused: by verdict.
    """

    def __init__(
        self,
        gateway_id: int,
        mcu_id: int,
        key: Key,
        next_freshness: Callable[[], int],
        *,
        every_ms: int = 500,
        wire_ms: int = 0,
    ) -> None:
        self._gateway_id, self._mcu_id, self._key, self._next_freshness = gateway_id, mcu_id, key, next_freshness
        self._every_ms, self._patience_ms = every_ms, ACK_TIMEOUT_MS + wire_ms
        self.sent = self.accepted = self.unanswered = 0
        self.refused: Counter[int] = Counter()
        self.problem = ""
        """Why no freshness could be had, in words; "" = it could."""
        self.last_refusal: tuple[int, int] | None = None
        """(verdict, when)"""
        self.waiting_since_ms: int | None = None
        """When the first message went that no answer came for since."""
        self._command: Command | None = None
        self._told: Command | None = None
        """What was sent last."""
        self._sent_ms: int | None = None
        self._tries = 0
        """How often, while no answer came; 0 = answered or given up."""
        self._freshness = 0

    def tell(self, command: Command) -> None:
        self._command = command

    def holds(self, now_ms: int) -> bool:
        """There is a command that has not expired."""
        command = self._command
        return command is not None and now_ms - command.decided_ms < min(command.expires_ms, EXPIRY_MAX_MS)

    def forget(self) -> None:
        """The microcontroller started anew: what it was told is gone."""
        self._told, self._tries, self.waiting_since_ms = None, 0, None

    def due(self, now_ms: int, clock: McuClock) -> Advice | None:
        """Advice to send now; None where there is nothing to say."""
        command, told = self._command, self._told
        if command is None or not self.holds(now_ms):
            self._tries, self.waiting_since_ms = 0, None
            return None
        since_ms = now_ms - self._sent_ms if self._sent_ms is not None else self._every_ms
        changed = told is None or command.stricter(told)
        if since_ms < GAP_MS:
            return None
        if not changed:
            if since_ms < (self._patience_ms if self._tries else self._every_ms):
                return None
            if self._tries >= SENDS_MAX:
                self.unanswered += 1
                self._tries = 0
                return None
        self._sent_ms = now_ms
        try:
            self._freshness = self._next_freshness()
        except KeyProblem as error:
            self.problem = str(error)
            return None
        self.problem = ""
        self._tries = 1 if changed else self._tries + 1
        self._told = command
        if self.waiting_since_ms is None:
            self.waiting_since_ms = now_ms
        self.sent += 1
        return sign(
            Advice(
                self._gateway_id,
                self._mcu_id,
                self._key.number,
                self._freshness,
                *command[:7],
                session=clock.session,
                issued_ms=(clock.time_ms - clock.at_ms + command.decided_ms) % WRAP,
                expiry_ms=min(command.expires_ms, EXPIRY_MAX_MS),
                mac=bytes(MAC_BYTES),
            ),
            self._key.secret,
        )

    def overheard(self, verdict: int, now_ms: int) -> None:
        """The microcontroller has refused something; whose it was is not known."""
        self.last_refusal = (verdict, now_ms)

    def answered(self, freshness: int, verdict: int, now_ms: int) -> None:
        """An answer came. One to older advice than the last says only that the line lives."""
        self.waiting_since_ms = None
        if verdict == Verdict.ACCEPTED:
            self.accepted += 1
        else:
            self.refused[verdict] += 1
            self.last_refusal = (verdict, now_ms)
        if freshness == self._freshness:
            self._tries = 0
