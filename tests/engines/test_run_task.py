"""The stages of a task, and what a failure in each costs: that stage alone, which is all that the next run repeats."""

import errno
import os

import numpy as np
import pytest
import torch

from harness.data import decoding
from harness.data.prepare import prepare
from harness.engines import describe, run_task
from harness.evaluation.features import extract
from harness.store.atomic import StoreError
from harness.store.store import Store
from harness.training.trainer import Hooks
from tests.conftest import write_suite
from tests.engines.toy import METRICS, Command, write_folder, written

STEPS = 6  # two epochs of three batches of 64 of the 200 images
STAGES = ["describing", "evaluating linear", "evaluating knn5"]
LEFT = ["arrays", "curves", "description.json", "encoder.safetensors", "evaluations", "lock", "pretraining.json"]

NO_METHOD_FILE = "methods: {untrained: null}\naxes: {seeds: 1}\n"

DICTIONARY = '''
"""W-MSE whose loss looks a factor up by the device's type."""
from methods.composed import Composed
from methods.entry import MethodEntry
from methods.method import Loss
from methods.w_mse import METHOD as W_MSE

class Dictionary(Composed):
    def loss(self, batch, step):
        return {"cpu": 1.0, "cuda": 1.0}[batch.labels.device.type] * super().loss(batch, step).total

METHOD = MethodEntry(
    name="dictionary", summary="reads a dict", source="this test", settings=W_MSE.settings, build=Dictionary
)
'''


def names(command, task):
    """What lies in a task's directory but its spec."""
    directory = command.store.directory(task.id)
    return sorted(path.name for path in directory.iterdir() if path.name != "spec.json")


def raising(error):
    def raises(*_, **__):
        raise error

    return raises


# Without a failure


def test_a_task_is_trained_described_and_asked_and_leaves_what_it_found(fresh):
    command = fresh(more=NO_METHOD_FILE)
    task = command.task()
    notes = command.run()
    assert notes.did == (STEPS, STAGES)
    assert notes.result[task.id].state == notes.outcomes[task.id] == "done"
    assert names(command, task) == LEFT
    record, result = command.store.pretraining(task.id), command.result(task)
    assert record.status == result.status == "done"
    assert record.cost.steps == STEPS
    assert record.cost.views_seen == 2 * 64 * STEPS
    assert record.encoder.sha256 == command.encoder(task)
    assert {answer.encoder for answer in result.evaluations.values()} == {record.encoder.sha256}
    assert set(result.metrics) == METRICS
    for metric, value in result.metrics.items():
        if not metric.endswith("_balanced"):
            assert value == pytest.approx(100 * result.hits(metric).mean())
            assert result.hits(metric).shape == (360,)
    assert result.sample.images == 360
    assert notes.texts[task.id].startswith(f"linear_top1 {result.metrics['linear_top1']:.2f} %")
    assert command.run().did == (0, [])


@pytest.mark.parametrize(("method", "steps"), [("w_mse", STEPS), ("untrained", 0)])
def test_progress_is_there_while_it_runs_and_gone_afterwards(fresh, monkeypatch, method, steps):
    command, seen = fresh(more="axes: {seeds: 1}\n"), []

    write = Store.write_progress

    def watched(store, id_, progress):
        write(store, id_, progress)
        seen.append(store.read_progress(id_))

    monkeypatch.setattr(Store, "write_progress", watched)
    monkeypatch.setattr("harness.engines.pretrain.Hooks", lambda **given: Hooks(**given, report_seconds=0.0))
    monkeypatch.setattr("harness.store.progress.ProgressReporter.__init__.__defaults__", (0.0, ()))
    task = command.task(method)
    command.run([task])
    training = [progress for progress in seen if progress.stage == "training"]
    assert [progress.step for progress in training] == list(range(1, steps + 1))
    assert [progress.stage for progress in seen[steps:]] == ["evaluating"] * 3
    if steps:
        assert training[-1].epochs == 2
        losses = [point.values["loss"] for point in command.result(task).curves]
        assert [point.values["loss"] for point in training[-1].curve] == losses
    assert names(command, task) == LEFT


