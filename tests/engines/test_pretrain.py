"""One encoder, from its images to the disk: the same bits whoever watches and however often it is stopped."""

import pytest
import safetensors.torch
import torch

from harness.engines.evaluate import load_images
from harness.engines.pretrain import build, due_epochs, restore, split_point, store_curves
from harness.engines.task import Task
from harness.store.provenance import Code
from harness.store.records import CurvePoint
from harness.store.store import Store
from tests.engines.toy import METRICS

STEPS, STAGES = 6, ["describing", "evaluating linear", "evaluating knn5"]
ONE = "methods: {untrained: null}\naxes: {seeds: 1}\n"
UNWATCHED = "defaults: {monitors: {knn5: null}}\n" + ONE
METHODS = ["byol", "simsiam", "supervised", "vicreg"]


def beside(method, defaults=""):
    """The toy suite with another method."""
    return f"defaults: {{{defaults}}}\nmethods: {{{method}: {{}}}}\n"


# What is stored


@pytest.fixture(scope="module")
def controls(tmp_path_factory, data_dir):
    """Each method run at once, and once more in two halves: stopped when it was trained, then gone on with."""
    from tests.conftest import write_suite
    from tests.engines.toy import Command

    directory = tmp_path_factory.mktemp("methods")
    named = ", ".join(f"{method}: {{}}" for method in METHODS)
    more = f"""
        defaults: {{settings: {{predictor: {{predictor_hidden: 16}}}}}}
        methods: {{w_mse: null, untrained: {{}}, {named}}}
        axes: {{seeds: 1}}
    """
    suite = write_suite(directory, more, "methods.yaml")
    whole, halves = (Command(suite, data_dir, directory / name) for name in ("whole", "halves"))
    whole.run()
    for task in halves.tasks:
        done = halves.run([task], should_stop=lambda task=task: halves.store.pretraining(task.id) is not None)
        assert done.stages == []
    heads = {
        task.pretraining.method: set(safetensors.torch.load(data))
        for task in halves.tasks
        if (data := halves.store.read_heads(task.id)) is not None
    }
    assert halves.run().steps == 0
    return whole, halves, heads


@pytest.mark.parametrize("method", ["untrained", *METHODS])
def test_an_encoder_from_the_disk_gives_the_numbers_of_the_one_in_memory(controls, method):
    whole, halves, _ = controls
    task = whole.task(method)
    memory, disk = whole.result(task), halves.result(task)
    assert memory.status == disk.status == "done"
    assert memory.metrics == disk.metrics
    for metric in ("linear_top1", "linear_top5", "knn5_top1"):
        assert memory.hits(metric).tolist() == disk.hits(metric).tolist()
    assert memory.diagnostics == pytest.approx(disk.diagnostics, rel=1e-4)
    assert memory.description.initial == disk.description.initial
    assert memory.description.parameters == disk.description.parameters


def test_heads_are_everything_but_the_evaluated_encoder(controls):
    heads = controls[2]
    assert set(heads) == set(METHODS)
    assert not any(name.startswith("encoder.") for names in heads.values() for name in names)
    assert any(name.startswith("target") for name in heads["byol"])
    assert any(name.startswith("predictor") for name in heads["simsiam"])
    assert not any(name.startswith("target") for name in heads["simsiam"])


def test_heads_are_gone_once_an_encoder_is_described(controls):
    for command in controls[:2]:
        assert [command.store.read_heads(task.id) for task in command.tasks] == [None] * len(command.tasks)


def test_what_is_not_trained_has_an_encoder_and_no_heads_and_no_curve(original):
    task = original.task("untrained")
    record = original.store.pretraining(task.id)
    assert (record.cost.steps, record.cost.views_seen, record.cost.train_seconds) == (0, 0, 0.0)
    assert record.cost.unknown["energy_joules"] == "nothing is trained"
    assert record.encoder.sha256 == original.encoder(task)
    assert original.store.read_curve(task.id).record.points == ()


