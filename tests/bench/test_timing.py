"""Turns in pairs, ratios pair by pair, and rows that cannot run."""

import time

import pytest
import torch

from harness.accelerate.precision import PrecisionError
from harness.bench.row import MILLISECONDS, SHARE, VIEWS, Row, Side, Target, Unavailable
from harness.bench.timing import LEAST_PAIRS, PAIRS, measure


def row(ours, conventional=None, unit=VIEWS, **choices):
    return Row("group", "row", unit, ours, conventional, **choices)


def test_a_ratio_is_how_many_times_faster(told, machine):
    ours, plain = told.side("a", 100.0, 0.5), told.side("b", 100.0, 2.0)
    rate = measure(row(ours, plain, target=Target("ratio", 4.0)), machine, 1.0)
    assert (rate.value, rate.conventional_value) == (200.0, 50.0)
    assert rate.ratio == pytest.approx(4.0)
    assert rate.met is True
    duration = measure(row(ours, plain, MILLISECONDS, target=Target("ratio", 4.5)), machine, 1.0)
    assert (duration.value, duration.conventional_value) == pytest.approx((5.0, 20.0))
    assert duration.ratio == pytest.approx(4.0)
    assert duration.met is False


def test_sides_take_turns_after_a_warm_up_and_are_closed(told, machine):
    measure(row(told.side("a", 1.0, 0.5, warm_up_calls=1), told.side("b", 1.0, 2.0)), machine, 1e-9)
    pair = ["a before", "a", "a after", "b before", "b", "b after"]
    assert told.calls == ["a", "a after", "b", "b", "b after", *pair * LEAST_PAIRS, "a close", "b close"]


def test_the_median_of_the_pairs_and_their_spread(machine):
    seconds = iter([1.0, 1.0, 1.0, 2.0, 4.0, 1.0, 1.0, 1.0, 1.0])  # two to warm up

    def timed(count):
        return 1.0, next(seconds) * count

    one = Side(lambda: 1.0, timed=lambda count: (1.0, 4.0 * count))
    found = measure(row(lambda m: Side(lambda: 1.0, timed=timed), lambda m: one), machine, 14.0)
    assert len(found.ratios) == PAIRS
    assert found.ratios == (4.0, 2.0, 1.0, 4.0, 4.0, 4.0, 4.0)
    assert found.ratio == 4.0
    assert found.spread == (1.0, 4.0)


def test_calls_that_are_quick_by_what_was_made_ahead_do_not_make_turns_long(machine):
    made_ahead, counts = [5], []

    def timed(count):
        counts.append(count)
        quick = min(made_ahead[0], count)
        made_ahead[0] -= quick
        return 1.0, 1e-6 * quick + 1.0 * (count - quick)

    found = measure(row(lambda m: Side(lambda: 1.0, timed=timed)), machine, 14.0 * PAIRS)
    assert counts[-len(found.ours) :] == [14] * len(found.ours)
    assert sum(counts[: -len(found.ours)]) < 2 * 14


def test_the_share_of_the_limit(told, machine):
    counted = measure(row(told.side("a", 10.0, 1.0, flops=4.0, moved_bytes=0.1)), machine, 1.0)
    assert counted.share == pytest.approx(0.4)  # 10 units of 4 operations in a second, of 100
    assert counted.limit == "float32"
    assert measure(row(told.side("a", 10.0, 1.0)), machine, 1.0).share is None
    assert measure(row(told.side("a", 0.25, 1.0), unit=SHARE), machine, 1.0).value == 25.0


def test_the_clock_of_an_untimed_side(machine):
    def turn():
        time.sleep(0.01)
        return 1.0

    found = measure(row(lambda m: Side(turn), unit=MILLISECONDS), machine, 0.1)
    assert min(found.ours) >= 10.0


def test_memory_is_what_ours_added(machine):
    def ours(m):
        held = torch.ones(32 * 2**20 // 4)
        return Side(lambda: float(held[0]))

    found = measure(row(ours), machine, 0.01)
    assert found.memory is None or 28 * 2**20 < found.memory < 64 * 2**20


@pytest.mark.parametrize(
    ("error", "reason", "broken"),
    [
        (Unavailable("needs CUDA"), "needs CUDA", False),
        (PrecisionError("precision: no bfloat16"), "precision: no bfloat16", False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "out of memory", False),
        (ValueError("a bug\nin two lines"), "ValueError: a bug", True),
    ],
)
def test_a_row_that_cannot_run_says_why_and_closes_what_was_open(told, machine, error, reason, broken):
    def breaks(m):
        raise error

    found = measure(row(told.side("a", 1.0, 1.0), breaks, target=Target("ratio", 1.0)), machine, 1.0)
    assert (found.reason, found.broken, found.met) == (reason, broken, None)
    assert told.calls[-1] == "a close"
