"""`harness watch`: frames of a real store, left by `q` and by Ctrl-C, without torch."""

import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from harness.cli.session import open_session
from tests.conftest import write_suite

SECONDS = 200.0  # of a crowded machine; a second will do elsewhere


@pytest.fixture
def watched(tmp_path, data_dir, monkeypatch):
    """Arguments of a command that looks at a toy suite, of which nothing has run."""
    monkeypatch.setenv("HARNESS_DATA", str(data_dir))
    monkeypatch.setenv("COLUMNS", "80")
    suite = write_suite(tmp_path)
    open_session(suite, None, (), tmp_path / "r", str(data_dir))
    return [sys.executable, "-m", "harness", "watch", str(suite), "--results", str(tmp_path / "r")]


def in_a_terminal(arguments):
    """The process, and the terminal's other end."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    return process, ours


def until(terminal, text):
    """What was printed until the text came."""
    seen, ends = "", time.monotonic() + SECONDS
    while text not in seen and time.monotonic() < ends:
        if select.select([terminal], [], [], 0.5)[0]:
            seen += os.read(terminal, 65536).decode(errors="replace")
    assert text in seen, seen
    return seen


def test_one_frame_of_plain_lines_and_no_torch(watched):
    code = (
        "import sys, harness.cli as c; c.cli(sys.argv[1:], standalone_mode=False); "
        "print([m for m in ('torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *watched[3:], "--once"], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[-1] == "[]", done.stderr
    assert lines[0] == "Toy"
    assert lines[2] == "0 of 4 cells ended: 4 pending"
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout


def test_q_leaves(watched):
    process, terminal = in_a_terminal([*watched, "--interval", "0.1"])
    until(terminal, "q leaves; the run goes on")
    os.write(terminal, b"q")
    assert process.wait(SECONDS) == 0
    os.close(terminal)


def test_control_c_leaves(watched):
    process, terminal = in_a_terminal([*watched, "--interval", "0.1"])
    until(terminal, "4 pending")
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 0
    os.close(terminal)
