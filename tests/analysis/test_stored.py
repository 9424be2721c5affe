"""Specs in the words of a suite: what differs is found and called as a suite file calls it."""

from harness.analysis.stored import cell_fields, changed_fields, names_by_probe, pretraining_fields
from tests.analysis.conftest import KNN5, LINEAR


def test_fields_that_one_pretraining_has_not_differ_from_none(bench):
    x, y = (pretraining_fields(bench.cell(method=name, settings={}).pretraining) for name in ("w_mse", "untrained"))
    assert changed_fields(x, x) == {}
    found = changed_fields(x, y)
    assert found["optimiser.lr"] == (3e-3, None)
    tops = {path.partition(".")[0] for path in found}
    assert tops == {
        *("method", "views", "augmentation", "optimiser", "schedule", "epochs", "batch_size", "precision", "dataset"),
        "more_views",
    }


def test_a_part_that_is_off_or_empty_differs_from_one_with_fields_field_by_field():
    assert changed_fields({"target": None}, {"target.tau": 0.9}) == {"target.tau": (None, 0.9)}
    assert changed_fields({"options": {}}, {"options.x": 1}) == {"options.x": (None, 1)}
    assert changed_fields({"target": None}, {"target": {}}) == {"target": (None, {})}


def test_every_change_of_a_row_is_one_change_of_its_cell(bench):
    before = cell_fields(bench.cell(dataset={"train_images": 1000, "validation_fraction": 0.1}))
    for change, expected in (
        ({"dataset": {"train_images": 2000, "validation_fraction": 0.1}}, {"dataset.train_images": (1000, 2000)}),
        ({"split": "validation"}, {"split": ("test", "validation")}),
        ({"precision": "bfloat16"}, {"precision": ("float32", "bfloat16")}),
        ({"seed": 3}, {"seed": (0, 3)}),
    ):
        fields = {"dataset": {"train_images": 1000, "validation_fraction": 0.1}} | change
        found = changed_fields(before, cell_fields(bench.cell(**fields)))
        assert {path: both for path, both in found.items() if not path.startswith("dataset.scored_")} == expected


def test_names_are_the_probes(bench):
    asked = bench.cell(evaluations={"a": KNN5, "b": {"probe": "knn", "k": 20}, "c": LINEAR, "d": {"probe": "lbfgs"}})
    names = names_by_probe(tuple(asked.evaluations.values()))
    assert [names[question.id] for question in asked.evaluations.values()] == ["knn5", "knn20", "linear", "lbfgs"]


def test_questions_to_one_probe_are_called_by_what_differs(bench):
    few = {**LINEAR, "label_fraction": 0.1, "epochs": 5}
    asked = bench.cell(evaluations={"a": LINEAR, "b": few}).evaluations
    names = names_by_probe(tuple(asked.values()))
    assert [names[question.id] for question in asked.values()] == [
        "linear epochs=500",
        "linear epochs=5 label_fraction=0.1",
    ]
