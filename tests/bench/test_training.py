"""Both sides of a training row do the work they are counted for."""

import pytest

from harness.bench.row import Unavailable
from harness.bench.stepping import Training
from harness.bench.timing import measure
from harness.bench.training import trained, whole_run

TINY = Training("w_mse", views=2, images=128, size=8, width=4)


def test_a_row_runs_on_both_sides(machine):
    found = measure(trained(TINY, target=1e-6, precision="float32"), machine, 0.1)
    assert found.reason == ""
    assert len(found.ratios) >= 3
    assert found.met is True
    assert found.limit == "float32"


def test_operations_are_those_of_a_step(machine):
    """Twice the views or images take twice the operations of encoder and head; what whitening adds is small."""
    one = trained(TINY, precision="float32").ours(machine)
    more = trained(Training("w_mse", 4, 128, 8, 4), precision="float32").ours(machine)
    assert one.turn() == 256.0
    assert more.turn() == 512.0
    assert more.flops == pytest.approx(one.flops, rel=1e-6)  # a view


def test_the_whole_run_is_for_gpus(machine):
    with pytest.raises(Unavailable, match="CUDA devices only"):
        whole_run(TINY).ours(machine)
