"""Whole views against torchvision's own functions, applied image by image with the same parameters."""

from dataclasses import replace
from itertools import permutations

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from harness.data.augment import Drawn, augment, draw
from harness.data.tensors import augment_tensors
from harness.spec.models import Augmentation

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.21, 0.22)
EVERYTHING = Augmentation(hue=0.5, greyscale_probability=0.3, blur_probability=0.5, solarise_probability=0.4)

CROP_FIRST = EVERYTHING.model_copy(update={"order": "crop_jitter"})


@pytest.fixture(params=["compiled loops", "tensors"])
def path(request):
    """`augment` as a CPU and as a GPU makes the views, both on the CPU."""
    if request.param == "compiled loops":
        return augment

    def by_tensors(pixels, drawn, size, mean, std, rows=None):
        return augment_tensors(pixels, rows, drawn, size, mean, std)

    return by_tensors


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photographs(images: int, height: int, width: int, channels: int = 3) -> Tensor:
    """Smooth gratings with noise, and a black, a white and a grey image among them: (N, H, W, C) uint8."""
    phase = 6 * torch.rand(3, images, 1, 1, channels, generator=generator(1))
    down, across = torch.arange(height).view(-1, 1, 1) / height, torch.arange(width).view(-1, 1) / width
    noise = torch.randn(images, height, width, channels, generator=generator(2))
    pixels = (127 * (1 + torch.sin(phase[0] * down + phase[1] * across + phase[2])) + 10 * noise).clamp(0, 255).byte()
    for image, value in enumerate((0, 255, 77)[:images]):
        pixels[image] = value
    return pixels


def by_torchvision(image: Tensor | Image.Image, drawn: Drawn, i: int, size: int) -> Tensor:
    """One view by torchvision's functions, of a float or uint8 tensor or a PIL image: (C, size, size) in [0, 1]."""
    eight_bits = not (isinstance(image, Tensor) and image.is_floating_point())
    for step in (cropped, coloured) if drawn.crop_first else (coloured, cropped):
        image = step(image, drawn, i, size)
    if drawn.blurred is not None and drawn.blurred[i]:
        kernel = 2 * min(drawn.blur_radius, size - 1) + 1
        image = tv.gaussian_blur(image, [kernel, kernel], [float(drawn.blur_sigma[i])] * 2)
    if drawn.solarised is not None and drawn.solarised[i]:
        image = tv.solarize(image, drawn.solarise_threshold * (255 if eight_bits else 1))
    return tv.to_dtype(tv.to_image(image) if isinstance(image, Image.Image) else image, torch.float32, scale=True)


def coloured(image: Tensor | Image.Image, drawn: Drawn, i: int, size: int) -> Tensor | Image.Image:
    """Colour jitter, then greyscale."""
    adjust = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
    factors = (drawn.brightness, drawn.contrast, drawn.saturation, drawn.hue)
    if drawn.jittered is not None and drawn.jittered[i]:
        for operation in drawn.order[i].tolist():
            if (factor := factors[operation]) is not None:
                image = adjust[operation](image, float(factor[i]))
    if drawn.grey is not None and drawn.grey[i]:
        image = tv.rgb_to_grayscale(image, num_output_channels=tv.get_num_channels(image))
    return image


def cropped(image: Tensor | Image.Image, drawn: Drawn, i: int, size: int) -> Tensor | Image.Image:
    """Resized crop, then flip."""
    box = [int(side[i]) for side in (drawn.top, drawn.left, drawn.crop_height, drawn.crop_width)]
    image = tv.resized_crop(image, *box, [size, size], InterpolationMode.BICUBIC, antialias=True)
    if isinstance(image, Tensor) and image.is_floating_point():
        image = image.clamp(0, 1)  # as eight bits do by themselves
    if drawn.flip is not None and drawn.flip[i]:
        image = tv.horizontal_flip(image)
    return image


