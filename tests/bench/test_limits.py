"""Peaks from times."""

import time

import pytest
import torch

from harness.bench import limits

CPU = torch.device("cpu")


def test_operations_and_bytes_over_the_best_time(monkeypatch):
    monkeypatch.setattr(limits, "best_seconds", lambda work, device, rounds: 1e-3)
    assert limits.matrix_peak(CPU, torch.float32, (8, 16), 3) == 2 * 16**3 / 1e-3
    assert limits.copy_bandwidth(CPU, 1000, 3) == 2 * 1000 / 1e-3


def test_products_that_would_take_too_long_are_left_out(monkeypatch):
    monkeypatch.setattr(limits, "best_seconds", lambda work, device, rounds: 10.0)
    assert limits.matrix_peak(CPU, torch.float32, (8, 4096), 3) == pytest.approx(2 * 8**3 / 10.0)


def test_the_best_of_some_rounds_after_one_that_does_not_count():
    sleeps = [0.0, 0.03, 0.01, 0.02, 0.03]
    assert 0.01 <= limits.best_seconds(lambda: time.sleep(sleeps.pop(0)), CPU, 4) < 0.02
    assert not sleeps


def test_a_whole_measurement():
    found = limits.measured_limits(CPU, sizes=(64,), rounds=3)
    assert found.float32_flops > 1e6
    assert found.bandwidth > 1e8
