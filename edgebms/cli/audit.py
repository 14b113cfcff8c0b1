"""``edgebms audit FOLDER``: the decisions that changed something, one a line, in the order in which they were made.

With ``--log``: FOLDER is a file of decisions, and every observation in their traces is worked out again from the raw log.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebms.errors import ConfigError, LogError

if TYPE_CHECKING:
    from edgebms.decision.types import Decision
    from edgebms.record.audit import AuditedOrder

ORDER = b'{"schema":"edgebms.order/'


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "audit",
        help="what changed: alerts that began, rose or ended, commands, what was acknowledged",
        description="List the decisions that changed an alert's level or the command, and what people acknowledged, from the audit log. "
        "FOLDER is a pack's folder, the record's folder (all packs), or one audit file. With --log, FOLDER is a file of decisions, one a line.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--json", action="store_true", help="the decisions themselves, one a line (edgebms explain reads them)")
    parser.add_argument(
        "--log",
        type=Path,
        nargs="+",
        metavar="LOG",
        help="check instead of list: work out every observation in the decisions' traces again from these raw logs, by arithmetic of its own",
    )
    parser.add_argument("-c", "--config", type=Path, metavar="gateway.toml", help="with --log: the configuration that made the decisions")
    parser.add_argument("--pack", help="with --log: the pack that a BDF file belongs to (only needed when the config has several)")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="with --log: the checkpoint from which the gateway went on where the log begins (as in replay)",
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    if args.log:
        from edgebms.cli.audit_trace import check

        if args.config is None:
            raise ConfigError("the configuration is missing", where="audit --log", mend="give -c gateway.toml")
        return check(args.folder, args.log, args.config, args.pack, args.state)
    from edgebms.record.audit import AuditedOrder

    for files in logs(args.folder):
        before: Decision | None = None
        for line, entry in entries(files):
            if args.json:
                sys.stdout.write(line.decode() + "\n")
            elif isinstance(entry, AuditedOrder):
                print(acknowledged(entry))
            else:
                print(told(entry, before))
                before = entry
    return 0


def logs(path: Path) -> list[list[Path]]:
    """The audit files that ``path`` names, by pack, each the oldest first. Raises LogError where there are none."""
    if path.is_file():
        return [[path]]
    folders = [folder for folder in (path, *sorted(path.glob("*"))) if (folder / "audit.ndjson").is_file()]
    if not folders:
        raise LogError("holds no audit log", where=str(path), mend="name the folder of [record] in gateway.toml, or a pack's in it")
    return [[*sorted(folder.glob("audit.[0-9]*.ndjson"), reverse=True), folder / "audit.ndjson"] for folder in folders]


def entries(files: list[Path]) -> Iterator[tuple[bytes, Decision | AuditedOrder]]:
    """Lines that are decisions or orders of this version; others are told on standard error and left out. Raises LogError."""
    import msgspec

    from edgebms.decision.types import decode
    from edgebms.record.audit import AuditedOrder

    for path in files:
        unread = 0
        try:
            data = path.read_bytes()
        except OSError as error:
            raise LogError(f"cannot be read: {error.strerror}", where=str(path), mend="name an audit log") from None
        for line in data.splitlines():
            try:
                yield line, msgspec.json.decode(line, type=AuditedOrder) if line.startswith(ORDER) else decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                unread += bool(line.strip())
        if unread:
            print(f"edgebms: warning: {path}: {unread} lines are no decisions or orders of this version and were left out", file=sys.stderr)


def acknowledged(entry: AuditedOrder) -> str:
    """One line: when, which rule, what came of it, by which user's process."""
    when = entry.time or f"{entry.mono_ns / 1e9:.3f} s"
    came = "nothing was latched" if not entry.opened + entry.stands else f"{entry.opened} latches opened, {entry.stands} stay shut"
    return f"{when} {entry.pack}: uid {entry.uid} acknowledged {entry.rule}: {came}"


def told(decision: Decision, before: Decision | None) -> str:
    """One line: when, what is asked for, what began, rose, fell and ended since ``before``."""
    when = decision.time or f"{decision.mono_ns / 1e9:.3f} s"
    parts = [f"{decision.command.action.value} ({decision.command.mode.value})"]
    now = {alert.id: alert for alert in decision.alerts}
    then = {alert.id: alert for alert in before.alerts} if before is not None else {}
    for name, alert in now.items():
        where = f" cell {alert.cell}" if alert.cell is not None else f" probe {alert.probe}" if alert.probe is not None else ""
        what = f"{alert.hazard.value}{where} {alert.level}"
        if name not in then:
            parts.append(f"begins: {what}")
        elif alert.level != then[name].level:
            parts.append(f"changes: {what} (was {then[name].level})")
    parts += [f"ends: {name}" for name in then if name not in now]
    return f"{when} {decision.pack} seq {decision.seq}: {'; '.join(parts)}"
