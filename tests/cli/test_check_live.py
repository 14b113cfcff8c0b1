"""``edgebms check --live``: traffic on a pseudo-terminal against the profile."""

import re

import pytest
from adapter import Adapter, Pack, slcan_config, slcan_line

from edgebms.cli.main import main


@pytest.fixture
def live(tmp_path, capsys):
    adapter = Adapter(tmp_path / "ttyUSB0")
    (tmp_path / "gateway.toml").write_text(slcan_config(adapter.path))

    def check(change=lambda frames: frames, extra=b"", quiet=False):
        pack = Pack(lambda frames: adapter.write(b"".join(map(slcan_line, change(frames))) + extra), period_s=0.1)
        if quiet:
            pack.pause()
        with pack:
            code = main(["check", "-c", str(tmp_path / "gateway.toml"), "--live", "--seconds", "1.5"])
        return code, capsys.readouterr().out

    return check


def test_healthy_traffic_is_ok(live):
    code, said = live(extra=b"t7E02AABB\r")
    assert code == 0 and "WRONG" not in said, said
    assert "16 of 16 cells valid" in said and "% of 500000 bit/s" in said
    assert "ids that no pack maps: 0x7e0" in said


def test_a_missing_and_a_late_message_are_named(live):
    count = [0]

    def change(frames):
        count[0] += 1
        return [frame for frame in frames if frame.arbitration_id != 0x111 and (frame.arbitration_id != 0x112 or count[0] % 3 == 0)]

    code, said = live(change)
    assert code == 1
    assert "(0x111): missing" in said
    every_s = re.search(r"\(0x112\): every ([0-9.]+) s, the profile says every 0.1 s", said)
    assert every_s and float(every_s[1]) > 0.2, said


def test_refused_frames_and_bad_lines_are_told(live):
    code, said = live(lambda frames: [frame._replace(data=frame.data[:-1] + b"\x55") for frame in frames], extra=b"t1238AA\r")
    assert code == 1
    assert "frames refused: checksum" in said and "truncated" in said


def test_a_silent_bus_and_one_that_is_down_are_wrong(live, tmp_path):
    code, said = live(quiet=True)
    assert code == 1 and "WRONG bus can0: 0 frames" in said
    (tmp_path / "ttyUSB0").unlink()
    code, said = live(quiet=True)
    assert code == 1 and "WRONG bus can0: down" in said
