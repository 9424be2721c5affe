"""Both sides of a comparison compute the same loss and gradient."""

import pytest
import torch

from harness.bench.losses import rows

ROWS = rows(torch.device("cpu"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_both_sides_agree(row, machine):
    ours, plain = row.values(machine)
    torch.testing.assert_close(ours[0], plain[0], rtol=1e-4, atol=1e-5)
    difference = (ours[1:] - plain[1:]).norm() / plain[1:].norm()
    assert difference < 1e-3


def test_what_is_counted(machine):
    """NT-Xent at d = 2: similarities of each view with both, and for the gradient two products of the same size."""
    side = next(row for row in ROWS if "NT-Xent, d=2" in row.name).ours(machine)
    assert side.flops == 3 * 2 * (2 * 512 * 2 * 512 * 64)
    assert side.moved_bytes == 2 * 4 * 2 * 512 * 64
    assert side.turn() == 1.0
