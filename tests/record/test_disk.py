"""Disks that are slow, full, read-only or gone, and files that are killed half way: the loop goes on, nothing half is read."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
from recorded import Gateway, boxes, drive, recorded, settings, write_config

from edgebms.cli.main import main
from edgebms.record import statefile
from edgebms.record.audit import FILES, Audit
from edgebms.record.writer import HANGS_S, Writer


class Killed(BaseException):
    """Stands for kill -9: nothing may catch it."""


@pytest.mark.parametrize("links", [True, False], ids=["links", "fat"])
@pytest.mark.parametrize("step", range(10))
def test_a_kill_at_any_step_leaves_the_old_file_or_the_new_one(tmp_path, monkeypatch, step, links):
    path = tmp_path / "checkpoint.state"
    old, new = statefile.join([{"n": 1}]), statefile.join([{"n": 2}])
    statefile.replace(path, statefile.join([{"n": 0}]))
    statefile.replace(path, old)
    steps = iter(range(99))

    def at_each(work):
        def stepped(*args):
            if next(steps) == step:
                raise Killed
            result = work(*args)
            if next(steps) == step:
                raise Killed
            return result

        return stepped

    def no_links(*names):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", at_each(os.link) if links else no_links)
    monkeypatch.setattr(os, "fsync", at_each(os.fsync))
    monkeypatch.setattr(type(path), "replace", at_each(type(path).replace))
    with contextlib.suppress(Killed):
        statefile.replace(path, new)
    monkeypatch.undo()
    found = [next(statefile.read(p))["n"] for p in (path, path.with_suffix(".previous")) if p.exists()]
    assert found and found[0] in (1, 2) and found == sorted(found, reverse=True), "the newest first, each whole"
    assert path.exists() or not links
    statefile.replace(path, new)
    assert next(statefile.read(path)) == {"n": 2}, "and the next one goes on"


@contextlib.contextmanager
def small_disk(folder, size_kb):
    """A file system of ``size_kb``, or where none may be mounted, a limit on the size of a file."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(folder)], capture_output=True).returncode == 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_kb * 256, before[1]))
    try:
        yield mounted
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def rules(decision):
    return {evidence.rule for alert in decision.alerts if alert.hazard == "gateway_fault" for evidence in alert.evidence}


def drained(gateway):
    """Wait until the writer has done what was asked of it."""
    done = threading.Event()
    gateway.record._writer.put(done.set, 0, "test:test")
    assert done.wait(10)


def test_a_full_disk_is_told_and_survived(tmp_path):
    config = settings(tmp_path / "disk", before_s=4.0, after_s=20.0, checkpoint_s=1.0)
    with small_disk(tmp_path / "disk", 64):
        gateway = Gateway(config).run(drive(30.0, hot_from_s=5.0))
        drained(gateway)
        before = len(gateway.decisions)
        gateway.run(drive(1.0, start_s=130.0))
        assert len(gateway.decisions) >= before + 5, "the loop goes on"
        assert rules(gateway.decisions[-1]) & {"not_recorded.blackbox", "not_recorded.checkpoint", "not_recorded.audit"}
        assert any("No space left" in text or "too large" in text for text in gateway.said)
        for box in boxes(tmp_path / "disk"):
            recorded(box)  # what is there is whole
            list(statefile.read(box / "start.state"))
        gateway.close()


def test_a_disk_that_is_there_again_is_used_again(tmp_path):
    folder = tmp_path / "state"
    folder.write_text("a file where the folder should be")
    config = settings(folder, checkpoint_s=0.5)
    gateway = Gateway(config).run(drive(3.0))
    drained(gateway)
    gateway.run(drive(0.3, start_s=103.0))
    assert {"not_recorded.checkpoint", "not_recorded.audit"} <= rules(gateway.decisions[-1])
    (alert,) = [alert for alert in gateway.decisions[-1].alerts if alert.hazard == "gateway_fault"]
    assert alert.level == "warning" and alert.raised_by == ("gateway",)
    folder.unlink()
    gateway.run(drive(3.0, start_s=104.0))
    drained(gateway)
    gateway.run(drive(1.0, start_s=107.0))
    assert "not_recorded.checkpoint" not in rules(gateway.decisions[-1])
    assert (folder / "rack-1" / "checkpoint.state").exists()
    gateway.close()


