"""What the store says of a run that other processes do, and its picture at any size of a terminal."""

import contextlib
import random

import pytest
from rich.cells import cell_len

from harness.analysis.live import CachedStore, Running, Snapshot, look
from harness.analysis.live_view import NARROWEST, bar, frame, sparkline
from harness.spec.metric import Metric
from harness.store.cell_result import read_cell
from harness.store.progress import RunProgress
from harness.store.records import CurvePoint
from tests.analysis.conftest import LINEAR, MONITORS

WRITTEN = "2026-01-01T00:00:00+00:00"


def progress(**changes):
    curve = [CurvePoint(epoch=i, step=i, values={"loss": 1 / i, "knn5_top1": 40.0 + i}) for i in range(1, 31)]
    fields = {"stage": "training", "epoch": 30, "epochs": 60, "step": 30, "steps": 60, "loss": 0.0333}
    fields |= {"views_per_second": 1234.0, "seconds_left": 65.0, "curve": tuple(curve), "written": WRITTEN}
    return RunProgress(**(fields | changes))


@contextlib.contextmanager
def running(store, cell, said=None):
    """The cell as if a process ran it: a lock is seen by others whoever holds it."""
    id_ = cell.pretraining.id
    with store.lock(id_):
        store.begin(cell.pretraining)
        if said is not None:
            store.write_progress(id_, said)
        yield


def test_cells_by_state_with_what_runs_failed_and_ended_last(bench):
    for seed, finished in enumerate(("2026-01-01T00:00:00+00:00", "2026-01-03T00:00:00+00:00")):
        bench.done({"linear_top1": 90.0 + seed}, seed=seed, provenance={"finished": finished})
    bench.failed("RuntimeError", "broken", seed=2)
    cell = bench.plan(seed=3).cell
    bench.plan(seed=4)
    bench.skip("cannot work", seed=5)
    with running(bench.store, cell, progress()):
        seen = look("T", bench.expansion, bench.store, bench.facts)
    assert seen.states == {"done": 2, "failed": 1, "running": 1, "pending": 1, "skipped": 1}
    assert (seen.planned, seen.open) == (5, 2)
    assert seen.running == (Running("W-MSE on cifar10, seed 3", progress()),)
    assert seen.failures == (("W-MSE on cifar10, seed 2", "RuntimeError: broken"),)
    assert [record.result.metrics["linear_top1"] for _, record in seen.finished] == [91.0, 90.0]  # the latest first
    assert seen.views_per_second == 1234.0
    # 1000 epochs of 97 steps of 512 images, twice, at 10 s for 51,200 views; 2 s of evaluation; and what runs
    waiting = 50_000 // 512 * 512 * 2 * 1000 * 10 / 51_200 + 2.0
    assert seen.seconds_left == pytest.approx(65.0 + waiting)
    assert seen.unknown == 0


def test_time_left_is_shared_among_the_running_and_unknown_cells_are_counted(bench):
    first, second = bench.plan(seed=0).cell, bench.plan(seed=1).cell
    bench.plan(seed=2)
    with running(bench.store, first, progress()), running(bench.store, second, progress(seconds_left=35.0)):
        seen = look("T", bench.expansion, bench.store, bench.facts)
    assert (seen.seconds_left, seen.unknown) == (65.0, 1)  # no less than the longest running one


def test_a_failed_cell_that_is_tried_again_is_running(bench):
    bench.failed("RuntimeError", "broken")
    with running(bench.store, bench.planned[0].cell):
        seen = look("T", bench.expansion, bench.store, bench.facts)
    assert seen.states == {"running": 1}
    assert seen.running[0].progress is None
    assert seen.failures == ()
    assert look("T", bench.expansion, bench.store, bench.facts).states == {"failed": 1}


def test_a_failed_evaluation_is_told_with_its_name(bench):
    bench.done({"linear_top1": 90.0}, failing={"knn5": "k exceeds the images"})
    seen = look("T", bench.expansion, bench.store, bench.facts)
    assert seen.failures == (("W-MSE on cifar10, seed 0, knn5", "RuntimeError: k exceeds the images"),)
    assert seen.finished == ()


