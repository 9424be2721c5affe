"""A small store with everything the page shows: curves, samples of embeddings, a collapsed row, a failure, a skip, and
labels that would break a page which did not escape them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis.claims import Verdict
from harness.analysis.frame import Record, gather
from harness.analysis.report.page import Material
from harness.store.result import Cost, CurvePoint, Failure, Result, Sample, pack_components
from harness.suite.models import TableSpec
from tests.analysis.conftest import Bench

HOSTILE = "</script><script>alert(1)</script>"
CONTROLS = {"untrained"}


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


def run(bench: Bench, label: str, seed: int, accuracy: list[float], **more: Any) -> Result:
    """A done run whose k-NN was read after each of its epochs; the last reading is its result, as in the store."""
    trained, provenance = len(accuracy) > 1, more.pop("provenance", {})
    collapsed, seconds = more.pop("collapsed", False), more.pop("seconds", 10.0)
    flops = more.pop("flops", 1_000)
    fields: dict[str, Any] = {"label": label, "seed": seed, "axes": {"seed": seed}, "batch_size": 10, "epochs": 3}
    cell = bench.plan(**(fields | more)).cell
    points = [
        CurvePoint(epoch=e, step=5 * e, values={"loss": 3.0 / e, "lr": 0.1, "h_std": 0.5}, seconds=seconds * e / 3)
        for e in range(1, len(accuracy) + 1)
    ]
    points = [
        point.model_copy(update={"values": point.values | {"knn5_top1": value}})
        for point, value in zip(points[:-1], accuracy, strict=False)
    ] + points[-1:]
    cost = Cost(
        train_seconds=seconds if trained else 0.0,
        evaluation_seconds=1.0,
        steps=15 if trained else 0,
        views_seen=300 if trained else 0,
        views_per_second=None,
        peak_memory_bytes=2**20,
        encoder_flops_per_view=10,
        train_flops=flops if trained else 0,
        parameters=3,
    )
    diagnostics = {"collapsed": collapsed, "h_dimensions": 4.0, "h_std": 0.6, "h_rankme": 3.0}
    diagnostics |= {"h_alignment": 0.2, "h_uniformity": -2.0, "h_spectrum": [8.0, 2.0, 1.0, 0.0]}
    result = Result(
        id=cell.id,
        cell=cell,
        status="done",
        metrics={"linear_top1": accuracy[-1] + 2, "knn5_top1": accuracy[-1]},
        diagnostics=diagnostics,
        sample=sample(seed),
        curves=tuple(points) if trained else (),
        cost=cost,
        provenance=bench.provenance(**provenance),
    )
    bench.store.save(result)
    return result


def filled(root: Path) -> Material:
    """The page's material over such a store below `root`."""
    bench = Bench(root)
    for seed in (0, 1, 2):
        run(bench, "good", seed, [50.0 + seed, 60.0 + seed, 70.0 + seed], settings={"k": 0})
        run(bench, "cheap", seed, [40.0 + seed, 45.0 + seed, 50.0 + 2 * seed], settings={"k": 1}, flops=500)
        run(bench, "flat", seed, [20.0, 20.0, 20.0 - seed], settings={"k": 2}, collapsed=True)
        run(bench, "random", seed, [30.0 + seed], method="untrained", settings={})
    failed = bench.plan(label=HOSTILE, settings={"k": 3}, axes={"seed": 0}).cell
    failure = Failure(kind="ValueError", message=HOSTILE, traceback=f"Traceback:\n  {HOSTILE}", epoch=1, step=7)
    bench.store.save(Result(id=failed.id, cell=failed, status="failed", provenance=bench.provenance(), failure=failure))
    bench.skip("eight images are too few", label="skipped", settings={"k": 4})
    bench.plan(label="good", seed=3, settings={"k": 5}, axes={"seed": 3, "k": 5})
    return material(gather(bench.expansion, bench.store))


def material(records: list[Record]) -> Material:
    """A page of these records."""
    return Material(
        title="A <toy>",
        description="Small & quick",
        records=records,
        specs=(TableSpec(baseline="random", cost=("views_seen", "train_flops")),),
        references=(),
        verdicts=(Verdict("good > cheap", "supported", ("good minus cheap: +2",), None),),
        controls=CONTROLS,
        classes={"cifar10": ("plane", "car", "bird")},
        files=(("toy.yaml", f"title: {HOSTILE}\n"),),
        command="toy.yaml --preset tiny",
    )


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return filled(tmp_path_factory.mktemp("toy"))
