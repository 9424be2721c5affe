"""Questions asked of an encoder: on which images, on which of their labels, in its own input."""

import numpy as np
import pytest
import torch
from torch import nn

from harness.data.packed import PackedWriter, building
from harness.data.views import evaluation_crop, normalise
from harness.engines.evaluate import Features, load_images
from harness.engines.pretrain import restore
from harness.evaluation.knn import knn_predict
from harness.registry import all_probes
from harness.spec.models import Monitor
from tests.conftest import write_suite
from tests.engines.toy import Command

CPU = torch.device("cpu")
ONE = "methods: {untrained: null}\naxes: {seeds: 1}\n"


class Counted(nn.Module):
    """An encoder that returns the image itself and counts what it was shown."""

    def __init__(self):
        super().__init__()
        self.images = 0

    def forward(self, x):
        self.images += len(x)
        return x.flatten(1)


def of_task(command, task, encoder=None):
    return Features(encoder or nn.Flatten(), task.pretraining.input, command.data_dir, CPU)


def test_each_split_is_extracted_once_however_much_is_asked(original):
    task, encoder = original.task("w_mse"), Counted()
    features = of_task(original, task, encoder)
    linear, knn5 = task.cells[0].evaluations.values()
    for question in (linear, knn5, linear):
        features.ask(question)
    assert encoder.images == 200 + 360


def test_the_encoder_sees_the_clean_normalised_images_in_their_order(original):
    task = original.task("w_mse")
    question, fed = task.evaluations[0], task.pretraining.input
    scored = of_task(original, task).scored(question)
    images = load_images(question.scored, "test", original.data_dir, 1).images
    expected = (torch.from_numpy(np.array(images.pixels)).permute(0, 3, 1, 2) / 255 - fed.mean[0]) / fed.std[0]
    torch.testing.assert_close(scored.features(), expected.flatten(1))
    assert scored.labels.tolist() == images.labels.tolist()


def test_the_validation_part_is_scored_where_that_is_asked_and_is_not_fitted_on(fresh):
    more = "defaults: {split: validation, dataset: {train_images: null, validation_fraction: 0.2}}\n" + ONE
    command = fresh(more=more)
    task = command.task()
    features, question = of_task(command, task), task.evaluations[0]
    train, scored = features.train(question), features.scored(question)
    assert (len(train.labels), len(scored.labels)) == (1437 - 287, 287)  # a fifth of 1,437
    assert not {tuple(row) for row in train.features().tolist()} & {tuple(row) for row in scored.features().tolist()}


# Few labels


FEW = "defaults: {evaluations: {few: {probe: knn, k: 1, label_fraction: 0.1}}}\n"


@pytest.fixture
def drawn(fresh):
    """(method, seed) -> the images, as text, that its question with few labels is fitted on."""
    command = fresh(more=FEW + "methods: {pixels: {}}\n")

    def rows(method, seed):
        task = command.task(method, seed)
        question = next(cell for cell in task.cells if cell.seed == seed).evaluations["few"]
        train = of_task(command, task).train(question)
        return [row.tobytes() for row in train.features().numpy()], train.labels

    return rows


def test_few_labels_are_one_draw_a_seed_the_same_for_all_methods(drawn):
    of_w_mse, labels = drawn("w_mse", 0)
    assert len(of_w_mse) == len(set(of_w_mse)) == 20  # a tenth of 200
    assert drawn("untrained", 0)[0] == drawn("pixels", 0)[0] == of_w_mse
    other, _ = drawn("w_mse", 1)
    assert drawn("pixels", 1)[0] == other
    assert set(other) != set(of_w_mse)
    assert labels.bincount(minlength=10).tolist() == [2] * 10  # of about twenty a class


def test_few_labels_change_the_evaluation_and_not_the_pretraining(finished):
    command = finished(more=FEW + ONE)
    task = command.task()
    assert command.run().did == (0, ["evaluating few"])
    result = command.result(task)
    assert result.evaluations["few"].spec.label_fraction == 0.1
    assert result.evaluations["few"].images == 360
    record = command.store.pretraining(task.id)
    encoder = restore(record, command.methods["w_mse"], command.context(None)).encoder
    features, question = of_task(command, task, encoder), task.cells[0].evaluations["few"]
    train, scored = features.train(question), features.scored(question)
    assert len(train.labels) == 20
    expected = (knn_predict(train.features(), train.labels, scored.features(), 1) == scored.labels).float().mean()
    assert result.metrics["few_top1"] == pytest.approx(100 * expected.item())


