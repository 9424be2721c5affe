"""Turns and their numbers by hand; a side in a process of its own."""

import os
import time
from contextlib import contextmanager, nullcontext

import pytest
import torch

from harness.openmp import SPIN_COUNT, SPIN_COUNT_NAME
from tests.benchmarks.machine import Limits, Machine
from tests.benchmarks.timing import Implementation, compare, numbers, repeated, separate_process

CPU = torch.device("cpu")
MACHINE = Machine(CPU, threads=1, limits=Limits(float32=100.0, bfloat16=400.0))


class FakeBenchmark:
    """Of pytest-benchmark: calls in its order, with seconds that are told."""

    disabled = False

    def __init__(self, data):
        self.stats = self
        self.told, self.data = list(data), []

    def pedantic(self, target, args, setup, teardown, rounds):
        for _ in range(rounds):
            setup()
            target(*args)
            self.data.append(self.told.pop(0))
            teardown(*args)


def test_both_sides_take_turns():
    turns = []

    @contextmanager
    def side(name, seconds, **details):
        yield repeated(
            lambda: (turns.append(name), time.sleep(seconds)),
            CPU,
            before=lambda: turns.append(f"{name} before"),
            after=lambda: turns.append(f"{name} after"),
            **details,
        )
        turns.append(f"{name} closed")

    ours = side("a", 0.01, work=2.0, flops=4.0, precision="bfloat16")
    row = compare(FakeBenchmark([0.1, 0.2, 0.4]), MACHINE, 0.001, "ms", ours, side("b", 0.02), against="b")
    one_round = ["a before", "a", "a after", "b before", "b", "b after"]
    assert turns[-20:-2] == 3 * one_round
    assert turns[-2:] == ["b closed", "a closed"]
    assert row["ours_rounds"] == [50.0, 100.0, 200.0]  # of one of two units of work
    assert 20.0 <= row["conventional"] < 30.0
    assert row["share_of_limit"] == pytest.approx((4.0 / 400.0) / 0.2)
    assert row["against"] == "b"


def test_a_round_is_filled_with_calls():
    calls = []
    side = Implementation(lambda count: (calls.append(count), time.sleep(0.0005 * count)), CPU)
    row = compare(FakeBenchmark([1.0] * 7), MACHINE, 0.35, "s", nullcontext(side))
    assert calls[:2] == [1, 1]
    assert 20 <= calls[-1] <= 100  # 0.05 s of 0.5 ms each
    assert row["ours"] == 1.0 / calls[-1]
    assert (row["conventional"], row["ratio"], row["share_of_limit"]) == (None, None, None)


def test_numbers_by_hand():
    row = numbers("views/s", [0.1, 0.2, 0.4], [1.0, 3.0, 1.0])
    assert (row["ours"], row["conventional"]) == (5.0, 1.0)
    assert (row["ratio"], row["ratio_min"], row["ratio_max"]) == pytest.approx((5.0, 2.5, 15.0))
    assert row["ours_rounds"] == [10.0, 5.0, 2.5]
    assert numbers("s", [2.0], [])["conventional_rounds"] == []


def test_the_fast_precision():
    fast = [Limits(100.0, bfloat16).fast_precision for bfloat16 in (400.0, 50.0, 0.0)]
    assert fast == ["bfloat16", "float32", "float32"]


@contextmanager
def telling():
    def run(calls):
        if calls == 13:
            raise ValueError("a bug")
        time.sleep(0.01 * calls)

    told = f"{os.getpid()}{torch.get_num_threads():02}{int(os.environ.get(SPIN_COUNT_NAME, 0)):06}"
    yield Implementation(run, CPU, work=float(told))


def test_a_process_of_its_own(monkeypatch):
    """Its own settings and clock; its failure is an error here; it ends with the side."""
    monkeypatch.setenv(SPIN_COUNT_NAME, SPIN_COUNT)
    with separate_process(telling, MACHINE) as side:
        assert os.environ[SPIN_COUNT_NAME] == SPIN_COUNT  # this process keeps it
        process, threads_and_spin = divmod(int(side.work), 10**8)
        assert process != os.getpid()
        assert threads_and_spin == 1_000_000  # one thread, no setting
        assert 0.05 <= side.seconds(5) < 1.0
        with pytest.raises(EOFError):
            side.seconds(13)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
