import pytest

from harness.analysis.statistics_table import statistics_frame
from harness.analysis.tables import build
from harness.suite.models import TableSpec

SPEC = TableSpec(metrics=("linear_top1",), cost=(), baseline="b")


def _table(bench, first, second, spec=SPEC):
    for label, values in (("a", first), ("b", second)):
        for seed, value in enumerate(values):
            bench.done({"linear_top1": value}, seed=seed, label=label, settings={"of": label})
    (table,) = build("Suite", [spec], bench.records())
    return table


def test_few_seeds_have_intervals_and_effects_and_the_seeds_that_a_test_needs(bench):
    found = _table(bench, [91.0, 92.0, 92.0], [90.0, 92.0, 91.0]).statistics
    assert found.header == (
        *("method", "measure", "n", "95 % interval", "minus b", "its 95 % interval", "effect d", "seeds for a test"),
    )
    # 1, 0, 1: 0.667 +- 4.303 x 0.577 / sqrt(3); d = 1.155, of which 9 pairs have a power of 80 %
    assert found.rows[0][2:] == ("3 of 3", "[90.23, 93.10]", "+0.67", "[-0.77, +2.10]", "+1.2", "9")
    assert found.rows[1][4:] == ("–", "–", "–", "–")
    assert found.labels == 2
    assert "Fewer than 5 seeds are not tested: read the intervals and effects." in found.notes
    assert not any("p is" in line for line in found.notes)


def test_enough_seeds_are_tested(bench):
    found = _table(bench, [91.0, 92.2, 93.1, 90.0, 91.0], [90.0, 91.0, 92.0, 88.9, 90.1]).statistics
    assert "p (Holm)" in found.header
    assert "seeds for a test" not in found.header
    assert "p is of a paired t-test, by Holm's correction over all 1 differences that this table tests." in found.notes


def test_single_runs_without_a_baseline_have_no_statistics(bench):
    assert _table(bench, [91.0], [90.0], TableSpec(metrics=("linear_top1",), cost=())).statistics is None


def test_the_frame_is_long_and_leaves_out_what_is_not_known(bench):
    table = _table(bench, [91.0, 93.0], [90.0, 91.0])
    bench.plan(label="a", settings={"of": "a"}, seed=2)
    (open_table,) = build("Open", [SPEC], bench.records())
    frame = statistics_frame((one.title, line) for one in (table, open_table) for line in one.lines)
    done, _, missing, _ = frame.to_dict("records")
    assert (done["table"], done["row"], done["column"], done["measure"]) == (
        *("Suite (cifar10)", "a", "cifar10", "linear_top1"),
    )
    assert (done["mean"], done["n"], done["planned"], done["difference"]) == (92.0, 2, 2, 1.5)
    assert done["sd"] == pytest.approx(2**0.5)
    half = 12.706204736432095 * 1.0  # t of one degree of freedom, times sqrt(2) / sqrt(2)
    assert (done["low"], done["high"]) == (pytest.approx(92 - half), pytest.approx(92 + half))
    assert (missing["n"], missing["planned"]) == (2, 3)
    assert frame[["mean", "sd", "low", "difference"]].iloc[2].isna().all()
