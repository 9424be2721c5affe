"""Which rows there are, and how they are chosen."""

import pytest
import torch

from harness.bench.groups import GROUPS, NoSuchRow, all_rows, selected

ROWS = all_rows(torch.device("cpu"))


def titles(*patterns):
    return [row.title for row in selected(ROWS, patterns)]


def test_titles_are_unique_on_either_device():
    for rows in (ROWS, all_rows(torch.device("cuda"))):
        assert len({row.title for row in rows}) == len(rows)
        assert {row.group for row in rows} == set(GROUPS)


def test_rows_are_chosen_by_group_part_or_pattern():
    assert titles() == [row.title for row in ROWS]
    assert titles("Overheads") == [row.title for row in ROWS if row.group == "overheads"]
    assert titles("32x32x3") == ["augmentation: 32x32x3, 2 views, batch 512"]
    assert titles("training*byol") == ["training: byol d=2, ResNet-18 of width 16, 32x32, batch 512"]
    assert titles("*diagnostics*", "28x28") == [row.title for row in ROWS if "28x28" in row.name or "diagn" in row.name]


def test_a_pattern_without_rows_is_named():
    with pytest.raises(NoSuchRow, match=r"--only augmetation: no row of that name; groups are augmentation, losses,"):
        selected(ROWS, ["losses", "augmetation"])


def test_the_aims_of_the_project():
    aims = {row.title: (row.target.of, row.target.bound) for row in ROWS if row.target}
    assert aims == {
        "augmentation: 32x32x3, 2 views, batch 512": ("ratio", 25.0),
        "losses: W-MSE, slices of 128 x 1, d=2, N=512, D=64": ("ratio", 4.0),
        "losses: W-MSE, slices of 256 x 4, d=2, N=512, D=128": ("ratio", 3.0),
        "losses: W-MSE, slices of 128 x 1, d=4, N=512, D=64": ("ratio", 4.0),
        "losses: W-MSE, slices of 256 x 4, d=4, N=512, D=128": ("ratio", 3.0),
        "losses: NT-Xent, d=2, N=512, D=64": ("ratio", 1.0),
        "losses: NT-Xent, d=4, N=256, D=64": ("ratio", 1.5),
        "losses: VICReg, d=2, N=256, D=2048": ("ratio", 10.0),
        "losses: Barlow Twins, d=2, N=256, D=2048": ("ratio", 3.0),
        "training: w_mse d=2, ResNet-18 of width 16, 32x32, batch 512": ("ratio", 4.0),
        "training: w_mse d=2, ResNet-18 of width 16, 16x16, batch 512": ("ratio", 4.0),
        "training: w_mse d=2, ResNet-18, 32x32, batch 128": ("ratio", 3.0),
        "training: CIFAR-10, 1000 epochs of w_mse d=2, ResNet-18": ("value", 20.0),
        "evaluation: linear probe, 50,000 x 512, 500 epochs, 8 together, each": ("ratio", 4.0),
        "evaluation: 5-NN, 10,000 against 50,000 x 512": ("limit", 0.4),
        "overheads: suite of short cells on digits: training and evaluation": ("value", 95.0),
        "overheads: checkpoints of ResNet-18": ("value", 1.0),
        "overheads: progress in a terminal": ("value", 1.0),
    }
