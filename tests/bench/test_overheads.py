"""Overheads are fractions of something that really ran."""

import dataclasses

import pytest

from harness.bench.overheads import SHORT_CELLS, ShortCells, checkpoint_side, progress_side
from harness.bench.stepping import Training

TINY = Training("w_mse", views=2, images=32, size=8, width=4, embedding=8)
QUICK = (
    SHORT_CELLS.replace("epochs: 6", "epochs: 1\n  evaluations: {linear: {epochs: 2}}")
    .replace("width: 24", "width: 4")
    .replace(", contrastive: {}, byol: {}", "")
)


def test_the_share_of_a_suite_and_each_turn_trains_anew(tmp_path, machine):
    cells = ShortCells(tmp_path, machine, QUICK)
    assert len(cells.tasks) == 2
    for turn in range(2):
        assert 0.2 < cells.turn() < 1.0
        assert len(list((tmp_path / f"cells-{turn}").iterdir())) == 2


def test_a_suite_that_fails_is_no_measurement(tmp_path, machine):
    def breaks(*_):
        raise ZeroDivisionError("a fault")

    cells = ShortCells(tmp_path, machine, QUICK)
    cells.methods["w_mse"] = dataclasses.replace(cells.methods["w_mse"], build=breaks)
    with pytest.raises(RuntimeError, match="a cell of the suite did not end: training: ZeroDivisionError: a fault"):
        cells.turn()


@pytest.mark.parametrize("side", [lambda m: checkpoint_side(m, TINY), lambda m: progress_side(m, steps=3)])
def test_a_share_of_the_time(side, machine):
    made = side(machine)
    try:
        assert 0.0 <= made.turn() < 0.5
    finally:
        made.close()
