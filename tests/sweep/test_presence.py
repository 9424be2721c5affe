"""Who is alive: by locks where the disk is shared, by beats where only the database is."""

import subprocess
import sys
import time

import optuna

from harness.sweep.presence import SILENT_SECONDS, Presence


def test_the_living_and_the_gone(tmp_path):
    with Presence(tmp_path) as me, Presence(tmp_path) as other:
        assert me.alive(me.token)
        assert me.alive(other.token)
        assert not me.alive("f" * 16)
    assert not me.alive(other.token)
    assert list((tmp_path / "processes").iterdir()) == []


def test_a_killed_process_is_dead_at_once(tmp_path):
    code = (
        "import sys, os, signal; from pathlib import Path; from harness.sweep.presence import Presence\n"
        "me = Presence(Path(sys.argv[1])); me.__enter__(); print(me.token, flush=True)\n"
        "sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    token = process.stdout.readline().strip()
    with Presence(tmp_path) as me:
        assert me.alive(token)
        process.kill()
        process.communicate()
        assert not me.alive(token)


def test_on_another_disk_the_beat_tells(tmp_path):
    study = optuna.create_study()
    with Presence(tmp_path / "here", study) as me:
        with Presence(tmp_path / "there", study) as other:
            assert me.alive(other.token)
        assert not me.alive(other.token)
        study.set_user_attr("alive " + "a" * 16, time.time() - SILENT_SECONDS - 1)
        assert not me.alive("a" * 16)
