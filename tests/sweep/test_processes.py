"""Who is alive: by locks where the disk is shared, by heartbeats where only the database is."""

import subprocess
import sys
import time

import optuna

from harness.sweep.processes import DEAD_AFTER_SECONDS, HEARTBEAT, SweepProcess


def test_the_living_and_the_gone(tmp_path):
    with SweepProcess(tmp_path) as me, SweepProcess(tmp_path) as other:
        assert me.is_alive(me.name)
        assert me.is_alive(other.name)
        assert not me.is_alive("f" * 16)
    assert not me.is_alive(other.name)
    assert list((tmp_path / "processes").iterdir()) == []


def test_a_killed_process_is_dead_at_once(tmp_path):
    code = (
        "import sys, os, signal; from pathlib import Path; from harness.sweep.processes import SweepProcess\n"
        "me = SweepProcess(Path(sys.argv[1])); me.__enter__(); print(me.name, flush=True)\n"
        "sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    token = process.stdout.readline().strip()
    with SweepProcess(tmp_path) as me:
        assert me.is_alive(token)
        process.kill()
        process.communicate()
        assert not me.is_alive(token)


def test_on_another_disk_the_beat_tells(tmp_path):
    study = optuna.create_study()
    with SweepProcess(tmp_path / "here", study) as me:
        with SweepProcess(tmp_path / "there", study) as other:
            assert me.is_alive(other.name)
        assert not me.is_alive(other.name)
        study.set_user_attr(HEARTBEAT + "a" * 16, time.time() - DEAD_AFTER_SECONDS - 1)
        assert not me.is_alive("a" * 16)
