"""``python -m export evaluate WHAT DATA...``: the tables behind every claim, printed again."""

from __future__ import annotations

from typing import Any

from export import evaluate_fault, evaluate_soh, evaluate_state, state_kinds, state_table, student_table
from export.reason import evaluate as evaluate_reason
from export.reason import speed, telling

KINDS = {
    "state": evaluate_state,
    "state-table": state_table,
    "state-students": student_table,
    "state-kinds": state_kinds,
    "soh": evaluate_soh,
    "fault": evaluate_fault,
    "reason": evaluate_reason,
    "reason-speed": speed,
    "reason-evidence": telling,
}
"""What can be evaluated: name -> module with ``add_parser``."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("evaluate", help="print the accuracy tables", description=__doc__)
    kinds = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    for module in KINDS.values():
        module.add_parser(kinds)
