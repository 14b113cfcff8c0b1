"""``edgebms fit LOG...``: a cell card from characterisation logs; says what the logs do not tell."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebms.vocabulary import Chemistry

if TYPE_CHECKING:
    from edgebms.cellcard import CardLimits, CellCard


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "fit",
        help="make a cell card from characterisation logs",
        description="Fit a cell card to characterisation logs (Battery Data Format, parquet or CSV): slow discharge and charge, pulses, "
        "constant-current discharges, any temperature. Each log starts from a full charge or has the column net_capacity_ah counted from one. "
        "What a log holds is told from its data.",
    )
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG")
    parser.add_argument("--name", required=True, help="name of the card")
    parser.add_argument("--cell", required=True, help="maker and type of the cell")
    parser.add_argument("--chemistry", required=True, choices=[chemistry.value for chemistry in Chemistry])
    parser.add_argument("--capacity", required=True, type=float, metavar="AH", help="nominal capacity of one cell")
    parser.add_argument("--reference", type=float, metavar="AH", help="capacity that SOC counts in (default: that of the slow discharge)")
    parser.add_argument(
        "--voltage", type=float, nargs=2, metavar=("MIN", "MAX"), help="the cell's voltage limits (default: the chemistry's)"
    )
    parser.add_argument("--fallback", metavar="CARD", help="card for what the logs do not tell (default: generic_<chemistry>)")
    parser.add_argument("-o", "--output", type=Path, metavar="card.toml", help="default: standard output")
    parser.add_argument("--plot", type=Path, metavar="fit.png", help="fit against data (needs matplotlib)")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    import sys

    from edgebms.cardfit.card import fit_card
    from edgebms.cardfit.log import read_log
    from edgebms.cardfit.write import card_toml
    from edgebms.cellcard import load_card
    from edgebms.errors import CardError, MissingExtra

    for name in ("capacity", "reference"):
        value = getattr(args, name)
        if value is not None and not 0.01 <= value <= 10_000:
            raise CardError(f"{value:g} Ah is no capacity of a cell", where=f"--{name}", mend="state the capacity of one cell in Ah")
    fallback = load_card(args.fallback or f"generic_{args.chemistry.lower()}")
    limits = limits_of(fallback, args.voltage)
    logs = [read_log(path, args.capacity) for path in args.logs]
    try:
        fitted = fit_card(logs, args.name, args.cell, Chemistry(args.chemistry), args.capacity, args.reference, limits, fallback)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"fitting needs {error.name}", where="fit", mend="pip install 'edgebms[fit]'") from None
    for line in fitted.found:
        print(f"found    {line}", file=sys.stderr)
    for line in fitted.missing:
        print(f"missing  {line}", file=sys.stderr)
    for line in fitted.errors():
        print(f"fit      {line}", file=sys.stderr)
    text = card_toml(fitted.card, "Made by edgebms fit. The limits are the fallback's: put in those of the cell's data sheet.")
    if args.plot is not None:
        from edgebms.cardfit.plot import plot

        write(lambda: plot(fitted, args.plot), args.plot)
        print(f"plot     {args.plot}", file=sys.stderr)
    if args.output is None:
        print(text)
    else:
        write(lambda: args.output.write_text(text, encoding="utf-8"), args.output)
        print(f"card     {args.output}", file=sys.stderr)
    return 0


def write(how: Any, path: Path) -> None:
    from edgebms.errors import CardError

    try:
        how()
    except OSError as error:
        raise CardError(f"cannot be written: {error.strerror}", where=str(path), mend="name a file in a folder that is there") from None


def limits_of(fallback: CellCard, voltage: list[float] | None) -> CardLimits:
    import msgspec

    from edgebms.errors import CardError

    limits = fallback.limits
    if voltage is None:
        return limits
    low, high = voltage
    if not 0.5 <= low < high <= 6.0:
        raise CardError(
            f"{low:g} to {high:g} V are no limits of a cell", where="--voltage", mend="state the lower, then the upper limit in V"
        )
    float_v = min(max(limits.voltage_float_v, low + 0.5 * (high - low)), high)
    return msgspec.structs.replace(
        limits, voltage_min_v=low, voltage_max_v=high, voltage_float_v=float_v, source=f"voltages as stated; others: {limits.source}"
    )
