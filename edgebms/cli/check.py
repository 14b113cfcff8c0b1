"""``edgebms check -c gateway.toml``: what is wrong, where, and how to mend it, before anything runs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgebms.errors import ConfigError, EdgebmsError


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "check",
        help="check a configuration and all that it names",
        description="Check the configuration, and each profile, DBC, card, limits file and model that it names.",
    )
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="gateway.toml")
    parser.add_argument("--live", action="store_true", help="then listen to the buses: missing, unknown and late ids, load, errors")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to listen; default 10")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    from edgebms import config as configuration
    from edgebms.cellcard import load_card
    from edgebms.estimator.student import load_student
    from edgebms.guard.limits import load_limits
    from edgebms.reasoner.student import load_reasoner
    from edgebms.telemetry.profile import load_profile

    config = configuration.load(args.config)
    print(f"ok    {args.config}: {len(config.pack)} pack(s), site {config.site.kind}")
    codes: list[int] = []

    def attempt(what: str, load: Callable[[], str]) -> None:
        try:
            print(f"ok    {what}: {load()}")
        except EdgebmsError as error:
            print(f"WRONG {what}: {error}")
            codes.append(error.exit_code)

    for pack in config.pack:
        attempt(f"{pack.name} profile {pack.profile}", lambda pack=pack: describe_profile(load_profile(pack.profile, pack)))  # type: ignore[misc]
        if pack.shunt is not None:
            attempt(f"{pack.name} shunt {pack.shunt.profile}", lambda pack=pack: describe_shunt(pack))  # type: ignore[misc]
        attempt(f"{pack.name} card {pack.card}", lambda pack=pack: describe_card(load_card(pack.card)))  # type: ignore[misc]
        attempt(f"{pack.name} limits {pack.limits}", lambda pack=pack: f"{len(load_limits(pack.limits, load_card(pack.card), pack))} rows")  # type: ignore[misc]
    for i, bus in enumerate(config.bus):
        attempt(f"bus {bus.name}", lambda i=i, bus=bus: describe_bus(bus, f"{args.config}: bus[{i}]"))  # type: ignore[misc]
    if config.outlet.can:
        attempt("inverter frames", lambda: describe_inverters(config, str(args.config)))
    if config.outlet.mcu:
        attempt("microcontrollers", lambda: describe_microcontrollers(config, str(args.config)))
    if config.outlet.mqtt is not None:
        attempt(f"mqtt {config.outlet.mqtt.host}", lambda: describe_mqtt(config))
    if config.students.state:
        attempt(f"student {config.students.state}", lambda: load_student(config.students.state).describe())
    if config.students.reasoner:
        attempt(f"reasoner {config.students.reasoner}", lambda: load_reasoner(config.students.reasoner).describe())
    if config.record.folder:
        attempt(f"record {config.record.folder}", lambda: describe_record(config.record, len(config.pack), f"{args.config}: record.folder"))
    elif config.bus:
        print("note  record.folder is not set: nothing survives a restart, and an alert leaves no black box")
    if config.bus and not config.control.socket:
        print("note  control.socket is not set: nobody can acknowledge a latched alert, or run edgebms selftest")
    if config.site.kind == "not_stated":
        print("note  site.kind is not stated: stop_discharge and open_contactors go out as advice to a person, never as a command")
    if args.live and not codes:
        codes += listen(config, args)
    return codes[0] if codes else 0


def listen(config: Any, args: argparse.Namespace) -> list[int]:
    """[1] where the traffic is not what the profiles say."""
    from edgebms.livecheck import check
    from edgebms.reload import load

    if not 0 < args.seconds <= 3600:
        raise ConfigError(f"{args.seconds:g} s", where="--seconds", mend="give 1 to 3600")
    load(args.config)
    print(f"note  listening for {args.seconds:g} s", flush=True)
    findings = list(check(config, args.seconds))
    for finding in findings:
        print(f"{'WRONG' if finding.wrong else 'ok   '} {finding.text}")
    return [1] if any(finding.wrong for finding in findings) else []


def describe_mqtt(config: Any) -> str:
    from edgebms.outlet import mqtt_access

    settings = config.outlet.mqtt
    warnings = mqtt_access.check(settings)
    way = "TLS" if settings.tls else "unencrypted"
    name = mqtt_access.client_id(settings, tuple(pack.name for pack in config.pack))
    return "; ".join((f"port {settings.port}, {way}, client id {name}", *warnings))


def describe_bus(bus: Any, where: str) -> str:
    from edgebms.inlet.links import check_bus

    check_bus(bus, where)
    return f"{bus.interface} {bus.channel or ''}, {'may transmit' if bus.transmit else 'listen-only'}"


def describe_microcontrollers(config: Any, where: str) -> str:
    from edgebms.outlet.mcu_check import check

    check(config, where)
    from firmware_bridge.freshness import reserved_in
    from firmware_bridge.keys import KeyProblem, read_key

    told = []
    for settings in config.outlet.mcu:
        try:
            key = read_key(Path(settings.key_file))
            reserved_in(Path(settings.counter_file), key.fingerprint)
        except KeyProblem as problem:
            raise ConfigError(problem.what, where=problem.where, mend=problem.mend) from None
        told.append(f"{settings.bus}: microcontroller {settings.mcu_id}, key {key.number} ({key.fingerprint})")
    return "; ".join(told)


def describe_inverters(config: Any, where: str) -> str:
    from edgebms.outlet.can_check import check, summed

    check(config, where)
    return "; ".join(
        f"{settings.protocol} on {settings.bus}, packs {', '.join(pack.name for pack in summed(settings, config))}"
        for settings in config.outlet.can
    )


def describe_shunt(pack: Any) -> str:
    from edgebms.telemetry.shunt import Shunt

    Shunt(pack.shunt, pack)
    return f"its current replaces the pack's{', sign turned' if pack.shunt.invert else ''}"


def describe_card(card: Any) -> str:
    return f"{card.cell}, {card.chemistry}, {card.capacity_ah:g} Ah, {card.quality}"


def describe_profile(profile: Any) -> str:
    return str(profile.describe())


def describe_record(record: Any, packs: int, where: str) -> str:
    """Can it be written, and how much a day at most (docs/record.md)."""
    nearest = Path(record.folder).absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise ConfigError(f"{nearest} cannot be written", where=where, mend="name a folder that the gateway's user can write")
    a_day = record.checkpoint_mb_per_day + packs * (record.boxes_mb + record.box_mb + 2 * record.audit_mb)
    in_all = packs * (record.boxes_mb + record.audit_mb)
    return f"at most {a_day:g} MB written a day, {in_all:g} MB kept"
