"""From a suite's `sweep` to rows with spaces; mistakes are found at their line."""

import pytest
from optuna.distributions import IntDistribution

from harness.suite.nodes import SuiteError
from tests.sweep.fakes import Bench, PublishedFacts

BASE = """
methods: {untrained: null, contrastive: {}}
sweep:
  space:
    optimiser.lr: {low: 1e-4, high: 1e-1, log: true}
"""


def rows(tmp_path, text, settings=()):
    return {row.name: row for row in Bench(tmp_path, text, settings).rows()}


def error(tmp_path, text, settings=()):
    with pytest.raises(SuiteError) as caught:
        rows(tmp_path, text, settings)
    return str(caught.value)


def test_sub_batches_that_cannot_be_are_never_offered(tmp_path):
    text = (
        BASE + "    sub_batch_size: {choices: [128, 48, 4, 8, 2, 64, 16], divides: batch_size, above: embedding_size}\n"
    )
    resolved = rows(tmp_path, text)
    setting = next(s for s in resolved["w_mse"].space.settings if s.name == "sub_batch_size")
    assert setting.choices == (
        8,
        16,
        64,
    )  # batches of 64, embeddings of 4: 48 and 128 do not divide, 4 and 2 are not above
    assert [s.name for s in resolved["contrastive"].space.settings] == ["optimiser.lr"]


def test_what_the_method_refuses_is_left_out_without_being_told(tmp_path):
    resolved = rows(tmp_path, BASE + "    sub_batch_size: {choices: [4, 16, 48, 64]}\n")
    assert [c["sub_batch_size"] for c in resolved["w_mse"].space.combinations] == [16, 64]


def test_choices_may_depend_on_choices(tmp_path):
    text = BASE + (
        "    embedding_size: {choices: [4, 16, 32]}\n"
        "    sub_batch_size: {choices: [16, 32, 64], above: embedding_size}\n    batch_size: {choices: [32, 64]}\n"
    )
    combinations = rows(tmp_path, text)["w_mse"].space.combinations
    found = {(c["embedding_size"], c["sub_batch_size"], c["batch_size"]) for c in combinations}
    assert found == {(e, s, b) for e in (4, 16, 32) for s in (16, 32, 64) for b in (32, 64) if s > e and b % s == 0}


def test_a_method_is_tuned_over_what_it_has_and_controls_not_at_all(tmp_path):
    resolved = rows(tmp_path, BASE.replace("untrained: null, ", ""))
    assert {name: row.tuned for name, row in resolved.items()} == {
        "w_mse": True,
        "contrastive": True,
        "untrained": False,
    }


def test_axes_make_rows_and_seeds_do_not(tmp_path):
    resolved = rows(tmp_path, BASE.replace("contrastive: {}", "w_mse: {axes: {d: [2, 4]}}"))
    assert list(resolved) == ["w_mse d=2", "w_mse d=4"]
    assert {row.trial({"optimiser.lr": 1e-2}).pretraining.training.views for row in resolved.values()} == {2, 4}


def test_a_methods_own_space_lies_over_the_sweeps(tmp_path):
    text = BASE + (
        "    sub_batch_size: {choices: [16, 32]}\n"
        "  methods:\n    w_mse: {space: {sub_batch_size: null, batch_size: {choices: [32, 64]}}}\n"
        "    contrastive: null\n"
    )
    resolved = rows(tmp_path, text)
    assert [s.name for s in resolved["w_mse"].space.settings] == ["optimiser.lr", "batch_size"]
    assert not resolved["contrastive"].tuned


def test_a_trial_is_scored_on_validation_and_a_winner_once_on_test(tmp_path):
    row = rows(tmp_path, BASE)["w_mse"]
    trial, winner = row.trial({"optimiser.lr": 5e-3}), row.winner({"optimiser.lr": 5e-3}, seed=7)
    assert trial.pretraining.training.optimiser.lr == winner.pretraining.training.optimiser.lr == 5e-3
    for cell, split, scored, held_out, seed in ((trial, "validation", "train", 0.1, 0), (winner, "test", "test", 0, 7)):
        assert (cell.seed, cell.pretraining.seed) == (seed, seed)
        assert cell.pretraining.source.validation_fraction == held_out
        assert set(cell.evaluations) == {"linear", "knn5"}
        for asked in cell.evaluations.values():
            assert (asked.split, asked.scored.splits, asked.train.validation_fraction) == (split, (scored,), held_out)
    assert [*trial.monitors, *winner.monitors] == ["knn5"]  # of the trial: a winner's curve would be of the test split
    assert trial.monitors["knn5"].split == "validation"


def test_the_suites_own_validation_fraction_is_kept_for_trials(tmp_path):
    row = rows(tmp_path, BASE, ("dataset.validation_fraction=0.3",))["w_mse"]
    assert row.trial({}).pretraining.source.validation_fraction == 0.3


def test_a_trial_changes_what_its_values_say_and_nothing_else(tmp_path):
    row = rows(tmp_path, BASE + "    sub_batch_size: {choices: [16, 32]}\n")["w_mse"]
    before, after = row.trial({}).pretraining, row.trial({"sub_batch_size": 16, "optimiser.lr": 5e-3}).pretraining
    assert after.settings["transform"]["sub_batch_size"] == 16
    assert after.training.optimiser.lr == 5e-3
    restored = after.model_copy(
        update={
            "settings": {**after.settings, "transform": {**after.settings["transform"], "sub_batch_size": 32}},
            "training": after.training.model_copy(update={"optimiser": before.training.optimiser}),
        }
    )
    assert restored == before  # the toy suite has sub-batches of 32
    assert row.trial({"sub_batch_size": 32}).id == row.trial({}).id