def test_evaluations_to_do_wait_and_cost_no_training(bench):
    bench.done({"linear_top1": 90.0}, seed=0)
    bench.done({"linear_top1": 90.0}, seed=1, to_do=["knn5"])
    with running(bench.store, bench.plan(seed=2).cell, progress()):
        seen = look("T", bench.expansion, bench.store, bench.facts)
    assert seen.states == {"done": 1, "pending": 1, "running": 1}
    assert seen.seconds_left == pytest.approx(65.0 + 0.5)  # of one evaluation like that of seed 0


def test_cells_that_share_a_pretraining_run_once(bench):
    for seed in (0, 1):
        bench.plan(label="pixels", method="pixels", settings={}, seed=seed)
    with running(bench.store, bench.planned[0].cell, progress(stage="evaluating", views_per_second=5.0)):
        seen = look("T", bench.expansion, bench.store, bench.facts)
    assert (seen.states, len(seen.running), seen.views_per_second) == ({"running": 2}, 1, 5.0)


def test_a_cell_that_is_done_stays_so_while_its_encoder_is_asked_for_another(bench):
    result = bench.done({"linear_top1": 90.0}, label="A", evaluations={"linear": LINEAR})
    bench.plan(label="B")  # the same pretraining, with knn5 too
    with running(bench.store, result.cell):
        assert look("T", bench.expansion, bench.store, bench.facts).states == {"done": 1, "running": 1}


def test_results_are_read_again_only_when_their_file_changed(bench, monkeypatch):
    curve = [CurvePoint(epoch=5, step=50, values={"loss": 1.0, "knn5_top1": 40.0})]
    result = bench.done({"linear_top1": 90.0}, curve=curve, monitors=MONITORS)
    store = CachedStore(bench.store.root)
    states, points = look("T", bench.expansion, store, bench.facts).states, read_cell(store, result.cell).curves
    assert [point.values["knn5_top1"] for point in points] == [40.0]
    with monkeypatch.context() as patch:
        patch.setattr("harness.store.store.read_sealed", None)  # any reading would fail
        assert look("T", bench.expansion, store, bench.facts).states == states == {"done": 1}
        assert read_cell(store, result.cell).curves == points
    answer = result.evaluations["linear"]
    bench.store.save_evaluation(answer.model_copy(update={"metrics": {"top1": 123.25}}))
    assert read_cell(store, result.cell).metrics == {"linear_top1": 123.25}
    (bench.store.directory(result.id) / "pretraining.json").unlink()
    assert read_cell(store, result.cell) is None


def test_a_sparkline_goes_from_the_smallest_to_the_largest():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([7, 0], 8) == "█▁"
    assert sparkline([0, 0, 7, 7], 2) == "▁█"  # averaged in groups
    assert sparkline([3.0, 3.0], 8) == "▁▁"
    assert sparkline([float("nan"), 1.0, 2.0], 8) == "▁█"
    assert sparkline([], 8) == sparkline([1.0], 0) == ""


@pytest.mark.parametrize(
    "parts", [{"done": 1, "failed": 1, "pending": 998}, {"done": 5}, {"done": 3, "failed": 3, "running": 3}]
)
@pytest.mark.parametrize("width", [20, 79, 80])
def test_a_bar_fills_the_width_and_hides_no_part(parts, width):
    shown = bar(parts, width)
    assert cell_len(shown.plain) == width
    assert len(shown.spans) == len(parts)


def snapshot(cells, failures=0, finished=()):
    states = {"done": 14, "failed": failures, "running": cells, "pending": 9, "skipped": 2}
    name = "whitened_contrastive transform.slicing_iterations=4 d=8 on fashion_mnist, seed {}"
    now = tuple(Running(name.format(i), progress() if i % 4 else None) for i in range(cells))
    broken = tuple((name.format(i), "NonFiniteLossError: the loss is not finite" * 5) for i in range(failures))
    return Snapshot("A title " * 20, states, now, broken, finished, 1234.0, 3725.0, 1)