def test_scale_and_spectra_of_h_and_v_are_known_at_step_0_and_at_the_end(original):
    task = original.task("w_mse")
    description, result = original.store.read_description(task.id).record, original.result(task)
    for diagnostics in (description.diagnostics, description.initial):
        assert {f"{of}_{name}" for of in "hv" for name in ("scale", "std", "rankme", "correlation")} <= set(diagnostics)
        assert (diagnostics["h_dimensions"], diagnostics["v_dimensions"]) == (32, 4)
    assert {name: len(values) for name, values in result.spectra.items()} == {
        "h": 32,
        "v": 4,
        "initial_h": 32,
        "initial_v": 4,
    }
    for prefix, diagnostics in (("", description.diagnostics), ("initial_", description.initial)):
        # the trace of the covariance, with n - 1 for n: 200 images
        for of, width in (("h", 32), ("v", 4)):
            total = sum(result.spectra[f"{prefix}{of}"])
            assert diagnostics[f"{of}_scale"] == pytest.approx(np.sqrt(total * 199 / 200 / width), rel=1e-6)
    assert description.diagnostics["h_scale"] != description.initial["h_scale"]
    assert {"h_alignment", "v_alignment"} <= set(description.diagnostics)
    untrained = original.store.read_description(original.task("untrained").id).record
    assert untrained.initial == {}
    assert untrained.diagnostics["h_scale"] == pytest.approx(description.initial["h_scale"], rel=1e-4)  # the same seed
    assert untrained.unknown == {"train_flops": "nothing is trained"}


# Numbers beside the result that cannot be had


def test_a_step_that_cannot_be_counted_costs_its_number(fresh, tmp_path):
    (tmp_path / "dictionary.py").write_text(DICTIONARY)
    more = "extensions: [dictionary.py]\nmethods: {dictionary: {}, w_mse: null, untrained: null}\naxes: {seeds: 1}\n"
    command = fresh(more=more)
    task = command.task()
    notes = command.run()
    assert notes.result[task.id].state == "done"
    assert notes.did == (STEPS, STAGES)
    description = command.store.read_description(task.id).record
    assert description.status == "done"
    assert description.train_flops is None
    assert description.unknown == {"train_flops": "KeyError: 'meta'"}
    assert description.encoder_flops_per_view > 0
    assert command.result(task).cost.train_flops is None
    assert command.run().did == (0, [])


class FailingMeter:
    def joules(self):
        raise OSError("the counter is gone")


def test_a_meter_that_fails_costs_its_number(fresh, monkeypatch):
    command = fresh(more=NO_METHOD_FILE)
    task = command.task()
    monkeypatch.setattr("harness.engines.pretrain.energy_meter", lambda device: FailingMeter())
    assert command.run().result[task.id].state == "done"
    cost = command.store.pretraining(task.id).cost
    assert cost.energy_joules is None
    assert cost.unknown["energy_joules"] == "OSError: the counter is gone"
    assert command.run().did == (0, [])


def test_a_sample_that_cannot_be_computed_costs_the_picture(finished, monkeypatch):
    command = finished("evaluations.knn5.k=20")
    task = command.task("untrained")
    command.store.drop(task.id, next(name for name in command.files(task) if name.startswith("arrays/sample")))
    error = torch.linalg.LinAlgError("svd did not converge")
    monkeypatch.setattr(run_task, "principal_sample", raising(error))
    assert command.run([task]).result[task.id].state == "done"
    result = command.result(task)
    assert result.sample is None
    assert result.evaluations["knn20"].details["sample"] == f"none: {type(error).__name__}: svd did not converge"
    assert "knn20_top1" in result.metrics
    assert command.run([task]).did == (0, [])


