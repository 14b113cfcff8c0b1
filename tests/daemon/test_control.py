"""The control socket of a running daemon: acknowledge, status, and what it does with what is no request."""

import re
import signal
import socket
import stat
import threading
import time

import pytest
from adapter import faults, seen
from controlled import Controlled

from edgebms.cli.main import main


@pytest.fixture
def controlled(tmp_path):
    with Controlled(tmp_path) as one:
        one.daemon.wait(seen)
        yield one


def test_what_is_no_request_is_answered_with_an_error_and_harms_nothing(controlled):
    daemon = controlled.daemon
    good = b'{"verb":"status"}\n'
    for data in (
        b"\n",
        b"hello\n",
        b"\xff\xfe\x00\n",
        b'{"verb":"nonsense"}\n',
        b'{"verb":"acknowledge"}\n',
        b'{"verb":"acknowledge","pack":7}\n',
        b'{"verb":"status","more":1}\n',
        b'{"verb":"selftest","seconds":1e9}\n',
        b'{"verb":"selftest","seconds":NaN}\n',
        b"[" * 4000 + b"\n",
        b'{"verb":"status"' + b" " * 8000 + b"}\n",
    ):
        answer = controlled.say(data)
        assert answer["answer"] == "error" and answer["what"], data[:40]
    assert controlled.say(b"") is None
    for data, words in (
        (b'{"verb":"acknowledge","pack":"nosuch"}\n', ("no pack is called 'nosuch'", "rack-1")),
        (b'{"verb":"acknowledge","pack":"rack-1","rule":"gas"}\n', ("'gas' is not latched", "nothing of this pack is latched")),
    ):
        answer = controlled.say(data)
        assert (answer["what"], answer["mend"])[0] == words[0] and words[1] in answer["mend"]
    assert controlled.say(good)["answer"] == "status", "and the next one is answered"
    sequence = [entry["seq"] for entry in daemon.decisions]
    assert sequence == list(range(len(sequence))) and "Traceback" not in daemon.stderr()


def test_a_client_that_says_nothing_delays_neither_decisions_nor_for_long_the_next_client(controlled):
    daemon = controlled.daemon
    silent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    silent.connect(str(controlled.path))
    silent.sendall(b'{"verb":')
    count, began_s = len(daemon.decisions), time.monotonic()
    assert controlled.say(b'{"verb":"status"}\n')["answer"] == "status"
    assert time.monotonic() - began_s < 10
    daemon.wait(seen, since=count)
    silent.close()


def test_who_asks_in_a_loop_takes_no_decision(controlled):
    daemon = controlled.daemon
    count, end_s, answers = len(daemon.decisions), time.monotonic() + 1.5, []

    def flood():
        while time.monotonic() < end_s:
            answers.append(controlled.say(b'{"verb":"status"}\n'))

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < len(answers) <= 1.5 / 0.02 + 5 and all(answer["answer"] == "status" for answer in answers)
    sequence = [entry["seq"] for entry in daemon.decisions[count:]]
    assert len(sequence) > 5 and sequence == list(range(sequence[0], sequence[0] + len(sequence)))


def test_status_tells_packs_buses_and_outlets(controlled, capsys):
    answer = controlled.say(b'{"verb":"status"}\n')
    assert answer["pid"] == controlled.daemon.process.pid and answer["running_s"] > 0
    (pack,) = answer["packs"]
    assert pack["name"] == "rack-1" and pack["decisions"] > 0 and pack["valid_cells"] == 16 and pack["age_s"] < 5
    (bus,) = answer["buses"]
    assert bus["up"] and bus["problem"] == "" and bus["counts"]["frames"] > 0
    assert [outlet["name"] for outlet in answer["outlets"]] == ["ndjson"]
    assert main(["status", "-c", str(controlled.daemon.config)]) == 0
    told = capsys.readouterr().out
    assert re.search(r"bus can0 \(slcan\): up; [1-9]\d* frames", told) and "16 of 16 cells valid" in told


def test_the_sockets_file_is_private_is_replaced_when_stale_and_never_stolen(controlled, tmp_path):
    assert stat.S_IMODE(controlled.path.stat().st_mode) == 0o600
    # a second daemon on the same socket: it says so, and the first keeps it
    (tmp_path / "second").mkdir()
    second = Controlled(tmp_path / "second", record=False)
    second.daemon.__exit__()
    (tmp_path / "second" / "notify").unlink()
    second.text = second.text.replace(str(second.path), str(controlled.path))
    with second.pack:
        second.daemon = type(second.daemon)(second.folder, second.text)
        with second.daemon as daemon:
            daemon.wait(lambda entry: "control_down" in faults(entry))
            assert "another process listens there" in daemon.stderr()
            assert controlled.say(b'{"verb":"status"}\n')["pid"] == controlled.daemon.process.pid
            # the first is killed; its stale file does not keep the second out
            controlled.daemon.process.kill()
            controlled.daemon.process.wait()
            daemon.wait(lambda entry: "control_down" not in faults(entry), since=len(daemon.decisions), timeout_s=20)
            assert controlled.say(b'{"verb":"status"}\n')["pid"] == daemon.process.pid
            assert daemon.stop() == 0
    assert not controlled.path.exists(), "it goes with the daemon"


def test_a_reload_moves_the_socket_and_changes_its_mode(controlled):
    daemon = controlled.daemon
    moved = controlled.folder / "moved.sock"
    daemon.config.write_text(controlled.text.replace(str(controlled.path), str(moved)).replace("[control]", '[control]\nmode = "660"'))
    daemon.manager.drain()
    daemon.signal(signal.SIGHUP)
    daemon.manager.wait("RELOADING=1")
    daemon.manager.wait("READY=1")
    old, controlled.path = controlled.path, moved
    end_s = time.monotonic() + 10
    while old.exists() or not moved.exists():
        assert time.monotonic() < end_s
        time.sleep(0.05)
    assert controlled.say(b'{"verb":"status"}\n')["answer"] == "status"
    assert stat.S_IMODE(moved.stat().st_mode) == 0o660


def test_without_a_daemon_or_a_socket_there_is_one_sentence(tmp_path, capsys):
    one = Controlled(tmp_path)
    one.daemon.__exit__()
    toml = tmp_path / "gateway.toml"
    for verb in (["acknowledge", "-c", str(toml), "rack-1", "--all"], ["status", "-c", str(toml)]):
        one.path.unlink(missing_ok=True)
        toml.write_text(one.text)
        assert main(verb) == 10
        assert "no daemon answers" in capsys.readouterr().err
        toml.write_text(one.text.replace(f'socket = "{one.path}"', ""))
        assert main(verb) == 3
        assert "names no control socket" in capsys.readouterr().err


def test_a_daemon_that_answers_nonsense_or_nothing_is_said_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("edgebms.control.CLIENT_S", 0.5)
    one = Controlled(tmp_path)
    one.daemon.__exit__()
    one.path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(one.path))
        listener.listen(4)

        def answer():
            connection, _ = listener.accept()
            connection.recv(100)
            connection.sendall(b"{}\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert main(["status", "-c", str(tmp_path / "gateway.toml")]) == 10
        assert "does not read" in capsys.readouterr().err
        thread.join()
        assert main(["status", "-c", str(tmp_path / "gateway.toml")]) == 10
        assert "no answer" in capsys.readouterr().err
