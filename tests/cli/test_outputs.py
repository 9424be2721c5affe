"""What `run` and `table` write into a suite's directory: which metrics its figures show."""

import pytest

from harness.analysis.tables import build
from harness.cli.outputs import figure_metrics
from harness.suite.models import TableSpec
from tests.analysis.conftest import Bench

GRID = {"layout": "grid", "rows": ("method",), "columns": ("views",)}


@pytest.mark.parametrize(
    ("specs", "shown"),
    [
        ([], ["linear_top1", "knn5_top1"]),  # the first of each evaluation
        ([TableSpec()], ["linear_top1", "knn5_top1"]),
        ([TableSpec(metrics=("linear_top5", "knn5_top1")), TableSpec()], ["linear_top5", "knn5_top1"]),
        ([TableSpec(metrics=("linear_top5", "knn5_top1"), **GRID)], ["linear_top5", "knn5_top1"]),
    ],
)
def test_figures_show_what_the_first_table_does(tmp_path, specs, shown):
    bench = Bench(tmp_path)
    bench.done({"linear_top1": 1.0, "linear_top5": 2.0, "knn5_top1": 3.0})
    bench.done({"linear_top1": 1.0, "linear_top5": 2.0, "knn5_top1": 3.0}, dataset={"name": "stl10"})
    assert figure_metrics(specs, build("T", specs, bench.records())) == shown


def test_what_was_renamed_is_shown_by_its_own_name(tmp_path):
    bench = Bench(tmp_path)
    bench.done({"knn20_top1": 3.0}, evaluations={"knn20": {"probe": "knn", "k": 20}})
    specs = [TableSpec(metrics=("knn5_top1",))]
    tables = build("T", specs, bench.records(), renamed={"knn5": "knn20"})
    assert figure_metrics(specs, tables) == ["knn20_top1"]
