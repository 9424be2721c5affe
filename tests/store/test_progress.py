"""What a running cell says of itself: seen while its process lives, never after, small, and without harm to the run."""

import itertools
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from harness.store.atomic import StoreError
from harness.store.progress import POINTS, ProgressReporter, RunProgress, thinned
from harness.store.result import CurvePoint
from harness.store.store import Store

WRITER = """
import sys, time
from pathlib import Path
from harness.store.progress import RunProgress
from harness.store.store import Store
store = Store(Path(sys.argv[1]))
with store.lock(sys.argv[2]):
    store.write_progress(sys.argv[2], RunProgress(stage="training", epoch=3, epochs=9, written="2026-01-01T00:00:00"))
    print("held", flush=True)
    time.sleep(60)
"""


@dataclass
class Reading:
    epoch: int = 3
    epochs: int = 10
    step: int = 30
    steps: int = 100
    loss: float = 0.5
    views_per_second: float = 1234.0
    seconds_left: float = 65.0
    latest: dict = field(default_factory=dict)


def point(epoch, **values):
    return CurvePoint(epoch=epoch, step=10 * epoch, values={"loss": 1.0 / epoch, "lr": 0.1, **values})


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cells")


def test_seen_while_the_process_lives_and_forgotten_when_it_is_killed(store, make_cell):
    cell = make_cell()
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(store.root), cell.id], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"held\n"
    try:
        seen = store.read_progress(cell.id)
    finally:
        writer.kill()
        writer.wait()
    assert (seen.stage, seen.epoch, seen.epochs) == ("training", 3, 9)
    assert (store.directory(cell.id) / "progress.json").exists()  # stale: its writer holds the lock no more
    assert store.read_progress(cell.id) is None
    with store.lock(cell.id):  # the next process does not pass it for its own
        store.begin(cell)
        assert store.read_progress(cell.id) is None


def test_a_file_of_another_version_says_nothing(store, make_cell):
    cell = make_cell()
    with store.lock(cell.id):
        (store.directory(cell.id) / "progress.json").write_text('{"stage": "dreaming"}')
        assert store.read_progress(cell.id) is None


def test_a_reporter_writes_now_and_then(store, make_cell):
    cell = make_cell()
    with store.lock(cell.id):
        reporter = ProgressReporter(store, cell.id, every_seconds=60.0)
        reporter.training(Reading(epoch=1), [])
        reporter.training(Reading(epoch=2), [])
        assert store.read_progress(cell.id).epoch == 1
        reporter.evaluating([point(1), point(2, knn5_top1=50.0)])
        seen = store.read_progress(cell.id)
    assert (seen.stage, seen.epoch, seen.epochs, seen.step) == ("evaluating", 10, 10, 100)
    assert [p.values for p in seen.curve] == [{"loss": 1.0}, {"loss": 0.5, "knn5_top1": 50.0}]


def test_what_does_not_train_is_evaluated(store, make_cell):
    cell = make_cell()
    with store.lock(cell.id):
        ProgressReporter(store, cell.id).evaluating([])
        assert store.read_progress(cell.id).model_dump(exclude={"written"}) == RunProgress(
            stage="evaluating", written=""
        ).model_dump(exclude={"written"})


def test_a_disk_that_refuses_is_left_alone_for_a_while(make_cell):
    class Full:
        asked = 0

        def write_progress(self, cell_id, progress):
            self.asked += 1
            raise StoreError("no space left")

    store = Full()
    reporter = ProgressReporter(store, make_cell().id, every_seconds=0.0)
    for _ in range(3):
        reporter.training(Reading(), [])
    assert store.asked == 1


def test_long_curves_are_thinned_evenly_and_keep_their_ends_and_what_was_measured():
    curve = [point(epoch, **({"knn5_top1": 1.0} if epoch % 100 == 0 else {})) for epoch in range(1, 1001)]
    kept = thinned(curve)
    epochs = [p.epoch for p in kept]
    assert len(kept) <= POINTS
    assert (epochs[0], epochs[-1]) == (1, 1000)
    assert max(after - before for before, after in itertools.pairwise(epochs)) <= 18  # 999 / 59, rounded up
    assert [p.epoch for p in kept if "knn5_top1" in p.values] == list(range(100, 1001, 100))
    assert all(set(p.values) <= {"loss", "knn5_top1"} for p in kept)
