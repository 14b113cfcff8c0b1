"""What is said on the control socket: one JSON line asked, one JSON line answered, and the client's side of it.

Types at the border, sizes bounded, unknown fields refused. Cells and probes are counted from 1 in here.
"""

from __future__ import annotations

import socket
from typing import Annotated

import msgspec
from msgspec import Meta

from edgebms.config import Config
from edgebms.errors import ConfigError, GatewayError

REQUEST_BYTES, REPLY_BYTES = 4096, 4 << 20
CLIENT_S = 12.0
"""How long a client waits for an answer: longer than the daemon lets its loop take."""

PackName = Annotated[str, Meta(min_length=1, max_length=64)]


class AcknowledgeAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="verb", tag="acknowledge"):
    """rule: of the limits file, as in an alert's evidence; null = every latched one of the pack."""

    pack: PackName
    rule: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class SelftestAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="verb", tag="selftest"):
    """seconds: how long the test alarm stands."""

    seconds: Annotated[float, Meta(ge=1, le=600)] = 5.0


class StatusAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="verb", tag="status"):
    pass


Ask = AcknowledgeAsk | SelftestAsk | StatusAsk


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A latched rule and what became of it. opened, stands: places (cells, probes, the pack) where its latch opened, and
    where it stays shut. hazard: of its alert. value: the last one known at the first place that stands, in ``unit``. over: when
    its cause is over."""

    rule: str
    hazard: str
    opened: int
    stands: int
    value: float | None
    unit: str
    over: str


class Acknowledged(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="answer", tag="acknowledged"):
    """rules: what was asked for. latched: the rules whose latch is shut now."""

    pack: str
    rules: tuple[Rule, ...]
    latched: tuple[str, ...]


class Begun(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="answer", tag="begun"):
    """The test alarm stands from since_ns to until_ns of the machine's monotonic clock."""

    since_ns: int
    until_ns: int


class BusStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """problem: why it is down, "" while it is up. counts: see ``inlet.link.Counts``."""

    name: str
    interface: str
    up: bool
    problem: str
    counts: dict[str, int]


class OutletStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """dropped: cyclic decisions that found no room; lost_changes: others; failed: attempts that raised. sent: frames, of
    an outlet that counts them. faults: what stands."""

    name: str
    dropped: int
    lost_changes: int
    failed: int
    sent: int | None
    faults: tuple[str, ...]


class PackStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """decisions: since the daemon's start. age_s: of the last one, null before the first. latched: rules to acknowledge."""

    name: str
    decisions: int
    age_s: float | None
    valid_cells: int | None
    cells: int
    alerts: tuple[str, ...]
    latched: tuple[str, ...]


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="answer", tag="status"):
    """since: UTC of the start, null where no wall clock was known then. faults: the gateway's own, without buses and outlets."""

    runtime: str
    pid: int
    since: str | None
    running_s: float
    packs: tuple[PackStatus, ...]
    buses: tuple[BusStatus, ...]
    outlets: tuple[OutletStatus, ...]
    faults: tuple[str, ...]


class Refused(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="answer", tag="error"):
    what: str
    mend: str = ""


Answer = Acknowledged | Begun | Status | Refused

asks: msgspec.json.Decoder[Ask] = msgspec.json.Decoder(Ask)
answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def ask(config: Config, where: str, request: Ask) -> Acknowledged | Begun | Status:
    """The running daemon's answer. ``where`` names the configuration in errors. Raises ConfigError where it has no control
    socket, GatewayError where no daemon answers or it refuses."""
    path = config.control.socket
    if not path:
        raise ConfigError(
            "names no control socket",
            where=f"{where}: control.socket",
            mend='set it, e.g. socket = "/run/edgebms/control.sock", and reload the daemon',
        )
    data = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(CLIENT_S)
            connection.connect(path)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            while not data.endswith(b"\n") and len(data) < REPLY_BYTES:
                piece = connection.recv(65536)
                if not piece:
                    break
                data += piece
    except (FileNotFoundError, ConnectionRefusedError):
        raise GatewayError(
            "no daemon answers", where=path, mend="start it: systemctl start edgebms, or edgebms run -c gateway.toml"
        ) from None
    except PermissionError:
        raise GatewayError(
            "may not be written to by this user", where=path, mend="ask as the daemon's user or root, or see control.mode"
        ) from None
    except OSError as error:
        raise GatewayError(f"no answer: {error}", where=path, mend="look at the daemon's journal: journalctl -u edgebms") from None
    try:
        answer = answers.decode(bytes(data))
    except msgspec.DecodeError:
        raise GatewayError("answers what this version does not read", where=path, mend="use the daemon's version of edgebms") from None
    if isinstance(answer, Refused):
        raise GatewayError(answer.what, where=path, mend=answer.mend)
    return answer