def pixel_errors(path, pixels: Tensor, drawn: Drawn, size: int, kind: str = "float") -> Tensor:
    """(N, C, size, size): ours minus torchvision's, in units of the full range."""
    channels = pixels.shape[3]
    ours = path(pixels, drawn, size, MEAN[:channels], STD[:channels])
    assert ours.shape == (len(pixels), channels, size, size)
    assert ours.dtype == torch.float32
    convert = {
        "float": lambda image: image.permute(2, 0, 1) / 255,
        "uint8": lambda image: image.permute(2, 0, 1),
        "PIL": lambda image: Image.fromarray(image.squeeze(2).numpy()),
    }[kind]
    theirs = torch.stack([by_torchvision(convert(image), drawn, i, size) for i, image in enumerate(pixels)])
    scale, shift = (torch.tensor(values[:channels]).view(-1, 1, 1) for values in (STD, MEAN))
    return ours * scale + shift - theirs


@pytest.mark.parametrize(
    ("channels", "height", "width", "size", "spec"),
    [
        (3, 32, 32, 32, Augmentation()),
        (3, 32, 32, 32, EVERYTHING),
        (3, 40, 30, 24, EVERYTHING),
        (3, 30, 44, 12, Augmentation(crop_scale=(0.9, 1.0), crop_ratio=(0.5, 2.0))),
        (3, 16, 16, 40, Augmentation(crop_scale=(0.0, 1.0))),
        (3, 150, 170, 20, EVERYTHING),
        (1, 28, 28, 28, EVERYTHING),
        (3, 20, 20, 20, Augmentation(brightness=1.5, contrast=1.5, saturation=2.0, jitter_probability=1.0)),
        (3, 20, 20, 20, Augmentation(brightness=0, saturation=0)),
        (3, 20, 20, 20, Augmentation(hue=0, contrast=0)),
        (1, 20, 20, 20, Augmentation(brightness=0, contrast=0)),
        (3, 32, 32, 32, CROP_FIRST),
        (3, 40, 30, 24, CROP_FIRST),
        (3, 16, 16, 40, CROP_FIRST),
        (1, 28, 28, 20, CROP_FIRST),
    ],
)
def test_float_path(path, channels, height, width, size, spec):
    pixels = photographs(48, height, width, channels)
    drawn = draw(spec, len(pixels), height, width, generator())
    errors = pixel_errors(path, pixels, drawn, size).abs()
    if drawn.solarised is not None:
        # A pixel within rounding of the threshold may fall on either side of it.
        assert (errors > 1e-4).float().mean() < 1e-4
        errors = errors[errors < 1e-4]
    assert errors.mean() < 2e-6
    assert errors.max() < 2e-5


@pytest.mark.parametrize("kind", ["uint8", "PIL"])
def test_eight_bit_path(path, kind):
    """torchvision rounds 8-bit images down after every blend, we never round: each step stays under one of 255 levels,
    and the four steps of a whole jitter add up to about one, nearly all of it that bias."""
    pixels = photographs(64, 32, 32)
    steps = (
        Augmentation(contrast=0, saturation=0, hue=0, jitter_probability=1),
        Augmentation(brightness=0, saturation=0, hue=0, jitter_probability=1),
        Augmentation(brightness=0, contrast=0, hue=0, jitter_probability=1),
        Augmentation(jitter_probability=0),
        Augmentation(jitter_probability=0, blur_probability=1),
    )
    for spec in steps:
        drawn = replace(draw(spec, len(pixels), 32, 32, generator()), grey=None)
        assert 255 * pixel_errors(path, pixels, drawn, 32, kind).abs().mean() < 1
    drawn = draw(Augmentation(), len(pixels), 32, 32, generator())
    errors = 255 * pixel_errors(path, pixels, drawn, 32, kind)
    assert errors.abs().mean() < 1.4
    assert 0.7 < errors.mean() < 1.1


