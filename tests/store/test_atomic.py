import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from harness.store.atomic import StoreError, make_directory, sweep, write_bytes, write_text

KILLED = """
import os, signal, sys
from pathlib import Path
from harness.store import atomic
os.{call} = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
atomic.write_text(Path(sys.argv[1]), "new" * 1000)
"""


def test_writes_the_parts_in_order_and_leaves_nothing_else(tmp_path):
    write_bytes(tmp_path / "a" / "b.bin", b"one", bytearray(b"two"), memoryview(b"three"))
    assert (tmp_path / "a" / "b.bin").read_bytes() == b"onetwothree"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.bin"]


def test_replaces_and_keeps_line_ends_and_umask(tmp_path):
    target = tmp_path / "t.txt"
    write_text(target, "old")
    before = os.umask(0o027)
    try:
        write_text(target, "é\r\n")
    finally:
        os.umask(before)
    assert target.read_bytes() == b"\xc3\xa9\r\n"
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_short_write_is_continued(tmp_path, monkeypatch):
    whole = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, data[:3]))
    write_bytes(tmp_path / "x", b"0123456789")
    assert (tmp_path / "x").read_bytes() == b"0123456789"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_kill_9_before_the_rename_leaves_the_old_file(tmp_path, call):
    target = tmp_path / "result.json"
    write_text(target, "old")
    done = subprocess.run([sys.executable, "-c", KILLED.format(call=call), str(target)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    left = [p.name for p in tmp_path.iterdir() if p.name != "result.json"]
    assert len(left) == 1
    assert left[0].endswith(".tmp")
    assert sweep(tmp_path, older_than_seconds=3600) == 0, "a young one may be a live writer's"
    assert sweep(tmp_path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_sweep_touches_only_our_own_temporary_files(tmp_path):
    ours = tmp_path / ".result.json.0123456789abcdef.tmp"
    others = [tmp_path / name for name in ("a.tmp", ".result.json.x3Fd9Q", ".notes.tmp", "result.json")]
    for path in (ours, *others):
        path.touch()
    os.utime(ours, (time.time() - 100, time.time() - 100))
    assert sweep(tmp_path, older_than_seconds=200) == 0
    assert sweep(tmp_path, older_than_seconds=50) == 1
    assert sorted(tmp_path.iterdir()) == sorted(others)


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_is_explained_and_the_old_file_intact(tmp_path, monkeypatch, call):
    target = tmp_path / "result.json"
    write_text(target, "old")

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StoreError) as caught:
        write_text(target, "new")
    text = str(caught.value)
    assert f"cannot write {target} (3 bytes): No space left on device" in text
    assert "MiB are free in" in text
    assert "free some space or choose a results directory on another disk, then run the same command again" in text
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_a_read_only_place_is_explained(tmp_path, monkeypatch):
    def denied(*args, **kwargs):
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(
        StoreError, match=r"Read-only file system\. To go on, choose a results directory you may write to"
    ):
        write_text(tmp_path / "x", "y")


def test_a_file_in_the_way_of_a_directory_is_explained(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        StoreError, match=r"cannot make the directory .*file/sub: .* A file stands where a directory is"
    ):
        write_text(tmp_path / "file" / "sub" / "x", "y")
    with pytest.raises(StoreError, match="A file stands where a directory is needed"):
        make_directory(tmp_path / "file")


def test_an_interrupt_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "x", "y")
    assert list(tmp_path.iterdir()) == []
