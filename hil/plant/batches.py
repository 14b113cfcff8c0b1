"""A corpus of the circuit plant, batch by batch: several processes side by side, and going on where it was broken off or ended before.

``tests.csv`` is there once the corpus is whole; until then its lines stand in ``tests.csv.part``, and ``plan.txt`` says of which plan they are.
"""

from __future__ import annotations

import csv
import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from itertools import count, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from edgebms.errors import LogError
from hil.plant.corpus import FIELDS, SET, need_pyarrow, row, test_name, write_parquet
from hil.plant.episodes import Plan, run_batch, troupe

Task = tuple[Plan, int, int, int, Path]
"""Plan, batch, its first pack's number, how many of its packs, folder."""


def sizes(plan: Plan, packs: int) -> Iterator[tuple[int, int, int]]:
    """(batch, its first pack's number, how many of its packs) until there are ``packs``."""
    first = 0
    for batch in count():
        if first >= packs:
            return
        held = len(troupe(plan, batch)[2])
        yield batch, first, min(held, packs - first)
        first += held


def make_batch(task: Task) -> list[dict[str, Any]]:
    """Writes the packs' files; returns their lines of ``tests.csv``."""
    plan, batch, first, packs, folder = task
    rows = []
    for episode in islice(run_batch(plan, batch, first), packs):
        write_parquet(episode, folder / f"{test_name(episode)}.parquet")
        rows.append(row(episode, SET))
    return rows


def write_batches(plan: Plan, packs: int, folder: Path, jobs: int, said: Callable[[str], None] = print) -> float:
    """Write ``packs`` packs of ``plan``; returns the cell-hours of those that were missing. The same plan gives the same bytes, whatever ``jobs`` is.
    Raises LogError, MissingExtra."""
    need_pyarrow(folder)
    table, partial, of = folder / "tests.csv", folder / "tests.csv.part", folder / "plan.txt"
    cell_hours, started_s = 0.0, time.perf_counter()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        told = told_of(plan)
        kept = lines_of(table if table.is_file() else partial) if of.is_file() and of.read_text(encoding="utf-8") == told else []
        there = [(folder / f"{line['test']}.parquet").is_file() for line in kept]
        table.unlink(missing_ok=True)
        tasks, held = [], 0
        for batch, first, some in sizes(plan, packs):
            if first == held and first + some <= len(kept) and all(there[first : first + some]):
                held = first + some
            else:
                tasks.append((plan, batch, first, some, folder))
        of.write_text(told, encoding="utf-8")
        with partial.open("w", newline="", encoding="utf-8") as file, ExitStack() as stack:
            lines = csv.DictWriter(file, FIELDS, lineterminator="\n")
            lines.writeheader()
            lines.writerows(kept[:held])
            file.flush()
            pool = stack.enter_context(ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))) if jobs > 1 and len(tasks) > 1 else None
            for rows in pool.map(make_batch, tasks) if pool is not None else map(make_batch, tasks):
                lines.writerows(rows)
                file.flush()
                cell_hours += sum(line["cells"] * float(line["duration_second"]) for line in rows) / 3600.0
                before, held = held, held + len(rows)
                if held // 50 > before // 50:
                    said(f"{held} packs, {cell_hours:.0f} cell-hours, {60 * cell_hours / (time.perf_counter() - started_s):.0f} a minute")
        partial.replace(table)
    except OSError as error:
        raise LogError(f"cannot be written: {error.strerror}", where=str(folder), mend="name a folder that can be written") from None
    return cell_hours


def told_of(plan: Plan) -> str:
    """What tells one plan from another; measured cycles, which it does not print, by their digest."""
    cycles = hashlib.sha256(b"".join(cycle.tobytes() for cycle in plan.cycles)).hexdigest() if plan.cycles else "none"
    return f"{plan}\nmeasured cycles: {cycles}\n"


def lines_of(table: Path) -> list[dict[str, Any]]:
    """The whole lines of a table that may have been broken off; none where there is no table."""
    if not table.is_file():
        return []
    text = table.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1].splitlines()
    return [line for line in csv.DictReader(whole) if None not in line.values() and tuple(line) == FIELDS]
