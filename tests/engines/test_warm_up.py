"""What the first training of a process finds compiled."""

import subprocess
import sys

import pytest

CHECK = """
import tempfile
from pathlib import Path
from numba.core.dispatcher import Dispatcher
from harness.accelerate.cpu import norm_gradients, norm_kernels
from harness.data import kernels
from harness.engines.warm_up import compile_ahead
from tests.conftest import write_suite
from tests.engines.toy import Command

directory = Path(tempfile.mkdtemp())
more = "methods: {untrained: null}\\naxes: {seeds: 1}\\ndefaults: {epochs: 1, precision: PRECISION}\\n"
command = Command(write_suite(directory, more, "more.yaml"), directory / "data", directory / "cells")


def compiled():
    loops = [one for module in (norm_gradients, norm_kernels, kernels) for one in vars(module).values()]
    return {(one.__name__, types) for one in loops if isinstance(one, Dispatcher) for types in one.overloads}


before = compiled()
compile_ahead()
ahead = compiled()
command.run()
print(command.result(command.task()).status, len(ahead - before) > 5, len(compiled() - ahead))
"""


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_needs_no_loop_that_was_not_compiled_ahead(precision):
    arguments = [sys.executable, "-c", CHECK.replace("PRECISION", precision)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=250)
    assert done.stdout.split() == ["done", "True", "0"], done.stdout + done.stderr
