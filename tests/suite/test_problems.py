"""What each mistake is answered with: file, line, key, value, nearest name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Errors = Callable[..., list[str]]
HEAD = (
    "defaults: {epochs: 10, batch_size: 256}\ndatasets: {cifar: {}}\nmethods: {whiten: {}, contrast: {}}\n"  # lines 1-3
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("titel: x", "s.yaml:1: titel: unknown key; did you mean `title`?"),
        ("title: [x]", 's.yaml:1: title: should be a valid string, not `["x"]`'),
        ("title: 3", "s.yaml:1: title: should be a valid string, not `3`"),
        ("defaults:\n  optimiser:\n    lrr: 1", "s.yaml:3: defaults.optimiser.lrr: unknown key; did you mean `lr`?"),
        ("defaults: {optimizer: {}}", "s.yaml:1: defaults.optimizer: unknown key; did you mean `optimiser`?"),
        ("defaults: {lr: 1e-3}", "s.yaml:1: defaults.lr: unknown key; did you mean `optimiser.lr`?"),
        ("defaults: {label_fraction: 0.1}",
         "s.yaml:1: defaults.label_fraction: unknown key; did you mean `evaluations.NAME.label_fraction` or "
         "`monitors.NAME.label_fraction`?"),
        ("defaults: {evaluation: {knn: {k: 5}}}",
         "s.yaml:1: defaults.evaluation: unknown key; did you mean `evaluations`?"),
        ("collapse: {min_stdd: 0.1}", "s.yaml:1: collapse.min_stdd: unknown key; did you mean `min_std`?"),
        ("defaults: {collapse: {min_std: 0.1}}",
         "s.yaml:1: defaults.collapse: unknown key; valid keys: settings, views, more_views, dataset, backbone, "
         "augmentation, optimiser, schedule, weight_decay_schedule, clip, epochs, batch_size, precision, seed, split, "
         "evaluations, monitors"),
        ("defaults: {d: 4}", "s.yaml:1: defaults.d: unknown key; write `views` here"),
        ("defaults: {seeds: 4}", "s.yaml:1: defaults.seeds: unknown key; write `seed` here"),
        ("defaults: {evaluations: {knn5: 5}}",
         "s.yaml:1: defaults.evaluations.knn5: should be an object, not `5`"),
        ("defaults: {evaluations: {linear: {label_fraction: 2}}}",
         "s.yaml:1: defaults.evaluations.linear.label_fraction: should be less than or equal to 1, not `2`"),
        ("defaults: {split: tset}",
         's.yaml:1: defaults.split: `"tset"` is not `test` or `validation`; did you mean `test`?'),
        ("defaults: {dataset: {channels: 2}}", "s.yaml:1: defaults.dataset.channels: `2` is not 1 or 3"),
        ("defaults: {epochs: '10'}", 's.yaml:1: defaults.epochs: should be a valid integer, not `"10"`'),
        ("defaults: {epochs: 10.5}", "s.yaml:1: defaults.epochs: should be a valid integer, not `10.5`"),
        ("defaults: {epochs: 0}", "s.yaml:1: defaults.epochs: should be greater than 0, not `0`"),
        ("defaults: {epochs: true}", "s.yaml:1: defaults.epochs: should be a valid integer, not `true`"),
        ("defaults: {optimiser: {lr: x}}", 's.yaml:1: defaults.optimiser.lr: should be a valid number, not `"x"`'),
        ("defaults: {optimiser: {lr: .inf}}",
         "s.yaml:1: defaults.optimiser.lr: should be a finite number, not `Infinity`"),
        ("defaults: {optimiser: {lr: .nan}}", "s.yaml:1: defaults.optimiser.lr: should be a finite number, not `NaN`"),
        (
            "defaults: {optimiser: {decay_bias_and_norm: no}}",
            's.yaml:1: defaults.optimiser.decay_bias_and_norm: should be a valid boolean, not `"no"`',
        ),
        (
            "defaults: {optimiser: {name: adm}}",
            's.yaml:1: defaults.optimiser.name: `"adm"` is not `adam`, `adamw`, `sgd` or `lars`; '
            "did you mean `adam`?",
        ),
        ("defaults: {augmentation: {crop_scale: [0.2, 2]}}",
         "s.yaml:1: defaults.augmentation.crop_scale[1]: should be less than or equal to 1, not `2`"),
        ("defaults: {dataset: {fingerprint: abc}}",
         "s.yaml:1: defaults.dataset.fingerprint: unknown key; valid keys: name, image_size, channels, mean, std, "
         "eval_resize, train_images, validation_fraction"),
        ("defaults: {method: whiten}", "s.yaml:1: defaults.method: unknown key; valid keys: settings, views, "
         "more_views, dataset, backbone, augmentation, optimiser, schedule, weight_decay_schedule, clip, epochs, "
         "batch_size, precision, seed, split, evaluations, monitors"),
        ("defaults: {backbone: {options: {depth: [1]}}}",
         "s.yaml:1: defaults.backbone.options.depth: should be a valid boolean, not `[1]` or should be a valid "
         "integer, not `[1]` or should be a valid number, not `[1]` or should be a valid string, not `[1]`"),
        ("defaults:", "s.yaml:1: defaults: should be an object, not `null`"),
        ("methods: {whiten: 3}", "s.yaml:1: methods.whiten: should be an object, not `3`"),
        ("datasets: {cifar: {epoch: 3}}", "s.yaml:1: datasets.cifar.epoch: unknown key; did you mean `epochs`?"),
        ("methods: {w: {methd: whiten}}", "s.yaml:1: methods.w.methd: unknown key; did you mean `method`?"),
        ("methods:\n  w:\n    datasets: {cifar: {epoch: 3}}",
         "s.yaml:3: methods.w.datasets.cifar.epoch: unknown key; did you mean `epochs`?"),
        ("skip:\n- {method: whiten}", "s.yaml:2: skip[0]: `reason` is missing"),
        ("skip: [{reason: because}]",
         "s.yaml:1: skip[0]: a skip rule needs something to match besides its reason, such as `method` or `views`"),
        ("tables: [{metrics: [lineartop1]}]",
         "s.yaml:1: tables[0].metrics[0]: `lineartop1` is no metric; write EVALUATION_METRIC, such as "
         "`linear_top1`"),
        ("tables: [{layout: gird}]",
         's.yaml:1: tables[0].layout: `"gird"` is not `table` or `grid`; did you mean `grid`?'),
        ("tables: [{layout: grid}]", "s.yaml:1: tables[0]: a grid has one axis in `rows` and one in `columns`, such as "
         "rows: [d], columns: [sub_batch_size]"),
        ("tables: [{references: [{source: x, confidence: sure, metric: linear_top1, values: {}}]}]",
         's.yaml:1: tables[0].references[0].confidence: `"sure"` is not `verified` or `recalled`'),
        ("claims: {a: b}", 's.yaml:1: claims: should be a valid array, not `{"a": "b"}`'),
    ],
)  # fmt: skip
def test_the_shape_of_a_suite(errors: Errors, text: str, message: str) -> None:
    assert errors(text + "\n") == [message]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods: {whitn: {}}", "s.yaml:1: methods.whitn: there is no method `whitn`; did you mean `whiten`?"),
        (
            "methods: {mine: {method: zzz}}",
            "s.yaml:1: methods.mine.method: there is no method `zzz`; known: whiten, contrast, chase, taught, "
            "untrained, given, pixels",
        ),
        ("datasets: {cifra: {}}", "s.yaml:1: datasets.cifra: there is no dataset `cifra`; did you mean `cifar`?"),
        (
            "datasets: {big: {dataset: {name: stll}}}",
            "s.yaml:1: datasets.big.dataset.name: there is no dataset `stll`; did you mean `stl`?",
        ),
    ],
)
def test_names_of_methods_and_datasets(errors: Errors, text: str, message: str) -> None:
    assert errors(text + "\n") == [message]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  W:\n    method: whiten\n    settings: {haed: {}}",
         "s.yaml:6: methods.W.settings.haed: unknown key; did you mean `head`?"),
        ("  W:\n    method: whiten\n    settings:\n      transform: {sub_batch: 1}",
         "s.yaml:7: methods.W.settings.transform.sub_batch: unknown key; did you mean `sub_batch_size`?"),
        ("  W: {method: whiten, settings: {transform: {kind: whitning}}}",
         "s.yaml:4: methods.W.settings.transform: there is no kind `whitning`; did you mean `whitening`?"),
        ("  W: {method: chase, settings: {transform: {eps: 1}}}",
         "s.yaml:4: methods.W.settings.transform: needs `kind`"),
        ("  W: {method: whiten, settings: {head: {embedding: -1}}}",
         "s.yaml:4: methods.W.settings.head.embedding: should be greater than 0, not `-1`"),
        ("  W: {method: whiten, settings: {head: {hidden: [8, x]}}}",
         's.yaml:4: methods.W.settings.head.hidden[1]: should be a valid integer, not `"x"`'),
        ("  untrained: {settings: {head: 1}}",
         "s.yaml:4: methods.untrained.settings.head: unknown key; valid keys: none"),
        ("  W: {method: whiten, datasets: {cifra: {}}}",
         "s.yaml:4: methods.W.datasets.cifra: there is no dataset `cifra` in this suite; did you mean `cifar`?"),
        ("  W: {method: whiten, datasets: {cifar: {settings: {head: {x: 1}}}}}",
         "s.yaml:4: methods.W.datasets.cifar.settings.head.x: unknown key; valid keys: hidden, embedding"),
        ("  W: {method: whiten, axes: {lr: []}}",
         "s.yaml:4: methods.W.axes.lr: an axis is a list of values, such as [1, 2], or a mapping of labels to "
         "overrides, and not empty"),
        ("  W: {method: whiten, axes: {lr: 1e-3}}",
         "s.yaml:4: methods.W.axes.lr: an axis is a list of values, such as [1, 2], or a mapping of labels to "
         "overrides, and not empty"),
        ("  W: {method: whiten, axes: {seeds: 0}}",
         "s.yaml:4: methods.W.axes.seeds: an axis is a list of seeds, or how many, such as 3 for 0, 1, 2, "
         "and not empty"),
        ("  W: {method: whiten, axes: {sub_bach_size: [1]}}",
         "s.yaml:4: methods.W.axes.sub_bach_size: `W` has no `sub_bach_size`; did you mean `sub_batch_size`?"),
        ("  W: {method: contrast, axes: {slicing_iterations: [1]}}",
         "s.yaml:4: methods.W.axes.slicing_iterations: `W` has no `slicing_iterations`; known: settings, head, hidden, "
         "embedding, transform, kind, affine, temperature, backbone, name, stem, width, zero_init_last, options, "
         "weights, augmentation, order and 115 more"),
        ("  W: {method: whiten, axes: {eps: [0]}}",
         "s.yaml:4: methods.W.axes.eps: `eps` stands for several fields; write one of `optimiser.eps`, "
         "`settings.transform.eps`"),
        ("  W: {method: whiten, axes: {lr: [1e-3, -1]}}",
         "s.yaml:4: methods.W.axes.lr[1]: should be greater than 0, not `-1`"),
        ("  W: {method: whiten, axes: {sub_batch_size: [0, 64]}}",
         "s.yaml:4: methods.W.axes.sub_batch_size[0]: should be greater than 0, not `0`"),
        ("  W: {method: whiten, axes: {size: {small: {epoch: 1}}}}",
         "s.yaml:4: methods.W.axes.size.small.epoch: unknown key; did you mean `epochs`?"),
        ("  W: {method: whiten, epochs: null}",
         "s.yaml:4: methods.W.epochs: `epochs` is not set, but `whiten` on `cifar` needs it; write it in `defaults`"),
        ("  W: {method: whiten, dataset: {mean: [0.5]}}",
         "s.yaml:4: methods.W.dataset: mean has 1 values and std 3, but channels is 3: give one of each per channel"),
        ("  W: {method: whiten, dataset: {eval_resize: 16}}",
         "s.yaml:4: methods.W.dataset: eval_resize 16 is smaller than the crop, image_size 32: make it at least as "
         "large, or null"),
        ("  W: {method: whiten, augmentation: {crop_ratio: [2, 1]}}",
         "s.yaml:4: methods.W.augmentation: crop_ratio is a range, from 2 to 1: write the smaller one first"),
        ("  W: {method: whiten, split: validation}",
         "s.yaml:4: methods.W: split is `validation`, but nothing is held out: set dataset.validation_fraction to 0.1, "
         "say"),
        ("axes: {sub_bach_size: [1]}",
         "s.yaml:4: axes.sub_bach_size: no method in this suite has `sub_bach_size`; did you mean `sub_batch_size`?"),
        ("skip: [{methd: whiten, reason: x}]",
         "s.yaml:4: skip[0].methd: nothing in this suite is called `methd`; did you mean `method`?"),
        ("skip: [{name: whiten, reason: x}]",
         "s.yaml:4: skip[0].name: `name` stands for several fields; write one of `backbone.name`, `optimiser.name`, "
         "`schedule.name`, `dataset.name`"),
        ("tables: [{rows: [methods]}]",
         "s.yaml:4: tables[0].rows[0]: nothing in this suite is called `methods`; did you mean `method`?"),
        ("tables: [{columns: [datset]}]",
         "s.yaml:4: tables[0].columns[0]: nothing in this suite is called `datset`; did you mean `dataset`?"),
        ("tables: [{where: {epoch: 3}}]",
         "s.yaml:4: tables[0].where.epoch: nothing in this suite is called `epoch`; did you mean `epochs`?"),
        ("tables: [{baseline: contrst}]",
         "s.yaml:4: tables[0].baseline: there is no row `contrst`; did you mean `contrast`?"),
    ],
)  # fmt: skip
def test_what_a_suite_means(errors: Errors, text: str, message: str) -> None:
    head = HEAD if not text.startswith(" ") else HEAD.replace("methods: {whiten: {}, contrast: {}}", "methods:")
    assert errors(head + text + "\n") == [message]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  W:\n    method: whiten\n    evaluations:\n      mine: {probe: knnn}",
         "s.yaml:7: methods.W.evaluations.mine.probe: there is no probe `knnn`; did you mean `knn`?"),
        ("  W: {method: whiten, evaluations: {mine: {c: 1}}}",
         "s.yaml:4: methods.W.evaluations.mine: `probe` is missing"),
        ("  W: {method: whiten, evaluations: {linear: {epoch: 1}}}",
         "s.yaml:4: methods.W.evaluations.linear.epoch: unknown key; did you mean `epochs`?"),
        ("  W: {method: whiten, evaluations: {knn5: {label_fracton: 0.1}}}",
         "s.yaml:4: methods.W.evaluations.knn5.label_fracton: unknown key; did you mean `label_fraction`?"),
        ("  W: {method: whiten, evaluations: {knn5: {epochs: 3}}}",
         "s.yaml:4: methods.W.evaluations.knn5.epochs: unknown key; valid keys: probe, dataset, label_fraction, k"),
        ("  W: {method: whiten, evaluations: {knn5: {every_epochs: 3}}}",
         "s.yaml:4: methods.W.evaluations.knn5.every_epochs: unknown key; an evaluation is asked at the end; for a "
         "curve write it under `monitors`, with `every_epochs`"),
        ("  W: {method: whiten, evaluations: {linear: {lr: 0}}}",
         "s.yaml:4: methods.W.evaluations.linear.lr: should be greater than 0, not `0`"),
        ("  W: {method: whiten, evaluations: {far: {probe: linear, dataset: stll}}}",
         "s.yaml:4: methods.W.evaluations.far.dataset: there is no dataset `stll`; did you mean `stl`?"),
        ("  W: {method: whiten, monitors: {far: {probe: knn, dataset: zzz}}}",
         "s.yaml:4: methods.W.monitors.far.dataset: there is no dataset `zzz`; known: cifar, stl, grey, folder"),
        ("  W: {method: whiten, monitors: {knn5: {k: 5}}}", "s.yaml:4: methods.W.monitors.knn5: `probe` is missing"),
        ("  W: {method: whiten, monitors: {knn5: {probe: knn, every_epochs: 0}}}",
         "s.yaml:4: methods.W.monitors.knn5.every_epochs: should be greater than 0, not `0`"),
        ("  W: {method: whiten, monitors: {loss: {probe: knn, k: 5}}}",
         "s.yaml:4: methods.W.monitors.loss: a monitor cannot be called `loss`: the curve has `loss_...` of its own; "
         "rename it"),
        ("  W: {method: whiten, evaluations: {knn5: {k: 20}, knn20: {probe: knn, k: 20, label_fraction: 0.1}}}",
         "s.yaml:4: methods.W.evaluations.knn20: `knn20` and `knn5` would both be called `knn20`; give one of them "
         "another name"),
        ("tables: [{metrics: [linear_top1, knn20_top1]}]",
         "s.yaml:4: tables[0].metrics[1]: no evaluation of this suite gives `knn20_top1`; did you mean `knn5_top1`?"),
        ("tables:\n  - references:\n      - source: x\n        confidence: verified\n        metric: lbfgs_top1\n"
         "        values: {}",
         "s.yaml:8: tables[0].references[0].metric: no evaluation of this suite gives `lbfgs_top1`; known: "
         "linear_top1, knn5_top1, linear_top5, linear_balanced, knn5_balanced"),
        ("claims: [whiten > contrast on knn20_top1]",
         "s.yaml:4: claims[0]: no evaluation of this suite gives `knn20_top1`; did you mean `knn5_top1`?"),
        ("overrides: {evaluations: {linear: null}}\nclaims: [whiten > contrast]",
         "s.yaml:5: claims[0]: no evaluation of this suite gives `linear_top1`; known: knn5_top1, knn5_balanced"),
        ("sweep: {metric: linear_top2}",
         "s.yaml:4: sweep.metric: no evaluation of this suite gives `linear_top2`; did you mean `linear_top5`?"),
    ],
)  # fmt: skip
def test_what_a_suite_asks(errors: Errors, text: str, message: str) -> None:
    head = HEAD if not text.startswith(" ") else HEAD.replace("methods: {whiten: {}, contrast: {}}", "methods:")
    assert errors(head + text + "\n") == [message]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lrr=1", "--set lrr=1: lrr"),
        ("lr=-1", "--set lr=-1: should be greater than 0, not `-1`"),
        ("epochs=many", '--set epochs=many: should be a valid integer, not `"many"`'),
        ("seeds=[]", "--set seeds=[]: an axis is a list of seeds, or how many, such as 3 for 0, 1, 2, and not empty"),
        (
            "eps=1e-9",
            "--set eps=1e-9: `eps` stands for several fields; write one of `optimiser.eps`, `settings.transform.eps`",
        ),
    ],
)
def test_the_command_line_is_checked_like_a_file(errors: Errors, setting: str, message: str) -> None:
    if setting == "lrr=1":
        message = "--set lrr=1: no method in this suite has `lrr`; did you mean `lr`?"
    assert errors(HEAD, settings=(setting,)) == [message]


def test_settings_in_defaults_that_no_method_has(errors: Errors) -> None:
    text = HEAD + "overrides: {settings: {temprature: 1}}\n"
    text = text.replace("256}", "256, settings: {head: {embeding: 3}, momentum: 0.5}}").replace(
        "cifar: {}", "cifar: {settings: {x: 1}}"
    )
    assert errors(text) == [
        "s.yaml:1: defaults.settings.head.embeding: no method of this suite has the setting `embeding`; "
        "did you mean `embedding`?",
        "s.yaml:1: defaults.settings.momentum: no method of this suite has the setting `momentum`; known: head, "
        "transform, temperature",
        "s.yaml:2: datasets.cifar.settings.x: no method of this suite has the setting `x`; known: head, "
        "transform, temperature",
        "s.yaml:4: overrides.settings.temprature: no method of this suite has the setting `temprature`; "
        "did you mean `temperature`?",
    ]  # fmt: skip


def test_settings_of_methods_are_no_mistake_in_a_suite_of_controls(cells: Callable[..., Any], errors: Errors) -> None:
    text = "defaults: {settings: {head: {embedding: 3}, temperature: 0.1}}\ndatasets: {cifar: {}}\n"
    text += "methods: {untrained: {}, pixels: {}}\n"
    assert len(cells(text).planned) == 2
    assert errors(text.replace("temperature", "temprature")) == [
        "s.yaml:1: defaults.settings.temprature: no method of this suite has the setting `temprature`; "
        "did you mean `temperature`?"
    ]


def test_every_problem_is_reported_at_once_in_the_order_of_the_file(errors: Errors) -> None:
    text = "defaults: {epochs: 10, batch_size: 0}\ntitel: x\ndatasets: {cifar: {view: 2}}\nclaims: 3\n"
    assert [line.split(": ")[0] for line in errors(text)] == ["s.yaml:1", "s.yaml:2", "s.yaml:3", "s.yaml:4"]
    text = "defaults: {epochs: 1, batch_size: 8}\ndatasets: {cifra: {}, cifar: {}}\nmethods:\n  whitn: {}\n"
    text += "  contrast: {settings: {tmp: 1}}\n  whiten: {axes: {lr: [0]}}\naxes: {zz: [1]}\n"
    lines = ["s.yaml:2", "s.yaml:4", "s.yaml:5", "s.yaml:6", "s.yaml:7"]
    assert [line.split(": ")[0] for line in errors(text)] == lines


def test_a_rule_s_name_must_be_clear_for_every_method(errors: Errors) -> None:
    text = HEAD.replace("contrast", "chase") + "skip: [{momentum: 0.9, reason: x}]\n"
    assert errors(text) == [
        "s.yaml:4: skip[0].momentum: `momentum` stands for several fields; write one of `optimiser.momentum`, "
        "`settings.momentum`"
    ]


def test_unset_budget_is_an_error_at_the_method(errors: Errors) -> None:
    assert errors("datasets: {cifar: {}}\nmethods:\n  whiten: {}\n") == [
        f"s.yaml:3: methods.whiten: `{name}` is not set, but `whiten` on `cifar` needs it; write it in `defaults`"
        for name in ("epochs", "batch_size")
    ]