def test_a_restored_encoder_is_the_one_that_was_stored(original):
    task = original.task("w_mse")
    context = original.context(None)
    record = original.store.pretraining(task.id)
    networks = restore(record, original.methods["w_mse"], context)
    stored = safetensors.torch.load(original.store.read_encoder(record))
    assert all(torch.equal(stored[name], value) for name, value in networks.encoder.state_dict().items())
    assert networks.method is None  # its heads are not kept
    first = build(task.pretraining, original.methods["w_mse"], context)
    assert first.method is not None
    assert not any(
        torch.equal(stored[name], value)
        for name, value in first.encoder.state_dict().items()
        if value.ndim == 4  # convolutions
    )


# Monitors and curves


def test_a_monitor_changes_no_bit_and_has_a_curve_of_its_own(fresh, original):
    command = fresh(more=UNWATCHED)
    task, watched = command.task(), original.task("w_mse")
    assert task.id == watched.id
    command.run()
    assert command.encoder(task) == original.encoder(watched)
    monitor = watched.monitors["knn5"]
    training, own = (original.store.read_curve(watched.id, name).record for name in ("training", monitor.id))
    assert [point.epoch for point in training.points] == [1, 2]
    assert all({"loss", "lr"} <= set(point.values) for point in training.points)
    assert not any(key.startswith(("knn5", "h_", "v_")) for point in training.points for key in point.values)
    assert [(point.epoch, point.step) for point in own.points] == [(1, 3)]  # the last epoch is the evaluations'
    assert {"top1", "h_std", "v_rankme"} <= set(own.points[0].values)
    assert own.monitor == monitor
    assert original.store.pretraining(watched.id).monitors == (monitor.id,)
    assert command.store.pretraining(task.id).monitors == ()
    unwatched = command.store.read_curve(task.id).record
    assert [point.values for point in unwatched.points] == [point.values for point in training.points]
    assert original.result(watched).curves[0].values["knn5_top1"] == own.points[0].values["top1"]


def test_a_finished_pretraining_is_trained_again_for_a_curve_only_where_asked(fresh, original):
    fresh(more=UNWATCHED).run()
    command = fresh(more=ONE)
    task = command.task()
    before = command.store.pretraining(task.id)
    assert command.run().did == (0, [])
    assert command.store.pretraining(task.id) == before
    notes = command.run(curves_of_finished=True)
    assert notes.did == (STEPS, [])
    record = command.store.pretraining(task.id)
    assert record.encoder == before.encoder
    assert record.monitors == (task.monitors["knn5"].id,)
    expected = original.result(original.task("w_mse")).curves
    assert [point.values for point in command.result(task).curves] == [point.values for point in expected]
    assert command.run(curves_of_finished=True).did == (0, [])


def test_training_again_for_one_curve_keeps_another(finished):
    more = "defaults: {monitors: {knn5: null, knn9: {probe: knn, k: 9, every_epochs: 1}}}\n" + ONE
    command = finished(more=more)
    task = command.task()
    (old,) = command.store.pretraining(task.id).monitors
    assert command.run(curves_of_finished=True).did == (STEPS, [])
    assert set(command.store.pretraining(task.id).monitors) == {old, task.monitors["knn9"].id}
    assert finished(more=ONE).run(curves_of_finished=True).did == (0, [])


def test_a_monitor_that_is_never_due_lacks_nothing(fresh):
    command = fresh(more="defaults: {monitors: {knn5: {every_epochs: 2}}}\n" + ONE)
    command.run()
    task = command.task()
    assert command.store.pretraining(task.id).monitors == (task.monitors["knn5"].id,)
    assert command.run(curves_of_finished=True).did == (0, [])


def test_a_monitor_that_fails_costs_its_reading_and_not_the_training(fresh, original, monkeypatch):
    command = fresh(more=ONE)
    task = command.task()
    with monkeypatch.context() as broken:
        broken.setattr("harness.evaluation.knn.knn_predict", lambda *_: 1 / 0)
        notes = command.run()
    assert notes.steps == STEPS
    assert notes.said == [
        "w_mse on digits, seed 0: the monitor knn5 failed after epoch 1 and training goes on: ZeroDivisionError: "
        "division by zero"
    ]
    assert list(command.result(task).failures) == ["knn5"]
    assert command.encoder(task) == original.encoder(original.task("w_mse"))
    assert command.store.pretraining(task.id).monitors == ()
    assert [set(point.values) >= {"loss"} for point in command.result(task).curves] == [True, True]


