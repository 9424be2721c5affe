"""The drawn parameters against torchvision's own draws: distributions, edges, determinism."""

import math
from dataclasses import fields

import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision import transforms

from harness.data.draw import draw
from harness.spec.models import Augmentation

MANY = 20_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def alike(ours: Tensor, theirs: Tensor) -> bool:
    """Whether a two-sample Kolmogorov-Smirnov test sees no difference at the 0.1 % level."""
    return stats.ks_2samp(ours.double().numpy(), theirs.double().numpy()).pvalue > 1e-3


@pytest.mark.parametrize("strengths", [(0.4, 0.4, 0.4, 0.1), (1.5, 0.8, 2.0, 0.5)])
def test_jitter_factors(strengths):
    brightness, contrast, saturation, hue = strengths
    spec = Augmentation(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
    drawn = draw(spec, MANY, 32, 32, generator())
    for ours, strength in ((drawn.brightness, brightness), (drawn.contrast, contrast), (drawn.saturation, saturation)):
        low = max(0.0, 1 - strength)
        assert stats.kstest(ours.numpy(), stats.uniform(low, 1 + strength - low).cdf).pvalue > 1e-3
    assert stats.kstest(drawn.hue.numpy(), stats.uniform(-hue, 2 * hue).cdf).pvalue > 1e-3
    torch.manual_seed(0)
    jitter = transforms.ColorJitter(*strengths)
    arguments = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    theirs = torch.tensor([jitter.get_params(*arguments)[1:] for _ in range(4000)])
    for column, ours in enumerate((drawn.brightness, drawn.contrast, drawn.saturation, drawn.hue)):
        assert alike(ours, theirs[:, column])


def test_parameters_are_independent():
    drawn = draw(Augmentation(greyscale_probability=0.5), MANY, 32, 32, generator())
    columns = (drawn.brightness, drawn.contrast, drawn.saturation, drawn.hue, drawn.jittered, drawn.grey, drawn.flip)
    table = torch.stack([column.double() for column in (*columns, drawn.order[:, 0], drawn.crop_height)])
    correlation = torch.corrcoef(table) - torch.eye(len(table))
    assert correlation.abs().max() < 5 / math.sqrt(MANY)


def test_orders_are_uniform_over_the_24():
    order = draw(Augmentation(), MANY, 32, 32, generator()).order
    assert torch.equal(order.sort(dim=1).values, torch.arange(4).expand(MANY, 4))
    counts = torch.bincount((order * torch.tensor([64, 16, 4, 1])).sum(dim=1))
    counts = counts[counts > 0]
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (32, 32, (0.2, 1.0), (3 / 4, 4 / 3)),
        (96, 96, (0.08, 1.0), (3 / 4, 4 / 3)),
        (40, 90, (0.2, 1.0), (3 / 4, 4 / 3)),
        (64, 20, (0.5, 1.0), (1.0, 2.0)),
    ],
)
def test_boxes_follow_torchvision(height, width, scale, ratio):
    spec = Augmentation(crop_scale=scale, crop_ratio=ratio)
    drawn = draw(spec, MANY, height, width, generator())
    ours = torch.stack((drawn.top, drawn.left, drawn.crop_height, drawn.crop_width)).double()
    torch.manual_seed(1)
    image = torch.empty(3, height, width)
    get = transforms.RandomResizedCrop.get_params
    theirs = torch.tensor([get(image, list(scale), list(ratio)) for _ in range(4000)]).double().T
    for mine, other in zip(ours, theirs, strict=True):
        assert alike(mine, other)
    assert alike(ours[2] * ours[3], theirs[2] * theirs[3])
    assert alike(ours[3] / ours[2], theirs[3] / theirs[2])
    assert bool((ours[0] >= 0).all() & (ours[0] + ours[2] <= height).all())
    assert bool((ours[1] >= 0).all() & (ours[1] + ours[3] <= width).all())
    assert bool((ours[2:] >= 1).all())


@pytest.mark.parametrize(("height", "width"), [(10, 100), (100, 10), (30, 30)])
def test_central_crop_after_ten_tries(height, width):
    """Boxes of the whole area in a ratio that the image does not have never fit; the fall-back is not random."""
    ratio = (3 / 4, 4 / 3) if height != width else (1.2, 1.3)
    spec = Augmentation(crop_scale=(1.0, 1.0), crop_ratio=ratio)
    drawn = draw(spec, 5, height, width, generator())
    expected = transforms.RandomResizedCrop.get_params(torch.empty(3, height, width), [1.0, 1.0], list(ratio))
    ours = torch.stack((drawn.top, drawn.left, drawn.crop_height, drawn.crop_width), dim=1)
    assert ours.tolist() == [list(expected)] * 5


def test_probabilities():
    spec = Augmentation(
        jitter_probability=0.8,
        greyscale_probability=0.1,
        flip_probability=0.5,
        blur_probability=0.3,
        solarise_probability=0.2,
    )
    drawn = draw(spec, MANY, 8, 8, generator())
    flags = (drawn.jittered, drawn.grey, drawn.flip, drawn.blurred, drawn.solarised)
    for flag, probability in zip(flags, (0.8, 0.1, 0.5, 0.3, 0.2), strict=True):
        assert stats.binomtest(int(flag.sum()), MANY, probability).pvalue > 1e-3
    assert stats.kstest(drawn.blur_sigma.numpy(), stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3


def test_certain_and_impossible():
    names = ("jitter", "greyscale", "flip", "blur", "solarise")
    certain = draw(Augmentation(**{f"{name}_probability": 1.0 for name in names}), 50, 8, 8, generator())
    for flag in (certain.jittered, certain.grey, certain.flip, certain.blurred, certain.solarised):
        assert bool(flag.all())
    never = draw(Augmentation(**{f"{name}_probability": 0.0 for name in names}), 50, 8, 8, generator())
    off = (
        "jittered",
        "brightness",
        "contrast",
        "saturation",
        "hue",
        "grey",
        "flip",
        "blurred",
        "blur_sigma",
        "solarised",
    )
    assert [name for name in off if getattr(never, name) is not None] == []
    weak = draw(Augmentation(brightness=0, contrast=0, saturation=0, hue=0), 50, 8, 8, generator())
    assert [weak.brightness, weak.contrast, weak.saturation, weak.hue] == [None] * 4


@pytest.mark.parametrize(("sigma", "radius"), [((0.1, 2.0), 6), ((0.1, 0.3), 1), ((1.0, 1.1), 4)])
def test_blur_reaches_three_standard_deviations(sigma, radius):
    spec = Augmentation(blur_probability=1, blur_sigma=sigma)
    assert draw(spec, 1, 8, 8, generator()).blur_radius == radius


def test_the_generator_decides():
    spec = Augmentation(blur_probability=0.5, solarise_probability=0.5)
    first, again, other = (draw(spec, 100, 30, 40, generator(seed)) for seed in (3, 3, 4))
    names = [field.name for field in fields(first) if isinstance(getattr(first, field.name), Tensor)]
    assert len(names) == 15
    assert all(torch.equal(getattr(first, name), getattr(again, name)) for name in names)
    assert not any(torch.equal(getattr(first, name), getattr(other, name)) for name in names)


def test_moves_to_a_device():
    drawn = draw(Augmentation(), 3, 8, 8, generator())
    moved = drawn.to("meta")
    assert moved.order.device.type == moved.hue.device.type == "meta"
    assert (moved.blurred, moved.height, len(moved)) == (None, 8, 3)


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="cannot draw views of 0 images of 8 x 8 pixels: each must be at least 1"):
        draw(Augmentation(), 0, 8, 8, generator())
