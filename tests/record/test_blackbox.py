"""The black box: what was decided around an alert is decided again, bit for bit."""

import pytest
from recorded import Gateway, boxes, drive, recorded, settings, without_latency, write_config

from edgebms.cli.main import main


def replayed(box, config, tmp_path, capsysbinary):
    code = main(
        [
            "replay",
            str(box / "frames.log.gz"),
            "-c",
            str(write_config(config, tmp_path / "gateway.toml")),
            "--state",
            str(box / "start.state"),
            "--quiet",
        ]
    )
    out = capsysbinary.readouterr()
    assert code == 0, out.err
    return out.out.splitlines()


@pytest.mark.parametrize("state", ["", "state"])
def test_a_box_gives_the_same_decisions_again(tmp_path, capsysbinary, state):
    config = settings(tmp_path / "state", state=state)
    live = Gateway(config).run(drive(80.0, hot_from_s=50.0, dip_at_s=41.0)).close()
    found = boxes(tmp_path / "state")
    assert len(found) >= 1
    for box in found:
        kept = recorded(box)
        assert kept == [line for line in live.lines if line in set(kept)], "what was kept is what left"
        again = replayed(box, config, tmp_path, capsysbinary)
        assert len(again) == len(kept) > 250
        for then, now in zip(kept, again, strict=True):
            assert without_latency(then) == without_latency(now)