# Failures after training


def test_diagnostics_that_fail_keep_the_heads_and_are_all_that_is_repeated(fresh, original, monkeypatch):
    command = fresh(more=NO_METHOD_FILE)
    task = command.task()
    with monkeypatch.context() as broken:
        broken.setattr(describe, "diagnose", raising(torch.linalg.LinAlgError("svd did not converge")))
        notes = command.run()
    assert notes.did == (STEPS, STAGES)
    assert notes.result[task.id].state == "failed"
    assert "description" in notes.result[task.id].message
    assert "heads.safetensors" in names(command, task)
    result = command.result(task)
    assert list(result.failures) == ["description"]
    assert result.description.train_flops > 0  # needs no image
    assert set(result.metrics) == METRICS
    before = command.files(task)
    again = command.run()
    assert again.did == (0, ["describing"])
    assert again.result[task.id].state == "done"
    assert written(before, command.files(task)) == {"description.json", "arrays/spectra.json"}
    assert names(command, task) == LEFT
    undisturbed = original.store.read_description(original.task("w_mse").id).record
    found = command.store.read_description(task.id).record
    assert found.diagnostics == pytest.approx(undisturbed.diagnostics, rel=1e-4)  # from the heads on the disk
    assert found.initial == undisturbed.initial
    assert (found.train_flops, found.parameters) == (undisturbed.train_flops, undisturbed.parameters)


def test_a_probe_that_overflows_costs_its_own_numbers(fresh, original, monkeypatch):
    command = fresh(more=NO_METHOD_FILE)
    task = command.task()
    with monkeypatch.context() as broken:
        # by a power of two, which changes no neighbour
        broken.setattr("harness.engines.evaluate.extract", lambda *args: extract(*args) * 2.0**80)
        notes = command.run()
    assert notes.did == (STEPS, STAGES)
    assert notes.result[task.id].state == "failed"
    result, whole = command.result(task), original.result(original.task("w_mse"))
    assert list(result.failures) == ["linear"]
    assert "the linear probe overflowed" in result.failures["linear"].message
    assert result.metrics == {name: whole.metrics[name] for name in ("knn5_top1", "knn5_balanced")}
    assert "FAILED linear: ValueError: the linear probe overflowed" in notes.texts[task.id]
    before = command.files(task)
    assert command.run().did == (0, ["evaluating linear"])
    linear = task.cells[0].evaluations["linear"].id
    assert written(before, command.files(task)) == {f"evaluations/{linear}.json", f"arrays/hits-{linear}.json"}
    assert command.result(task).metrics == whole.metrics


def test_a_probe_that_breaks_its_contract_fails_alone(finished, monkeypatch):
    command = finished("evaluations.knn5.k=20")
    task = command.task("untrained")
    with monkeypatch.context() as broken:
        broken.setattr("harness.evaluation.knn.knn_predict", lambda *_: torch.zeros(3))
        assert command.run([task]).result[task.id].state == "failed"
    failures = command.result(task).failures
    assert list(failures) == ["knn20"]
    assert command.run([task]).did == (0, ["evaluating knn20"])
    assert command.result(task).failures == {}


@pytest.fixture
def own_images(tmp_path):
    """A folder of JPEGs that is prepared, and a suite on it: 48 training images in batches of 16, six epochs."""
    folder = write_folder(tmp_path / "images")
    prepare("image_folder", tmp_path / "data", folder)
    more = """
        defaults:
          dataset: {train_images: null, eval_resize: 9}
          batch_size: 16
          epochs: 6
          settings: {transform: {sub_batch_size: 8}}
          monitors: {knn5: null}
        datasets: {digits: null, image_folder: {}}
        methods: {untrained: null}
        axes: {seeds: 1}
    """
    return Command(write_suite(tmp_path, more, "own.yaml"), tmp_path / "data", tmp_path / "cells"), folder


