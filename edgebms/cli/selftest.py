"""``edgebms selftest -c gateway.toml``: a test alarm through the running daemon, looked for at each outlet from outside."""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebms.errors import ConfigError, EdgebmsError, GatewayError

if TYPE_CHECKING:
    from edgebms.config import Config
    from edgebms.control import Status
    from edgebms.outlet_readers import Reader

READY_S = 12.0
SLACK_S = 5.0
"""So much longer than the alarm stands is looked for its end."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "selftest",
        help="a test alarm through every outlet of the running daemon",
        description="Let the running daemon raise a test alarm (a warning, marked as a test) that ends by itself, and look for it at each configured "
        "outlet as an outside reader would. Exit code 0 only where each one showed it and its end.",
    )
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="gateway.toml")
    parser.add_argument("--seconds", type=float, help="how long it stands; default: as long as the slowest outlet needs, at least 5")
    parser.set_defaults(func=run)


class Sight:
    """What one outlet showed. Times in ms from the beginning and from the end of the test alarm."""

    def __init__(self, name: str, packs: frozenset[str]) -> None:
        self.name, self.packs = name, packs
        self.ready = threading.Event()
        self.problem = self.mend = ""
        self._shown: dict[str, int] = {}
        self._over: dict[str, int] = {}

    def told(self, pack: str, standing: bool) -> None:
        now_ns = time.monotonic_ns()
        if standing:
            self._shown.setdefault(pack, now_ns)
        elif pack in self._shown:
            self._over.setdefault(pack, now_ns)

    @property
    def done(self) -> bool:
        return self.packs <= self._over.keys()

    def shown_ms(self, since_ns: int) -> float | None:
        """When the last of the packs showed it; None while one has not."""
        return (max(self._shown.values()) - since_ns) / 1e6 if self.packs <= self._shown.keys() else None

    def over_ms(self, until_ns: int) -> float | None:
        return (max(self._over.values()) - until_ns) / 1e6 if self.done else None

    def look(self, reader: Reader, stop: threading.Event) -> None:
        """In a thread of its own."""
        from edgebms.outlet_readers import Watch

        try:
            reader(Watch(self.ready.set, self.told, stop))
        except EdgebmsError as error:
            self.problem, self.mend = error.what, error.mend
        except OSError as error:
            self.problem = (error.strerror or str(error)) if not error.filename else f"{error.filename}: {error.strerror}"
            self.mend = "look at the daemon's journal for why it does not listen, and at who may read"
        except Exception as error:  # one reader's fault is no other's
            self.problem, self.mend = f"{type(error).__name__}: {error}", "report it"
        self.ready.set()


def run(args: argparse.Namespace) -> int:
    from edgebms import config as configuration
    from edgebms.control import Begun, SelftestAsk, Status, StatusAsk, ask
    from edgebms.outlet_readers import readers

    config, where = configuration.load(args.config), str(args.config)
    seconds = args.seconds if args.seconds is not None else long_enough(config)
    if not 1 <= seconds <= 600:
        raise ConfigError(f"{seconds:g} s", where="--seconds", mend="give 1 to 600")

    def status() -> Status:
        answer = ask(config, where, StatusAsk())
        assert isinstance(answer, Status)
        return answer

    before = status()
    if {pack.name for pack in before.packs} != {pack.name for pack in config.pack}:
        raise GatewayError("the daemon runs with other packs than the file names", where=where, mend="reload it: systemctl reload edgebms")
    packs = frozenset(pack.name for pack in config.pack)
    stop = threading.Event()
    sights = [Sight(name, packs) for name in readers(config)]
    for sight, reader in zip(sights, readers(config).values(), strict=True):
        threading.Thread(target=sight.look, args=(reader, stop), daemon=True).start()
    end_s = time.monotonic() + READY_S
    for sight in sights:
        if not sight.ready.wait(max(0.0, end_s - time.monotonic())):
            sight.problem, sight.mend = "does not answer", "look at the daemon's journal"
    counted = status()
    begun = ask(config, where, SelftestAsk(seconds))
    assert isinstance(begun, Begun)
    print(f"a test alarm stands for {seconds:g} s", flush=True)
    end_s = time.monotonic() + seconds + SLACK_S
    until_s = time.monotonic() + seconds
    while time.monotonic() < end_s and not (time.monotonic() > until_s and all(sight.done or sight.problem for sight in sights)):
        time.sleep(0.05)
    stop.set()
    after = status()
    rows = [row_of(sight, begun, after) for sight in sights]
    rows += [can_row(outlet.name, counted, after) for outlet in after.outlets if outlet.name.startswith(("can-", "mcu-"))]
    rows += [missing_row(name, after) for name in wanted_names(config) if name not in {row[0] for row in rows}]
    print(table(rows))
    return 0 if all(row[1] == "ok" for row in rows if row[1] != "-") else 1


def long_enough(config: Config) -> float:
    """Three sweeps of the slowest pack, two messages of the broker's, and never less than 5 s."""
    sweeps = max((pack.period_s or 1.0) for pack in config.pack)
    every_s = config.outlet.mqtt.every_s if config.outlet.mqtt is not None else 0.0
    return min(600.0, max(5.0, 3 * sweeps, 2 * every_s + 1))


