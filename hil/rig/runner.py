"""Many scenarios: side by side, with a progress bar, each judged; what failed leaves its folder."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from hil.errors import RigError
from hil.rig.judge import Check, judge
from hil.rig.result import Result
from hil.rig.rig import Rig, keep
from hil.scenario import Scenario


def run_one(scenario: Scenario, seed: int | None = None, traces: Path | None = None, kept: Path | None = None) -> Result:
    """Run and judge one scenario. traces: where to write BLF, MF4 and NDJSON. kept: where a failed run's folder goes."""
    with tempfile.TemporaryDirectory(prefix="edgebms-rig-") as name:
        folder = Path(name)
        rig = Rig(scenario, folder, seed)
        try:
            run = rig.run()
        except RigError as error:
            return Result(rig.log, (), skipped=str(error))
        except Exception:  # a defect of the rig is a failure of this scenario, not of the others
            return Result(rig.log, (Check("the rig runs", False, traceback.format_exc()),))
        result = Result(run, tuple(judge(run)))
        if traces is not None:
            from hil.report.traces import write

            write(traces, run)
        if kept is not None and not result.passed:
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
) -> list[Result]:
    """Results in the scenarios' order. jobs: so many at once, 0 = one a core; those on the machine's own clock mostly
    wait, so twice as many of them."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    jobs = jobs or os.cpu_count() or 1
    results: dict[str, Result] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, disable=quiet, transient=False) as progress:
        bar = progress.add_task("scenarios", total=len(scenarios))
        for part, workers in ((False, jobs), (True, 2 * jobs)):
            wanted = [scenario for scenario in scenarios if scenario.realtime == part]
            if not wanted:
                continue
            context = multiprocessing.get_context("forkserver")
            with concurrent.futures.ProcessPoolExecutor(min(workers, len(wanted)), mp_context=context) as pool:
                futures = {pool.submit(run_one, scenario, seed, traces, kept): scenario for scenario in wanted}
                for future in concurrent.futures.as_completed(futures):
                    result = future.result()
                    results[result.name] = result
                    progress.update(bar, advance=1, description=result.name[:32].ljust(32))
    return [results[scenario.name] for scenario in scenarios]