def test_an_image_that_cannot_be_scored_costs_the_evaluations_and_not_the_encoder(own_images):
    command, folder = own_images
    task, broken = command.task(), folder / "test/c1/im03.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    notes = command.run()
    assert notes.did == (18, STAGES)
    assert notes.result[task.id].state == "failed"
    result = command.result(task)
    assert command.store.pretraining(task.id).status == result.description.status == "done"
    assert list(result.failures) == ["linear", "knn5"]
    for failure in result.failures.values():
        assert failure.kind == "DataError"
        assert failure.message.startswith(f"{broken} is missing, or not an image that can be read")
        assert failure.step is None
    before = command.files(task)
    assert command.run().did == (0, ["evaluating linear", "evaluating knn5"])  # broken as it was
    broken.write_bytes(whole)
    again = command.run()
    assert again.did == (0, ["evaluating linear", "evaluating knn5"])
    assert again.result[task.id].state == "done"
    changed = written(before, command.files(task))
    assert {name.partition("/")[0] for name in changed} == {"evaluations", "arrays"}
    assert not changed & {"arrays/spectra.json"}
    assert command.result(task).status == "done"


# Failures in training


def test_training_that_fails_for_a_moment_goes_on_at_its_step(own_images, tmp_path, monkeypatch):
    worked = decoding.worked  # with no decoder no image is read ahead
    monkeypatch.setattr(decoding, "worked", lambda work, tasks, decoders, pinned: worked(work, tasks, 0, pinned))
    command, folder = own_images
    task = command.task()
    undisturbed = Command.__new__(Command)
    undisturbed.__dict__ = command.__dict__ | {"store": Store(tmp_path / "undisturbed")}
    undisturbed.run()
    gone = tmp_path / "gone"

    def at_step(number):
        if number == 12:
            (folder / "train/c0").rename(gone)

    failed = command.run(at_step=at_step, checkpoint_seconds=0.0)
    assert failed.result[task.id].state == "failed"
    assert failed.steps == 12
    record = command.store.pretraining(task.id)
    assert (record.status, record.encoder) == ("failed", None)
    assert record.failure.kind == "DataError"
    assert str(folder / "train/c0") in record.failure.message
    assert (record.failure.step, record.failure.epoch) == (12, 4)
    assert names(command, task) == ["checkpoint.pt", "curves", "lock", "pretraining.json"]
    gone.rename(folder / "train/c0")
    again = command.run()
    assert again.stages == STAGES
    assert 6 <= again.steps <= 7  # where the twelfth was taken, the eleventh's checkpoint may still have been written
    assert command.store.pretraining(task.id).provenance.resumed == 1
    assert command.encoder(task) == undisturbed.encoder(task)
    assert command.result(task).metrics == undisturbed.result(task).metrics
    assert [point.values for point in command.result(task).curves] == [
        point.values for point in undisturbed.result(task).curves
    ]


def test_training_that_fails_again_and_again_is_stored_each_time(fresh):
    command = fresh(more=NO_METHOD_FILE)
    task = command.task()

    def at_step(number):
        if number == 4:
            raise ZeroDivisionError("no fourth step")

    notes = command.run(at_step=at_step, checkpoint_seconds=1000.0)
    assert notes.result[task.id].message == "training: ZeroDivisionError: no fourth step"
    assert notes.texts[task.id] == "FAILED training: ZeroDivisionError: no fourth step"
    record = command.store.pretraining(task.id)
    assert (record.failure.step, record.failure.epoch) == (3, 1)
    assert "at_step" in record.failure.traceback
    assert [point.epoch for point in command.result(task).curves] == [1]
    assert command.run().did == (STEPS, STAGES)  # there was no checkpoint
    assert command.store.pretraining(task.id).status == "done"


# A disk that refuses


