"""What each question would bring, told of all at once, is what asking it by itself brings."""

from __future__ import annotations

import numpy as np
import pytest

from edgebms.evidence.queries import OUTLIERS, QUERIES
from edgebms.reasoner.language import BINS, CAUSES
from export.reason.corpus import ROW

N = 6


def test_falls_of_all_questions_are_those_of_each() -> None:
    torch = pytest.importorskip("torch", reason="needs the export extra")  # seconds to import: not for all who collect this file
    from export.reason.asking import Asking
    from export.reason.oracle import Oracle, Slots
    from export.reason.refine import falls_of_all

    rng = np.random.default_rng(8)
    torch.manual_seed(3)
    rows = np.zeros(N, dtype=ROW)
    rows["chemistry"], rows["cells"], rows["probes"] = "LFP", 16, 4
    rows["named"] = -1
    rows["named"][:, list(OUTLIERS)] = rng.integers(16, size=(N, len(OUTLIERS)))
    rows["numbers"] = rng.normal(0, 2, rows["numbers"].shape)
    rows["of_suspect"] = rng.normal(0, 2, rows["of_suspect"].shape)
    centres = np.sort(rng.normal(0, 2, (len(QUERIES), 4, BINS)), axis=-1) + np.arange(BINS) * 1e-3
    oracle = Oracle(centres, 32, np.ones(len(QUERIES), dtype=bool)).eval()
    beliefs = torch.softmax(torch.randn(N, len(CAUSES)), dim=1)
    first = np.full(N, OUTLIERS[2])

    def begun() -> tuple[Asking, Slots]:
        asking = Asking.of(rows)
        slots = Slots(oracle, asking)
        asking.ask(first)
        slots.put(first, asking.answers[:, -1])
        return asking, slots

    asking, slots = begun()
    fell, may = falls_of_all(oracle, asking, slots.x, beliefs)
    np.testing.assert_array_equal(may.numpy(), asking.may_ask())
    with torch.no_grad():
        before = torch.nn.functional.cross_entropy(oracle(slots.x)[0], beliefs, reduction="none")
        for query in (0, OUTLIERS[5], 40, len(QUERIES) - 1):
            asking, slots = begun()
            assert asking.may_ask()[:, query].all()
            asking.ask(np.full(N, query))
            slots.put(np.full(N, query), asking.answers[:, -1])
            after = torch.nn.functional.cross_entropy(oracle(slots.x)[0], beliefs, reduction="none")
            torch.testing.assert_close(fell[:, query], before - after, atol=1e-4, rtol=1e-4)
