"""The compiled loops: agreement with the tensor operations, threads, memory maps, bad parameters, kept code."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest
import torch

from harness.data import kernels
from harness.data.augment import augment, draw
from harness.data.tensors import augment_tensors
from harness.spec.models import Augmentation
from harness.threads import PIECES_PER_THREAD, share

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.21, 0.22)
EVERYTHING = Augmentation(hue=0.5, greyscale_probability=0.3, blur_probability=0.5, crop_scale=(0.0, 1.0))
LEVEL = 1 / 255
ROOT = Path(__file__).parents[2]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def noise(images: int, height: int, width: int, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (images, height, width, channels), dtype=torch.uint8, generator=generator())


@pytest.mark.parametrize(
    ("height", "width", "size"), [(8, 8, 8), (28, 28, 28), (32, 32, 32), (37, 45, 5), (37, 45, 70), (256, 200, 224)]
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", ["jitter_crop", "crop_jitter"])
def test_agrees_with_the_tensor_operations(order, channels, height, width, size):
    """Noise, so that every pixel counts; shrunk and enlarged, everything but solarising switched on, to a thousandth
    of one of 255 levels."""
    images = 200 if height < 100 else 6
    pixels = noise(images, height, width, channels)
    drawn = draw(EVERYTHING.model_copy(update={"order": order}), images, height, width, generator())
    arguments = (drawn, size, MEAN[:channels], STD[:channels])
    errors = (augment(pixels, *arguments) - augment_tensors(pixels, None, *arguments)).abs() * STD[0] / LEVEL
    assert errors.max() < 1e-3
    assert errors.mean() < 5e-5


def test_the_number_of_threads_changes_no_bit(two_threads):
    pixels, rows = noise(61, 32, 24), torch.arange(61).repeat(2)
    drawn = draw(EVERYTHING, 122, 32, 24, generator())
    several = augment(pixels, drawn, 32, MEAN, STD, rows=rows)
    torch.set_num_threads(1)
    assert torch.equal(augment(pixels, drawn, 32, MEAN, STD, rows=rows), several)


def test_a_view_does_not_depend_on_its_batch():
    pixels = noise(10, 20, 20)
    drawn = draw(EVERYTHING, 10, 20, 20, generator())
    whole = augment(pixels, drawn, 16, MEAN, STD)
    alone = {name: value[7:8] for name, value in vars(drawn).items() if isinstance(value, torch.Tensor)}
    assert torch.equal(augment(pixels[7:8], replace(drawn, **alone), 16, MEAN, STD), whole[7:8])


def test_each_piece_is_made_once_and_late_threads_are_not_waited_for(two_threads):
    made, lock = [], threading.Lock()

    def make(begin, end):
        with lock:
            made.extend(range(begin, end))

    for views in (1, 3, 100):
        made.clear()
        share(make, views, 2)
        assert sorted(made) == list(range(views))
    calls = []
    share(lambda begin, end: calls.append((begin, end)), 100, 1)
    assert calls == [(0, 100)]
    calls.clear()
    share(lambda begin, end: calls.append((begin, end)), 160, 2)
    assert len(calls) == 2 * PIECES_PER_THREAD


def test_an_error_in_another_thread_is_raised():
    main = threading.get_ident()
    failed = threading.Event()

    def make(begin, end):
        if threading.get_ident() == main:
            failed.wait(10)
            return
        failed.set()
        raise MemoryError("no scratch")

    with pytest.raises(MemoryError, match="no scratch"):
        share(make, 100, 2)


def test_a_memory_map_is_read_in_place(tmp_path):
    pixels = noise(20, 12, 12)
    np.save(tmp_path / "pixels.npy", pixels.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "pixels.npy", mmap_mode="c"))
    rows = torch.tensor([3, 19, 3])
    drawn = draw(EVERYTHING, 3, 12, 12, generator())
    assert torch.equal(augment(mapped, drawn, 8, MEAN, STD, rows=rows), augment(pixels[rows], drawn, 8, MEAN, STD))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"left": [0, 3]},
            "the crop of view 1, 8 x 6 pixels from row 0, column 3 on, is not inside its image of 8 x 8",
        ),
        ({"top": [-1, 0]}, "the crop of view 0, 8 x 6 pixels from row -1"),
        ({"crop_height": [8, 0]}, "the crop of view 1, 0 x 6 pixels"),
        ({"order": [[0, 1, 2, 3], [0, 1, 2, 4]]}, "the jitter's order must be of operations 0 to 3"),
    ],
)
def test_parameters_that_would_read_past_the_image(changed, message):
    boxes = {"top": [0, 0], "left": [2, 2], "crop_height": [8, 8], "crop_width": [6, 6]}
    values = {name: torch.tensor(value) for name, value in (boxes | changed).items()}
    drawn = replace(draw(EVERYTHING, 2, 8, 8, generator()), **values)
    with pytest.raises(ValueError) as error:
        augment(noise(2, 8, 8), drawn, 8, MEAN, STD)
    assert message in str(error.value)


def in_a_new_process(code: str, **environment: str) -> str:
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_nothing_is_compiled_before_a_view_is_asked_for():
    assert in_a_new_process("import sys, harness.data.views; print('numba' in sys.modules)") == "False"


def test_no_folder_to_keep_compiled_code_in(monkeypatch):
    """numba refuses at once where it cannot write; here the function is compiled in each process instead."""
    njit, asked = numba.njit, []

    def nowhere_to_write(signature, **options):
        asked.append("cache" in options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'make_views': no locator available for file 'kernels.py'")
        return njit(**options)  # without the signature: compiled only if it is called

    monkeypatch.setattr(numba, "njit", nowhere_to_write)
    function = kernels.compiled_once(lambda: None)
    assert asked == [True, False]
    assert callable(function)


def test_another_error_of_the_compiler_is_not_hidden(monkeypatch):
    def broken(signature, **options):
        raise RuntimeError("no LLVM")

    monkeypatch.setattr(numba, "njit", broken)
    with pytest.raises(RuntimeError, match="no LLVM"):
        kernels.compiled_once(lambda: None)
