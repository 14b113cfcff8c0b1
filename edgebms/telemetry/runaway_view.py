"""How well the runaway rule (FACTS: dT/dt >= 1 K/s for more than 3 s) can see a pack through its bus."""

from __future__ import annotations

import math

RATE_K_PER_S = 1.0
HOLD_S = 3.0
"""GB 38031-2025 C.5.3.7."""


def detection_s(sample_s: float, snapshot_s: float) -> float:
    """Worst time from the start of a rise of 1 K/s to the snapshot that shows it held for more than 3 s.

    ``sample_s`` until the first sample that can show it, then as many sample periods as exceed 3 s,
    n = floor(3 / sample_s) + 1, then ``snapshot_s`` until the last one leaves in a snapshot:

        worst = sample_s * (1 + floor(3 / sample_s) + 1) + snapshot_s

    >>> round(detection_s(0.1, 0.1), 6), detection_s(6.0, 0.1)
    (3.3, 12.1)
    """
    if not math.isfinite(sample_s):
        return math.inf
    if sample_s <= 0:
        return HOLD_S + snapshot_s
    # 3 / 0.1 is 30.000000000000004 or 29.99...: count whole periods with a hair of tolerance
    periods = math.floor(HOLD_S / sample_s + 1e-9) + 1
    return sample_s * (1 + periods) + snapshot_s


def worst_s(probe_s: float, broadcast_s: float, spread_k: float, snapshot_s: float) -> float:
    """Worst detection time over the covered cells, seconds.

    probe_s: refresh period of the slowest covered probe; inf = none. broadcast_s: period of the broadcast
    maximum; inf = none. A cell that starts ``spread_k`` below the hottest one is the hottest, and so in the
    broadcast, after spread_k / (1 K/s). The better of both ways counts:

        min(detection(probe_s), spread_k / 1 K/s + detection(broadcast_s))
    """
    by_probe = detection_s(probe_s, snapshot_s)
    if math.isnan(spread_k):
        return by_probe
    return min(by_probe, spread_k / RATE_K_PER_S + detection_s(broadcast_s, snapshot_s))
