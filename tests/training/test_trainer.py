"""The loop: exact resume from any step, failures that say where, costs that count."""

import math
from dataclasses import replace
from threading import Event

import numpy as np
import pytest
import torch
from torch import nn

from harness.data.images import Images
from harness.data.views import ViewStream
from harness.spec.models import Augmentation, Input, Optimiser, Schedule, TrainingSpec
from harness.streams import stream_seed
from harness.training.checkpoints import CheckpointError, from_bytes, to_bytes
from harness.training.trainer import (
    BatchTooLargeError,
    Hooks,
    Interrupted,
    NonFiniteLossError,
    Pruned,
    Trainer,
    channels_last,
)
from methods.method import Method

CPU = torch.device("cpu")
EPOCHS, STEPS_PER_EPOCH = 3, 4
SEED, RUN_ID = 1, "4e5f60718293a4b5c6d7"
INPUT = Input(size=8, channels=1, mean=(0.5,), std=(0.25,))
SPEC = TrainingSpec(
    views=2,
    augmentation=Augmentation(flip_probability=0.0),
    optimiser=Optimiser(lr=0.01),
    schedule=Schedule(warmup_steps=3, drops=(1,)),
    epochs=EPOCHS,
    batch_size=8,
    precision="float32",
)


class Toy(Method):
    """Everything a resume could forget: BN buffers, dropout, a momentum copy, draws from the generator."""

    def __init__(self, break_at=None):
        torch.manual_seed(3)
        super().__init__(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3)))
        self.head = nn.Linear(4 * 36, 6)
        self.target = nn.Linear(4 * 36, 6).requires_grad_(False)
        self.break_at, self.calls, self.progress_seen = break_at, 0, []

    def loss(self, batch, step):
        self.calls += 1
        h = step.features(self.encoder, batch)
        permutation = torch.randperm(h.shape[1], generator=step.generator)
        online, target = self.head(h[0][permutation]), self.target(h[1][permutation.flip(0)]).detach()
        loss = (online.float() - target.float()).square().mean() + online.float().mean()
        return loss * math.inf if self.calls == self.break_at else loss

    def after_step(self, step):
        self.progress_seen.append(step.epoch / step.epochs)
        with torch.no_grad():
            self.target.weight.lerp_(self.head.weight, 0.1)


class Surroundings:
    """Hooks that note what happens."""

    def __init__(self, stop_after=None, **options):
        self.saved, self.measured, self.steps, self.reports = [], [], 0, []
        self.stop_after = stop_after
        self.hooks = Hooks(
            measure=self.measure,
            report=self.reports.append,
            should_stop=self.should_stop,
            save=self.saved.append,
            report_seconds=0.0,
            **options,
        )

    def measure(self, epochs_done):
        self.measured.append(epochs_done)
        return {"knn5_top1": 50.0 + epochs_done}

    def should_stop(self):
        self.steps += 1
        return self.steps == self.stop_after


def make_trainer(around, spec=SPEC, method=None):
    pixels = np.random.default_rng(0).integers(0, 256, (8 * STEPS_PER_EPOCH + 3, 8, 8, 1), dtype=np.uint8)
    images = Images(pixels, np.zeros(len(pixels), dtype=np.int64))
    views = ViewStream(images, INPUT, spec.augmentation, spec.views, spec.batch_size, SEED, CPU)
    return Trainer(spec, SEED, RUN_ID, method or Toy(), views, CPU, around.hooks)


@pytest.fixture(scope="module")
def uninterrupted():
    around = Surroundings()
    trainer = make_trainer(around)
    tally = trainer.run()
    return trainer, tally, around


