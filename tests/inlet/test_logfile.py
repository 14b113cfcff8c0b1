"""Log files: what python-can reads, we read alike; what is broken is told, never a traceback."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import can
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import needed, shared

from edgebms.errors import LogError
from edgebms.inlet.frame import Frame
from edgebms.inlet.logfile import FORMATS, LogFile, open_log, to_frame

MESSAGES = (
    can.Message(timestamp=0.5, arbitration_id=0x123, data=b"\x01\x02\x03", is_extended_id=False, channel="can0"),
    can.Message(timestamp=1.25, arbitration_id=0x1ABCDEF0, data=bytes(range(8)), is_extended_id=True, channel="can0"),
    can.Message(timestamp=1.5, arbitration_id=0x7FF, data=b"", is_extended_id=False, channel="can0"),
)
FD = can.Message(
    timestamp=2.0, arbitration_id=0x321, data=bytes(range(48)), is_extended_id=False, is_fd=True, bitrate_switch=True, channel="can0"
)
ERROR = can.Message(timestamp=2.25, is_error_frame=True, channel="can0")
REMOTE = can.Message(timestamp=2.5, arbitration_id=0x55, is_remote_frame=True, dlc=0, is_extended_id=False, channel="can0")


def record(path: Path, messages: tuple[can.Message, ...]) -> Path:
    with can.Logger(path) as logger:
        for message in messages:
            logger.on_message_received(message)
    return path


def test_every_shared_log_reads_as_python_can_reads_it():
    logs = sorted(path for path in shared("data/can").rglob("*") if path.suffix in (".log", ".asc", ".trc"))
    assert len(logs) >= 26
    for path in logs:
        log = LogFile(path)
        frames = list(log)
        expected = [to_frame(message) for message in can.LogReader(path)]
        assert log.skipped == 0, path
        # python-can takes times through a float: the same within its half microsecond.
        assert [frame[1:] for frame in frames] == [frame[1:] for frame in expected], path
        assert all(abs(mine.time_ns - its.time_ns) < 500 for mine, its in zip(frames, expected, strict=True)), path


def test_gvret_logs_are_the_candump_logs_beside_them():
    folder = shared("data/can/kona_ev")
    logs = sorted((folder / "gvret").glob("*.csv"))
    assert len(logs) == 7
    for path in logs:
        assert list(open_log(path)) == list(open_log(folder / "candump" / f"{path.stem}.log")), path


@pytest.mark.parametrize("suffix", [".log", ".asc", ".blf", ".trc", ".csv", ".log.gz", ".asc.gz"])
def test_each_format_gives_the_recorded_frames(tmp_path: Path, suffix: str):
    path = record(tmp_path / f"log{suffix}", MESSAGES)
    log = LogFile(path)
    frames = list(log)
    assert [(frame.arbitration_id, frame.data, frame.extended, frame.error, frame.remote) for frame in frames] == [
        (0x123, b"\x01\x02\x03", False, False, False),
        (0x1ABCDEF0, bytes(range(8)), True, False, False),
        (0x7FF, b"", False, False, False),
    ]
    # blf, trc and asc count from the first frame or round to their own tick.
    assert frames[1].time_ns - frames[0].time_ns == pytest.approx(750_000_000, abs=1_000)
    assert log.skipped == 0
    assert log.problems == ""
    assert log.fraction() == 1.0


def test_mf4_gives_the_recorded_frames(tmp_path: Path):
    needed("asammdf")
    frames = list(open_log(record(tmp_path / "log.mf4", MESSAGES)))
    assert [(frame.arbitration_id, frame.data) for frame in frames] == [(m.arbitration_id, bytes(m.data)) for m in MESSAGES]


@pytest.mark.parametrize("suffix", [".log", ".asc", ".blf"])
def test_fd_error_and_remote_frames_are_told_apart(tmp_path: Path, suffix: str):
    frames = list(open_log(record(tmp_path / f"log{suffix}", (FD, ERROR, REMOTE))))
    assert frames[0].data == bytes(range(48))
    assert [(frame.error, frame.remote) for frame in frames] == [(False, False), (True, False), (False, True)]


def test_candump_times_are_exact(tmp_path: Path):
    path = tmp_path / "t.log"
    path.write_text("(1700000000.010001) can0 1#00\n(1700000000.123456789) can0 1#00\n(0.1) can0 1#00\n(-0.364210) can0 1#00\n")
    assert [frame.time_ns for frame in open_log(path)] == [1_700_000_000_010_001_000, 1_700_000_000_123_456_789, 100_000_000, -364_210_000]


def test_every_error_class_of_candump_is_an_error_frame(tmp_path: Path):
    """python-can takes a controller error (class 0x004) for a data frame with identifier 4."""
    path = tmp_path / "t.log"
    path.write_text("(1.0) can0 20000004#0008000000000000\n")
    assert next(open_log(path)).error


def test_wall_clock_is_told_from_time_since_the_start(tmp_path: Path):
    path = tmp_path / "t.log"
    for stamp, wall in (("1700000000.0", True), ("12.5", False)):
        path.write_text(f"({stamp}) can0 1#00\n")
        log = LogFile(path)
        list(log)
        assert log.wall_clock is wall


def test_a_torn_last_line_is_left_out_and_told(tmp_path: Path):
    path = tmp_path / "t.log"
    path.write_text("(1.000000) can0 123#0011\n(1.100000) can0 123#0022\n(1.2000")
    log = LogFile(path)
    assert [frame.data for frame in log] == [b"\x00\x11", b"\x00\x22"]
    assert log.skipped == 1
    assert log.problems == "1 record could not be read and was left out (first: line 3: is not a candump record)"


@pytest.mark.parametrize(
    ("suffix", "bad"),
    [
        (".log", "(1.2) can0 12Z#00\n"),
        (".log", "(1.2) can0 123#001\n"),
        (".log", "(99999999999.0) can0 123#00\n"),
        (".asc", " 1.2 1  12Z             Rx   d 2 00 11\n"),
        (".asc", " 1.2 1  123             Rx   d 2 0G 11\n"),
        (".csv", "1.2,0x12Z,0,0,0,2,ABE=\n"),
        (".csv", "half\n"),
        (".trc", "      2         1.200 DT  1      0123 Rx -  2    0G 11\n"),
    ],
)
def test_a_bad_line_in_the_middle_costs_that_line_alone(tmp_path: Path, suffix: str, bad: str):
    path = record(tmp_path / f"log{suffix}", MESSAGES)
    whole = list(open_log(path))
    lines = path.read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if "123" in line and "0x12Z" not in line)
    path.write_text("".join([*lines[: first + 1], bad, *lines[first + 1 :]]))
    log = LogFile(path)
    assert list(log) == whole
    assert log.skipped == 1
    assert f"line {first + 2}" in log.problems


def test_gvret_bad_lines_are_left_out_and_told(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text(
        "Time Stamp,ID,Extended,Bus,LEN,D1,D2\n1000,100,false,0,2,AA,BB\n2000,100,false,0,2,AA\nx\n3000,00000100,true,1,1,CC,\n"
    )
    log = LogFile(path)
    assert list(log) == [Frame(1_000_000, 0x100, b"\xaa\xbb", False, "can0"), Frame(3_000_000, 0x100, b"\xcc", True, "can1")]
    assert log.skipped == 2
    assert "line 3" in log.problems


@pytest.mark.parametrize("suffix", [".log.gz", ".blf"])
def test_a_file_that_breaks_off_gives_what_came_before(tmp_path: Path, suffix: str):
    many = tuple(
        can.Message(timestamp=i / 10, arbitration_id=i % 2048, data=i.to_bytes(8, "big"), is_extended_id=False) for i in range(20_000)
    )
    path = record(tmp_path / f"log{suffix}", many)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
    log = LogFile(path)
    frames = list(log)
    assert 0 < len(frames) < 20_000
    assert [frame.data for frame in frames] == [message.data for message in many[: len(frames)]]
    assert log.skipped >= 1
    assert "breaks off" in log.problems


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("empty.log", b"", "is empty"),
        ("words.log", b"hello\nworld\n", "line 1: no frame could be read"),
        ("words.asc.gz", b"hello", "no frame could be read"),
        ("words.blf", b"hello", "no frame could be read"),
        ("words.mf4", b"hello", r"words.mf4: no frame could be read \(the file breaks off\)"),
        ("log.txt", b"(1.0) can0 1#00\n", "is of no known log format"),
        ("log", b"(1.0) can0 1#00\n", "is of no known log format"),
    ],
)
def test_an_unreadable_file_is_one_sentence(tmp_path: Path, name: str, content: bytes, what: str):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LogError, match=what) as caught:
        list(LogFile(path))
    assert str(path) in str(caught.value)
    assert " - " in str(caught.value)


def test_a_missing_file_is_one_sentence(tmp_path: Path):
    with pytest.raises(LogError, match="cannot be read: No such file"):
        LogFile(tmp_path / "none.log")


def test_fraction_rises_from_0_to_1(tmp_path: Path):
    path = tmp_path / "t.log"
    path.write_text("".join(f"({i}.0) can0 123#00\n" for i in range(50_000)))
    log = LogFile(path)
    assert log.fraction() == 0.0
    seen = [log.fraction() for i, _ in enumerate(log) if i % 10_000 == 0]
    assert seen == sorted(seen)
    assert seen[1] < 0.5 < seen[4]
    assert log.fraction() == 1.0


HEADS = {
    ".log": b"(1.0) can0 123#00\n",
    ".asc": b"base hex  timestamps absolute\n 1.0 1  123 Rx d 1 00\n",
    ".trc": b";$FILEVERSION=2.1\n;$STARTTIME=43008.9\n;$COLUMNS=N,O,T,I,d,l,D\n",
    ".csv": b"timestamp,arbitration_id,extended,remote,error,dlc,data\n1.0,0x12,0,0,0,1,AA==\n",
}
WORDS = st.sampled_from(
    [
        b" ",
        b"\n",
        b"(",
        b")",
        b"1.0",
        b"123",
        b"#",
        b"##1",
        b"Rx",
        b"d",
        b"8",
        b"00",
        b"CANFD",
        b"ErrorFrame",
        b"can0",
        b",",
        b"1e999",
        b"nan",
        b"-1",
        b"R",
        b"DT",
        b"\xff",
        b";",
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    suffix=st.sampled_from(FORMATS),
    zipped=st.booleans(),
    headed=st.booleans(),
    content=st.one_of(st.binary(max_size=300), st.lists(WORDS, max_size=60).map(b"".join)),
)
def test_random_bytes_are_a_log_error_or_frames(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, zipped: bool, headed: bool, content: bytes
):
    if suffix == ".mf4":
        zipped = False
    path = tmp_path_factory.mktemp("random") / f"log{suffix}{'.gz' if zipped else ''}"
    whole = (HEADS.get(suffix, b"") if headed else b"") + content
    if zipped:
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb") as file:
            file.write(whole)
        whole = packed.getvalue()[: max(1, len(packed.getvalue()) - len(content) % 3)]
    path.write_bytes(whole)
    try:
        for frame in open_log(path):
            assert isinstance(frame, Frame)
            assert abs(frame.time_ns) < 2**63
            assert 0 <= frame.arbitration_id < 2**29
            assert isinstance(frame.data, bytes)
    except LogError as error:
        assert str(path) in str(error)
