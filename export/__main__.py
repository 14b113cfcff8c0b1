"""``python -m export``: evaluation and training, from a checkout. Exit codes as in ``edgebms.errors``."""

from __future__ import annotations

import argparse
import os
import sys

from edgebms.errors import EdgebmsError
from export import evaluate, train
from export.reason import command as reason

VERBS = (evaluate, train, reason)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m export", description="Evaluation and training of edgebms's estimators.")
    subparsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        verb.add_parser(subparsers)
    args = parser.parse_args(argv)
    try:
        code: int = args.func(args)
    except EdgebmsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader went away (| head): no more output, and none when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