def refusing(monkeypatch, *endings):
    """A disk that is full whenever a file of such a name is to be put in place."""
    replace = os.replace

    def full(source, target):
        if str(target).endswith(endings):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)


@pytest.mark.parametrize("ending", ["encoder.safetensors", "heads.safetensors", "training.json", "pretraining.json"])
def test_a_disk_that_is_full_before_the_record_leaves_a_checkpoint(fresh, original, monkeypatch, ending):
    command = fresh(more=NO_METHOD_FILE)
    task = command.task()
    with monkeypatch.context() as disk:
        refusing(disk, ending)
        with pytest.raises(StoreError, match=rf"{ending}.*No space left on device.*run the same command again"):
            command.run(checkpoint_seconds=0.0)
    assert command.last.did == (STEPS, [])
    assert command.store.pretraining(task.id) is None
    assert command.result(task) is None
    assert command.store.state(task.id) == "interrupted"
    again = command.run()
    assert again.steps <= 1  # the last step's checkpoint may not have been written
    assert again.stages == STAGES
    assert command.encoder(task) == original.encoder(original.task("w_mse"))
    assert command.result(task).metrics == original.result(original.task("w_mse")).metrics


def test_a_disk_that_is_full_for_the_description_leaves_the_encoder(fresh, monkeypatch):
    command = fresh(more=NO_METHOD_FILE)
    task = command.task()
    with monkeypatch.context() as disk:
        refusing(disk, "description.json")
        with pytest.raises(StoreError, match="No space left"):
            command.run()
    assert command.last.did == (STEPS, ["describing"])
    assert command.store.pretraining(task.id).status == "done"
    assert {"encoder.safetensors", "heads.safetensors"} <= set(names(command, task))
    assert command.result(task).status == "unfinished"
    assert command.run().did == (0, STAGES)
    assert names(command, task) == LEFT


@pytest.mark.parametrize("part", ["evaluations/", "arrays/hits-"])
def test_a_disk_that_is_full_for_an_evaluation_leaves_the_others(fresh, monkeypatch, part):
    command = fresh(more=NO_METHOD_FILE)
    task = command.task()
    knn5 = task.cells[0].evaluations["knn5"].id
    with monkeypatch.context() as disk:
        refusing(disk, f"{part}{knn5}.json")
        with pytest.raises(StoreError, match="No space left"):
            command.run()
    assert command.last.did == (STEPS, STAGES)
    result = command.result(task)
    assert (result.status, list(result.evaluations)) == ("unfinished", ["linear"])
    before = command.files(task)
    assert command.run().did == (0, ["evaluating knn5"])
    assert written(before, command.files(task)) == {f"evaluations/{knn5}.json", f"arrays/hits-{knn5}.json"}


# Interruptions


def test_stopped_after_training_it_goes_on_with_what_is_left(fresh, original):
    command = fresh(more=NO_METHOD_FILE)
    task = command.task()
    notes = command.run(should_stop=lambda: command.store.pretraining(task.id) is not None)
    assert notes.did == (STEPS, [])
    assert notes.result[task.id].state == "interrupted"
    assert command.result(task).status == "unfinished"
    assert "checkpoint.pt" not in names(command, task)
    again = command.run()
    assert again.did == (0, STAGES)
    assert command.result(task).metrics == original.result(original.task("w_mse")).metrics


# What is asked later


def test_another_k_is_one_evaluation_and_no_training(finished):
    command = finished("k=20")
    before = {task.id: command.files(task) for task in command.tasks}
    notes = command.run()
    assert notes.did == (0, ["evaluating knn20"] * 4)
    for task in command.tasks:
        result, knn20 = command.result(task), task.cells[0].evaluations["knn20"].id
        assert set(result.metrics) == {*METRICS, "knn20_top1", "knn20_balanced"} - {"knn5_top1", "knn5_balanced"}
        assert result.status == "done"
        assert written(before[task.id], command.files(task)) == {
            f"evaluations/{knn20}.json",
            f"arrays/hits-{knn20}.json",
        }
    assert finished().run().did == (0, [])


