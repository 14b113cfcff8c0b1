"""NDJSON out: whole lines, a full disk said once, a reader that goes away ends it."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from edgebms.errors import ConfigError
from edgebms.outlet.stream import Stream


def test_lines_are_appended_and_there_at_once(tmp_path):
    path = tmp_path / "out.ndjson"
    path.write_bytes(b'{"old":1}\n')
    stream = Stream(str(path))
    stream.write(b'{"new":2}')
    assert path.read_bytes() == b'{"old":1}\n{"new":2}\n', "before close"
    stream.close()
    assert stream.lost == 0


def test_a_file_that_a_power_cut_left_in_half_a_line_goes_on_with_a_whole_one(tmp_path):
    path = tmp_path / "out.ndjson"
    for begun, ended in ((b'{"a":1}\n{"b', b'{"a":1}\n{"b\n{"c":3}\n'), (b"", b'{"c":3}\n')):
        path.write_bytes(begun)
        stream = Stream(str(path))
        stream.write(b'{"c":3}')
        stream.close()
        assert path.read_bytes() == ended


def test_standard_output(capfdbinary):
    stream = Stream("-")
    stream.write(b"{}")
    stream.close()
    stream = Stream("-")
    stream.write(b"[]")
    assert capfdbinary.readouterr().out == b"{}\n[]\n", "close leaves standard output open"


def test_a_captured_standard_output_works_too(capsysbinary):
    Stream("-").write(b"{}")
    assert capsysbinary.readouterr().out == b"{}\n"


@pytest.mark.parametrize("name", [".", "no/such/folder/out.ndjson"])
def test_a_target_that_cannot_be_opened_is_one_sentence(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="cannot be written"):
        Stream(name)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full (Linux)")
def test_a_full_disk_is_said_once_counted_and_not_raised(capsys):
    stream = Stream("/dev/full")
    for _ in range(3):
        stream.write(b"{}")
    assert stream.lost == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "/dev/full" in said and "lost" in said
    stream.close()
    assert "3 decisions" in capsys.readouterr().err


class Disk:
    """A raw file with ``room`` bytes left; ``grow`` makes more."""

    def __init__(self, room):
        self.room, self.bytes, self.error = room, b"", None

    def write(self, data):
        if self.error is not None:
            raise self.error
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = bytes(data[: min(self.room, 5)])
        self.room -= len(taken)
        self.bytes += taken
        return len(taken)


def test_after_a_torn_line_the_next_one_starts_on_its_own(tmp_path, capsys):
    stream = Stream(str(tmp_path / "out"))
    stream._file.close()
    stream._file = disk = Disk(room=12)
    stream.write(b'{"seq":1}')
    stream.write(b'{"seq":2}')
    stream.write(b'{"seq":3}')
    assert stream.lost == 2 and capsys.readouterr().err.count("\n") == 1
    disk.room = 100
    stream.write(b'{"seq":4}')
    stream.write(b'{"seq":5}')
    assert disk.bytes == b'{"seq":1}\n{"\n{"seq":4}\n{"seq":5}\n'
    disk.room = 0
    stream.write(b'{"seq":6}')
    assert "lost until there is room" in capsys.readouterr().err, "a second time it is full is said again"


@pytest.mark.parametrize("error", [BrokenPipeError(errno.EPIPE, "gone"), OSError(errno.EIO, "bad disk")])
def test_other_errors_are_not_hidden(tmp_path, error):
    stream = Stream(str(tmp_path / "out"))
    stream._file.close()
    stream._file = Disk(100)
    stream._file.error = error
    with pytest.raises(type(error)):
        stream.write(b"{}")


def test_a_reader_that_goes_away_ends_the_writer():
    program = "from edgebms.outlet.stream import Stream\ns = Stream('-')\nwhile True: s.write(b'{}')"
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout.readline() == b"{}\n"
    writer.stdout.close()
    _, said = writer.communicate(timeout=30)
    assert writer.returncode == 1 and b"BrokenPipeError" in said
