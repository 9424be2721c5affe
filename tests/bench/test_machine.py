"""The description of the machine a table is of."""

import torch

from harness.bench import machine as of_machine
from tests.bench.conftest import LIMITS


def test_the_asked_threads_are_used_and_described(monkeypatch):
    monkeypatch.setattr(of_machine, "measured_limits", lambda device: LIMITS)
    before = torch.get_num_threads()
    try:
        machine = of_machine.this_machine(torch.device("cpu"), 1)
        assert (torch.get_num_threads(), machine.threads, machine.workers) == (1, 1, 1)
        text = of_machine.described(machine, 5.0)
    finally:
        torch.set_num_threads(before)
    assert (text["float32_flops"], text["bfloat16_flops"], text["bandwidth_bytes"]) == (100.0, 400.0, 10.0)
    assert (text["threads"], text["dataloader_workers"], text["seconds_per_row"]) == (1, 1, 5.0)
    assert text["torch"] == torch.__version__.partition("+")[0]
    assert text["device"]
