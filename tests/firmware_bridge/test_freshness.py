"""A counter value is never used twice, whatever is killed when; keys stay secret."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from firmware_bridge.freshness import Freshness, begin_counter
from firmware_bridge.keys import KeyProblem, new_key, read_key
from firmware_bridge.mac import cmac

RFC_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
RFC_TEXT = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
LAST = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ],
)
def test_the_mac_is_rfc_4493s(length, expected):
    assert cmac(RFC_KEY, RFC_TEXT[:length]).hex() == expected


@pytest.fixture
def counter(tmp_path):
    path = tmp_path / "mcu.counter"
    begin_counter(path, "k1")
    return path


def test_values_rise_over_blocks_and_restarts(counter):
    values = []
    for _ in range(4):
        freshness = Freshness(counter, "k1", LAST, block=3)
        values += [freshness.next() for _ in range(5)]
        freshness.close()
    assert values == sorted(set(values))
    assert values[0] == 1


def test_threads_never_share_a_value(counter):
    freshness = Freshness(counter, "k1", LAST, block=7)
    taken = []
    threads = [threading.Thread(target=lambda: taken.extend(freshness.next() for _ in range(200))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 800


SPEND = """
import sys
from pathlib import Path
from firmware_bridge.freshness import Freshness
freshness = Freshness(Path(sys.argv[1]), "k1", 0xFFFFFFFF, block=5)
while True:
    print(freshness.next(), flush=True)
"""


def test_a_process_killed_at_any_moment_leaves_no_value_to_be_used_again(counter):
    used = []
    for lines in (1, 5, 6, 57):
        child = subprocess.Popen([sys.executable, "-c", SPEND, str(counter)], stdout=subprocess.PIPE, text=True)
        used += [int(child.stdout.readline()) for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        used += [int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        child.wait()
    assert used == sorted(set(used))


def test_a_second_gateway_is_refused(counter):
    first = Freshness(counter, "k1", LAST)
    with pytest.raises(KeyProblem, match="another process"):
        Freshness(counter, "k1", LAST)
    first.close()
    Freshness(counter, "k1", LAST).close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "missing"),
        ("", "no counter that we wrote"),
        ("[1]", "no counter that we wrote"),
        ('{"schema": "edgebms.freshness/1", "key": "k1", "reserved": 0}', "no counter that we wrote"),
        ('{"schema": "edgebms.freshness/1", "key": "k1", "reserved": true}', "no counter that we wrote"),
        ('{"schema": "edgebms.freshness/1", "key": "k2", "reserved": 5}', "another key"),
    ],
)
def test_a_counter_that_might_go_back_is_refused(counter, text, words):
    counter.unlink()
    if text is not None:
        counter.write_text(text)
    with pytest.raises(KeyProblem, match=words):
        Freshness(counter, "k1", LAST)


def test_the_last_value_is_the_end(counter):
    counter.write_text('{"schema": "edgebms.freshness/1", "key": "k1", "reserved": 4294967294}')
    freshness = Freshness(counter, "k1", LAST)
    assert [freshness.next(), freshness.next()] == [LAST - 1, LAST]
    with pytest.raises(KeyProblem, match="every value"):
        freshness.next()
    freshness.close()
    with pytest.raises(KeyProblem, match="every value"):
        Freshness(counter, "k1", LAST)


def test_nothing_is_handed_out_that_could_not_be_written(counter):
    freshness = Freshness(counter, "k1", LAST, block=2)
    freshness.next(), freshness.next()
    counter.with_name(counter.name + ".new").mkdir()
    with pytest.raises(KeyProblem, match="cannot be written"):
        freshness.next()
    counter.with_name(counter.name + ".new").rmdir()
    assert freshness.next() == 3


def test_a_counter_in_use_is_not_begun_again_and_an_older_keys_is_replaced(counter):
    with pytest.raises(KeyProblem, match="already"):
        begin_counter(counter, "k1")
    begin_counter(counter, "k2")
    freshness = Freshness(counter, "k2", LAST)
    assert freshness.next() == 1
    freshness.close()


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    path = tmp_path / "mcu.key"
    old = os.umask(0)
    try:
        key = new_key(path, 3)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(path) == key
    assert key.number == 3
    assert key.secret.hex() not in repr(key)
    with pytest.raises(KeyProblem, match="exists"):
        new_key(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_that_others_may_use_is_refused(tmp_path, mode):
    path = tmp_path / "mcu.key"
    new_key(path)
    path.chmod(mode)
    with pytest.raises(KeyProblem, match="others may use it"):
        read_key(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_of_another_user_is_refused(tmp_path):
    path = tmp_path / "mcu.key"
    new_key(path)
    os.chown(path, 12345, -1)
    with pytest.raises(KeyProblem, match="belongs to user 12345"):
        read_key(path)


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"x",
        b'schema = "edgebms.mcu_key/2"\nnumber = 1\nkey = "2b7e151628aed2a6abf7158809cf4f3c"',
        b'schema = "edgebms.mcu_key/1"\nnumber = 0\nkey = "2b7e151628aed2a6abf7158809cf4f3c"',
        b'schema = "edgebms.mcu_key/1"\nnumber = true\nkey = "2b7e151628aed2a6abf7158809cf4f3c"',
        b'schema = "edgebms.mcu_key/1"\nnumber = 1\nkey = "2b7e151628aed2a6abf7158809cf4f"',
        b'schema = "edgebms.mcu_key/1"\nnumber = 1\nkey = "2b7e151628aed2a6abf7158809cf4f3g"',
        b'schema = "edgebms.mcu_key/1"\nnumber = 1\nkey = "00000000000000000000000000000000"',
        b'schema = "edgebms.mcu_key/1"\nnumber = 1\nkey = 5',
        b'schema = "edgebms.mcu_key/1"\nnumber = 1\nkey = "2b7e151628aed2a6abf7158809cf4f3c"\n#' + b"x" * 5000,
    ],
)
def test_a_bad_key_file_is_refused_without_telling_what_is_in_it(tmp_path, text):
    path = tmp_path / "mcu.key"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(KeyProblem) as told:
        read_key(path)
    assert "2b7e" not in str(told.value)


def test_a_missing_key_and_a_folder_are_no_keys(tmp_path):
    with pytest.raises(KeyProblem, match="cannot be read"):
        read_key(tmp_path / "none")
    with pytest.raises(KeyProblem, match=r"no file|cannot be read"):
        read_key(tmp_path)
