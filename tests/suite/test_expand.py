"""Axes crossed and dropped, duplicates, skips, fingerprints, identity, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from harness.suite.expand import expand
from harness.suite.planned import Expansion
from harness.suite.row import RowFields
from harness.suite.suite import Suite
from tests.suite.fakes import CATALOGUE, FakeFacts

Expand = Callable[..., Expansion]
HEAD = "defaults: {epochs: 4, batch_size: 256}\ndatasets: {cifar: {}}\n"
HELD_OUT = "{dataset: {validation_fraction: 0.1}}"


def rows(expansion: Expansion) -> list[str]:
    return [planned.row for planned in expansion.planned]


def test_axes_are_crossed(cells: Expand) -> None:
    found = cells(HEAD + "methods: {whiten: {}}\naxes: {d: [2, 4], lr: [1e-3, 1e-2], seeds: 2}\n")
    assert [(p.fields.views, p.fields.optimiser and p.fields.optimiser.lr, p.cell.seed) for p in found.planned] == [
        (d, lr, seed) for d in (2, 4) for lr in (1e-3, 1e-2) for seed in (0, 1)
    ]
    assert found.planned[0].axes == {"d": 2, "lr": 1e-3, "seed": 0}
    assert found.planned[0].row == "whiten d=2 lr=0.001"
    assert len({planned.id for planned in found.planned}) == 8


def test_axes_that_a_method_does_not_have_are_dropped(cells: Expand) -> None:
    text = HEAD + "methods: {whiten: {}, contrast: {}, untrained: {}}\n"
    found = cells(text + "axes: {slicing_iterations: [1, 4], d: [2, 4], seeds: 2}\n")
    counts = {label: sum(p.label == label for p in found.planned) for label in ("whiten", "contrast", "untrained")}
    assert counts == {"whiten": 8, "contrast": 4, "untrained": 2}
    assert found.planned[-1].axes == {"seed": 1}


def test_fields_of_the_evaluation_do_not_stand_in_for_unused_ones(cells: Expand) -> None:
    found = cells(HEAD + "methods: {untrained: {}, whiten: {}}\naxes: {lr: [1e-3, 1e-2], epochs: [1, 2]}\n")
    (untrained,) = (planned.cell for planned in found.planned if planned.label == "untrained")
    linear = untrained.evaluations["linear"].settings
    assert (linear["lr"], linear["epochs"]) == (1e-2, 500)


@pytest.mark.parametrize(
    ("axis", "value", "read"),
    [
        ("d: [3, 4]", 3, lambda cell: cell.views),
        ("views: [3, 4]", 3, lambda cell: cell.views),
        ("seed: [7, 8]", 7, lambda cell: cell.seed),
        ("seeds: [7, 8]", 7, lambda cell: cell.seed),
        ("optimiser.lr: [0.5, 1]", 0.5, lambda cell: cell.optimiser.lr),
        ("lr: [0.5, 1]", 0.5, lambda cell: cell.optimiser.lr),
        ("evaluations.linear.lr: [0.5, 1]", 0.5, lambda cell: cell.evaluations["linear"].model_extra["lr"]),
        ("epochs: [2, 3]", 2, lambda cell: cell.epochs),
        ("batch_size: [128, 256]", 128, lambda cell: cell.batch_size),
        ("dataset.image_size: [24, 28]", 24, lambda cell: cell.dataset.image_size),
        ("width: [16, null]", 16, lambda cell: cell.backbone.width),
        ("k: [20, 5]", 20, lambda cell: cell.evaluations["knn5"].model_extra["k"]),
        ("final_lr: [0.1, 1]", 0.1, lambda cell: cell.evaluations["linear"].model_extra["final_lr"]),
        ("split: [validation, test]", "validation", lambda cell: cell.split),
        ("settings.transform.sub_batch_size: [64, 128]", 64, lambda cell: cell.settings["transform"]["sub_batch_size"]),
        ("embedding: [32, 64]", 32, lambda cell: cell.settings["head"]["embedding"]),
        ("hidden: [[8, 8], []]", [8, 8], lambda cell: cell.settings["head"]["hidden"]),
        ("transform: [null, {kind: norm}]", None, lambda cell: cell.settings["transform"]),
    ],
)
def test_an_axis_is_found_by_its_name(cells: Expand, axis: str, value: Any, read: Callable[[RowFields], Any]) -> None:
    first, second = (p.fields for p in cells(HEAD + f"methods: {{whiten: {HELD_OUT}}}\naxes: {{{axis}}}\n").planned)
    assert read(first) == value
    assert read(second) != value


def test_a_method_s_own_axis_replaces_the_global_one_of_that_field(cells: Expand) -> None:
    text = HEAD + "methods: {whiten: {axes: {views: [8]}}, contrast: {}}\naxes: {d: [2, 4]}\n"
    assert [(p.label, p.fields.views) for p in cells(text).planned] == [("whiten", 8), ("contrast", 2), ("contrast", 4)]


def test_labelled_choices_change_several_fields_together(cells: Expand) -> None:
    text = HEAD + "methods: {whiten: {}, untrained: {}}\naxes: {views: [2], compute: {same: {}, double: {epochs: 8}}}\n"
    found = cells(text)
    assert rows(found) == ["whiten compute=same", "whiten compute=double", "untrained"]
    assert [planned.fields.epochs for planned in found.planned] == [4, 8, None]


def test_labelled_choices_may_switch_a_part_on(cells: Expand) -> None:
    text = HEAD + "methods: {chase: {}}\naxes:\n  t:\n"
    text += "    off: {settings: {transform: null}}\n    on: {settings: {transform: {kind: norm}}}\n"
    off, on = (planned.cell.pretraining.settings["transform"] for planned in cells(text).planned)
    assert (off, on) == (None, {"kind": "norm", "affine": True})


def test_what_the_command_line_fixes_is_no_axis_any_more(cells: Expand) -> None:
    text = HEAD + "methods: {whiten: {}}\naxes: {d: [2, 4], lr: [1e-3, 1e-2], seeds: 3}\n"
    assert rows(cells(text, None, ("d=8", "seeds=1"))) == ["whiten lr=0.001", "whiten lr=0.01"]
    assert [p.cell.seed for p in cells(text, None, ("d=2", "lr=1", "seeds=[5, 6]")).planned] == [5, 6]
    assert len(cells(text, None, ("seed=9",)).planned) == 4


def test_seeds_on_the_command_line_need_no_axis_in_the_suite(cells: Expand) -> None:
    assert [p.cell.seed for p in cells(HEAD + "methods: {pixels: {}}\n", None, ("seeds=3",)).planned] == [0, 1, 2]


def test_equal_values_give_one_cell(cells: Expand) -> None:
    text = HEAD + "methods: {whiten: {}}\naxes: {lr: [1e-3, 0.001, 1.0E-3]}\n"
    assert len(cells(text).planned) == 1


def test_one_cell_under_two_labels_is_kept_under_both_and_run_once(cells: Expand) -> None:
    found = cells(HEAD + "methods: {A: {method: whiten}, B: {method: whiten}}\n")
    assert rows(found) == ["A", "B"]
    assert found.planned[0].id == found.planned[1].id
    assert found.cells == (found.planned[0].cell,)


SKIPS = [
    ("skip: [{method: whiten, d: 8, reason: too large}]", "whiten d=8", "too large"),
    ("skip: [{method: W, d: [8, 9], dataset: [cifar, stl], reason: too large}]", "W d=8", "too large"),
    ("skip: [{optimiser.name: adam, views: 8, reason: no}]", "whiten d=8", "no"),
]


@pytest.mark.parametrize(("rule", "row", "reason"), SKIPS)
def test_rules_skip_what_they_match(cells: Expand, rule: str, row: str, reason: str) -> None:
    label = row.split()[0]
    text = HEAD + f"methods: {{{label}: {{method: whiten}}}}\naxes: {{d: [2, 8]}}\n{rule}\n"
    found = cells(text)
    assert rows(found) == [f"{label} d=2"]
    assert [(skipped.row, skipped.reason) for skipped in found.skipped] == [(row, reason)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("methods: {whiten: {views: 1}}", "whiten needs at least 2 views, not 1"),
        ("methods: {whiten: {batch_size: 200}}", "a batch of 200 cannot be cut into slices of 128"),
        (
            "methods: {contrast: {dataset: {train_images: 100}}}",
            "a batch of 256 images is larger than the 100 that cifar is trained on",
        ),
        (
            "methods: {contrast: {batch_size: 50001}}",
            "a batch of 50001 images is larger than the 50000 that cifar is trained on",
        ),
        (
            "methods: {contrast: {batch_size: 45001, dataset: {validation_fraction: 0.1}}}",
            "a batch of 45001 images is larger than the 45000 that cifar is trained on",
        ),
        (
            "methods: {contrast: {dataset: {train_images: 50001}}}",
            "train_images is 50001, but cifar has only 50000 to train on",
        ),
    ],
)
def test_what_cannot_work_is_skipped_with_its_reason(cells: Expand, text: str, reason: str) -> None:
    found = cells(HEAD + text + "\n")
    assert found.planned == ()
    assert [skipped.reason for skipped in found.skipped] == [reason]


def test_every_pretraining_split_counts_and_unknown_sizes_skip_nothing(cells: Expand) -> None:
    text = "defaults: {epochs: 1, batch_size: 105000}\ndatasets: {stl: {}, folder: {}}\nmethods: {contrast: {}}\n"
    assert [planned.dataset for planned in cells(text).planned] == ["stl", "folder"]


def test_missing_data_is_planned_with_a_note(cells: Expand) -> None:
    text = "datasets: {cifar: {}, stl: {}}\nmethods: {untrained: {}, pixels: {}}\naxes: {seeds: 3}\n"
    found = cells(text, facts=FakeFacts(absent=["stl"]))
    here, missing = found.planned[0], found.planned[3]
    assert (here.dataset, here.missing_data) == ("cifar", None)
    assert (missing.dataset, missing.missing_data) == (
        "stl",
        "stl is not on this machine: `harness data prepare stl`",
    )
    assert missing.cell.evaluations["linear"].train.known  # by the catalogue: who has no copy can name it too


@pytest.mark.parametrize(
    "part", ["evaluations: {far: {probe: knn, dataset: stl}}", "monitors: {far: {probe: knn, dataset: stl}}"]
)
def test_the_data_of_every_question_is_missed(cells: Expand, part: str) -> None:
    text = HEAD + f"methods: {{whiten: {{{part}}}}}\n"
    (planned,) = cells(text, facts=FakeFacts(absent=["stl"])).planned
    assert planned.missing_data == "stl is not on this machine: `harness data prepare stl`"
    (planned,) = cells(text, facts=FakeFacts(absent=["cifar", "stl"])).planned
    assert planned.missing_data == (
        "cifar is not on this machine: `harness data prepare cifar`; "
        "stl is not on this machine: `harness data prepare stl`"
    )


def test_nothing_stands_for_nothing(cells: Expand) -> None:
    for text in ("", "methods: {whiten: {}}\n", "datasets: {cifar: {}}\naxes: {lr: [1]}\n"):
        assert cells(text) == Expansion((), ())


def test_values_that_tables_ask_for(cells: Expand) -> None:
    text = HEAD + "methods: {W: {method: whiten, axes: {d: [2, 4]}}}\n"
    planned = cells(text).planned[1]
    values = {"method": "W", "dataset": "cifar", "d": 4, "views": 4, "lr": 0.003, "sub_batch_size": 128, "zzz": None}
    assert {name: planned.value(name) for name in values} == values
    assert planned.value("settings.head") == {"hidden": [1024], "embedding": 64}
    assert planned.matches({"method": "whiten", "d": [4, 8]})
    assert planned.matches({"method": ["W", "X"], "dataset": "cifar"})
    assert not planned.matches({"method": "whiten", "d": 2})


VARIANTS: Mapping[str, str] = {
    "title": "title: T\ndescription: other\n",
    "tables": "tables: [{title: x, rows: [method], cost: [], baseline: whiten}]\n",
    "claims": "claims: [whiten > chase]\n",
    "presets": "presets: {tiny: {defaults: {epochs: 1}}}\n",
    "skip": "skip: [{method: chase, reason: x}]\n",
}


@pytest.mark.parametrize("extra", VARIANTS)
def test_ids_do_not_depend_on_layout(cells: Expand, extra: str) -> None:
    text = HEAD + "methods: {whiten: {}, chase: {}}\n"
    assert cells(text).planned[0].id == cells(text + VARIANTS[extra]).planned[0].id


def test_ids_do_not_depend_on_labels_order_or_the_layer_that_said_it(cells: Expand) -> None:
    one = "defaults: {epochs: 4, batch_size: 256, optimiser: {lr: 1e-2, name: sgd}}\ndatasets: {cifar: {}}\n"
    one += "methods: {whiten: {settings: {head: {embedding: 32}}}}\naxes: {seeds: [1]}\n"
    two = (
        "axes: {seed: [0, 1]}\nmethods:\n  Mine: {settings: {head: {embedding: 32, hidden: [1024]}}, method: whiten}\n"
    )
    two += "datasets: {ten: {batch_size: 256, dataset: {name: cifar}, optimiser: {name: sgd, lr: 0.01}}}\n"
    two += "defaults: {batch_size: 1, epochs: 4, views: 2}\n"
    assert cells(one).planned[0].id == cells(two).planned[1].id


def test_ten_thousand_cells_take_seconds(load: Callable[..., Suite]) -> None:
    values = [f"{n}e-4" for n in range(1, 26)]
    lrs, decays = ", ".join(values), ", ".join(values[:20])
    text = HEAD + f"methods: {{whiten: {{}}}}\naxes: {{lr: [{lrs}], weight_decay: [{decays}], sub_batch_size: [64, 128]"
    suite = load(text + ", slicing_iterations: [1, 2, 3, 4, 5], seed: [0, 1], d: [2]}\n")
    start = time.process_time()
    found = expand(suite, CATALOGUE, FakeFacts())
    assert time.process_time() - start < 30  # five seconds, on a machine that has nothing else to do
    assert len({planned.id for planned in found.planned}) == 25 * 20 * 2 * 5 * 2
