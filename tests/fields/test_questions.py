"""Every field of a question, and every setting of a probe, changes the answer of an evaluation and the curve of a
monitor, or is refused. All are asked of one encoder, in one run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from harness.registry import all_probes
from harness.spec.models import Evaluation, Monitor, Question, Source
from tests.fields.whole import Images, canonical, cell_of, changed, field_paths

OTHER_SHA = "0" * 64
EPOCHS = 2  # monitors read after all but the last
QUICK: dict[str, dict[str, Any]] = {
    "knn": {"k": 5},
    "linear": {"epochs": 3, "batch_size": 16, "lr": 0.1, "final_lr": 0.01},
    "lbfgs": {"max_iterations": 50},
    "sgd": {"epochs": 2, "batch_size": 16, "lr": 0.5},
    "fine_tune": {"epochs": 2, "batch_size": 16, "lr": 0.5, "encoder_lr": 0.1},
}


@dataclass(frozen=True)
class Change:
    """Another value of a field, and what else has to be otherwise, in both questions, for it to matter."""

    value: Any
    given: dict[str, Any] = field(default_factory=dict)
    refused: str | None = None
    """The reason, where there is no answer."""
    ignored: str | None = None
    """Why the answer is the same."""
    more: dict[str, Any] = field(default_factory=dict)
    """What changes with the field."""


def unnamed(role: str) -> dict[str, Any]:
    """A source whose content is not stated, so that its name and splits are what says which images they are."""
    return {f"{role}.images": None, f"{role}.labels": None}


HELD_OUT = {"scored.validation_fraction": 0.25}
VALIDATION = {**HELD_OUT, "split": "validation"}
QUESTION: dict[str, Change | list[Change]] = {
    "probe": Change("lbfgs", more={"settings": QUICK["lbfgs"]}),
    "settings": Change({**QUICK["linear"], "lr": 0.01}),
    "train.name": Change("cifar10", unnamed("train")),
    "train.splits": Change(("test",), unnamed("train")),
    "train.images": Change((OTHER_SHA,), refused="the images of split train"),
    "train.labels": Change((OTHER_SHA,), refused="the labels of split train"),
    "train.train_images": Change(30),
    "train.validation_fraction": Change(0.25),
    "scored.name": Change("cifar10", unnamed("scored")),
    "scored.splits": Change(("train",), unnamed("scored")),
    "scored.images": Change((OTHER_SHA,), refused="the images of split test"),
    "scored.labels": Change((OTHER_SHA,), refused="the labels of split test"),
    "scored.train_images": Change(30, ignored="a suite's subset is of the training images alone"),
    "scored.validation_fraction": [
        Change(0.5, VALIDATION),
        Change(0.5, HELD_OUT, ignored="all of a test split counts"),
    ],
    "split": Change("validation", HELD_OUT),
    "label_fraction": Change(0.5),
    "transform.resize": Change(10),
    "precision": Change("bfloat16"),
    "seed": [Change(1), Change(1, {"probe": "knn", "settings": QUICK["knn"], "label_fraction": 0.5})],
}
SGD: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 24,
    "lr": 0.01,
    "momentum": 0.0,
    "weight_decay": 1.0,
    "crop_scale": (0.9, 1.0),
    "flip_probability": 0.0,
}
PROBES: dict[str, dict[str, Any]] = {
    "knn": {"k": 3},
    "linear": {"epochs": 1, "batch_size": 24, "lr": 0.02, "final_lr": 1e-5, "weight_decay": 10.0},
    "lbfgs": {"c": 1e-4, "max_iterations": 2},
    "sgd": SGD,
    "fine_tune": {**SGD, "encoder_lr": 1e-3},
}
ASKED = [(path, change) for path, some in QUESTION.items() for change in (some if isinstance(some, list) else [some])]
SET = [
    ("settings", Change({**QUICK[probe], name: value}, {"probe": probe, "settings": QUICK[probe]}))
    for probe, settings in PROBES.items()
    for name, value in settings.items()
]
SEEDS = [("seed", Change(1, {"probe": probe, "settings": QUICK[probe]})) for probe in ("sgd", "fine_tune")]
CASES = ASKED + SET + SEEDS
NAMES = [path for path, _ in ASKED] + [f"{p}.{name}" for p, some in PROBES.items() for name in some] + ["sgd", "tuned"]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """(what differs from the base, as an evaluation or a monitor) -> its id and answer, or the reason why there is
    none."""
    images = Images(tmp_path_factory.mktemp("fields"))
    base = Question(
        probe="linear",
        settings=QUICK["linear"],
        train=images.source("train"),
        scored=images.source("test"),
        split="test",
        transform={},
        precision="float32",
        seed=0,
    )
    settings = {
        "projector": {"hidden": (8,), "embedding_size": 4},
        "transform": {"kind": "whitening", "sub_batch_size": 8},
    }
    pretraining = images.pretraining("w_mse", settings, epochs=EPOCHS)
    compared = [({}, change.given, {**change.given, path: change.value, **change.more}) for path, change in CASES]
    questions = {canonical(q): q for some in compared for q in (changed(base, changes) for changes in some)}
    names = {key: f"q{number}" for number, key in enumerate(questions)}
    values = {names[key]: question.model_dump() for key, question in questions.items()}
    evaluations = {name: Evaluation(**value, pretraining=pretraining.id) for name, value in values.items()}
    monitors = {name: Monitor(**value, every_epochs=1) for name, value in values.items()}
    monitors["rarely"] = Monitor(**base.model_dump(), every_epochs=2)
    result = images.run(
        tmp_path_factory.mktemp("cells"), cell_of(pretraining, evaluations=evaluations, monitors=monitors)
    )

    def answer(changes, kind):
        name = names[canonical(changed(base, changes))]
        if kind == "evaluation":
            if name in result.failures:
                return evaluations[name].id, result.failures[name].message
            own = {key: value for key, value in result.metrics.items() if key.startswith(f"{name}_")}
            return evaluations[name].id, [result.hits(f"{name}_top1").tolist(), *own.values()]
        return monitors[name].id, readings(name)

    def readings(name):
        return [
            (point.epoch, *(value for key, value in sorted(point.values.items()) if key.startswith(f"{name}_")))
            for point in result.curves
            if any(key.startswith(f"{name}_") for key in point.values)
        ]

    answer.readings = readings
    return answer


def test_every_field_has_a_change():
    scored = {f"scored.{name}" for name in Source.model_fields}
    assert set(QUESTION) == set(field_paths(Question)) - {"scored"} | scored
    assert {name: set(settings) for name, settings in PROBES.items()} == {
        name: set(field_paths(probe.settings)) for name, probe in all_probes().items()
    }


@pytest.mark.parametrize("kind", ["evaluation", "monitor"])
@pytest.mark.parametrize(("path", "change"), CASES, ids=NAMES)
def test_a_field_changes_the_answer_or_is_refused(asked, path, change, kind):
    before, reference = asked(change.given, kind)
    after, answer = asked({**change.given, path: change.value, **change.more}, kind)
    assert after != before
    assert reference
    if change.refused:
        assert answer == [] if kind == "monitor" else change.refused in answer
    elif change.ignored:
        assert answer == reference
    else:
        assert isinstance(answer, list)
        assert answer
        assert answer != reference


def test_a_monitor_reads_as_often_as_it_says(asked):
    assert [epoch for epoch, *_ in asked({}, "monitor")[1]] == [1]
    assert asked.readings("rarely") == []