@pytest.mark.parametrize("stop", [1, 4, 6])
def test_stopped_after_any_step_and_resumed_it_ends_with_the_same_bits_and_the_whole_curve(fresh, original, stop):
    command = fresh(more=ONE)
    task = command.task()
    stopped = command.run(should_stop=lambda: command.last.steps >= stop)
    assert stopped.did == (stop, [])
    assert stopped.result[task.id].state == "interrupted"
    assert command.store.state(task.id) == ("interrupted" if stop < STEPS else "done")
    again = command.run()
    assert again.did == (STEPS - stop, STAGES)
    whole, record = original.task("w_mse"), command.store.pretraining(task.id)
    assert record.provenance.resumed == (1 if stop < STEPS else 0)
    if stop < STEPS:
        assert record.cost.unknown["energy_joules"] == "training was interrupted"
    assert command.encoder(task) == original.encoder(whole)
    assert record.monitors == original.store.pretraining(whole.id).monitors
    assert command.result(task).metrics == original.result(whole).metrics
    assert [p.values for p in command.result(task).curves] == [p.values for p in original.result(whole).curves]


def test_a_curve_that_lacks_readings_of_before_is_not_whole(fresh):
    early = fresh(more="defaults: {epochs: 3, monitors: {knn5: null}}\n" + ONE)
    early.run(should_stop=lambda: early.last.steps >= 4)
    command = fresh(more="defaults: {epochs: 3}\n" + ONE)
    task = command.task()
    assert command.run().did == (5, STAGES)
    assert command.store.pretraining(task.id).monitors == ()
    assert [point.epoch for point in command.store.read_curve(task.id, task.monitors["knn5"].id).record.points] == [2]
    assert command.run(curves_of_finished=True).did == (9, [])
    assert command.store.pretraining(task.id).monitors == (task.monitors["knn5"].id,)


def test_a_checkpoint_of_older_code_is_not_resumed(fresh):
    command = fresh(more=ONE)
    task = command.task()
    command.run(should_stop=lambda: command.last.steps >= 4)
    other = Code(dict.fromkeys(command.code.digests, "another"), None, None)
    notes = command.run(code=other)
    assert "the code has changed since its checkpoint was written; training starts over" in notes.said[0]
    assert notes.steps == STEPS
    assert command.store.pretraining(task.id).provenance.resumed == 0


def test_a_training_that_is_given_up_is_pruned_and_starts_over(fresh):
    command = fresh(more=ONE)
    task = command.task()
    seen = []

    class Hopeless(Task):
        @property
        def give_up(self):
            return lambda point: seen.append(point) is None

    notes = command.run([Hopeless(cells=task.cells, label=task.label)])
    assert notes.did == (3, [])
    assert notes.result[task.id].state == notes.outcomes[task.id] == "pruned"
    assert {"loss", "knn5_top1", "h_std"} <= set(seen[0].values)
    record = command.store.pretraining(task.id)
    assert (record.status, record.encoder, record.cost.steps) == ("pruned", None, 3)
    assert [point.epoch for point in command.result(task).curves] == [1]
    assert command.result(task).metrics == {}
    assert command.run().did == (STEPS, STAGES)


# Points of curves


def point(epoch, **values):
    return CurvePoint(epoch=epoch, step=epoch, values=values)


def test_a_point_is_parted_by_the_monitors_names():
    whole = point(1, loss=1.0, lr=0.1, knn5_top1=40.0, knn5_few_top1=30.0, h_std=0.5, v_std=0.25)
    training, own = split_point(whole, ["knn5", "knn5_few", "linear"])
    assert training.values == {"loss": 1.0, "lr": 0.1}
    assert {name: part.values for name, part in own.items()} == {
        "knn5": {"top1": 40.0, "h_std": 0.5, "v_std": 0.25},
        "knn5_few": {"top1": 30.0, "h_std": 0.5, "v_std": 0.25},
    }


@pytest.mark.parametrize(("epochs", "due"), [(1, [1, 2, 3, 4]), (2, [2, 4]), (3, [3]), (5, []), (9, [])])
def test_a_monitor_is_due_at_its_cadence_but_not_at_the_end(original, epochs, due):
    task = original.task("w_mse")
    spec = task.pretraining.model_copy(update={"training": task.pretraining.training.model_copy(update={"epochs": 5})})
    monitor = task.monitors["knn5"].model_copy(update={"every_epochs": epochs})
    assert list(due_epochs(monitor, spec)) == due