def test_a_disk_that_hangs_delays_no_decision(tmp_path, monkeypatch):
    release = threading.Event()
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (release.wait(30), real(handle))[1])
    config = settings(tmp_path, checkpoint_s=0.2, before_s=2.0)
    gateway = Gateway(config)
    gateway.record._writer._limit = 400_000
    log_s = 100.0  # the log's time stands in for the machine's
    gateway.record._writer._now_ns = lambda: round(log_s * 1e9)
    frames = list(drive(60.0, hot_from_s=3.0))
    taken = []
    for frame in frames:
        start = time.perf_counter()
        log_s = frame.time_ns / 1e9
        gateway.run([frame])
        taken.append(time.perf_counter() - start)
    assert max(taken) < 5.0, "nothing in the loop waits for the disk, which hangs for 30 s"
    assert gateway.record._writer._bytes <= 400_000 + (1 << 20)
    assert "not_recorded.disk" in rules(gateway.decisions[-1]), f"told after {HANGS_S} s"
    assert gateway.record.recorders["rack-1"].lost > 0
    release.set()
    monkeypatch.undo()
    drained(gateway)
    gateway.run(drive(2.0, start_s=161.0))
    assert "not_recorded.disk" not in rules(gateway.decisions[-1])
    gateway.close()


def test_a_disk_does_not_hang_because_a_rigs_clock_runs_fast(tmp_path, monkeypatch):
    release, real = threading.Event(), os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (release.wait(30), real(handle))[1])
    gateway = Gateway(settings(tmp_path, checkpoint_s=0.2)).run(drive(60.0))
    assert not any("not_recorded.disk" in rules(decision) for decision in gateway.decisions), (
        "a minute of the packs', seconds of the disk's"
    )
    release.set()
    monkeypatch.undo()
    gateway.close()


def test_a_job_that_fails_by_a_fault_of_ours_ends_nothing():
    writer = Writer()
    writer.put(lambda: 1 / 0, 1, "box:a")
    done = threading.Event()
    writer.put(done.set, 1, "other:a")
    assert done.wait(5)
    assert "ZeroDivisionError" in writer.problems["box:a"][0]
    writer.put(lambda: None, 1, "box:a")
    assert writer.close() and writer.problems == {}
    assert not writer.put(done.set, 1, "late:a") and writer.lost == 1


def test_a_fault_of_the_recording_costs_no_decision(tmp_path, monkeypatch):
    gateway = Gateway(settings(tmp_path)).run(drive(1.0))
    monkeypatch.setattr(gateway.record.recorders["rack-1"]._box, "decided", lambda decision, line: 1 / 0)
    before = len(gateway.decisions)
    gateway.run(drive(2.0, start_s=101.0))
    assert len(gateway.decisions) >= before + 9
    assert "not_recorded.record" in rules(gateway.decisions[-1])
    assert any("ZeroDivisionError" in text and "test_disk.py" in text for text in gateway.said)
    gateway.close()


def test_the_audit_log_holds_what_changed_and_is_bounded(tmp_path, capsys):
    config = settings(tmp_path)
    gateway = Gateway(config).run(drive(20.0, high_v=(5.0, 8.0))).close()
    text = (tmp_path / "rack-1" / "audit.ndjson").read_bytes().splitlines()
    assert 3 <= len(text) < 10 < len(gateway.lines)
    assert all(line in gateway.lines for line in text)
    assert main(["audit", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "begins: overcharge cell 5" in told and len(told.splitlines()) == len(text)
    assert main(["audit", str(tmp_path / "rack-1"), "--json"]) == 0
    assert capsys.readouterr().out.encode().splitlines() == text
    with (tmp_path / "rack-1" / "audit.ndjson").open("ab") as file:
        file.write(b'{"torn":')
    assert main(["audit", str(tmp_path)]) == 0
    assert "1 lines are no decisions" in capsys.readouterr().err
    assert main(["audit", str(tmp_path / "rack-1" / "boxes")]) == 6
    audit = Audit(tmp_path / "rack-1", 40_000)
    for number in range(400):
        audit.append(b'{"number":%d,"filling":"%s"}' % (number, b"x" * 300))
    sizes = [path.stat().st_size for path in (tmp_path / "rack-1").glob("audit*.ndjson")]
    assert len(sizes) == FILES and sum(sizes) <= 40_000 + 4 * 400
    newest = (tmp_path / "rack-1" / "audit.ndjson").read_bytes().splitlines()
    assert msgspec.json.decode(newest[-1])["number"] == 399


def test_killed_at_random_moments():
    """The long form is ``make test-kill``."""
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run([sys.executable, str(script), "4", "3"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


def test_check_tells_whether_the_folder_can_be_written_and_how_much_a_day(tmp_path, capsys):
    good = write_config(settings(tmp_path / "not" / "yet", boxes_mb=100.0, box_mb=10.0, audit_mb=5.0), tmp_path / "good.toml")
    assert main(["check", "-c", str(good)]) == 0
    assert "at most 320 MB written a day, 105 MB kept" in capsys.readouterr().out
    (tmp_path / "file").write_text("no folder")
    assert main(["check", "-c", str(write_config(settings(tmp_path / "file" / "state"), tmp_path / "bad.toml"))]) == 3
    assert "file cannot be written" in capsys.readouterr().out