@pytest.mark.parametrize("stop_after", range(1, EPOCHS * STEPS_PER_EPOCH))
def test_stopped_after_any_step_and_resumed_the_weights_are_bit_identical(uninterrupted, stop_after):
    whole, whole_tally, _ = uninterrupted
    around = Surroundings(stop_after=stop_after)
    with pytest.raises(Interrupted):
        make_trainer(around).run()
    torch.manual_seed(99)  # whatever state the next process is in
    resumed = make_trainer(Surroundings())
    resumed.restore(from_bytes(around.saved[-1], RUN_ID))
    tally = resumed.run()
    for (name, ours), theirs in zip(
        resumed.method.state_dict().items(), whole.method.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    untimed = [[point.model_copy(update={"seconds": None}) for point in t.curve] for t in (tally, whole_tally)]
    assert untimed[0] == untimed[1]
    assert tally.step == whole_tally.step == EPOCHS * STEPS_PER_EPOCH
    assert tally.resumed == 1


def test_the_curve_has_a_point_an_epoch_with_the_mean_loss(uninterrupted):
    trainer, tally, around = uninterrupted
    assert [(p.epoch, p.step) for p in tally.curve] == [(1, 4), (2, 8), (3, 12)]
    assert around.measured == [1, 2, 3]
    assert tally.curve[1].values["knn5_top1"] == 52.0
    losses = [report.loss for report in around.reports]
    assert tally.curve[0].values["loss"] == pytest.approx(np.mean(losses[:4]), rel=1e-5)
    assert [p.values["lr"] for p in tally.curve] == pytest.approx([0.01, 0.01, 0.002])  # drops before the last epoch
    assert trainer.method.progress_seen == [e / EPOCHS for e in range(EPOCHS) for _ in range(STEPS_PER_EPOCH)]


def test_the_draws_of_a_step_belong_to_the_seed_the_purpose_and_the_step():
    class Noting(Toy):
        def loss(self, batch, step):
            seeds.append((torch.initial_seed(), step.generator.initial_seed()))
            return super().loss(batch, step)

    seeds = []
    make_trainer(Surroundings(), SPEC.model_copy(update={"epochs": 1}), Noting()).run()
    assert seeds == [
        tuple(stream_seed(SEED, purpose, step) for purpose in ("dropout", "permutation"))
        for step in range(STEPS_PER_EPOCH)
    ]


def test_progress_counts_every_view(uninterrupted):
    *_, around = uninterrupted
    last = around.reports[-1]
    assert (last.epoch, last.step, last.steps) == (EPOCHS, 12, 12)
    assert last.seconds_left == 0.0
    assert last.views_per_second > 0


def test_checkpoints_on_the_way_do_not_change_the_run(uninterrupted):
    whole, *_ = uninterrupted
    around = Surroundings(checkpoint_seconds=0.0)
    trainer = make_trainer(around)
    trainer.run()
    assert around.saved
    for ours, theirs in zip(trainer.method.parameters(), whole.method.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_non_finite_loss_says_at_which_step_and_is_never_saved():
    around = Surroundings(checkpoint_seconds=0.0)
    with pytest.raises(NonFiniteLossError, match=r"not finite at step 5 \(epoch 1\).*lower `optimiser.lr`"):
        make_trainer(around, method=Toy(break_at=6)).run()
    steps = [from_bytes(data, RUN_ID)["step"] for data in around.saved]
    assert steps
    assert max(steps) <= 5


def test_a_failed_save_is_raised():
    around = Surroundings(checkpoint_seconds=0.0)

    def full_disk(data):
        raise OSError("no space left on device")

    trainer = make_trainer(around)
    trainer.hooks = Hooks(**{**vars(around.hooks), "save": full_disk})
    with pytest.raises(OSError, match="no space left"):
        trainer.run()


def test_checkpoints_of_another_pretraining_and_damaged_ones_are_refused():
    around = Surroundings(stop_after=2)
    with pytest.raises(Interrupted):
        make_trainer(around).run()
    with pytest.raises(CheckpointError, match=f"^pretraining {'0' * 20}: the checkpoint is of pretraining {RUN_ID}"):
        from_bytes(around.saved[0], "0" * 20)
    for cut in (0, 1, len(around.saved[0]) // 2, len(around.saved[0]) - 1):
        with pytest.raises(CheckpointError, match=f"^pretraining {RUN_ID}: the checkpoint cannot be read"):
            from_bytes(around.saved[0][:cut], RUN_ID)


def test_a_checkpoint_of_another_network_does_not_fit():
    state = make_trainer(Surroundings()).state()
    del state["method"]["head.weight"]
    with pytest.raises(CheckpointError, match=f"^pretraining {RUN_ID}: .* does not fit the code as it is now"):
        make_trainer(Surroundings()).restore(from_bytes(to_bytes(state), RUN_ID))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains(precision):
    if precision == "float16" and not torch.ops.mkldnn._is_mkldnn_fp16_supported():
        pytest.skip("this CPU has no float16 arithmetic")
    trainer = make_trainer(Surroundings(), SPEC.model_copy(update={"precision": precision}))
    seen = []
    trainer.method.head.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    before = trainer.method.head.weight.clone()
    trainer.run()
    assert set(seen) == {getattr(torch, precision)}
    assert not torch.equal(before, trainer.method.head.weight)
    assert trainer.method.head.weight.dtype == torch.float32


def test_channels_last_keeps_the_values_and_orders_the_memory():
    views = torch.randn(2, 3, 4, 5, 6)
    ordered = channels_last(views)
    assert torch.equal(ordered, views)
    assert all(view.is_contiguous(memory_format=torch.channels_last) for view in ordered)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_step_on_cuda_never_waits_for_the_device():
    around, device = Surroundings(), torch.device("cuda")
    pixels = np.zeros((32, 8, 8, 1), dtype=np.uint8)
    views = ViewStream(Images(pixels, np.zeros(32, dtype=np.int64)), INPUT, SPEC.augmentation, 2, 8, SEED, device)
    trainer = Trainer(SPEC, SEED, RUN_ID, Toy(), views, device, around.hooks)
    batch = next(iter(views.epoch(0)))
    trainer._train_step(batch, 0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer._train_step(batch, 0)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_run_is_given_up_at_the_point_that_says_so_and_keeps_its_curve():
    around = Surroundings(give_up=lambda point: point.epoch == 2)
    trainer = make_trainer(around)
    with pytest.raises(Pruned):
        trainer.run()
    assert [point.epoch for point in trainer.tally.curve] == [1, 2]
    assert trainer.tally.step == 2 * STEPS_PER_EPOCH
    assert trainer.tally.curve[0].seconds < trainer.tally.curve[1].seconds


def test_a_resumed_run_is_judged_by_its_past_too():
    around = Surroundings(stop_after=STEPS_PER_EPOCH + 1)
    with pytest.raises(Interrupted):
        make_trainer(around).run()
    judged = []
    resumed = make_trainer(Surroundings(give_up=lambda point: judged.append(point.epoch) or point.epoch == 1))
    resumed.restore(from_bytes(around.saved[-1], RUN_ID))
    with pytest.raises(Pruned):
        resumed.run()
    assert judged == [1]
    assert resumed.tally.step == STEPS_PER_EPOCH + 1


class Greedy(Toy):
    """A loss that asks for more memory than any machine has."""

    def loss(self, batch, step):
        return super().loss(batch, step) + torch.empty(2**60).sum()


def test_a_step_that_does_not_fit_the_memory_says_what_to_make_smaller():
    with pytest.raises(
        BatchTooLargeError, match=r"a step of 8 images in 2 views does not fit the memory of cpu: use a"
    ):
        make_trainer(Surroundings(), method=Greedy()).run()


def test_another_runtime_error_is_left_as_it_is():
    class Wrong(Toy):
        def loss(self, batch, step):
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"):
        make_trainer(Surroundings(), method=Wrong()).run()


def test_a_method_is_told_where_the_training_stands():
    class Noting(Toy):
        def loss(self, batch, step):
            told.append((step.index, step.steps, step.epoch, step.epochs, step.rank, step.ranks))
            assert torch.equal(step.gather(batch.labels), batch.labels)
            return super().loss(batch, step)

    told = []
    make_trainer(Surroundings(), method=Noting()).run()
    total = EPOCHS * STEPS_PER_EPOCH
    assert told == [(i, total, i // STEPS_PER_EPOCH, EPOCHS, 0, 1) for i in range(total)]


def test_training_goes_on_while_a_checkpoint_is_written():
    second_step = Event()

    def save(data):
        assert second_step.wait(5)

    def should_stop():
        steps.append(None)
        if len(steps) == 2:
            second_step.set()
        return False

    steps, around = [], Surroundings(checkpoint_seconds=0.0)
    around.hooks = replace(around.hooks, save=save, should_stop=should_stop)
    make_trainer(around).run()
    assert len(steps) == EPOCHS * STEPS_PER_EPOCH


@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_fp16_supported(), reason="this CPU has no float16 arithmetic")
def test_in_float16_a_gradient_below_its_range_is_not_lost():
    """One of 1e-9 or so, where float16's smallest number is 6e-8: without a scaled loss nothing would move."""

    class Faint(Toy):
        def loss(self, batch, step):
            return super().loss(batch, step) * 1e-6

    plain = {"name": "sgd", "lr": 1e6, "momentum": 0.0, "weight_decay": 0.0}
    spec = SPEC.model_copy(
        update={"optimiser": Optimiser(**plain), "schedule": Schedule(name="constant", warmup_steps=0)}
    )
    moved = {}
    for precision in ("float32", "float16"):
        trainer = make_trainer(Surroundings(stop_after=1), spec.model_copy(update={"precision": precision}), Faint())
        before = trainer.method.head.weight.detach().clone()
        with pytest.raises(Interrupted):
            trainer.run()
        moved[precision] = trainer.method.head.weight.detach() - before
    torch.testing.assert_close(moved["float16"], moved["float32"], rtol=0.05, atol=0.01 * moved["float32"].abs().max())


def test_clipping_bounds_the_norm_of_the_whole_gradient():
    """By SGD without momentum at a rate of one, the first step is the gradient."""
    spec = SPEC.model_copy(
        update={
            "optimiser": Optimiser(name="sgd", lr=1.0, momentum=0.0, weight_decay=0.0),
            "schedule": Schedule(name="constant", warmup_steps=0),
        }
    )
    steps = {}
    for clip in (None, 1e-3, 1e6):
        trainer = make_trainer(Surroundings(stop_after=1), spec.model_copy(update={"clip": clip}))
        before = [p.detach().clone() for p in trainer.trained]
        with pytest.raises(Interrupted):
            trainer.run()
        moved = zip(trainer.trained, before, strict=True)
        steps[clip] = torch.cat([(p.detach() - old).flatten() for p, old in moved])
    assert steps[None].norm() > 1e-2
    assert float(steps[1e-3].norm()) == pytest.approx(1e-3, rel=1e-2)
    torch.testing.assert_close(steps[1e-3], steps[None] * 1e-3 / steps[None].norm(), rtol=1e-2, atol=1e-7)
    assert torch.equal(steps[1e6], steps[None])
