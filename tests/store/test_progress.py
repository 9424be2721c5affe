"""What a running cell says of itself: seen while its process lives, never after, small, and without harm to the run."""

import itertools
import subprocess
import sys
from dataclasses import dataclass, field

from harness.store.atomic import StoreError
from harness.store.progress import POINTS, ProgressReporter, RunProgress, thinned
from harness.store.records import CurvePoint
from tests.store.conftest import pretraining

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


ID = pretraining().id


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


def test_seen_while_the_process_lives_and_forgotten_when_it_is_killed(store):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(store.root), ID], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"held\n"
    try:
        seen = store.read_progress(ID)
    finally:
        writer.kill()
        writer.wait()
    assert (seen.stage, seen.epoch, seen.epochs) == ("training", 3, 9)
    assert (store.directory(ID) / "progress.json").exists()  # stale: its writer holds the lock no more
    assert store.read_progress(ID) is None
    with store.lock(ID):  # the next process does not pass it for its own
        store.begin(pretraining())
        assert store.read_progress(ID) is None


def test_a_file_of_another_version_says_nothing(store):
    with store.lock(ID):
        (store.directory(ID) / "progress.json").write_text('{"stage": "dreaming"}')
        assert store.read_progress(ID) is None


def test_a_reporter_writes_now_and_then(store):
    with store.lock(ID):
        reporter = ProgressReporter(store, ID, every_seconds=60.0)
        reporter.training(Reading(epoch=1), [])
        reporter.training(Reading(epoch=2), [])
        assert store.read_progress(ID).epoch == 1
        reporter.evaluating()
        seen = store.read_progress(ID)
    assert (seen.stage, seen.epoch, seen.epochs, seen.step) == ("evaluating", 10, 10, 100)


def test_losses_and_what_monitors_measured_are_told(store):
    curve = [point(1), point(2, near_top1=50.0, h_rankme=3.0, whitening_condition=7.0), point(3, far_top1=1.0)]
    with store.lock(ID):
        ProgressReporter(store, ID, monitors={"near"}).training(Reading(), curve)
        seen = store.read_progress(ID)
        assert [p.values for p in seen.curve] == [{"loss": 1.0}, {"loss": 0.5, "near_top1": 50.0}, {"loss": 1.0 / 3}]


def test_who_evaluates_keeps_what_was_told_of_the_training(store):
    """Training and evaluations have a reporter each."""
    with store.lock(ID):
        ProgressReporter(store, ID).training(Reading(), [point(1)])
        ProgressReporter(store, ID).evaluating()
        seen = store.read_progress(ID)
    assert (seen.stage, seen.epoch, seen.step, seen.loss) == ("evaluating", 10, 100, 0.5)
    assert (seen.seconds_left, seen.views_per_second) == (None, 0.0)
    assert [p.values for p in seen.curve] == [{"loss": 1.0}]


def test_what_does_not_train_is_evaluated(store):
    with store.lock(ID):
        ProgressReporter(store, ID).evaluating()
        assert store.read_progress(ID).model_dump(exclude={"written"}) == RunProgress(
            stage="evaluating", written=""
        ).model_dump(exclude={"written"})


def test_a_disk_that_refuses_is_left_alone_for_a_while():
    class Full:
        asked = 0

        def read_progress(self, cell_id):
            return None

        def write_progress(self, cell_id, progress):
            self.asked += 1
            raise StoreError("no space left")

    store = Full()
    reporter = ProgressReporter(store, ID, every_seconds=0.0)
    for _ in range(3):
        reporter.training(Reading(), [])
    assert store.asked == 1
    reporter.evaluating()  # a new stage is tried at once, and costs no more than the refusal
    assert store.asked == 2


def test_long_curves_are_thinned_evenly_and_keep_their_ends_and_what_was_measured():
    curve = [point(epoch, **({"knn5_top1": 1.0} if epoch % 100 == 0 else {})) for epoch in range(1, 1001)]
    kept = thinned(curve, ["knn5"])
    epochs = [p.epoch for p in kept]
    assert len(kept) <= POINTS
    assert (epochs[0], epochs[-1]) == (1, 1000)
    assert max(after - before for before, after in itertools.pairwise(epochs)) <= 18  # 999 / 59, rounded up
    assert [p.epoch for p in kept if "knn5_top1" in p.values] == list(range(100, 1001, 100))
    assert all(set(p.values) <= {"loss", "knn5_top1"} for p in kept)
