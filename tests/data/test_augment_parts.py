"""The formulas alone, in cases where the result is known by hand or from torchvision."""

import pytest
import torch
from torch.nn import functional
from torchvision.transforms import functional as first
from torchvision.transforms.v2 import functional as tv

from harness.data.blur import blur, gaussian_kernels
from harness.data.colour import greyscale_, luma, rotate_hue_, solarise_
from harness.data.resize import TABLE_BYTES, crop_weights


def test_hue_of_every_coarse_colour_matches_torchvision():
    """A grid over the whole colour cube, ties and greys included, by shifts up to a sixth of a turn."""
    levels = torch.linspace(0, 1, 9)
    cube = torch.cartesian_prod(levels, levels, levels).T.contiguous()  # (3, 729)
    for sixths in (-1.0, -0.5, -0.01, 0.0, 0.25, 0.6, 1.0):
        images = cube[None].clone()
        rotate_hue_(images, torch.tensor([sixths]))
        for theirs in (tv.adjust_hue, first.adjust_hue):
            expected = theirs(cube.view(3, 27, 27), sixths / 6).view(3, 729)
            torch.testing.assert_close(images[0], expected, atol=2e-6, rtol=0)


def test_hue_by_hand():
    """Red, moved by half a sixth of a turn, is orange: full red, half green."""
    images = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1)
    rotate_hue_(images, torch.tensor([0.5]))
    assert images.flatten().tolist() == [1.0, 0.5, 0.0]


def test_greyscale_of_chosen_images():
    images = torch.rand(4, 3, 6, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    greyscale_(images, torch.tensor([1, 3]))
    expected = tv.rgb_to_grayscale(before.view(4, 3, 2, 3), num_output_channels=3).view(4, 3, 6)
    torch.testing.assert_close(images[[1, 3]], expected[[1, 3]], atol=1e-6, rtol=0)
    assert torch.equal(images[[0, 2]], before[[0, 2]])
    single = torch.rand(2, 1, 6)
    kept = single.clone()
    greyscale_(single, torch.tensor([0]))
    assert torch.equal(single, kept)


def test_solarise_inverts_from_the_threshold_on():
    views = torch.tensor([0.0, 0.4, 0.5, 1.0]).view(1, 1, 2, 2).repeat(1, 2, 1, 1)
    solarise_(views, torch.tensor([1]), 0.5, 1.0)
    assert views.flatten().tolist() == pytest.approx([0.0, 0.4, 0.5, 1.0, 0.0, 0.4, 0.5, 0.0])


def test_luma_of_one_channel_is_itself():
    assert luma(1).tolist() == [1.0]
    assert float(luma(3).sum()) == pytest.approx(0.9999)


@pytest.mark.parametrize(("full", "size"), [(12, 12), (12, 5), (12, 30), (300, 40)])
def test_weights_are_torchs_antialiased_bicubic(full, size):
    """Both by table (small) and computed (large), upright and mirrored."""
    boxes = torch.tensor([(0, full), (0, 1), (full - 1, 1), (3, 7), (2, full - 2), (4, 5)] * 2)
    flip = torch.tensor([False] * 6 + [True] * 6)
    assert (4 * full * (full + 1) * full * size > TABLE_BYTES) == (full == 300)
    weights = crop_weights(boxes[:, 0], boxes[:, 1], full, size, flip)
    assert weights.shape == (12, full, size)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(12, size))
    line = torch.rand(full, generator=torch.Generator().manual_seed(0))
    for weight, (start, length), mirrored in zip(weights, boxes.tolist(), flip.tolist(), strict=True):
        crop = line[start : start + length].expand(1, 1, 1, -1)
        expected = functional.interpolate(crop, (1, size), mode="bicubic", antialias=True).flatten()
        torch.testing.assert_close(line @ weight, expected.flip(0) if mirrored else expected, atol=2e-6, rtol=0)


def test_whole_image_at_its_own_size_is_the_identity():
    weights = crop_weights(torch.tensor([0, 0]), torch.tensor([9, 9]), 9, 9, torch.tensor([False, True]))
    torch.testing.assert_close(weights, torch.stack((torch.eye(9), torch.eye(9).flip(1))), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("side", "radius"), [(16, 3), (16, 6), (4, 6), (1, 2)])
def test_blur_matches_torchvision(side, radius):
    images = torch.rand(3, 5, side, side, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.1, 0.5, 1.0, 1.7, 2.0])
    taps = 2 * min(radius, side - 1) + 1
    blurred = blur(images, sigma, radius)
    for i, value in enumerate(sigma.tolist()):
        expected = tv.gaussian_blur(images[:, i], [taps, taps], [value, value])
        torch.testing.assert_close(blurred[:, i], expected, atol=1e-6, rtol=0)


def test_kernels_by_hand():
    kernel = gaussian_kernels(torch.tensor([1.0]), 1)[0]
    side = 2.718281828**-0.5
    assert kernel.tolist() == pytest.approx([side / (1 + 2 * side), 1 / (1 + 2 * side), side / (1 + 2 * side)])
