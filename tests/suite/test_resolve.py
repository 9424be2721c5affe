"""Which layer wins, and to whom settings meant for several methods apply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.suite.planned import Expansion

Expand = Callable[..., Expansion]
LAYERS = (
    "optimiser: {lr: 0.02}",  # the suite's defaults
    "optimiser: {lr: 0.03}",  # the dataset's row
    "optimiser: {lr: 0.04}",  # the method's row
    "optimiser: {lr: 0.05}",  # the method's row for the dataset
    "lr: [0.06]",  # an axis
    "lr: [0.07]",  # the method's own axis
    "optimiser: {lr: 0.08}",  # overrides
)


def text_of(layers: int) -> str:
    """A suite that says the learning rate in the first so many layers."""
    said = [layer if index < layers else "" for index, layer in enumerate(LAYERS)]
    return f"""
defaults: {{epochs: 1, batch_size: 256, {said[0]}}}
datasets: {{cifar: {{{said[1]}}}}}
methods: {{whiten: {{{said[2] + "," if said[2] else ""} datasets: {{cifar: {{{said[3]}}}}}, axes: {{{said[5]}}}}}}}
axes: {{{said[4]}}}
overrides: {{{said[6]}}}
"""


@pytest.mark.parametrize("layers", range(8))
def test_each_layer_wins_over_those_before_it(cells: Expand, layers: int) -> None:
    expected = (0.003, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08)[layers]  # 0.003 is the built-in default
    (planned,) = cells(text_of(layers)).planned
    assert planned.fields.optimiser is not None
    assert planned.cell.training is not None
    assert planned.fields.optimiser.lr == planned.cell.training.optimiser.lr == expected


def test_the_command_line_wins_over_all(cells: Expand) -> None:
    (planned,) = cells(text_of(7), None, ("lr=0.09", "optimiser.name=sgd")).planned
    assert planned.cell.training is not None
    optimiser = planned.cell.training.optimiser
    assert (optimiser.lr, optimiser.name) == (0.09, "sgd")


def test_a_dataset_brings_its_protocol_and_the_suite_overrides_it(cells: Expand) -> None:
    text = (
        "methods: {pixels: {}}\ndatasets: {stl: {}, small: {dataset: {name: stl, image_size: 32, eval_resize: null}}}\n"
    )
    found = cells(text).planned
    stl, small = (planned.fields.dataset for planned in found)
    assert (stl.name, stl.image_size, stl.eval_resize, stl.mean) == ("stl", 64, 70, (0.5, 0.5, 0.5))
    assert (small.name, small.image_size, small.eval_resize, small.mean) == ("stl", 32, None, (0.5, 0.5, 0.5))
    assert [planned.cell.pretraining.input.size for planned in found] == [64, 32]
    assert [planned.cell.evaluations["linear"].transform.resize for planned in found] == [70, None]


def settings_of(expansion: Expansion) -> dict[str, Any]:
    return {planned.label: planned.cell.pretraining.settings for planned in expansion.planned}


HEAD = "datasets: {cifar: {}}\ndefaults: {epochs: 1, batch_size: 256"


def test_every_default_of_the_settings_is_written_out(cells: Expand) -> None:
    found = settings_of(cells(HEAD + "}\nmethods: {whiten: {settings: {head: {embedding: 32}}}}\n"))
    assert found["whiten"] == {
        "head": {"hidden": [1024], "embedding": 32},
        "transform": {"kind": "whitening", "sub_batch_size": 128, "slicing_iterations": 1, "eps": 0.0},
    }


def test_shared_settings_apply_where_a_method_has_them(cells: Expand) -> None:
    text = HEAD + ", settings: {head: {embedding: 16}, transform: {sub_batch_size: 64}, temperature: 0.1}}\n"
    found = settings_of(cells(text + "methods: {whiten: {}, contrast: {}, chase: {}, untrained: {}}\n"))
    assert [found[label].get("head", {}).get("embedding") for label in found] == [16, 16, 16, None]
    assert found["whiten"]["transform"]["sub_batch_size"] == 64
    assert found["contrast"]["transform"] == {"kind": "norm", "affine": True}
    assert found["contrast"]["temperature"] == 0.1
    assert found["chase"]["transform"] is None
    assert found["untrained"] == {}


def test_shared_settings_reach_a_part_that_the_row_switches_on(cells: Expand) -> None:
    text = HEAD + ", settings: {transform: {sub_batch_size: 64}}}\n"
    text += "methods:\n  W: {method: chase, settings: {transform: {kind: whitening, slicing_iterations: 2}}}\n"
    assert settings_of(cells(text))["W"]["transform"] == {
        "kind": "whitening", "sub_batch_size": 64, "slicing_iterations": 2, "eps": 0.0,
    }  # fmt: skip


def test_a_row_wins_over_shared_settings_and_its_dataset_over_it(cells: Expand) -> None:
    text = """