def test_rows_whose_data_are_elsewhere(tmp_path):
    transfer = "defaults: {evaluations: {moved: {probe: knn, dataset: fashion_mnist}}}\n"
    for text, missing, expected in (
        (BASE, {"digits"}, True),
        (BASE, {"fashion_mnist"}, False),
        (BASE + transfer, {"fashion_mnist"}, True),
    ):
        bench = Bench(tmp_path, text, facts=PublishedFacts(missing))
        assert {row.missing_data for row in bench.rows()} == {expected}


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (("optimiser.lr: {low", "optimiser.lrr: {low"), 5, "no method in this sweep has `optimiser.lrr`; did you mean"),
        (("low: 1e-4", "low: 1"), 5, "a range from low 1 to high 0.1 is empty: low must be smaller"),
        (("low: 1e-4", "low: 0"), 5, "a logarithmic range cannot begin at 0"),
        (("low: 1e-4, high: 1e-1, log: true", "choices: [1e-3, -1]"), 5, "-1: should be greater than 0"),
        (("low: 1e-4, high: 1e-1, log: true", "choices: [1e-3]"), 4, "the space is empty: name at least one setting"),
        (("low: 1e-4, high: 1e-1, log: true", "choices: []"), 5, "there are no choices"),
        (("optimiser.lr: {", "seed: {"), 5, "`seed` says what is measured, and is not tuned"),
        (("optimiser.lr: {", "split: {"), 5, "`split` says what is measured, and is not tuned"),
        (("optimiser.lr: {", "evaluations.linear.lr: {"), 5, "`evaluations.linear.lr` says what is measured"),
        (("optimiser.lr: {", "monitors.knn5.k: {"), 5, "`monitors.knn5.k` says what is measured, and is not tuned"),
        (("optimiser.lr: {", "train_images: {"), 5, "`dataset.train_images` says what is measured"),
        (("optimiser.lr: {", "method: {"), 5, "no method in this sweep has `method`"),
        (("low: 1e-4", "lo: 1e-4"), 5, "unknown key; did you mean `low`?"),
    ],
)
def test_mistakes_in_the_space(change, line, message, tmp_path):
    text = error(tmp_path, BASE.strip().replace(*change))
    assert f"s.yaml:{line}: sweep.space" in text
    assert message in text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("    sub_batch_size: {choices: [3, 5], divides: batch_size}\n", "no point of the space is possible: sub"),
        ("    sub_batch_size: {choices: [16, 32], divides: batchsize}\n", "cannot depend on `batchsize`; did you mean"),
        ("    sub_batch_size: {low: 8, high: 64, divides: batch_size}\n", "go with `choices`"),
        ("  methods: {byol: {}}\n", "there is no row `byol`"),
        ("  metric: linear_top2\n", "no evaluation of this suite gives `linear_top2`; did you mean"),
        ("  sampler: grid\n", "a grid needs `points`"),
        ("  sampler: tpee\n", "did you mean `tpe`?"),
        ("  triels: 3\n", "unknown key; did you mean `trials`?"),
        ("axes: {lr: [1e-3, 1e-2]}\n", "`optimiser.lr` is an axis of `w_mse` too"),
    ],
)  # fmt: skip
def test_contradictions(more, message, tmp_path):
    assert message in error(tmp_path, BASE + more)


def test_a_metric_that_a_row_does_not_have(tmp_path):
    own = "contrastive: {evaluations: {lbfgs: {probe: lbfgs}}}"
    message = error(tmp_path, BASE.replace("contrastive: {}", own) + "  metric: lbfgs_top1\n")
    known = "linear_top1, linear_top5, linear_balanced, knn5_top1, knn5_balanced"
    assert f"w_mse on digits is not evaluated by `lbfgs_top1`; known: {known}" in message
    assert "contrastive" not in message
    message = error(tmp_path, BASE + "defaults: {evaluations: {linear: null}}\n")  # the default, in no file
    assert "w_mse on digits is not evaluated by `linear_top1`; known: knn5_top1" in message
    row = rows(tmp_path, BASE + "  metric: near_top1\ndefaults: {evaluations: {near: {probe: knn}}}\n")["w_mse"]
    assert row.metrics["near_top1"].heading == "5-NN %"


def test_choices_cannot_depend_on_a_range(tmp_path):
    text = BASE + (
        "    batch_size: {low: 32, high: 64}\n    sub_batch_size: {choices: [16, 32], divides: batch_size}\n"
    )
    assert "`batch_size` is searched over a range, on which choices cannot depend" in error(tmp_path, text)


def test_a_whole_setting_is_searched_over_whole_numbers(tmp_path):
    row = rows(tmp_path, BASE + "    epochs: {low: 1, high: 3}\n")["w_mse"]
    assert any(s.name == "epochs" and isinstance(s.distribution, IntDistribution) for s in row.space.settings)
    assert "epochs" in error(tmp_path, BASE + "    epochs: {low: 1, high: 2.5}\n")


def test_pruning_without_a_curve(tmp_path):
    hint = "pruning reads the k-NN curve, and there is none: set monitors: {knn5: {probe: knn, every_epochs: 2}}"
    for monitors in ("{knn5: null}", "{knn5: {probe: linear}}"):
        assert hint in error(tmp_path, BASE + f"  pruner: median\ndefaults: {{monitors: {monitors}}}\n")
    rows(tmp_path, BASE + "  pruner: median\n")
    rows(tmp_path, BASE + "  pruner: none\ndefaults: {monitors: {knn5: null}}\n")


def test_the_command_line_cannot_fix_what_is_searched(tmp_path):
    assert "--set cannot fix it" in error(tmp_path, BASE, ("lr=1e-3",))


def test_a_suite_without_a_sweep(tmp_path):
    assert "there is nothing to sweep; write a section `sweep:" in error(tmp_path, "title: x\n")
