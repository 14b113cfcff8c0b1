"""On measured drive cycles of the train set the filter stays where it was when its constants were set."""

import numpy as np
import pytest
from shared_data import shared

from edgebms.cellcard import load_card
from export.state_estimators import Filter
from export.state_logs import plan, read_state_log

CARD = load_card("lg_hg2")


@pytest.mark.parametrize(("name", "bound_pct"), [("25degC__552_Mixed5", 1.0), ("n10degC__604_Mixed3", 3.5)])
def test_joined_at_60_per_cent_on_a_measured_cycle(name, bound_pct):
    log = read_state_log(shared(f"data/soc/train/lg_hg2/{name}.parquet"))
    run = plan(log, "join_0.6", CARD.capacity_ah)
    ((soc, sigma),) = Filter(CARD).run([(log, run)])
    scored = log.time_s > log.time_s[run.first] + 600
    error = (soc - log.soc)[scored]
    assert 100 * np.sqrt(np.mean(error**2)) < bound_pct
    assert np.mean(np.abs(error) < 3 * sigma[scored]) > 0.8
