"""Operations counted without running them, and energy from files like the kernel's."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.backbones import build_encoder, feature_size
from harness.engines.cost import energy_meter, step_flops
from harness.registry import all_methods
from harness.spec.models import Augmentation, Backbone, Input, Optimiser, Schedule, TrainingSpec
from methods.method import Batch, Loss, Method, Step

CPU = torch.device("cpu")
INPUT = Input(size=8, channels=1, mean=(0.5,), std=(0.25,))
SPEC = TrainingSpec(
    views=2,
    augmentation=Augmentation(),
    optimiser=Optimiser(),
    schedule=Schedule(),
    epochs=2,
    batch_size=64,
    precision="float32",
)
SMALL = {"projector": {"hidden": [8], "embedding_size": 4}}
SETTINGS = {
    "w_mse": {**SMALL, "transform": {"kind": "whitening", "sub_batch_size": 32}},
    "contrastive": SMALL,
    "byol": SMALL,
    "vicreg": SMALL,
    "barlow_twins": SMALL,
    "supervised": {},
}


def method_of(name):
    entry = all_methods()[name]
    encoder = build_encoder(Backbone(stem="small_max_pool", width=4), 1, 8, 0)
    return entry.builder()(entry.settings.model_validate(SETTINGS[name]), encoder, feature_size(encoder, 1, 8), 10)


@pytest.mark.parametrize("name", SETTINGS)
def test_operations_of_a_step_are_those_of_a_step_that_is_run(name):
    method = method_of(name)
    counted = step_flops(method, SPEC, INPUT)
    views = torch.randn(SPEC.views, SPEC.batch_size, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        numbers = torch.zeros(SPEC.batch_size, dtype=torch.int64)
        step = Step(0, 1, 0, 1, torch.Generator())
        Loss.of(method.loss(Batch((views,), numbers, numbers), step)).total.backward()
    assert counted == counter.get_total_flops() > 0


def test_counting_leaves_the_method_as_it_was():
    method = method_of("w_mse").eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    step_flops(method, SPEC, INPUT)
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())
    assert not any(module.training for module in method.modules())


@pytest.mark.parametrize(
    ("factor", "error"),
    [
        (lambda views: float(views.sum()), RuntimeError),
        (lambda views: {"cpu": 1.0, "cuda": 1.0}[views.device.type], KeyError),
        (lambda views: 1 / 0, ZeroDivisionError),
    ],
)
def test_a_loss_that_cannot_be_counted_says_so_by_its_own_error(factor, error):
    class Odd(Method):
        def loss(self, batch, step):
            views = batch.views[0]
            return self.encoder(views[0]).square().mean() * factor(views)

    with pytest.raises(error):
        step_flops(Odd(nn.Flatten()), SPEC, INPUT)


def test_what_a_method_holds_from_its_last_step_does_not_matter():
    method = method_of("w_mse")
    counted = step_flops(method, SPEC, INPUT)
    method._monitor.keep_failure(torch.eye(4).expand(2, 4, 4), torch.tensor([False, False]))  # as on CUDA
    assert step_flops(method, SPEC, INPUT) == counted


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
