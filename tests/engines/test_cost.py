"""Operations counted without running them, and energy from files like the kernel's."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.data.datasets import DATASETS
from harness.engines.cost import energy_meter, step_flops
from harness.suite.expand import expand
from harness.suite.suite import load_suite
from harness.training.networks import build_networks
from methods import catalogue
from tests.conftest import write_suite

CPU = torch.device("cpu")


def toy_cell(directory, name):
    suite = load_suite(write_suite(directory, f"methods: {{{name}: {{}}}}\n", "one.yaml"), None, ())
    planned = expand(suite, catalogue(), DATASETS, lambda spec: "0" * 64).planned
    return next(item.cell for item in planned if item.cell.method == name)


@pytest.mark.parametrize("name", ["w_mse", "contrastive", "byol", "vicreg", "barlow_twins", "supervised"])
def test_operations_of_a_step_are_those_of_a_step_that_is_run(tmp_path, name):
    entry, cell = catalogue()[name], toy_cell(tmp_path, name)
    _, method = build_networks(cell, entry, classes=10)
    counted = step_flops(method, cell)
    views = torch.randn(cell.views, cell.batch_size, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        method.loss(views, torch.zeros(cell.batch_size, dtype=torch.int64), torch.Generator()).backward()
    assert counted == counter.get_total_flops() > 0


def test_counting_leaves_the_method_as_it_was(tmp_path):
    entry, cell = catalogue()["w_mse"], toy_cell(tmp_path, "w_mse")
    _, method = build_networks(cell, entry, classes=10)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    step_flops(method, cell)
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())


def test_a_loss_that_looks_at_values_is_not_counted(tmp_path):
    entry, cell = catalogue()["w_mse"], toy_cell(tmp_path, "w_mse")
    _, method = build_networks(cell, entry, classes=10)
    plain = method.loss
    method.loss = lambda *given: plain(*given) * float(given[0].sum())
    assert step_flops(method, cell) is None


def rapl(root, *packages):
    for number, (now, full) in enumerate(packages):
        directory = root / f"intel-rapl:{number}"
        directory.mkdir(exist_ok=True)
        (directory / "energy_uj").write_text(f"{now}\n")
        (directory / "max_energy_range_uj").write_text(f"{full}\n")


def test_energy_is_the_sum_over_packages_since_the_start_and_survives_a_counter_that_wraps(tmp_path):
    rapl(tmp_path, (1_000_000, 10_000_000), (9_000_000, 10_000_000))
    (tmp_path / "intel-rapl:0:0").mkdir()  # a part of a package, which the package counts already
    meter = energy_meter(CPU, tmp_path)
    rapl(tmp_path, (3_000_000, 10_000_000), (500_000, 10_000_000))
    assert meter.joules() == pytest.approx(2.0 + 1.5)
    rapl(tmp_path, (3_500_000, 10_000_000), (500_000, 10_000_000))
    assert meter.joules() == pytest.approx(4.0)


def test_a_machine_that_does_not_tell_has_no_meter(tmp_path):
    assert energy_meter(CPU, tmp_path) is None