@pytest.mark.parametrize("width", [20, 60, 80, 120, 200])
@pytest.mark.parametrize("height", [1, 2, 5, 8, 24, 60])
@pytest.mark.parametrize("cells", [0, 1, 40])
def test_no_line_is_longer_than_the_width_and_no_picture_higher_than_the_window(width, height, cells):
    lines = frame(snapshot(cells, failures=7), width, height)
    assert len(lines) <= height
    assert max(cell_len(line.plain) for line in lines) <= width
    assert all("\n" not in line.plain for line in lines)


def test_what_does_not_fit_is_counted(bench):
    lines = [line.plain for line in frame(snapshot(40), 80, 24)]
    shown = sum("epoch" in line or "starting" in line for line in lines)
    assert lines[-1] == f"and {40 - shown} more running"
    lines = [line.plain for line in frame(snapshot(3), 80, 24)]
    assert not any("more running" in line for line in lines)


def test_a_running_cell_at_eighty_columns():
    seen = Snapshot(
        "T",
        {"running": 1},
        (Running("w_mse", progress(), {"knn5_top1": Metric("top1", "5-NN")}),),
        (),
        (),
        1234.0,
        None,
        0,
    )
    lines = [line.plain for line in frame(seen, 80)]
    assert lines[0] == "T"
    assert lines[2] == "0 of 1 cells ended: 1 running"
    where = "epoch 30/60, 50%, 1 min 05 s left"
    assert lines[6] == "w_mse" + " " * (80 - 5 - len(where)) + where
    assert lines[7].startswith("  loss 0.0333 █")
    assert "5-NN 70.00 % ▁" in lines[7]
    assert lines[7].endswith("1,234 views/s")


def test_the_first_metric_of_each_evaluation_is_shown_of_what_is_done(bench):
    bench.done({"linear_top1": 90.0, "linear_top5": 99.0, "knn5_top1": 80.0}, collapsed=True)
    lines = [line.plain for line in frame(look("T", bench.expansion, bench.store, bench.facts), 80)]
    assert "W-MSE on cifar10, seed 0: linear top-1 90.00 %, 5-NN 80.00 %, collapsed" in lines


def test_results_of_two_evaluations_of_one_probe_are_told_apart(bench):
    few = {**LINEAR, "label_fraction": 0.1}
    bench.done({"linear_top1": 90.0, "few_top1": 80.0}, evaluations={"linear": LINEAR, "few": few})
    lines = [line.plain for line in frame(look("T", bench.expansion, bench.store, bench.facts), 80)]
    assert "W-MSE on cifar10, seed 0: linear top-1 90.00 %, linear top-1 (few) 80.00 %" in lines


def test_a_long_name_is_cut_before_its_seed():
    lines = [line.plain for line in frame(snapshot(2), 80)]
    named = next(line for line in lines if "epoch 30/60" in line)
    assert named.startswith("whitened_contrastive")
    assert "…, seed 1 " in named


def test_evaluating_nothing_planned_and_windows_of_any_size():
    cell = Running("w_mse", progress(stage="evaluating", seconds_left=None))
    text = "\n".join(line.plain for line in frame(Snapshot("T", {"running": 1}, (cell,), (), (), 0.0, None, 0), 80))
    assert "evaluating" in text
    assert "views/s" not in text
    empty = Snapshot("T", {}, (), (), (), 0.0, None, 0)
    assert "no cell can run" in frame(empty, 80)[2].plain
    generator = random.Random(0)
    for _ in range(50):
        width, height = generator.randint(1, 150), generator.randint(1, 50)
        lines = frame(snapshot(generator.randint(0, 30), generator.randint(0, 9)), width, height)
        assert all(cell_len(line.plain) <= max(width, NARROWEST) for line in lines)
        assert len(lines) <= height