def test_only_whole_curves_are_called_so(original, tmp_path):
    task, store = original.task("w_mse"), Store(tmp_path)
    (monitor,) = task.monitors.values()
    assert store_curves(store, task, [point(2, loss=1.0)]) == ()
    assert store_curves(store, task, [point(1, loss=2.0, knn5_top1=5.0), point(2, loss=1.0)]) == (monitor.id,)
    assert [p.values for p in store.read_curve(task.id, monitor.id).record.points] == [{"top1": 5.0}]


# Given weights


def test_given_weights_have_the_accuracy_of_the_pretraining_that_they_are_from(original, fresh, tmp_path):
    source = original.task("w_mse")
    weights = original.store.directory(source.id) / "encoder.safetensors"
    command = fresh(more=beside("given_weights", f"backbone: {{weights: {weights}}}"))
    task = command.task("given_weights")
    assert task.pretraining.seed is None
    notes = command.run([task])
    assert notes.did == (0, [*STAGES, "evaluating linear"])  # of two seeds
    found, expected = command.result(task), original.result(source)
    assert found.metrics["knn5_top1"] == expected.metrics["knn5_top1"]
    assert found.hits("linear_top1").tolist() == expected.hits("linear_top1").tolist()
    assert command.store.pretraining(task.id).encoder == original.store.pretraining(source.id).encoder


def test_training_goes_on_from_given_weights(original, fresh):
    source = original.task("w_mse")
    weights = original.store.directory(source.id) / "encoder.safetensors"
    command = fresh(more=f"defaults: {{backbone: {{weights: {weights}}}}}\n{ONE}")
    task = command.task()
    assert task.id != source.id
    assert command.run().did == (STEPS, STAGES)
    initial = command.store.read_description(task.id).record.initial
    expected = original.result(source).diagnostics
    for name in ("h_scale", "h_std", "h_rankme"):
        assert initial[name] == pytest.approx(expected[name], rel=1e-4)
    assert command.encoder(task) != original.encoder(source)


def test_weights_that_change_after_the_plan_are_refused(original, fresh, tmp_path):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes((original.store.directory(original.task("w_mse").id) / "encoder.safetensors").read_bytes())
    command = fresh(more=beside("given_weights", f"backbone: {{weights: {weights}}}"))
    weights.write_bytes(b"something else")
    task = command.task("given_weights")
    assert command.run([task]).result[task.id].state == "failed"
    assert "has changed: its SHA-256 is" in command.result(task).failures["training"].message


# Sharing


def test_pixels_of_two_seeds_are_one_directory_and_one_k_nn(fresh):
    command = fresh(more=beside("pixels"))
    task = command.task("pixels")
    notes = command.run([task])
    assert notes.did == (0, ["describing", "evaluating linear", "evaluating knn5", "evaluating linear"])
    assert command.store.ids() == [task.id]
    assert len(command.store.evaluation_ids(task.id)) == 3
    assert command.store.pretraining(task.id).encoder is None
    first, second = (command.result(task, number) for number in (0, 1))
    assert first.metrics["knn5_top1"] == second.metrics["knn5_top1"]
    assert first.evaluations["linear"].id != second.evaluations["linear"].id
    assert command.store.read_description(task.id).record.unknown["encoder_flops_per_view"] == "there is no encoder"
    images = load_images(task.evaluations[0].train, "train", command.data_dir, 1)
    assert command.store.read_description(task.id).record.features == images.images.pixels[0].size == 64


def test_a_suite_that_shares_a_pretraining_asks_only_its_own_questions(finished):
    command = finished(more="title: Another\ndefaults: {evaluations: {lbfgs: {probe: lbfgs, max_iterations: 5}}}\n")
    notes = command.run()
    assert notes.did == (0, ["evaluating lbfgs"] * 4)
    result = command.result(command.task("w_mse"))
    assert set(result.metrics) == {*METRICS, "lbfgs_top1", "lbfgs_balanced"}
    assert set(result.evaluations["lbfgs"].details) == {"converged", "iterations"}
