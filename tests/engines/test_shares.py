"""How devices and threads are dealt out, and what a worker's death is called."""

import re
import signal
from pathlib import Path

import pytest
import torch

from harness.data import decoding
from harness.engines.execution import Execution
from harness.engines.shares import shares
from harness.engines.worker_death import cause_of_death


@pytest.mark.parametrize(("taken", "workers", "each"), [(8, 2, 4), (8, 3, 2), (2, 4, 1)])
def test_threads_are_shared_out_and_never_none(monkeypatch, taken, workers, each):
    monkeypatch.setattr(torch, "get_num_threads", lambda: taken)
    dealt = shares(workers, Execution(Path(), "cpu"))
    assert [slot.execution.threads for slot in dealt] == [each] * workers
    assert dealt[0].environment["OMP_NUM_THREADS"] == str(each)
    assert "CUDA_VISIBLE_DEVICES" not in dealt[0].environment


def test_eight_slots_of_sixty_four_cores_have_eight_threads_and_decoders_each(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    dealt = shares(8, Execution(Path(), "cpu"))
    assert {share.execution.threads for share in dealt} == {8}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        assert {share.environment[name] for share in dealt} == {"8"}
    # a worker's torch has its share, and so many processes decode for it
    monkeypatch.setattr(torch, "get_num_threads", lambda: dealt[0].execution.threads)
    asked = []
    monkeypatch.setattr(decoding, "DataLoader", lambda *data, **options: asked.append(options["num_workers"]) or [])
    assert list(decoding.worked(len, [(0, 0, 8)] * 100, None, pinned=False)) == []
    assert asked == [8]


def test_threads_that_were_asked_for_are_each_workers():
    assert [slot.execution.threads for slot in shares(2, Execution(Path(), "cpu", threads=7))] == [7, 7]


@pytest.mark.parametrize(
    ("visible", "device", "expected"),
    [
        (None, "auto", ["0", "1", "0"]),
        ("5,GPU-8932f937", "cuda", ["5", "GPU-8932f937", "5"]),
    ],
)
def test_visible_cuda_devices_go_round(monkeypatch, visible, device, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    dealt = shares(3, Execution(Path(), device))
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in dealt] == expected
    assert {slot.execution.device for slot in dealt} == {"cuda"}


def test_a_device_by_its_number_is_every_workers(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for slot in shares(2, Execution(Path(), "cuda:1")):
        assert slot.execution.device == "cuda:1"
        assert "CUDA_VISIBLE_DEVICES" not in slot.environment


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (-signal.SIGKILL, r"killed \(SIGKILL\).*for want of memory.*fewer --workers or a smaller batch_size"),
        (-signal.SIGSEGV, r"crashed in compiled code \(SIGSEGV\).*without --workers to debug it"),
        (-signal.SIGUSR1, "was ended by SIGUSR1"),
        (-250, "was ended by signal 250"),
        (3, "exit code 3; what it printed is on the standard error"),
    ],
)
def test_a_death_has_a_cause_and_advice(code, text):
    assert re.search(text, cause_of_death(code))
    assert "the same command goes on from its last checkpoint" in cause_of_death(code)