@pytest.mark.parametrize("source", [0, 1, 2, 3])
def test_order_is_each_images_own(path, source):
    """One image, one set of factors, all 24 orders in one batch."""
    pixels = photographs(5, 8, 8)[4].expand(24, -1, -1, -1)
    drawn = draw(Augmentation(brightness=0.9, saturation=0.9, jitter_probability=1), 24, 8, 8, generator())
    orders = torch.tensor(list(permutations(range(4))))
    same = {
        name: getattr(drawn, name)[source].expand(24).clone()
        for name in ("brightness", "contrast", "saturation", "hue")
    }
    drawn = replace(drawn, order=orders, grey=None, flip=None, **same)
    assert pixel_errors(path, pixels, drawn, 8).abs().max() < 2e-5


def test_the_two_orders_draw_the_same_and_differ_where_the_jitter_looks_at_the_whole_image(path):
    """Without a contrast jitter, and with clamping out of the way, colours and crop commute; contrast about the mean of
    the view is not contrast about the mean of the image."""
    pixels = (photographs(16, 24, 24).float() / 4 + 96).byte()
    flat = Augmentation(contrast=0, saturation=0, hue=0, brightness=0.2, jitter_probability=1)
    for spec, same in ((flat, True), (flat.model_copy(update={"contrast": 0.5}), False)):
        jitter_first = draw(spec, 16, 24, 24, generator())
        crop_first = draw(spec.model_copy(update={"order": "crop_jitter"}), 16, 24, 24, generator())
        assert torch.equal(jitter_first.top, crop_first.top)
        assert torch.equal(jitter_first.brightness, crop_first.brightness)
        difference = path(pixels, jitter_first, 12, MEAN, STD) - path(pixels, crop_first, 12, MEAN, STD)
        assert (difference.abs().max() < 1e-4) == same


def extreme(drawn: Drawn, **boxes: list[int]) -> Drawn:
    return replace(drawn, **{name: torch.tensor(values) for name, values in boxes.items()})


@pytest.mark.parametrize("size", [1, 7, 32, 50])
def test_extreme_boxes(path, size):
    """The whole image, single pixels in corners, a row and a column; shrunk and enlarged, upright and mirrored."""
    pixels = photographs(12, 20, 32)
    drawn = draw(Augmentation(flip_probability=1), 12, 20, 32, generator())
    drawn = extreme(
        drawn,
        top=[0, 0, 19, 0, 19, 7] * 2,
        left=[0, 0, 31, 31, 0, 0] * 2,
        crop_height=[20, 1, 1, 20, 1, 1] * 2,
        crop_width=[32, 1, 1, 1, 32, 32] * 2,
        flip=[True] * 6 + [False] * 6,
    )
    assert pixel_errors(path, pixels, drawn, size).abs().max() < 2e-5


def test_hue_wraps_around(path):
    pixels = photographs(41, 9, 9)
    pixels[3:6] = torch.tensor([[255, 0, 0], [0, 255, 0], [255, 0, 255]], dtype=torch.uint8).view(3, 1, 1, 3)
    spec = Augmentation(brightness=0, contrast=0, saturation=0, hue=0.5, jitter_probability=1)
    drawn = replace(draw(spec, 41, 9, 9, generator()), hue=torch.linspace(-0.5, 0.5, 41), grey=None)
    assert pixel_errors(path, pixels, drawn, 9).abs().max() < 2e-5


def test_rows_choose_and_repeat_images(path):
    pixels = photographs(9, 16, 12)
    rows = torch.tensor([8, 0, 3, 3, 8, 1] * 2)
    drawn = draw(EVERYTHING, 12, 16, 12, generator())
    expected = path(pixels[rows], drawn, 10, MEAN, STD)
    assert torch.equal(path(pixels, drawn, 10, MEAN, STD, rows=rows), expected)
    assert not expected.is_inference()


def test_memory_is_channels_last_whatever_the_input_is(path):
    pixels = photographs(9, 16, 12)
    drawn = draw(Augmentation(), 9, 16, 12, generator())
    view = path(pixels, drawn, 10, MEAN, STD)
    assert view.is_contiguous(memory_format=torch.channels_last)
    planar = pixels.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert torch.equal(path(planar, drawn, 10, MEAN, STD), view)
    wider = torch.zeros(9, 16, 24, 3, dtype=torch.uint8)
    wider[:, :, ::2] = pixels
    assert torch.equal(path(wider[:, :, ::2], drawn, 10, MEAN, STD, rows=torch.arange(9)), view)


