"""The compiled views: agreement with the tensor operations, the kept library, machines without a compiler."""

import subprocess

import pytest
import torch

from harness.data import augment as room
from harness.data import native
from harness.data.augment import augment, draw
from harness.suite.cell import AugmentationSpec

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.21, 0.22)


@pytest.fixture
def afresh(monkeypatch, tmp_path):
    """An empty cache, and a library that has to be found again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    native.native_library.cache_clear()
    yield tmp_path / "cache" / "ssl-harness"
    native.native_library.cache_clear()


def needs_compiler() -> None:
    if room.native_library() is None:
        pytest.skip("no C compiler")


@pytest.mark.parametrize("size", [5, 32, 70])
@pytest.mark.parametrize("channels", [1, 3])
def test_agrees_with_the_tensor_operations(monkeypatch, channels, size):
    """Noise, so that every pixel counts; shrinking, enlarging, one channel and three, everything switched on."""
    needs_compiler()
    generator = torch.Generator().manual_seed(0)
    spec = AugmentationSpec(hue=0.5, greyscale_probability=0.3, blur_probability=0.5, crop_scale=(0.0, 1.0))
    pixels = torch.randint(0, 256, (200, 37, 45, channels), dtype=torch.uint8, generator=generator)
    drawn = draw(spec, 200, 37, 45, generator)
    compiled = augment(pixels, drawn, size, MEAN[:channels], STD[:channels])
    monkeypatch.setattr(room, "native_library", lambda: None)
    tensors = augment(pixels, drawn, size, MEAN[:channels], STD[:channels])
    torch.testing.assert_close(compiled, tensors, atol=5e-5, rtol=0)
    assert (compiled - tensors).abs().mean() < 2e-6


def test_compiles_once_and_keeps_the_library(afresh, monkeypatch):
    needs_compiler()
    (kept,) = afresh.glob("*")
    assert kept.name.startswith("views-")
    native.native_library.cache_clear()
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("compiled again"))
    assert native.native_library() is not None


def test_a_cache_that_cannot_be_written(afresh):
    afresh.parent.write_text("a file where the cache should be")
    needs_compiler()


def test_no_compiler(afresh, monkeypatch):
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    with pytest.warns(RuntimeWarning, match="several times slower .* same result: there is no C compiler"):
        assert native.native_library() is None
    pixels = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
    drawn = draw(AugmentationSpec(), 2, 8, 8, torch.Generator().manual_seed(0))
    assert augment(pixels, drawn, 8, MEAN, STD).shape == (2, 3, 8, 8)


def test_a_compiler_that_fails(afresh, monkeypatch, tmp_path):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'cannot find crt1.o' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.warns(RuntimeWarning, match="same result: cannot find crt1.o"):
        assert native.native_library() is None
