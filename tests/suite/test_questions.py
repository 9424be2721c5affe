"""Evaluations and monitors in a suite: defaults, layers, axes, names, metrics; and the rule of collapse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.entries import headings
from harness.spec.collapse import CollapseRule
from harness.suite.planned import Expansion
from harness.suite.suite import Suite
from tests.suite.fakes import FakeFacts

Expand = Callable[..., Expansion]
Load = Callable[..., Suite]
Errors = Callable[..., list[str]]
HEAD = "defaults: {epochs: 4, batch_size: 256}\ndatasets: {cifar: {}}\n"
WHITEN = HEAD + "methods: {whiten: {}}\n"
WATCHED = "monitors: {knn5: {probe: knn, k: 5, every_epochs: 2}}"


def asked(expansion: Expansion) -> list[dict[str, dict[str, Any]]]:
    """Per cell, the settings of its evaluations."""
    return [{name: e.settings for name, e in placed.cell.evaluations.items()} for placed in expansion.planned]


LINEAR = {"epochs": 500, "batch_size": 1000, "lr": 0.01, "final_lr": 1e-6, "weight_decay": 5e-6}


def test_a_linear_probe_and_five_neighbours_are_asked_where_nothing_is_said(cells: Expand) -> None:
    found = cells(WHITEN)
    assert asked(found) == [{"linear": LINEAR, "knn5": {"k": 5}}]
    assert found.planned[0].cell.monitors == {}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("{linear: {epochs: 5}}", {"linear": LINEAR | {"epochs": 5}, "knn5": {"k": 5}}),
        ("{linear: null}", {"knn5": {"k": 5}}),
        ("{knn5: null, linear: null}", {}),
        ("{lbfgs: {probe: lbfgs}}", {"linear": LINEAR, "knn5": {"k": 5}, "lbfgs": {"c": 1.0, "max_iterations": 1000}}),
        ("{far: {probe: knn, k: 1, dataset: stl}}", {"linear": LINEAR, "knn5": {"k": 5}, "far": {"k": 1}}),
        ("{linear: {probe: lbfgs, c: 2}}", {"linear": {"c": 2.0, "max_iterations": 1000}, "knn5": {"k": 5}}),
        ("{knn5: {k: 20}}", {"linear": LINEAR, "knn20": {"k": 20}}),
        ("{knn20: {probe: knn, k: 20}}", {"linear": LINEAR, "knn5": {"k": 5}, "knn20": {"k": 20}}),
        ("{knn20: {probe: knn, k: 5}, knn5: null}", {"linear": LINEAR, "knn5": {"k": 5}}),
        ("{knn20: {probe: knn}}", {"linear": LINEAR, "knn5": {"k": 5}}),  # one question, asked once
    ],
)
def test_what_is_said_of_evaluations_is_laid_over_it(cells: Expand, said: str, expected: dict[str, Any]) -> None:
    assert asked(cells(WHITEN.replace("{whiten: {}}", f"{{whiten: {{evaluations: {said}}}}}"))) == [expected]


def test_each_layer_may_change_one_key_of_a_question(cells: Expand) -> None:
    text = """
