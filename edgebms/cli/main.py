"""The command ``edgebms``: one file a verb. Exit codes: 0 well, 1 failed, 2 wrong usage, 3-10 see
``edgebms.errors``, 130 interrupted.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from edgebms import __version__
from edgebms.errors import EdgebmsError

VERBS = (
    "run",
    "replay",
    "demo",
    "check",
    "explain",
    "fit",
    "schema",
    "bench",
    "health",
    "audit",
    "acknowledge",
    "selftest",
    "status",
    "keys",
)

EPILOG = """exit codes:
  0 done                     3 bad configuration or limits file   6 bad log file
  1 something failed         4 bad profile or DBC                 7 bad model
  2 wrong usage              5 bad cell card                      8 an optional package is missing
  10 no daemon answers       9 bad checkpoint or state file      130 interrupted"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgebms",
        description="Edge BMS reasoning runtime: cell telemetry in, JSON decisions with reasons out.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edgebms {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        import_module(f"edgebms.cli.{verb}").add_parser(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    for library in ("can", "asammdf"):  # they tell of each bad line on standard error; we count them and say so once
        logging.getLogger(library).addHandler(logging.NullHandler())
    try:
        code = args.func(args)
        sys.stdout.flush()
        return int(code)
    except EdgebmsError as error:
        print(f"edgebms: error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader (head, less) went away: end quietly, and keep the interpreter from flushing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
