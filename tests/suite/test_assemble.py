"""Which parts of a row make a pretraining and which its evaluations; equal science has equal ids; what cannot run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from pydantic import Field, ValidationError

from harness.data.facts import SplitFacts
from harness.spec.identity import Frozen
from harness.spec.models import Cell, Question
from harness.suite.assemble import assemble, fields_without_use
from harness.suite.facts import Catalogue
from tests.suite.fakes import CATALOGUE, DATASETS, METHODS, Entry, FakeFacts, Settings, sha
from tests.suite.rows import ASKED, WATCHED, cell, reason, row

RESIZED = FakeFacts(weights={"a.pt": "published", "deep/b.pt": "published", "c.pt": "ours"})


def ids(here: Cell) -> tuple[str, list[str], list[str]]:
    """Of the pretraining, the evaluations and the monitors."""
    return here.pretraining.id, [e.id for e in here.evaluations.values()], [m.id for m in here.monitors.values()]


def asked_ids(here: Cell) -> dict[str, str]:
    return {name: question.id for name, question in here.evaluations.items()}


# What is in a spec


def test_a_method_is_trained_on_its_dataset_and_asked_on_its_two_splits() -> None:
    here = cell(monitors=WATCHED, seed=7)
    pretraining, linear = here.pretraining, here.evaluations["linear"]
    assert pretraining.source is not None
    assert (pretraining.source.name, pretraining.source.splits) == ("cifar", ("train",))
    assert pretraining.source.images == (sha("cifar train images"),)
    assert pretraining.source.labels is None  # nothing reads them
    assert (pretraining.seed, here.seed, here.dataset, here.method) == (7, 7, "cifar", "whiten")
    assert pretraining.training is here.training
    assert here.training is not None
    assert (here.training.epochs, here.training.batch_size, here.training.views) == (4, 256, 2)
    assert linear.pretraining == pretraining.id
    assert (linear.train.images, linear.train.labels) == ((sha("cifar train images"),), (sha("cifar train labels"),))
    assert (linear.scored.images, linear.scored.labels) == ((sha("cifar test images"),), (sha("cifar test labels"),))
    assert (linear.seed, here.evaluations["knn5"].seed) == (7, None)  # neighbours draw nothing
    assert here.evaluations["knn5"].settings == {"k": 5}
    assert here.monitors["knn5"].every_epochs == 2


def test_stl_is_trained_on_both_its_splits_and_asked_with_the_labelled_one() -> None:
    here = cell("contrast", "stl")
    assert here.pretraining.source is not None
    assert here.pretraining.source.splits == ("train", "unlabeled")
    assert here.pretraining.source.images == (sha("stl train images"), sha("stl unlabeled images"))
    assert here.evaluations["linear"].train.splits == ("train",)
    assert here.evaluations["linear"].transform.resize == 70


def test_the_validation_split_is_the_part_of_the_training_images_that_is_held_out() -> None:
    here = cell(dataset={"validation_fraction": 0.1}, split="validation")
    linear = here.evaluations["linear"]
    assert linear.split == "validation"
    assert linear.scored == linear.train
    assert linear.scored.validation_fraction == 0.1
    assert here.pretraining.source is not None
    assert here.pretraining.source.validation_fraction == 0.1
    on_test = cell(dataset={"validation_fraction": 0.1}).evaluations["linear"]
    assert (on_test.train, on_test.scored.splits) == (linear.train, ("test",))
    assert on_test.scored.validation_fraction == 0


def test_a_subset_is_of_pretraining_and_probes() -> None:
    here = cell(dataset={"train_images": 1000})
    assert here.pretraining.source is not None
    assert here.pretraining.source.train_images == here.evaluations["linear"].train.train_images == 1000
    assert here.evaluations["linear"].scored.train_images is None
    larger = cell("contrast", {"name": "stl", "train_images": 20_000})  # of 105,000, of which 5,000 have labels
    assert larger.pretraining.source is not None
    assert (larger.pretraining.source.train_images, larger.evaluations["linear"].train.train_images) == (20_000, None)


def test_what_is_not_trained_has_no_source_and_perhaps_no_seed() -> None:
    untrained, pixels = cell("untrained", seed=3).pretraining, cell("pixels", seed=3).pretraining
    given = cell("given", backbone={"weights": "a.pt"}, facts=RESIZED, seed=3).pretraining
    assert [here.source for here in (untrained, pixels, given)] == [None] * 3
    assert [here.training for here in (untrained, pixels, given)] == [None] * 3
    assert [here.seed for here in (untrained, pixels, given)] == [3, None, None]
    assert given.backbone is not None
    assert given.backbone.weights == sha("published")
    assert pixels.backbone is None


def test_training_may_begin_with_given_weights() -> None:
    here = cell(backbone={"weights": "a.pt"}, facts=RESIZED, seed=3).pretraining
    assert here.backbone is not None
    assert (here.backbone.weights, here.seed) == (sha("published"), 3)


def test_settings_are_written_out_with_every_default() -> None:
    here = cell("contrast", settings={"temperature": 1})
    assert here.pretraining.settings == {
        "head": {"hidden": [1024], "embedding": 64},
        "transform": {"kind": "norm", "affine": True},
        "temperature": 1.0,
    }
    assert here.evaluations["linear"].settings == {
        "epochs": 500,
        "batch_size": 1000,
        "lr": 0.01,
        "final_lr": 1e-6,
        "weight_decay": 5e-6,
    }


def test_fields_that_mean_nothing_to_a_method() -> None:
    training = {"views", "augmentation", "optimiser", "schedule", "epochs", "batch_size", "monitors"}
    training |= {"more_views", "weight_decay_schedule", "clip"}
    assert fields_without_use(METHODS["whiten"]) == frozenset()
    assert fields_without_use(METHODS["untrained"]) == fields_without_use(METHODS["given"]) == training
    assert fields_without_use(METHODS["pixels"]) == {*training, "backbone"}


# Equal science, equal ids


def test_names_of_datasets_and_splits_do_not_count_where_the_content_is_known() -> None:
    renamed = {
        "ten": replace(
            DATASETS["cifar"], name="ten", splits={"all": 50_000, "train": 50_000, "test": 10_000}, pretrain=("all",)
        )
    }
    contents = {
        f"ten {split} {kind}": f"cifar {'train' if split == 'all' else split} {kind}"
        for split in ("all", "train", "test")
        for kind in ("images", "labels")
    }
    catalogue = Catalogue(METHODS, CATALOGUE.probes, DATASETS | renamed)
    facts = FakeFacts(catalogue.datasets, contents=contents)
    fields = row(monitors=WATCHED, dataset={"train_images": 1000})
    other = fields.model_copy(update={"dataset": fields.dataset.model_copy(update={"name": "ten"})})
    here, there = assemble(fields, catalogue, facts), assemble(other, catalogue, facts)
    assert there.pretraining.source is not None
    assert (there.dataset, there.pretraining.source.splits) == ("ten", ("all",))
    assert ids(here) == ids(there)
    assert here.id == there.id


def test_of_unknown_content_the_name_counts() -> None:
    alike = DATASETS | {"ten": replace(DATASETS["cifar"], name="ten")}
    catalogue = Catalogue(METHODS, CATALOGUE.probes, alike)
    facts = FakeFacts(alike, unknown=["cifar", "ten"])
    fields = row()
    other = fields.model_copy(update={"dataset": fields.dataset.model_copy(update={"name": "ten"})})
    here, there = (assemble(said, catalogue, facts) for said in (fields, other))
    assert here.pretraining.source is not None
    assert not here.pretraining.source.known
    assert here.pretraining.id != there.pretraining.id
    assert set(asked_ids(here).values()).isdisjoint(asked_ids(there).values())


def test_a_source_is_known_only_with_all_that_is_read() -> None:
    class Partly(FakeFacts):
        def _split(self, name: str, split: str, published: Any) -> SplitFacts:
            return replace(super()._split(name, split, published), labels=None)

    here = cell(facts=Partly())
    assert here.pretraining.source is not None
    assert here.pretraining.source.known  # by its images
    assert not here.evaluations["linear"].train.known  # the probe reads labels, and nobody knows which
    taught = cell("taught", facts=Partly()).pretraining.source
    assert taught is not None
    assert not taught.known


def test_paths_of_weights_do_not_count_but_their_content() -> None:
    one, other, third = (
        cell("given", backbone={"weights": path}, facts=RESIZED) for path in ("a.pt", "deep/b.pt", "c.pt")
    )
    assert ids(one) == ids(other)
    assert ids(one)[0] != ids(third)[0]


def test_labels_of_evaluations_do_not_count() -> None:
    here = cell(evaluations={"mine": {"probe": "linear"}, "near": {"probe": "knn", "k": 5}}, monitors=WATCHED)
    there = cell(monitors={"other": WATCHED["knn5"]})
    assert list(here.evaluations) == ["mine", "near"]
    assert ids(here) == ids(there)


def test_another_test_split_changes_the_evaluations_alone() -> None:
    here, there = cell(), cell(facts=FakeFacts(contents={"cifar test images": "others"}))
    relabelled = cell(facts=FakeFacts(contents={"cifar test labels": "others"}))
    assert here.pretraining.id == there.pretraining.id == relabelled.pretraining.id
    for name in here.evaluations:
        assert len({asked_ids(one)[name] for one in (here, there, relabelled)}) == 3


def test_other_training_images_change_everything() -> None:
    here, there = cell(), cell(facts=FakeFacts(contents={"cifar train images": "others"}))
    assert here.pretraining.id != there.pretraining.id
    assert set(asked_ids(here).values()).isdisjoint(asked_ids(there).values())


@pytest.mark.parametrize(
    ("method", "dataset", "read"),
    [
        ("whiten", {}, False),
        ("taught", {}, True),
        ("whiten", {"train_images": 1000}, True),  # drawn by label
        ("whiten", {"validation_fraction": 0.1}, True),
    ],
)
def test_other_labels_change_a_pretraining_that_reads_them(method: str, dataset: dict[str, Any], read: bool) -> None:
    here = cell(method, dataset)
    there = cell(method, dataset, facts=FakeFacts(contents={"cifar train labels": "others"}))
    assert (here.pretraining.id != there.pretraining.id) == read
    assert asked_ids(here)["linear"] != asked_ids(there)["linear"]


@pytest.mark.parametrize(
    "said",
    [
        {"evaluations": {"knn5": {"probe": "knn", "k": 20}}},
        {"evaluations": {"lbfgs": {"probe": "lbfgs"}}},
        {"evaluations": {"linear": {"probe": "linear", "epochs": 5}}},
        {"evaluations": {"linear": {"probe": "linear", "label_fraction": 0.01}}},
        {"evaluations": {"linear": {"probe": "linear", "dataset": "stl"}}},
        {"dataset": {"eval_resize": 40}},
    ],
)
def test_questions_change_no_pretraining(said: dict[str, Any]) -> None:
    here, there = cell(), cell(**said)
    assert here.pretraining.id == there.pretraining.id
    assert set(asked_ids(here).values()).isdisjoint(asked_ids(there).values())


def test_a_monitor_changes_neither_pretraining_nor_evaluations() -> None:
    here, there = cell(), cell(monitors=WATCHED)
    assert ids(here)[:2] == ids(there)[:2]
    assert here.id != there.id
    often = cell(monitors={"knn5": WATCHED["knn5"] | {"every_epochs": 1}})
    assert ids(often)[:2] == ids(there)[:2]
    assert ids(often)[2] != ids(there)[2]


def test_seeds_of_pixels_share_all_that_is_not_drawn() -> None:
    one, two = cell("pixels", seed=0), cell("pixels", seed=1)
    assert one.pretraining.id == two.pretraining.id
    assert asked_ids(one)["knn5"] == asked_ids(two)["knn5"]
    assert asked_ids(one)["linear"] != asked_ids(two)["linear"]
    assert one.id != two.id  # two places in a table
    few = {"few": {"probe": "knn", "label_fraction": 0.1}}
    drawn = [asked_ids(cell("pixels", evaluations=few, seed=seed))["few"] for seed in (0, 1)]
    assert drawn[0] != drawn[1]  # the labels are drawn


def test_seeds_of_a_method_share_nothing() -> None:
    one, two = cell(seed=0), cell(seed=1)
    assert one.pretraining.id != two.pretraining.id
    assert asked_ids(one)["knn5"] != asked_ids(two)["knn5"]  # of another encoder


def test_pixels_of_two_datasets_of_one_form_are_one_encoder() -> None:
    alike = DATASETS | {"ten": replace(DATASETS["cifar"], name="ten")}
    catalogue = Catalogue(METHODS, CATALOGUE.probes, alike)
    fields = row("pixels")
    other = fields.model_copy(update={"dataset": fields.dataset.model_copy(update={"name": "ten"})})
    here, there = (assemble(said, catalogue, FakeFacts(alike)) for said in (fields, other))
    assert here.pretraining.id == there.pretraining.id
    assert set(asked_ids(here).values()).isdisjoint(asked_ids(there).values())


def test_a_subset_of_all_images_is_all_of_them_to_a_probe() -> None:
    whole, subset = (cell("pixels", {"train_images": images}).evaluations["linear"] for images in (None, 50_000))
    assert whole.id == subset.id


# Fields added later


class Added(Settings):
    """`NoSettings`, one version later."""

    gate: bool = Field(default=False, json_schema_extra={"neutral": False})


class Voted(Frozen):
    k: int = 5


class VotedLater(Voted):
    weighted: bool = Field(default=False, json_schema_extra={"neutral": False})


@dataclass(frozen=True)
class Probe:
    name: str
    settings: type[Frozen]
    summary: str = "x"
    draws: bool = False

    def metrics(self, settings: Any, classes: int | None, /) -> tuple[()]:
        return ()

    def needed_images(self, settings: Any, /) -> int:
        return 1


def later(method: type[Settings], probe: type[Frozen]) -> Catalogue:
    return Catalogue({"taught": Entry("taught", method, 1)}, {"vote": Probe("vote", probe)}, DATASETS)


def test_a_neutral_setting_keeps_the_ids_of_before() -> None:
    asked = {"mine": {"probe": "vote"}}
    before = cell("taught", catalogue=later(Settings, Voted), evaluations=asked)
    after = later(Added, VotedLater)
    neutral = cell("taught", catalogue=after, evaluations=asked)
    said = cell(
        "taught", catalogue=after, evaluations={"mine": {"probe": "vote", "weighted": False}}, settings={"gate": False}
    )
    assert ids(before) == ids(neutral) == ids(said)
    assert (neutral.pretraining.settings, neutral.evaluations["mine"].settings) == ({}, {"k": 5})
    gated = cell("taught", catalogue=after, evaluations=asked, settings={"gate": True})
    assert gated.pretraining.settings == {"gate": True}
    assert gated.pretraining.id != before.pretraining.id
    weighted = cell("taught", catalogue=after, evaluations={"mine": {"probe": "vote", "weighted": True}})
    assert weighted.pretraining.id == before.pretraining.id
    assert ids(weighted)[1] != ids(before)[1]


def test_settings_that_a_model_refuses_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        cell(settings={"zzz": 1})
    with pytest.raises(ValidationError, match="Extra inputs"):
        cell(evaluations={"knn5": {"probe": "knn", "zzz": 1}})


# Names of questions


@pytest.mark.parametrize(
    ("label", "k", "name"), [("knn5", 5, "knn5"), ("knn5", 20, "knn20"), ("near", 20, "near"), ("knn", 20, "knn")]
)
def test_neighbours_are_called_after_their_number(label: str, k: int, name: str) -> None:
    asked = {label: {"probe": "knn", "k": k}}
    here = cell(evaluations=asked, monitors=asked)
    assert (list(here.evaluations), list(here.monitors)) == ([name], [name])
    assert here.evaluations[name].settings == {"k": k}


def test_a_question_that_was_taken_out_is_not_asked() -> None:
    here = cell(evaluations=ASKED | {"linear": None}, monitors=WATCHED | {"knn5": None})
    assert (list(here.evaluations), list(here.monitors)) == (["knn5"], [])


# What cannot run


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, None),
        ({"views": 1}, "whiten needs at least 2 views, not 1"),
        ({"batch_size": 200}, "a batch of 200 cannot be cut into slices of 128"),
        (
            {"dataset": {"train_images": 200}},
            "a batch of 256 images is larger than the 200 that cifar is trained on",
        ),
        (
            {"evaluations": {"knn5": {"probe": "knn", "k": 50_001}}},
            "knn50001 needs at least 50001 training images, and there are 50000",
        ),
        (
            {"dataset": {"train_images": 300}, "evaluations": {"knn5": {"probe": "knn", "k": 301}}},
            "knn301 needs at least 301 training images, and there are 300",
        ),
        (
            {"monitors": {"knn5": {"probe": "knn", "k": 50_001}}},
            "knn50001 needs at least 50001 training images, and there are 50000",
        ),
        (
            {"evaluations": {"few": {"probe": "knn", "k": 6, "label_fraction": 0.0001}}},
            "few needs at least 6 training images, and there are 5",
        ),
        ({"evaluations": {"few": {"probe": "knn", "k": 5, "label_fraction": 0.0001}}}, None),
        (
            {"dataset": {"validation_fraction": 0.5}, "evaluations": {"near": {"probe": "knn", "k": 25_001}}},
            "near needs at least 25001 training images, and there are 25000",
        ),
        (
            {"evaluations": {"far": {"probe": "linear", "dataset": "grey"}}},
            "far: grey has 1 channels, the encoder takes 3",
        ),
        (
            {"monitors": {"far": {"probe": "knn", "dataset": "grey"}}},
            "far: grey has 1 channels, the encoder takes 3",
        ),
        ({"evaluations": {"far": {"probe": "knn", "dataset": "stl", "k": 5001}}},
         "far needs at least 5001 training images, and there are 5000"),
        ({"evaluations": {"far": {"probe": "linear", "dataset": "folder"}}}, None),
        (
            {"backbone": {"weights": "a.pt"}},
            "backbone.weights: a.pt cannot be read: No such file or directory",
        ),
    ],
)  # fmt: skip
def test_what_cannot_run_says_why(said: dict[str, Any], expected: str | None) -> None:
    assert reason(**said) == expected


def test_weights_are_for_those_who_take_them() -> None:
    facts = FakeFacts(weights={"a.pt": "x"})
    weights = {"weights": "a.pt"}
    assert reason("given", facts=facts) == "given needs `backbone.weights`, a file"
    assert reason("given", facts=facts, backbone=weights) is None
    assert reason("whiten", facts=facts, backbone=weights) is None
    assert reason("untrained", facts=facts, backbone=weights) == (
        "untrained begins with random weights: take `backbone.weights` out, or use the method given_weights"
    )
    assert reason("given", facts=facts, backbone={"weights": "b.pt"}) == (
        "backbone.weights: b.pt cannot be read: No such file or directory"
    )


def test_a_backbone_that_was_refused_cannot_run_and_pixels_can() -> None:
    facts = FakeFacts(refused={"vit": "backbone: `vit` cannot take 3x32x32 images"})
    assert reason(backbone={"name": "vit"}, facts=facts) == "backbone: `vit` cannot take 3x32x32 images"
    assert reason("untrained", backbone={"name": "vit"}, facts=facts) == "backbone: `vit` cannot take 3x32x32 images"
    assert reason("pixels", facts=facts) is None
    backbone, fed = facts.asked[0]
    assert (backbone.name, fed.size, fed.channels) == ("vit", 32, 3)
    assert len(facts.asked) == 2


def test_a_backbone_is_tried_only_where_nothing_else_is_wrong() -> None:
    facts = FakeFacts()
    assert reason(views=1, facts=facts) == "whiten needs at least 2 views, not 1"
    assert facts.asked == []


# Rows


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"dataset": {"mean": (0.5,)}}, "mean has 1 values and std 3, but channels is 3: give one of each per channel"),
        ({"dataset": {"std": (0.5, 0.5, 0.0)}}, "greater than 0"),
        ({"dataset": {"channels": 2}}, "Input should be 1 or 3"),
        ({"dataset": {"eval_resize": 31}}, "eval_resize 31 is smaller than the crop, image_size 32"),
        ({"split": "validation"}, "split is `validation`, but nothing is held out: set dataset.validation_fraction"),
        ({"evaluations": {"x": {}}}, "probe"),
        ({"monitors": {"x": {"probe": "knn", "every_epochs": 0}}}, "greater than 0"),
    ],
)
def test_contradictions_are_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        row(**said)


def test_a_monitor_asks_what_the_evaluation_of_its_settings_asks() -> None:
    here = cell(monitors=WATCHED)
    watched, asked = here.monitors["knn5"], here.evaluations["knn5"]
    assert {name: getattr(watched, name) for name in Question.model_fields} == {
        name: getattr(asked, name) for name in Question.model_fields
    }
