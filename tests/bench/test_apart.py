"""A side in a process of its own: its settings, its answers, its errors and its end."""

import os
import time
from functools import partial

import pytest
import torch

from harness.bench.apart import apart
from harness.bench.row import VIEWS, Row, Side, Unavailable
from harness.bench.timing import measure
from harness.openmp import SPIN_COUNT, SPIN_COUNT_NAME


def telling(what, machine):
    numbers = {
        "process": os.getpid,
        "spin": lambda: int(os.environ.get(SPIN_COUNT_NAME, 0)),
        "threads": torch.get_num_threads,
    }
    return Side(lambda: float(numbers[what]()))


def sleeping(seconds, machine):
    def turn():
        time.sleep(seconds)
        return 2.0

    return Side(turn, warm_up_calls=3)


def lacking(machine):
    raise Unavailable("needs what this machine lacks")


def failing(machine):
    def turn():
        raise ValueError("a bug")

    return Side(turn)


def dying(machine):
    def turn():
        os._exit(3)

    return Side(turn)


def told(what, machine):
    side = apart(partial(telling, what))(machine)
    try:
        return side.turn()
    finally:
        side.close()


def test_work_and_seconds_are_those_of_the_other_process(machine):
    side = apart(partial(sleeping, 0.01))(machine)
    try:
        assert side.warm_up_calls == 3
        work, seconds = side.timed(5)
        assert work == 2.0
        assert 0.05 <= seconds < 1.0
    finally:
        side.close()


def test_it_has_its_own_settings_and_the_same_number_of_threads(machine, monkeypatch):
    assert told("process", machine) != os.getpid()
    assert told("threads", machine) == machine.threads == 1
    monkeypatch.setenv(SPIN_COUNT_NAME, SPIN_COUNT)
    assert told("spin", machine) == 0
    assert os.environ[SPIN_COUNT_NAME] == SPIN_COUNT  # this process keeps it
    monkeypatch.setenv(SPIN_COUNT_NAME, "77")
    assert told("spin", machine) == 77  # what the user has chosen holds for both


@pytest.mark.parametrize(
    ("setup", "reason", "broken"),
    [
        (lacking, "needs what this machine lacks", False),
        (failing, "RuntimeError: ValueError: a bug", True),
        (dying, "RuntimeError: the process of the conventional side ended", True),
    ],
)
def test_errors_arrive(machine, setup, reason, broken):
    found = measure(Row("group", "row", VIEWS, partial(sleeping, 0.001), apart(setup)), machine, 0.01)
    assert (found.reason, found.broken) == (reason, broken)


def test_the_process_ends_with_the_side(machine):
    side = apart(partial(telling, "process"))(machine)
    process = int(side.turn())
    side.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
