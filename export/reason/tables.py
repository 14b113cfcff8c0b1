"""The tables of ``python -m export evaluate reason``: a row a method, and a row a cause."""

from __future__ import annotations

import math
from typing import Any

COLUMNS = (
    "method", "n", "accuracy", "accuracy_detectable", "right_or_unseen", "right_cell", "right_probe", "false_alarms", "calibration_error", "queries", "queries_healthy",
    "student_ahead", "verdicts_apart",
)  # fmt: skip


def tables(
    summary: list[dict[str, Any]], causes: list[dict[str, Any]], left_out: list[str], shares: dict[str, float], sorts: dict[str, int]
) -> str:
    """shares: of each set, what always saying the commonest cause would reach, %; sorts: of how many pairs of card and number of cells it is."""
    out = [
        "# Results of the reasoner",
        "",
        "Written by `python -m export evaluate reason --write`. In %, with one standard error (packs count once); three tenths healthy, "
        "every other cause alike; queries: mean count. `right_or_unseen`: a fault that cannot be detected by then may also be called healthy. `student_ahead`: the int8 student's accuracy less the method's, in points, with the "
        "95 % interval; `verdicts_apart`: share of causes that differ from the int8 student's.",
    ]
    for name in dict.fromkeys(row["set"] for row in summary):
        out += [
            "",
            f"## {name}",
            "",
            f"Cards and sizes: {sorts[name]}. Always the commonest cause: {shares[name]} %.",
            "",
            "| " + " | ".join(COLUMNS) + " |",
        ]
        out += ["|" + "---|" * len(COLUMNS)]
        out += ["| " + " | ".join(cell(row, column) for column in COLUMNS) + " |" for row in summary if row["set"] == name]
        out += recalls([row for row in causes if row["set"] == name])
    if left_out:
        out += ["", "Left out: " + "; ".join(left_out) + "."]
    return "\n".join(out) + "\n"


def recalls(causes: list[dict[str, Any]]) -> list[str]:
    """A row a cause: of the first method all, of each other one its recall."""
    if not causes:
        return []
    of = {method: {r["cause"]: r for r in causes if r["method"] == method} for method in dict.fromkeys(r["method"] for r in causes)}
    first, *others = of
    out = ["", f"| cause ({first}) | n | detectable | recall | recall of the detectable |" + "".join(f" recall, {m} |" for m in others)]
    out.append("|---|---|---|---|---|" + "---|" * len(others))
    judged = any(r["detectable"] > 0 for cause, r in of[first].items() if cause != "healthy")  # by healthy twins; not every set has them
    for cause, r in of[first].items():
        seen, found = (percent(r[name]) if judged else "-" for name in ("detectable", "recall_detectable"))
        told = (r["cause"], str(r["rows"]), seen, percent(r["recall"]), found)
        out.append("| " + " | ".join((*told, *(percent(of[m][cause]["recall"]) for m in others))) + " |")
    return out


def percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.0f}"


def cell(row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    error = row.get(f"{column}_error", row.get(f"{column}_95"))
    return f"{value}" if error is None else f"{value} ±{error}"
