"""A small store with everything the page shows: curves, samples of embeddings, a collapsed row, a failure, a skip, and
labels that would break a page which did not escape them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis.claims import Verdict
from harness.analysis.frame import Record, planned_metrics
from harness.analysis.report.page import ReportContent
from harness.spec.collapse import CollapseRule
from harness.store.cell_result import CellResult, read_cell, sample_name
from harness.store.records import Arrays, CurvePoint, Failure, Sample, pack_components
from harness.suite.models import TableSpec
from tests.analysis.conftest import KNN5, Bench

HOSTILE = "</script><script>alert(1)</script>"
CONTROLS = {"untrained"}
MONITORS = {"knn5": {**KNN5, "every_epochs": 1}}


def sample(seed: int, images: int = 60) -> Sample:
    """Three clusters of images in four dimensions."""
    labels = np.arange(images) % 3
    components = np.random.default_rng(seed).normal(size=(images, 4)) + 6 * np.eye(4)[labels]
    return Sample(
        images=images,
        dimensions=4,
        components=pack_components(components),
        labels=tuple(int(label) for label in labels),
        explained=0.9,
    )


def run(bench: Bench, label: str, seed: int, accuracy: list[float], **more: Any) -> CellResult:
    """A done run whose k-NN was read after each of its epochs; the last reading is its evaluation, as in the store."""
    trained = len(accuracy) > 1
    collapsed, seconds = more.pop("collapsed", False), more.pop("seconds", 10.0)
    flops, metrics = more.pop("flops", 1_000), more.pop("metrics", {})
    points = [
        CurvePoint(epoch=e, step=5 * e, values={"loss": 3.0 / e, "lr": 0.1, "h_std": 0.5}, seconds=seconds * e / 3)
        for e in range(1, len(accuracy) + 1)
    ]
    points = [
        point.model_copy(update={"values": point.values | {"knn5_top1": value}})
        for point, value in zip(points[:-1], accuracy, strict=False)
    ] + points[-1:]
    fields: dict[str, Any] = {"label": label, "seed": seed, "axes": {"seed": seed}, "batch_size": 10, "epochs": 3}
    fields |= {"monitors": MONITORS, "curve": points if trained else (), "seconds": seconds}
    metrics = {"linear_top1": accuracy[-1] + 2, "knn5_top1": accuracy[-1]} | metrics
    result = bench.done(metrics, **(fields | more))
    described = result.description
    assert described is not None
    spread = {"h_dimensions": 4.0, "h_std": 0.01 if collapsed else 0.6, "h_rankme": 3.0, "h_scale": 0.25}
    initial = {"h_scale": 1.5}
    diagnostics = spread | {"h_alignment": 0.2, "h_uniformity": -2.0}
    work = {"train_flops": flops if trained else 0, "diagnostics": diagnostics, "initial": initial if trained else {}}
    bench.store.save_description(described.model_copy(update=work))
    spectra = {"h": [8.0, 2.0, 1.0, 0.0], "initial_h": [4.0, 4.0, 1.0, 1.0]}
    bench.store.save_arrays(result.id, "spectra", Arrays(id=result.id, spectra=spectra))
    name = sample_name(result.cell.evaluations["linear"])
    bench.store.save_arrays(result.id, name, Arrays(id=result.id, sample=sample(seed)))
    if trained:
        cost = result.pretraining.cost
        assert cost is not None
        known = cost.model_copy(update={"steps": 15, "views_seen": 300})
        bench.store.save_pretraining(result.pretraining.model_copy(update={"cost": known}))
    again = read_cell(bench.store, result.cell)
    assert again is not None
    return again


def filled(root: Path) -> ReportContent:
    """The page's material over such a store below `root`."""
    bench = Bench(root)
    for seed in (0, 1, 2):
        run(bench, "good", seed, [50.0 + seed, 60.0 + seed, 70.0 + seed], settings={"k": 0})
        run(bench, "cheap", seed, [40.0 + seed, 45.0 + seed, 50.0 + 2 * seed], settings={"k": 1}, flops=500)
        run(bench, "flat", seed, [20.0, 20.0, 20.0 - seed], settings={"k": 2}, collapsed=True)
        run(bench, "random", seed, [30.0 + seed], method="untrained", settings={})
    bench.failed("ValueError", HOSTILE, label=HOSTILE, settings={"k": 3}, axes={"seed": 0})
    record = bench.store.pretraining(bench.planned[-1].cell.pretraining.id)
    assert record is not None
    failure = Failure(kind="ValueError", message=HOSTILE, traceback=f"Traceback:\n  {HOSTILE}", epoch=1, step=7)
    bench.store.save_pretraining(record.model_copy(update={"failure": failure}))
    bench.skip("eight images are too few", label="skipped", settings={"k": 4})
    bench.plan(label="good", seed=3, settings={"k": 5}, axes={"seed": 3, "k": 5})
    return material(bench.records())


def material(records: list[Record]) -> ReportContent:
    """A page of these records."""
    return ReportContent(
        title="A <toy>",
        description="Small & quick",
        records=records,
        specs=(TableSpec(baseline="random", cost=("views_seen", "train_flops")),),
        references=(),
        verdicts=(Verdict("good > cheap", "supported", ("good minus cheap: +2",), None),),
        controls=CONTROLS,
        rule=CollapseRule(),
        metrics=planned_metrics(records),
        renamed={},
        classes={"cifar10": ("plane", "car", "bird")},
        files=(("toy.yaml", f"title: {HOSTILE}\n"),),
        command="toy.yaml --preset tiny",
    )


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ReportContent:
    return filled(tmp_path_factory.mktemp("toy"))