def wanted_names(config: Config) -> list[str]:
    outlet = config.outlet
    names = ["ndjson"]
    names += [name for name in ("socket", "mqtt", "metrics", "page") if getattr(outlet, name) is not None]
    return names + [f"can-{entry.bus}" for entry in outlet.can] + [f"mcu-{entry.bus}" for entry in outlet.mcu]


UNSEEN = {
    "mqtt": "may the gateway's user read its own topics at this broker (its access list)? is the pack silent? see edgebms status",
    "ndjson": "is it the file that the daemon writes to, and is there room on its disk? see edgebms status",
}
"""What to look at where an outlet answers and shows nothing."""

Row = tuple[str, str, str, str, str]
"""Outlet, ok | WRONG | -, shown after, cleared after, what is wrong and how to mend it."""


def row_of(sight: Sight, begun: Any, after: Status) -> Row:
    shown, over = sight.shown_ms(begun.since_ns), sight.over_ms(begun.until_ns)
    if shown is not None and over is not None:
        return sight.name, "ok", f"{shown:.0f} ms", f"{over:.0f} ms", ""
    faults = [fault for outlet in after.outlets if outlet.name == sight.name for fault in outlet.faults]
    text = sight.problem or ("the alarm was not seen" if shown is None else "its end was not seen")
    mend = sight.mend or UNSEEN.get(sight.name, "is the pack silent? see edgebms status, and the daemon's journal")
    told = f" (the daemon says {', '.join(faults)})" if faults else ""
    return (
        sight.name,
        "WRONG",
        "-" if shown is None else f"{shown:.0f} ms",
        "-" if over is None else f"{over:.0f} ms",
        f"{text}{told} - {mend}",
    )


def can_row(name: str, before: Status, after: Status) -> Row:
    """Frames and advice cannot be read back from the bus: the daemon counts what it sent, and says what is wrong."""
    counts = [outlet.sent or 0 for status in (before, after) for outlet in status.outlets if outlet.name == name]
    sent = counts[-1] - counts[0] if len(counts) == 2 else 0
    faults = [fault for outlet in after.outlets if outlet.name == name for fault in outlet.faults]
    if sent and not faults:
        return name, "ok", f"{sent} frames sent", "-", ""
    if not sent:
        down = [bus for bus in after.buses if bus.name == name.partition("-")[2] and not bus.up]
        why = f"nothing was sent: the bus is down: {down[0].problem}" if down else "nothing was sent"
        return (
            name,
            "WRONG",
            "-",
            "-",
            f"{why}{''.join(f'; {fault}' for fault in faults)} - is transmit = true, and does a pack give valid data?",
        )
    return name, "WRONG", f"{sent} frames sent", "-", f"{', '.join(faults)} - see docs/integrator.md for the fault"


def missing_row(name: str, after: Status) -> Row:
    standing = {outlet.name: outlet for outlet in after.outlets}
    if name not in standing:
        return name, "WRONG", "-", "-", "the daemon runs without it - reload it: systemctl reload edgebms"
    faults = standing[name].faults
    if faults:
        return name, "WRONG", "-", "-", f"{', '.join(faults)} - look at the daemon's journal"
    return name, "-", "-", "-", "goes to whoever started the daemon: it cannot be looked at from here"


def table(rows: list[Row]) -> str:
    shown = [("outlet", "", "alarm seen after", "cleared after", ""), *rows]
    widths = [max(len(row[i]) for row in shown) for i in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)), row[4]]).rstrip() for row in shown
    )