defaults: {epochs: 1, batch_size: 256, settings: {transform: {sub_batch_size: 32}, head: {embedding: 8}}}
datasets: {cifar: {}, stl: {settings: {head: {embedding: 9}}}}
methods:
  W: {method: whiten, settings: {transform: {sub_batch_size: 64}}, datasets: {stl: {settings: {transform: {sub_batch_size: 128}}}}}
"""  # noqa: E501
    cifar, stl = (planned.cell.pretraining.settings for planned in cells(text).planned)
    assert (cifar["transform"]["sub_batch_size"], cifar["head"]["embedding"]) == (64, 8)
    assert (stl["transform"]["sub_batch_size"], stl["head"]["embedding"]) == (128, 9)


def test_another_kind_replaces_the_whole_part(cells: Expand) -> None:
    text = HEAD + "}\nmethods: {whiten: {settings: {transform: {kind: norm}}}}\n"
    assert settings_of(cells(text))["whiten"]["transform"] == {"kind": "norm", "affine": True}


def test_null_switches_a_part_off(cells: Expand) -> None:
    (planned,) = cells(HEAD + "}\nmethods: {whiten: {settings: {transform: null}}}\n").planned
    assert planned.cell.pretraining.settings["transform"] is None


def test_unused_fields_are_none(cells: Expand) -> None:
    untrained, pixels = cells(HEAD + ", views: 4}\nmethods: {untrained: {}, pixels: {}}\n").planned
    for here in (untrained, pixels):
        said = here.fields
        unused = (said.views, said.augmentation, said.optimiser, said.schedule, said.epochs, said.batch_size)
        assert unused == (None,) * 6
        assert (here.cell.training, here.cell.pretraining.source) == (None, None)
    assert untrained.fields.backbone is not None
    assert untrained.cell.pretraining.backbone is not None
    assert (pixels.fields.backbone, pixels.cell.pretraining.backbone) == (None, None)


PAIR = """methods: {whiten: {views: 1, augmentation: {blur_probability: 1.0, brightness: 0.2}, clip: 3.0,
  weight_decay_schedule: {final: 0.4},
  more_views: [{count: 1, augmentation: {blur_probability: 0.1, solarise_probability: 0.2}}, {count: 6, size: 8}]}}
"""


def test_a_further_group_of_views_has_the_row_s_augmentation_where_it_does_not_say_another(cells: Expand) -> None:
    (planned,) = cells(HEAD + "}\n" + PAIR).planned
    training = planned.cell.training
    assert training is not None
    first, second, small = training.view_groups
    assert (first.count, second.count, small.count, small.size) == (1, 1, 6, 8)
    assert (first.augmentation.blur_probability, first.augmentation.solarise_probability) == (1.0, 0.0)
    assert (second.augmentation.blur_probability, second.augmentation.solarise_probability) == (0.1, 0.2)
    assert second.augmentation.brightness == first.augmentation.brightness == 0.2
    assert small.augmentation == first.augmentation
    assert (training.clip, training.all_views) == (3.0, 8)
    assert training.weight_decay_schedule is not None
    assert training.weight_decay_schedule.final == 0.4


def test_an_axis_changes_the_augmentation_of_every_group_that_does_not_say_its_own(cells: Expand) -> None:
    text = HEAD + "}\n" + PAIR.replace("6, size: 8}]}}", "6, size: 8}], axes: {brightness: [0.1, 0.3]}}}")
    found = [planned.cell.training for planned in cells(text).planned]
    assert [[group.augmentation.brightness for group in t.view_groups] for t in found if t] == [[0.1] * 3, [0.3] * 3]


def test_without_further_views_ids_are_as_they_were(cells: Expand) -> None:
    (plain,) = cells(HEAD + "}\nmethods: {whiten: {}}\n").planned
    (said,) = cells(HEAD + "}\nmethods: {whiten: {more_views: [], clip: null, weight_decay_schedule: null}}\n").planned
    assert plain.cell.id == said.cell.id
    assert "more_views" not in plain.cell.pretraining.canonical


def test_further_views_count_as_views(cells: Expand) -> None:
    (skipped,) = cells(HEAD + "}\nmethods: {whiten: {views: 1}}\n").skipped
    assert skipped.reason == "whiten needs at least 2 views, not 1"


def test_a_key_that_a_group_of_views_does_not_have(errors: Callable[..., list[str]]) -> None:
    (line,) = errors(HEAD + "}\nmethods: {whiten: {more_views: [{count: 2, sise: 8}]}}\n")
    assert line.endswith("more_views[0].sise: unknown key; did you mean `size`?")