def test_nothing_drawn_is_the_resized_image(path):
    spec = Augmentation(
        jitter_probability=0, greyscale_probability=0, flip_probability=0, crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0)
    )
    pixels = photographs(5, 16, 16)
    drawn = draw(spec, 5, 16, 16, generator())
    view = path(pixels, drawn, 16, MEAN, STD)
    scale, shift = (torch.tensor(values).view(-1, 1, 1) for values in (STD, MEAN))
    torch.testing.assert_close(view, (pixels.permute(0, 3, 1, 2) / 255 - shift) / scale, atol=1e-5, rtol=0)


def test_input_is_left_alone_and_draws_decide(path):
    pixels = photographs(6, 12, 12)
    before = pixels.clone()
    first, second = (path(pixels, draw(EVERYTHING, 6, 12, 12, generator(7)), 12, MEAN, STD) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(pixels, before)
    assert not torch.equal(first, path(pixels, draw(EVERYTHING, 6, 12, 12, generator(8)), 12, MEAN, STD))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees():
    pixels = photographs(64, 40, 30)
    drawn = draw(EVERYTHING, 64, 40, 30, generator())
    on_device = augment(pixels.cuda(), drawn.to("cuda"), 24, MEAN, STD)
    errors = (on_device.cpu() - augment(pixels, drawn, 24, MEAN, STD)).abs()
    assert (errors > 1e-4).float().mean() < 1e-3  # solarised pixels within rounding of the threshold


@pytest.mark.parametrize(
    ("pixels", "size", "mean", "message"),
    [
        (torch.zeros(4, 8, 8, 3), 8, MEAN, "pixels must be uint8 in [0, 255], not torch.float32"),
        (torch.zeros(4, 8, 8, dtype=torch.uint8), 8, MEAN, "pixels must be (N, H, W, C), not of shape (4, 8, 8)"),
        (torch.zeros(4, 8, 8, 2, dtype=torch.uint8), 8, MEAN, "1 or 3 channels in their last dimension, not 2"),
        (
            torch.zeros(4, 8, 9, 3, dtype=torch.uint8),
            8,
            MEAN,
            "drawn for 4 images of 8 x 8 pixels, but there are 4 of 8 x 9",
        ),
        (torch.zeros(5, 8, 8, 3, dtype=torch.uint8), 8, MEAN, "drawn for 4 images of 8 x 8 pixels, but there are 5 of"),
        (torch.zeros(4, 8, 8, 3, dtype=torch.uint8), 0, MEAN, "side must be at least 1 pixel, not 0"),
        (
            torch.zeros(4, 8, 8, 3, dtype=torch.uint8),
            8,
            (0.5,),
            "3 channels need as many means and standard deviations, not 1",
        ),
    ],
)
def test_invalid_input(pixels, size, mean, message):
    drawn = draw(Augmentation(), 4, 8, 8, generator())
    with pytest.raises(ValueError) as error:
        augment(pixels, drawn, size, mean, STD)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 1, 2, 4], "rows must be int64 from 0 to 3, the numbers of the images, not torch.int64 from 0 to 4"),
        ([-1, 1, 2, 3], "not torch.int64 from -1 to 3"),
        ([0.0, 1.0, 2.0, 3.0], "not torch.float32 from 0.0 to 3.0"),
        ([0, 1, 2], "parameters were drawn for 4 images of 8 x 8 pixels, but there are 3 of 8 x 8"),
    ],
)
def test_rows_that_are_not_there(rows, message):
    pixels = photographs(4, 8, 8)
    drawn = draw(Augmentation(), 4, 8, 8, generator())
    with pytest.raises(ValueError) as error:
        augment(pixels, drawn, 8, MEAN, STD, rows=torch.tensor(rows))
    assert message in str(error.value)