defaults: {epochs: 8, batch_size: 256, evaluations: {linear: {epochs: 5}}, monitors: {knn5: {probe: knn, k: 5, every_epochs: 4}}}
datasets: {cifar: {evaluations: {linear: {lr: 0.5}}}, stl: {evaluations: {linear: null}}}
methods: {whiten: {monitors: {knn5: {every_epochs: 2}}}}
presets: {often: {overrides: {monitors: {knn5: {every_epochs: 1}}}}, never: {overrides: {monitors: {knn5: null}}}}
"""  # noqa: E501
    found = cells(text)
    assert asked(found) == [{"linear": LINEAR | {"epochs": 5, "lr": 0.5}, "knn5": {"k": 5}}, {"knn5": {"k": 5}}]
    every = [[m.every_epochs for m in p.cell.monitors.values()] for p in found.planned]
    assert every == [[2], [2]]
    assert [p.cell.monitors["knn5"].every_epochs for p in cells(text, "often").planned] == [1, 1]
    assert [p.cell.monitors for p in cells(text, "never").planned] == [{}, {}]
    assert len({p.cell.pretraining.id for preset in (None, "often", "never") for p in cells(text, preset).planned}) == 2


def test_what_is_not_trained_has_no_monitors(cells: Expand) -> None:
    text = f"defaults: {{epochs: 4, batch_size: 256, {WATCHED}}}\ndatasets: {{cifar: {{}}}}\n"
    found = cells(text + "methods: {whiten: {}, untrained: {}, pixels: {}}\naxes: {every_epochs: [1, 2]}\n")
    assert [(p.label, [m.every_epochs for m in p.cell.monitors.values()]) for p in found.planned] == [
        ("whiten", [1]),
        ("whiten", [2]),
        ("untrained", []),
        ("pixels", []),
    ]
    assert found.planned[0].cell.pretraining.id == found.planned[1].cell.pretraining.id


def test_another_k_on_the_command_line_renames_the_question_and_trains_nothing_anew(cells: Expand) -> None:
    text = (
        WHITEN
        + f"tables: [{{metrics: [knn5_top1]}}]\nclaims: [whiten > whiten on knn5_top1]\noverrides: {{{WATCHED}}}\n"
    )
    before, after = cells(text), cells(text, None, ("k=20",))
    assert asked(after) == [{"linear": LINEAR, "knn20": {"k": 20}}]
    assert (before.renamed, after.renamed) == ({}, {"knn5": "knn20"})
    assert [*after.metrics][:3] == ["linear_top1", "knn20_top1", "linear_top5"]
    one, other = before.planned[0].cell, after.planned[0].cell
    assert one.pretraining.id == other.pretraining.id
    assert one.evaluations["linear"].id == other.evaluations["linear"].id
    assert one.monitors == other.monitors  # the curve is another question
    for name in ("k", "evaluations.knn5.k"):
        assert cells(text, None, (f"{name}=20",)).planned[0].value(name) == 20
    assert cells(text, None, ("evaluations.knn5.k=20",)).cells == after.cells


def test_a_file_that_changes_k_must_name_its_metric_so(errors: Errors, cells: Expand) -> None:
    text = WHITEN + "overrides: {evaluations: {knn5: {k: 20}}}\ntables:\n  - metrics: [knn5_top1]\n"
    assert errors(text) == [
        "s.yaml:6: tables[0].metrics[0]: no evaluation of this suite gives `knn5_top1`; did you mean `knn20_top1`?"
    ]
    assert cells(text.replace("knn5_top1", "knn20_top1")).planned


@pytest.mark.parametrize("axis", ["k: [5, 20]", "evaluations.knn5.k: [5, 20]", "evaluations.knn5: [{k: 5}, {k: 20}]"])
def test_an_axis_over_k_shares_the_pretraining(cells: Expand, axis: str) -> None:
    if axis.startswith("evaluations.knn5:"):
        axis = "near: {5: {evaluations: {knn5: {k: 5}}}, 20: {evaluations: {knn5: {k: 20}}}}"
    found = cells(WHITEN + f"axes: {{{axis}}}\ntables: [{{metrics: [knn5_top1, knn20_top1]}}]\n")
    assert asked(found) == [{"linear": LINEAR, "knn5": {"k": 5}}, {"linear": LINEAR, "knn20": {"k": 20}}]
    five, twenty = (placed.cell for placed in found.planned)
    assert five.pretraining.id == twenty.pretraining.id
    assert five.evaluations["linear"].id == twenty.evaluations["linear"].id
    assert [*found.metrics][:4] == ["linear_top1", "knn5_top1", "knn20_top1", "linear_top5"]
    assert found.renamed == {}  # some cell is still asked for five
    name = axis.partition(":")[0]
    assert [placed.row for placed in found.planned] == [f"whiten {name}=5", f"whiten {name}=20"]


def test_what_the_command_line_fixes_of_a_question_is_no_axis_any_more(cells: Expand) -> None:
    for axis in ("k", "evaluations.knn5.k"):
        text = WHITEN + f"axes: {{{axis}: [5, 20]}}\n"
        for setting in ("k=7", "evaluations.knn5.k=7"):
            assert asked(cells(text, None, (setting,))) == [{"linear": LINEAR, "knn7": {"k": 7}}]


def test_a_question_under_a_name_that_does_not_fit_is_still_found_by_it(cells: Expand, errors: Errors) -> None:
    text = WHITEN.replace("{whiten: {}}", "{whiten: {evaluations: {knn5: {k: 10}}}}")
    assert asked(cells(text)) == [{"linear": LINEAR, "knn10": {"k": 10}}]
    assert asked(cells(text, None, ("k=5",))) == [{"linear": LINEAR, "knn5": {"k": 5}}]
    assert cells(text, None, ("k=5",)).renamed == {}
    assert asked(cells(text + "axes: {k: [1, 2]}\n"))[1] == {"linear": LINEAR, "knn2": {"k": 2}}
    skipped = cells(text + "axes: {k: [1, 2]}\nskip: [{k: 2, reason: no}]\n").skipped
    assert [(here.row, here.reason) for here in skipped] == [("whiten k=2", "no")]


def test_a_name_that_several_questions_have_is_written_with_its_path(cells: Expand, errors: Errors) -> None:
    text = WHITEN.replace("{whiten: {}}", "{whiten: {evaluations: {knn20: {probe: knn, k: 20}}}}")
    assert errors(text, None, ("k=7",)) == [
        "--set k=7: `k` stands for several fields; write one of `evaluations.knn5.k`, `evaluations.knn20.k`"
    ]
    found = cells(text, None, ("evaluations.knn20.k=7",))
    assert asked(found) == [{"linear": LINEAR, "knn5": {"k": 5}, "knn7": {"k": 7}}]
    assert found.renamed == {"knn20": "knn7"}
    assert errors(text, None, ("evaluations.near.k=7",)) == ["--set evaluations.near.k=7: `probe` is missing"]


def test_names_of_monitors_are_found_where_no_evaluation_has_them(cells: Expand) -> None:
    text = WHITEN + f"overrides: {{{WATCHED}, evaluations: {{knn5: null}}}}\n"
    (planned,) = cells(text, None, ("k=7",)).planned
    assert (list(planned.cell.evaluations), list(planned.cell.monitors)) == (["linear"], ["knn7"])
    assert planned.value("every_epochs") == 2


def test_metrics_have_their_headings_and_the_first_of_each_evaluation_stands_first(cells: Expand) -> None:
    text = WHITEN.replace(
        "{whiten: {}}",
        "{whiten: {evaluations: {few: {probe: linear, label_fraction: 0.01}, far: {probe: knn, k: 5, dataset: stl}}}}",
    )
    assert headings(cells(text).metrics) == {
        "linear_top1": "linear top-1 %",
        "knn5_top1": "5-NN %",
        "few_top1": "linear top-1 (few) %",
        "far_top1": "5-NN (far) %",
        "linear_top5": "linear top-5 %",
        "linear_balanced": "linear top-1, balanced %",
        "knn5_balanced": "5-NN, balanced %",
        "few_top5": "linear top-5 (few) %",
        "few_balanced": "linear top-1, balanced (few) %",
        "far_balanced": "5-NN, balanced (far) %",
    }


def test_metrics_depend_on_the_number_of_classes(cells: Expand) -> None:
    class Two(FakeFacts):
        def dataset(self, name: str) -> Any:
            facts = super().dataset(name)
            return type(facts)(facts.here, facts.splits, 2)

    assert "linear_top5" not in cells(WHITEN, facts=Two()).metrics
    assert "linear_top5" in cells(WHITEN.replace("cifar", "folder")).metrics  # nobody knows yet


def test_a_part_of_a_suite_may_have_a_metric_that_others_lack(cells: Expand) -> None:
    text = HEAD + "methods: {whiten: {evaluations: {lbfgs: {probe: lbfgs}}}, contrast: {}}\n"
    found = cells(text + "tables: [{metrics: [lbfgs_top1, linear_top1]}]\n")
    assert [list(placed.cell.evaluations) for placed in found.planned] == [
        ["linear", "knn5", "lbfgs"],
        ["linear", "knn5"],
    ]


def test_too_many_neighbours_are_skipped_with_the_reason(cells: Expand) -> None:
    text = "datasets: {cifar: {dataset: {train_images: 96}}}\n"
    text += "methods: {pixels: {}, contrast: {epochs: 1, batch_size: 48}}\n"
    found = cells(text, None, ("k=200",))
    assert found.planned == ()
    assert [here.reason for here in found.skipped] == [
        "knn200 needs at least 200 training images, and there are 96"
    ] * 2


def test_a_backbone_that_cannot_be_fed_is_skipped_with_the_reason(cells: Expand) -> None:
    text = (
        HEAD.replace("}\n", ", backbone: {name: vit}}\n", 1) + "methods: {contrast: {}, pixels: {}}\naxes: {seeds: 2}\n"
    )
    found = cells(text, facts=FakeFacts(refused={"vit": "backbone: `vit` cannot take 3x32x32 images"}))
    assert [(here.label, here.reason) for here in found.skipped] == [
        ("contrast", "backbone: `vit` cannot take 3x32x32 images")
    ] * 2
    assert [here.label for here in found.planned] == ["pixels", "pixels"]


def test_weights_are_found_from_where_we_are(load: Load, cells: Expand) -> None:
    load("")
    Path("lib").mkdir()
    Path("lib/base.yaml").write_text(
        "defaults: {backbone: {weights: a.pt}}\n"
        "methods:\n"
        "  given: {axes: {backbone.weights: [b.pt, ../c.pt, /d.pt]}}\n"
        "  G: {method: given, axes: {from: {here: {backbone: {weights: deep/e.pt}}}}}\n"
        "  H: {method: given}\n"
    )
    facts = FakeFacts(weights={path: path for path in ("lib/a.pt", "lib/b.pt", "c.pt", "/d.pt", "lib/deep/e.pt")})
    found = cells("include: lib/base.yaml\ndatasets: {cifar: {}}\n", facts=facts)
    assert found.skipped == ()
    paths = [placed.fields.backbone and placed.fields.backbone.weights for placed in found.planned]
    assert paths == ["lib/b.pt", "c.pt", "/d.pt", "lib/deep/e.pt", "lib/a.pt"]
    other = cells("include: lib/base.yaml\ndatasets: {cifar: {}}\n", None, ("backbone.weights=f.pt",), facts)
    assert {here.reason for here in other.skipped} == {
        "backbone.weights: f.pt cannot be read: No such file or directory"
    }


def test_the_rule_of_collapse_belongs_to_the_suite_and_changes_no_id(load: Load, cells: Expand) -> None:
    text = WHITEN + "collapse: {min_std: 0.2}\npresets: {strict: {collapse: {consecutive: 1}}}\n"
    assert load(WHITEN).content.collapse == CollapseRule()
    assert load(text).content.collapse == CollapseRule(min_std=0.2)
    assert load(text, "strict").content.collapse == CollapseRule(min_std=0.2, consecutive=1)
    assert cells(text, "strict").planned[0].id == cells(WHITEN).planned[0].id
