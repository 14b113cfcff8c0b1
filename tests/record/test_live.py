"""The daemon itself: killed, started again, and its black box run again on another day."""

import json
import time

from adapter import Adapter, Pack, Process, seen, slcan_config, slcan_line
from recorded import boxes, recorded, without_latency

from edgebms.cli.main import main

OVER_V = 4.4


def test_a_killed_daemon_goes_on_and_its_black_box_decides_again_as_it_did(tmp_path, capsysbinary):
    adapter = Adapter(tmp_path / "ttyUSB0")
    more = f'\n[record]\nfolder = "{tmp_path / "state"}"\ncheckpoint_s = 0.5\nbefore_s = 2.0\nafter_s = 2.0\n'
    config = slcan_config(adapter.path, more=more).replace('state = ""', 'state = "state"')
    with Pack(lambda frames: adapter.write(b"".join(map(slcan_line, frames)))) as pack:
        with Process(tmp_path, config) as daemon:
            daemon.wait(seen)
            time.sleep(0.8)
            pack.volts[4] = OVER_V
            alert = next(
                entry
                for entry in daemon.wait(lambda entry: any(a["level"] != "watch" for a in entry["alerts"]))[0]["alerts"]
                if entry["cell"] == 5
            )
            pack.pause()  # the looks at a silent pack are in the box too
            time.sleep(1.3)
            pack.resume()
            time.sleep(1.5)
            daemon.process.kill()
        pack.volts[4] = 3.7
        (tmp_path / "notify").unlink()
        with Process(tmp_path, config) as daemon:
            first, _ = daemon.wait(seen)
            (again,) = [entry for entry in first["alerts"] if entry["cell"] == 5]
            assert again["id"] == alert["id"] and again["since"] == alert["since"] and again["standing_s"] > alert["standing_s"] + 2.0
            assert daemon.stop() == 0
            assert "rack-1: goes on from the checkpoint written" in daemon.stderr()
    box = boxes(tmp_path / "state")[0]
    kept = recorded(box)
    assert any(json.loads(line)["alerts"] for line in kept)
    log, state = str(box / "frames.log.gz"), str(box / "start.state")
    assert main(["replay", log, "-c", str(tmp_path / "gateway.toml"), "--state", state, "--quiet"]) == 0
    out = capsysbinary.readouterr().out.splitlines()
    assert len(out) == len(kept) > 50
    for then, now in zip(kept, out, strict=True):
        assert without_latency(then) == without_latency(now)
    assert main(["health", str(tmp_path / "state")]) == 0
    assert b"observed" in capsysbinary.readouterr().out