def test_at_least_one_label_is_left(original):
    task = original.task("w_mse")
    question = task.evaluations[1].model_copy(update={"label_fraction": 1e-6, "seed": 0})
    assert len(of_task(original, task).train(question).labels) == 1


# Transfer


@pytest.fixture
def transfer(tmp_path):
    """Digits to train on, and sixty pictures in the place of Fashion-MNIST to transfer to."""
    draw = np.random.default_rng(0)
    labels = np.arange(90) % 10
    pixels = np.clip(labels[:, None, None, None] * 20 + draw.integers(0, 60, (90, 28, 28, 1)), 0, 255).astype(np.uint8)
    with (
        building("fashion_mnist", tmp_path / "data") as directory,
        PackedWriter(directory, "fashion_mnist", pixels.shape, tuple("abcdefghij")) as writer,
    ):
        writer.add("train", pixels[:60], labels[:60])
        writer.add("test", pixels[60:], labels[60:])
        writer.close()
    more = f"defaults: {{evaluations: {{clothes: {{probe: knn, k: 3, dataset: fashion_mnist}}}}}}\n{ONE}"
    return Command(write_suite(tmp_path, more, "transfer.yaml"), tmp_path / "data", tmp_path / "cells"), pixels, labels


def test_transfer_asks_about_other_images_in_the_encoders_own_input(transfer, original):
    command, pixels, labels = transfer
    task = command.task()
    assert task.id == original.task("w_mse").id  # what is asked later is no part of it
    assert command.run().stages == ["describing", "evaluating linear", "evaluating knn5", "evaluating clothes"]
    result = command.result(task)
    record, fed = command.store.pretraining(task.id), task.pretraining.input
    encoder = restore(record, command.methods["w_mse"], command.context(None)).encoder.eval()
    images = evaluation_crop(torch.from_numpy(pixels).permute(0, 3, 1, 2), 8, None)
    with torch.no_grad():
        h = encoder(normalise(images, fed))
    labels = torch.from_numpy(labels)
    expected = knn_predict(h[:60], labels[:60], h[60:], 3) == labels[60:]
    assert result.evaluations["clothes"].images == 30
    assert result.hits("clothes_top1").tolist() == expected.tolist()
    assert result.metrics["knn5_top1"] == original.result(original.task("w_mse")).metrics["knn5_top1"]
    described = command.store.read_description(task.id).record.diagnostics
    assert described == pytest.approx(original.result(original.task("w_mse")).diagnostics, rel=1e-6)  # of digits


@pytest.mark.parametrize("name", sorted(all_probes()))
def test_every_probe_transfers(transfer, name):
    command, _, labels = transfer
    quick = {"epochs": 3, "lr": 0.05} if name in ("sgd", "fine_tune") else {}
    settings = all_probes()[name].settings(**quick).model_dump()
    question = command.task().cells[0].evaluations["clothes"]
    question = question.model_copy(update={"probe": name, "settings": settings, "seed": 0})
    scores = of_task(command, command.task()).ask(question)
    assert scores.metrics["top1"] > 10  # chance
    assert len(scores.hits["top1"]) == 30
    assert [recall is not None for recall in scores.recalls] == [label in labels[60:] for label in range(10)]


def test_a_dataset_that_is_missing_is_said_so_and_leaves_what_was_done(transfer):
    command, _, _ = transfer
    task = command.task()
    (command.data_dir / "fashion_mnist").rename(command.data_dir / "elsewhere")
    notes = command.run()
    assert notes.result[task.id].state == notes.outcomes[task.id] == "missing data"
    assert "Fashion-MNIST is not prepared" in notes.result[task.id].message
    assert command.result(task).status == "unfinished"
    assert set(command.result(task).evaluations) == {"linear", "knn5"}
    (command.data_dir / "elsewhere").rename(command.data_dir / "fashion_mnist")
    assert command.run().did == (0, ["evaluating clothes"])
    assert command.result(task).status == "done"


def test_a_monitor_may_ask_about_other_images_too(transfer, tmp_path):
    command, _, _ = transfer
    more = f"defaults: {{monitors: {{clothes: {{probe: knn, k: 3, dataset: fashion_mnist, every_epochs: 1}}}}}}\n{ONE}"
    watched = Command(write_suite(tmp_path, more, "watched.yaml"), command.data_dir, tmp_path / "watched")
    task = watched.task()
    assert isinstance(task.monitors["clothes"], Monitor)
    watched.run()
    assert set(watched.result(task).curves[0].values) >= {"clothes_top1", "knn5_top1"}
