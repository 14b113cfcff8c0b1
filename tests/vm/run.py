"""A Debian machine of its own under qemu, with SocketCAN: ``make test-vm``.

Debian's kernel, systemd and vcan0; the package installed by dpkg and run by its own unit; the rig's scenarios over
vcan0. Prints a row for each check; exit code 1 where one fails or the time is over. ``--write`` is docs/results-vm.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build/vm"
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "packaging")]
RELEASES = {(3, 11): "deb12", (3, 13): "deb13"}
"""The release whose Python runs what is installed for ours."""
if not os.environ.get("RELEASE"):  # debian_root reads it; none fits: the rig's scenarios are left out
    os.environ["RELEASE"] = RELEASES.get(sys.version_info[:2], "deb12")

import debian_root  # noqa: E402
import pytest  # noqa: E402
from image import image  # noqa: E402
from machine import Machine, NoKernel, kvm  # noqa: E402
from report import Run, line, write  # noqa: E402
from shared_data import missing  # noqa: E402

SHORT_S, LONG_S = 225.0, 29 * 60.0
"""Of the whole run, from nothing in build/ on."""
BOOT_S = 120.0
"""A machine that has told nothing by then is broken, not slow: it takes 15 s where the processor has nothing else to do."""
IN_CI = os.environ.get("CI") == "true"
"""There nothing checked is nothing passed."""
SCENARIO_S = 100.0
"""The short form runs a scenario of the rig where the machine was made within this time, or kvm runs it."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--accel", choices=["auto", "kvm", "tcg"], default="auto", help="auto: kvm where it can run the kernel")
    parser.add_argument("--only", default="", metavar="NAMES", help="checks and scenarios by name, with commas")
    parser.add_argument("--write", type=Path, metavar="FILE")
    args = parser.parse_args()
    if args.short:
        signal.signal(signal.SIGALRM, late)
        signal.alarm(int(SHORT_S) - 15)  # what runs aside is waited for
    try:
        return checked(args)
    except Late:
        print(f"left out: the machine could not be made within {SHORT_S:g} s here; run it again when there is less to do")
        return int(IN_CI)
    except pytest.skip.Exception as error:
        print(f"skipped: {error}")
        return 0
    except pytest.fail.Exception as error:
        print(f"failed: {error}")
        return 1


class Late(Exception):
    """The short form's time is over before there is a machine."""


def late(*_signal: object) -> None:
    raise Late


def checked(args: argparse.Namespace) -> int:
    began_s = time.monotonic()
    if platform.machine() != "x86_64":
        missing(f"the machine is an x86-64 one, this is {platform.machine()}")
    debian_root.need_root()
    debian_root.need("qemu-system-x86_64", "qemu-system-x86")
    out = BUILD / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    accels = {"auto": ["kvm", "tcg"] if kvm() else ["tcg"]}.get(args.accel, [args.accel])
    before = args.short  # where a processor is emulated dpkg compiles for two minutes
    with ThreadPoolExecutor(1) as aside:
        package = aside.submit(debian_root.build, debian_root.source(made(BUILD / "source")), made(BUILD / "package"))
        debian = image(BUILD, package, installed=before)
        shutil.copy(package.result(), out)
    made_s = time.monotonic() - began_s
    signal.alarm(0)
    rig = RELEASES.get(sys.version_info[:2]) == debian_root.RELEASE
    wanted = {"short": args.short, "installed": before, "only": [name for name in args.only.split(",") if name]}
    shares = {"repo": ROOT, "site": Path(sysconfig.get_paths()["purelib"]), "out": out}
    run = Run(debian.kernel_version, debian_root.RELEASE, made_s)
    limit_s = SHORT_S if args.short else LONG_S
    ended = False
    for accel in accels:
        run.accel = accel
        time_left = not args.short or accel == "kvm" or made_s < SCENARIO_S
        (out / "wanted.json").write_text(json.dumps(wanted | {"rig": rig and time_left}))
        machine = Machine(debian, shares, accel)
        try:
            ended, run.machine_s = machine.run(limit_s - (time.monotonic() - began_s), lambda row: told(run, row))
        except NoKernel:
            run.notes.append(f"{accel} does not run Debian's kernel on this machine")
            print(run.notes[-1], flush=True)
            continue
        if not ended:
            print(machine.last_words())
        break
    wrong = [row for row in run.rows if not row["ok"]]
    print(f"{len(run.rows)} checks, {len(wrong)} wrong; {run.accel}; {made_s:.0f} s to make it, {run.machine_s:.0f} s in the machine")
    if not rig:
        print(f"left out: the rig's scenarios: Python {platform.python_version()} is not that of {debian_root.RELEASE}")
    elif not time_left:
        print(f"left out: the rig's scenario: making the machine took more than {SCENARIO_S:g} s")
    if not ended:
        print(f"the machine did not come to its end within {limit_s:g} s: {BUILD}/out has its console")
        run.notes.append(f"ended after {limit_s:g} s, before its checks were done")
    if args.only:
        run.notes.append(f"no other checks were asked for than {args.only.replace(',', ', ')}")
    if args.write is not None and run.rows:
        write(args.write, run)
    if args.short and not ended and (run.rows or (run.machine_s < BOOT_S and not IN_CI)):
        print("what was not reached for want of time is no failure of the short form")
        ended = True
    return 1 if wrong or not ended else 0


def told(run: Run, row: dict) -> None:
    run.rows.append(row)
    print(line(row), flush=True)


def made(folder: Path) -> Path:
    """``folder``, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
