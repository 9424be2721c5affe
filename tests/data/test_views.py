import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tv

from harness.data.augment import augment, draw
from harness.data.datasets import DataError
from harness.data.loading import Images
from harness.data.views import ViewStream, clean
from harness.spec.models import Augmentation, Input, Transform, Views
from harness.streams import stream

INPUT = Input(size=8, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
AS_IT_IS = Transform()
AUGMENTATION = Augmentation()
# Nothing is changed but the normalisation: an image can be recognised in its views.
IDENTITY = Augmentation(
    jitter_probability=0.0,
    greyscale_probability=0.0,
    crop_scale=(1.0, 1.0),
    crop_ratio=(1.0, 1.0),
    flip_probability=0.0,
)


def images(count=10, size=8, channels=3, height=None):
    pixels = np.random.default_rng(0).integers(0, 256, (count, height or size, size, channels), dtype=np.uint8)
    return Images(pixels, np.arange(count) % 3)


def view_stream(augmentation=AUGMENTATION, views=2, batch_size=4, seed=0, data=None):
    return ViewStream(images() if data is None else data, INPUT, augmentation, views, batch_size, seed, "cpu")


def equal(first, second):
    return torch.equal(first.views[0], second.views[0]) and torch.equal(first.labels, second.labels)


def normalised(pixels):
    """(n, H, W, C) uint8 -> (n, C, H, W), in numpy."""
    return torch.from_numpy(((pixels / 255 - INPUT.mean) / INPUT.std).transpose(0, 3, 1, 2)).float()


@pytest.mark.parametrize("views", [2, 3, 5])
def test_shapes_and_dropped_last_batch(views):
    stream_ = view_stream(views=views)
    batches = list(stream_.epoch(0))
    assert stream_.steps_per_epoch == len(batches) == 2  # 10 images, batches of 4
    assert all(batch.views[0].shape == (views, 4, 3, 8, 8) and batch.labels.shape == (4,) for batch in batches)
    assert batches[0].views[0].dtype == torch.float32
    assert batches[0].labels.dtype == torch.int64


def test_views_of_one_image_stand_at_its_place_with_its_label_in_the_order_of_the_stream():
    data = images()
    order = torch.randperm(10, generator=stream(7, "order", 3))
    for step, batch in enumerate(view_stream(IDENTITY, views=3, seed=7, data=data).epoch(3)):
        rows = order[4 * step : 4 * step + 4].numpy()
        assert torch.equal(batch.labels, torch.from_numpy(data.labels[rows]))
        assert batch.index.tolist() == rows.tolist()
        for view in batch.views[0]:
            torch.testing.assert_close(view, normalised(data.pixels[rows]), atol=1e-5, rtol=0)


def test_views_are_the_augmentation_of_the_step_s_stream():
    data = images()
    batch = list(view_stream(seed=5, data=data).epoch(2))[1]
    rows = torch.randperm(10, generator=stream(5, "order", 2))[4:8]
    pixels = torch.from_numpy(data.pixels)[rows].repeat(2, 1, 1, 1)
    drawn = draw(AUGMENTATION, 8, 8, 8, stream(5, "augment", 2, 1))
    expected = augment(pixels, drawn, 8, INPUT.mean, INPUT.std)
    assert torch.equal(batch.views[0], torch.stack([expected[:4], expected[4:]]))
    assert not torch.equal(batch.views[0][0], batch.views[0][1])


SMALL = Views(count=3, size=5, augmentation=Augmentation(order="crop_jitter", crop_scale=(0.05, 0.3)))
AS_LARGE = Views(count=1, augmentation=AUGMENTATION)


def test_further_groups_have_their_own_size_augmentation_and_stream_and_leave_the_first_as_it_is():
    data = images()
    grouped = ViewStream(data, INPUT, AUGMENTATION, 2, 4, 5, "cpu", more_views=(SMALL, AS_LARGE))
    for step, (alone, batch) in enumerate(zip(view_stream(seed=5).epoch(2), grouped.epoch(2), strict=True)):
        large, small, more = batch.views
        assert torch.equal(large, alone.views[0])
        assert (small.shape, more.shape) == ((3, 4, 3, 5, 5), (1, 4, 3, 8, 8))
        assert all(view.is_contiguous(memory_format=torch.channels_last) for view in (*small, *more))
        pixels = torch.from_numpy(data.pixels)[batch.index]
        for place, found, group in ((1, small, SMALL), (2, more, AS_LARGE)):
            rows = torch.arange(4).repeat(group.count)
            drawn = draw(group.augmentation, len(rows), 8, 8, stream(5, "augment", place, 2, step))
            expected = augment(pixels, drawn, group.size or 8, INPUT.mean, INPUT.std, rows)
            assert torch.equal(found.flatten(0, 1), expected)


def test_each_view_is_in_channels_last_order():
    for view in next(view_stream(views=3).epoch(0)).views[0]:
        assert view.is_contiguous(memory_format=torch.channels_last)


def test_an_epoch_can_be_entered_at_any_step():
    whole = list(view_stream(batch_size=3).epoch(1))
    assert len(whole) == 3
    for first in range(4):
        rest = list(view_stream(batch_size=3).epoch(1, first))
        assert len(rest) == 3 - first
        assert all(equal(a, b) for a, b in zip(rest, whole[first:], strict=True))


def test_epochs_and_seeds_differ_and_repeat():
    first = next(view_stream().epoch(0))
    assert equal(first, next(view_stream().epoch(0)))
    for other in (next(view_stream().epoch(1)), next(view_stream(seed=1).epoch(0))):
        assert not torch.equal(first.views[0], other.views[0])


def test_every_image_at_most_once_an_epoch():
    data = Images(images().pixels, np.arange(10))
    seen = torch.cat([batch.labels for batch in view_stream(batch_size=5, data=data).epoch(0)])
    assert sorted(seen.tolist()) == list(range(10))


def test_too_few_images_for_a_batch():
    with pytest.raises(
        DataError,
        match=r"^10 training images do not fill one batch of 11\. Use a batch_size of at most 10, or more images",
    ):
        view_stream(batch_size=11)


def test_greyscale_images():
    data = images(channels=1)
    grey = Input(size=8, channels=1, mean=(0.3,), std=(0.4,))
    batch = next(ViewStream(data, grey, AUGMENTATION, 2, 4, 0, "cpu").epoch(0))
    assert batch.views[0].shape == (2, 4, 1, 8, 8)


def test_clean_without_resizing_is_normalisation_in_order():
    data = images(5)
    batches = list(clean(data, INPUT, AS_IT_IS, "cpu", batch=2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    torch.testing.assert_close(torch.cat(batches), normalised(data.pixels))


def pillow(data, size, crop=None):
    """Images resized to (height, width) and cut by Pillow, normalised."""
    resized = []
    for pixels in data.pixels:
        image = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC)
        resized.append(np.asarray(tv.center_crop(image, [crop, crop]) if crop else image))
    return normalised(np.stack(resized))


def steps_of_8_bits(ours, reference):
    return (ours - reference).abs() * torch.tensor(INPUT.std).view(-1, 1, 1) * 255


@pytest.mark.parametrize(
    ("width", "height", "resize", "resized"),
    [
        (96, 96, 70, (70, 70)),
        (30, 41, 21, (28, 21)),
        (33, 20, 16, (16, 26)),
        (10, 10, 20, (20, 20)),
        (16, 40, 16, (40, 16)),
    ],
)
def test_clean_resizes_the_shorter_edge_and_crops_as_pillow_and_torchvision(width, height, resize, resized):
    data = images(3, size=width, height=height)  # noise: the hardest there is
    assert tuple(tv.resize(torch.zeros(3, height, width), [resize]).shape[1:]) == resized
    ours = clean(data, INPUT.model_copy(update={"size": 15}), Transform(resize=resize), "cpu")
    difference = steps_of_8_bits(torch.cat(list(ours)), pillow(data, resized, 15))
    assert difference.max() < 1.01  # Pillow's weights have 22 bits: a value halfway may round either way
    assert (difference > 0.01).float().mean() < 0.001


def test_clean_resizes_straight_without_resize():
    data = images(2, size=8, height=12)
    ours = next(clean(data, INPUT.model_copy(update={"size": 16}), AS_IT_IS, "cpu"))
    difference = steps_of_8_bits(ours, pillow(data, (16, 16)))
    assert difference.max() < 1.01
    assert (difference > 0.01).float().mean() < 0.005  # at twice the size, values halfway are common


def test_clean_refuses_a_crop_larger_than_the_image():
    with pytest.raises(DataError, match="resize 6 is smaller than the crop, the input's size 8"):
        next(clean(images(), INPUT, Transform(resize=6), "cpu"))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_sees_the_same_views():
    here, there = (ViewStream(images(64), INPUT, AUGMENTATION, 2, 32, 0, device) for device in ("cpu", "cuda"))
    for ours, theirs in zip(here.epoch(0), there.epoch(0), strict=True):
        assert theirs.views[0].device.type == "cuda"
        torch.testing.assert_close(theirs.views[0].cpu(), ours.views[0], atol=2e-3, rtol=0)
        assert torch.equal(theirs.labels.cpu(), ours.labels)
