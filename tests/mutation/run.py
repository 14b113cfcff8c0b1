"""Mutation testing of edgebms/guard: each mutant must make a test of tests/guard fail.

    python tests/mutation/run.py            every mutant (some twenty minutes)
    python tests/mutation/run.py --short    a sample drawn by --seed, for some ninety seconds

The tests are collected once; each mutant is put into a forked child, which runs the tests that reach the
mutated statement, until one fails. A mutant that lives must stand in survivors.toml with its reason: one that does not is shown
to every test that reaches it before it is told. A survivor listed there that dies, or is no longer made, fails the full run.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType

import coverage
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "edgebms.guard"
FOLDER = ROOT / "edgebms" / "guard"
TESTS = ["tests/guard", "--ignore=tests/guard/test_guard_data.py"]  # long, and it looks at data
SURVIVORS = Path(__file__).parent / "survivors.toml"
SHORT_S = 50.0
TESTS_SHARE = 0.35
"""A mutant is shown to the tests that reach it, up to this share of what all tests take on the machine as it is: the direct ones
first, then those of the rows, each lot by its time. What only a long test sees is not seen."""
KILLED, LIVES, TIMED_OUT = "killed", "lives", "timed out"


@dataclass
class Baseline:
    """reach: module -> line -> indices of the tests that run it. seconds: processor time of each test."""

    reach: dict[str, dict[int, set[int]]]
    seconds: list[float]


class Runner:
    """A pytest plugin: takes the place of the test loop."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.failed = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.session = session
        self.items = list(session.items)
        started = time.monotonic()
        baseline = self._baseline()
        wanted = [
            mutant
            for path in sorted(FOLDER.glob("*.py"))
            if not self.options.module or path.stem in self.options.module
            for mutant in mutants(path.stem, path.read_text(encoding="utf-8"))
        ]
        if self.options.ids:
            ids = set(json.loads(Path(self.options.ids).read_text(encoding="utf-8")))
            wanted = [mutant for mutant in wanted if mutant.id in ids]
        random.Random(self.options.seed).shuffle(wanted)
        print(f"{len(wanted)} mutants, {len(self.items)} tests, baseline {time.monotonic() - started:.0f} s", flush=True)
        deadline = time.monotonic() + SHORT_S if self.options.short else float("inf")
        outcome = self._run_all(wanted, baseline, deadline)
        self.failed = self._report(wanted, outcome, started)
        return True

    # ---- children

    def _baseline(self) -> Baseline:
        """Every test once, unmutated, in a child: which lines it reaches and how long it takes."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "reach.json"
            child = os.fork()
            if not child:
                cover = coverage.Coverage(data_file=None, source=[str(FOLDER)], config_file=False)
                cover.start()
                seconds = []
                for index, item in enumerate(self.items):
                    cover.switch_context(str(index))
                    at = time.process_time()
                    self._test(item)
                    seconds.append(time.process_time() - at)
                    if self.session.testsfailed:
                        print(f"fails without any mutant: {item.nodeid}", flush=True)
                        os._exit(1)
                cover.stop()
                data = cover.get_data()
                reach = {Path(name).stem: data.contexts_by_lineno(name) for name in data.measured_files()}
                file.write_text(json.dumps({"reach": reach, "seconds": seconds}))
                os._exit(0)
            _, status = os.waitpid(child, 0)
            if status:
                raise pytest.UsageError("the tests fail without any mutant")
            kept = json.loads(file.read_text())
        return Baseline(
            {
                module: {int(line): {int(test) for test in tests if test} for line, tests in lines.items()}
                for module, lines in kept["reach"].items()
            },
            kept["seconds"],
        )

    def _test(self, item: pytest.Item) -> None:
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)

    def _run_all(self, wanted: list[Mutant], baseline: Baseline, deadline: float) -> dict[str, str]:
        outcome: dict[str, str] = {}
        running: dict[int, tuple[Mutant, float, bool]] = {}
        waiting, explained = list(reversed(wanted)), survivors()
        while waiting or running:
            while waiting and len(running) < self.options.jobs and time.monotonic() < deadline:
                mutant = waiting.pop()
                tests = self._tests_of(mutant, baseline)
                if not tests:
                    outcome[mutant.id] = LIVES
                    continue
                running[self._fork(mutant, tests)] = (mutant, time.monotonic() + limit_s(tests, baseline), False)
            if time.monotonic() >= deadline:
                waiting.clear()
            for child, (mutant, until, shown_all) in list(running.items()):
                done, status = os.waitpid(child, os.WNOHANG)
                if done and os.waitstatus_to_exitcode(status) == 0 and mutant.id not in explained and not shown_all:
                    # which tests fit its share hangs on the machine
                    tests = self._tests_of(mutant, baseline, share=1.0)
                    running[self._fork(mutant, tests)] = (mutant, time.monotonic() + limit_s(tests, baseline), True)
                    del running[child]
                    continue
                if done:
                    outcome[mutant.id] = LIVES if os.waitstatus_to_exitcode(status) == 0 else KILLED
                elif time.monotonic() > until:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    outcome[mutant.id] = TIMED_OUT
                else:
                    continue
                del running[child]
                if self.options.verbose or outcome[mutant.id] == LIVES:
                    print(f"{outcome[mutant.id]:9}  {mutant.id}", flush=True)
            time.sleep(0.002)
        return outcome

    def _tests_of(self, mutant: Mutant, baseline: Baseline, share: float = TESTS_SHARE) -> list[int]:
        lines = baseline.reach.get(mutant.module, {})
        if mutant.at_import:
            tests = set().union(*lines.values()) if lines else set()
        else:
            tests = set().union(*(lines.get(line, set()) for line in range(mutant.first, mutant.last + 1)))
        chosen, total_s, most_s = [], 0.0, share * sum(baseline.seconds)
        for test in sorted(tests, key=lambda test: ("guard_rows" in self.items[test].nodeid, baseline.seconds[test])):
            total_s += baseline.seconds[test]
            if total_s > most_s:
                break
            chosen.append(test)
        return chosen

    def _fork(self, mutant: Mutant, tests: list[int]) -> int:
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            put_in(mutant)
            code = 0
            for test in tests:
                self._test(self.items[test])
                if self.session.testsfailed:
                    code = 1
                    break
        except BaseException:
            code = 1
        os._exit(code)

    # ---- the outcome

    def _report(self, wanted: list[Mutant], outcome: dict[str, str], started: float) -> bool:
        listed = survivors()
        lives = {name for name, what in outcome.items() if what == LIVES}
        unexplained = sorted(lives - listed)
        full = not (self.options.short or self.options.module or self.options.ids)
        stale = sorted(listed - lives) if full else sorted(name for name in listed if outcome.get(name, LIVES) != LIVES)
        made = {mutant.id for mutant in wanted}
        for name in unexplained:
            print(f"lives, not explained in {SURVIVORS.name}:\n  {name}")
        for name in stale:
            print(f"listed in {SURVIVORS.name}, but {'killed' if name in made else 'no longer made'}:\n  {name}")
        killed = sum(what != LIVES for what in outcome.values())
        print(
            f"mutation: {len(outcome)} of {len(wanted)} mutants run, {killed} killed, {len(lives)} live "
            f"({len(lives & listed)} explained), {time.monotonic() - started:.0f} s"
        )
        if self.options.write:
            Path(self.options.write).write_text(json.dumps(sorted(unexplained), indent=1))
        return bool(unexplained or (stale and full))


def survivors() -> set[str]:
    """The ids that the list explains."""
    return {entry["id"] for entry in tomllib.loads(SURVIVORS.read_text(encoding="utf-8")).get("survivor", [])}


def limit_s(tests: list[int], baseline: Baseline) -> float:
    """How long a mutant may take."""
    return 30 + 10 * sum(baseline.seconds[test] for test in tests)


def put_in(mutant: Mutant) -> None:
    """Change the loaded module into the mutant, in place, so that everyone who imported from it sees it."""
    module = importlib.import_module(f"{PACKAGE}.{mutant.module}")
    namespace: dict[str, object] = {"__name__": module.__name__, "__file__": module.__file__}
    # dataclasses and msgspec look their module up while classes are made
    exec(compile(mutant.source, str(module.__file__), "exec"), namespace)
    if not mutant.at_import:
        live, new = module.__dict__, namespace
        for name in mutant.scope.split(".")[:-1]:
            live, new = live[name].__dict__, new[name].__dict__  # type: ignore[attr-defined]
        last = mutant.scope.split(".")[-1]
        _function(live[last]).__code__ = _function(new[last]).__code__
        return
    for name, value in namespace.items():
        old = module.__dict__.get(name)
        if old is None or value is old or name.startswith("__") or isinstance(value, ModuleType):
            continue
        made_here = getattr(value, "__module__", None) == module.__name__
        for other in list(sys.modules.values()):
            if made_here:
                _replace(other, old, value)
            elif getattr(other, "__name__", "").startswith(PACKAGE) and other.__dict__.get(name) is old:
                other.__dict__[name] = value


def _replace(module: ModuleType, old: object, new: object) -> None:
    """Put ``new`` wherever ``module`` had imported ``old``."""
    for name, value in list(getattr(module, "__dict__", {}).items()):
        if value is old:
            with contextlib.suppress(TypeError):
                setattr(module, name, new)


def _function(member: object) -> FunctionType:
    return member.fget if isinstance(member, property) else member  # type: ignore[return-value]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--module", action="append", help="only this module of the guard (may be repeated)")
    parser.add_argument("--ids", help="only the mutants whose ids this JSON file lists (as --write writes them)")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--write", help="write the unexplained survivors' ids to this file")
    options = parser.parse_args()
    os.chdir(ROOT)
    runner = Runner(options)
    code = pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-s", "--no-header", "-m", "not slow", *TESTS], plugins=[runner])
    return int(code) if code not in (0, pytest.ExitCode.NO_TESTS_COLLECTED) else int(runner.failed)


if __name__ == "__main__":
    sys.exit(main())