def test_an_encoder_that_was_dropped_is_trained_again_and_nothing_else_is_repeated(fresh, original):
    command = fresh(more=NO_METHOD_FILE)
    task = command.task()
    command.run(keep_encoders=False)
    assert "encoder.safetensors" not in names(command, task)
    assert command.result(task).status == "done"
    assert command.run().did == (0, [])
    before, whole = command.files(task), command.store.pretraining(task.id).encoder
    later = fresh("k=20", more=NO_METHOD_FILE)
    assert later.run().did == (STEPS, ["evaluating knn20"])
    assert later.store.pretraining(task.id).encoder == whole
    assert later.encoder(task) == whole.sha256 == original.encoder(original.task("w_mse"))
    kept = {name for name in before if name.startswith(("evaluations", "arrays", "description"))}
    assert not kept & written(before, later.files(task))
    assert names(later, task) == LEFT
    assert command.result(task).metrics == original.result(original.task("w_mse")).metrics
    assert command.result(task).sample is not None


def test_a_finished_pretraining_stays_finished_where_training_it_again_fails(fresh):
    command = fresh(more=NO_METHOD_FILE)
    task = command.task()
    command.run(keep_encoders=False)
    before, metrics = command.store.pretraining(task.id), command.result(task).metrics
    later = fresh("k=20", more=NO_METHOD_FILE)

    def at_step(number):
        if number == 4:
            raise ZeroDivisionError("no fourth step")

    notes = later.run(at_step=at_step, checkpoint_seconds=0.0)
    assert notes.result[task.id].state == "failed"
    assert command.store.pretraining(task.id) == before
    assert command.result(task).metrics == metrics
    failures = later.result(later.task()).failures
    assert list(failures) == ["knn20"]
    assert failures["knn20"].message == (
        "its encoder is not there any more, and training it again failed: no fourth step"
    )
    assert failures["knn20"].step == 3
    again = later.run()
    assert 3 <= again.steps <= 4
    assert again.stages == ["evaluating knn20"]
    assert later.result(later.task()).status == "done"


def test_a_damaged_encoder_is_trained_again_where_it_is_needed(finished, caplog):
    command = finished("k=20")
    task = command.task("w_mse")
    path = command.store.directory(task.id) / "encoder.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    as_it_was = finished()
    assert as_it_was.run([as_it_was.task("w_mse")]).did == (0, [])  # nothing needs it
    assert command.run([task]).did == (STEPS, ["evaluating knn20"])
    assert "is damaged or of another run" in caplog.text
    assert path.read_bytes() == whole


def test_what_is_of_another_encoder_is_made_anew(finished, monkeypatch):
    command = finished(more="defaults: {monitors: {knn5: null}}\n" + NO_METHOD_FILE)
    task = command.task()
    before, old = command.files(task), command.store.pretraining(task.id)
    assert len(old.monitors) == 1
    other = type(command.code)(dict.fromkeys(command.code.digests, "another"), None, None)
    monkeypatch.setattr("harness.training.trainer.stream_seed", lambda *parts: 7)
    monkeypatch.setattr("harness.training.networks.stream_seed", lambda *parts: 7)  # other heads: other bits
    stopped = command.run(
        code=other, rerun_stale=True, should_stop=lambda: command.store.pretraining(task.id).encoder != old.encoder
    )
    assert stopped.did == (STEPS, [])
    assert command.result(task).metrics == {}
    assert command.run(code=other).did == (0, STAGES)
    gone = {f"curves/{old.monitors[0]}.json"}  # of a monitor that this suite has not
    assert written(before, command.files(task)) == set(before) - gone
    assert not gone & set(command.files(task))
    assert {answer.encoder for answer in command.result(task).evaluations.values()} == {command.encoder(task)}
