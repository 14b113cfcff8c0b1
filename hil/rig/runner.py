"""Many scenarios: side by side, with a progress bar, each judged; what failed leaves its folder."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgebms.errors import EdgebmsError
from hil.errors import Missing
from hil.rig.judge import Check, judge
from hil.rig.result import Result
from hil.rig.rig import Rig, keep
from hil.rig.run_log import RunLog
from hil.scenario import Scenario

if TYPE_CHECKING:
    from hil.rig.mcu_end import BoardChoice


def run_one(
    scenario: Scenario,
    seed: int | None = None,
    traces: Path | None = None,
    kept: Path | None = None,
    package: Path | None = None,
    hardware: Path | None = None,
    board: BoardChoice | None = None,
    unit: str | None = None,
) -> Result:
    """Run and judge one scenario. traces: where to write BLF, MF4 and NDJSON. kept: where a failed run's folder goes.
    package: a folder with another ``edgebms`` for the daemon. hardware: a physical pack emulator, see ``hardware.py``.
    board: which microcontroller, for scenarios with link mcu. unit: the systemd unit that is the daemon."""
    with tempfile.TemporaryDirectory(prefix="edgebms-rig-") as name:
        folder = Path(name)
        log = RunLog(scenario, scenario.seed if seed is None else seed)
        try:
            run = Rig(log, folder, package, hardware, board, unit).run()
        except Missing as error:
            if error.installable and os.environ.get("CI") == "true":
                return Result(log, (Check("all that it needs is there", False, str(error)),))
            return Result(log, (), skipped=str(error))
        except EdgebmsError as error:
            return Result(log, (Check("the rig runs", False, str(error)),))
        except Exception:  # a defect of the rig is a failure of this scenario, not of the others
            return Result(log, (Check("the rig runs", False, traceback.format_exc()),))
        result = Result(run, tuple(judge(run)))
        if traces is not None:
            from hil.report.traces import write

            write(traces, run)
        if kept is not None and result.verdict == "fail":
            keep(folder, kept / scenario.name)
        return result


def run_all(
    scenarios: Sequence[Scenario],
    *,
    jobs: int = 0,
    seed: int | None = None,
    traces: Path | None = None,
    kept: Path | None = None,
    quiet: bool = False,
    hardware: Path | None = None,
    board: BoardChoice | None = None,
    package: Path | None = None,
    unit: str | None = None,
    told: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Results in the scenarios' order. jobs: so many at once, 0 = one a core; those on the machine's own clock mostly
    wait, so twice as many of them run beside the others. told: called with each result as it comes."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    jobs = jobs or os.cpu_count() or 1
    results: dict[str, Result] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, disable=quiet, transient=False) as progress:
        bar = progress.add_task("scenarios", total=len(scenarios))
        context = multiprocessing.get_context("forkserver")
        futures = []
        with contextlib.ExitStack() as pools:
            parts = [(2 * jobs, [s for s in scenarios if s.realtime]), (jobs, [s for s in scenarios if not s.realtime])]
            one = hardware is not None or unit is not None or (board is not None and board.port is not None)
            for workers, wanted in [(1, list(scenarios))] if one else parts:  # there is one bench
                pool = pools.enter_context(concurrent.futures.ProcessPoolExecutor(workers, mp_context=context))
                futures += [pool.submit(run_one, scenario, seed, traces, kept, package, hardware, board, unit) for scenario in wanted]
            for future in concurrent.futures.as_completed(futures):
                result = future.result()
                results[result.name] = result
                if told is not None:
                    told(result)
                progress.update(bar, advance=1, description=result.name[:32].ljust(32))
    return [results[scenario.name] for scenario in scenarios]
