import multiprocessing

import numpy as np
import pytest
import torch

from harness.data.augment import augment, draw
from harness.data.datasets import DataError
from harness.data.decoding import pieces
from harness.data.images import Images, StreamedImages
from harness.data.views import ViewStream, clean
from harness.spec.models import Augmentation, Input, Transform, Views
from harness.streams import stream

INPUT = Input(size=16, channels=3, mean=(0.4,) * 3, std=(0.2,) * 3)
TRANSFORM = Transform(resize=20)
AUGMENTATION = Augmentation(blur_probability=0.5)


@pytest.fixture
def images(image_folder):
    """Seven images, thrice over, of seven sizes."""
    names = sorted(
        str(p.relative_to(image_folder)) for p in image_folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg")
    )
    return StreamedImages(image_folder, np.array([name.encode() for name in names * 3]), np.arange(21), 3)


def view_stream(images, workers=0, batch_size=8, views=2, seed=3):
    return ViewStream(images, INPUT, AUGMENTATION, views, batch_size, seed, "cpu", workers)


def test_every_image_is_augmented_alone_with_its_own_stream(images):
    order = torch.randperm(21, generator=stream(3, "order", 1))
    for step, batch in enumerate(view_stream(images, views=3).epoch(1)):
        assert batch.views[0].shape == (3, 8, 3, 16, 16)
        assert all(view.is_contiguous(memory_format=torch.channels_last) for view in batch.views[0])
        rows = order[8 * step : 8 * step + 8]
        assert torch.equal(batch.labels, rows)
        for position, row in enumerate(rows.tolist()):
            pixels = torch.from_numpy(images.decode(row))
            drawn = draw(AUGMENTATION, 3, *pixels.shape[:2], stream(3, "augment", 1, step, position))
            expected = augment(pixels.repeat(3, 1, 1, 1), drawn, 16, INPUT.mean, INPUT.std)
            torch.testing.assert_close(batch.views[0][:, position], expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_further_groups_of_views_have_streams_of_their_own_and_leave_the_first_as_it_is(images, workers):
    small = Views(count=3, size=10, augmentation=Augmentation(order="crop_jitter"))
    grouped = ViewStream(images, INPUT, AUGMENTATION, 2, 8, 3, "cpu", workers, more_views=(small,))
    for step, (alone, batch) in enumerate(zip(view_stream(images).epoch(1), grouped.epoch(1), strict=True)):
        assert torch.equal(batch.views[0], alone.views[0])
        assert batch.views[1].shape == (3, 8, 3, 10, 10)
        for position, row in enumerate(batch.index.tolist()):
            pixels = torch.from_numpy(images.decode(row))
            drawn = draw(small.augmentation, 3, *pixels.shape[:2], stream(3, "augment", 1, 1, step, position))
            expected = augment(pixels.repeat(3, 1, 1, 1), drawn, 10, INPUT.mean, INPUT.std)
            torch.testing.assert_close(batch.views[1][:, position], expected)


def test_the_number_of_workers_and_the_size_of_pieces_change_nothing(images, monkeypatch):
    reference = [batch.views[0] for batch in view_stream(images).epoch(0)]
    assert len(reference) == 2
    monkeypatch.setattr("harness.data.decoding.PIECE_IMAGES", 3)
    for workers in (0, 2):
        again = [batch.views[0] for batch in view_stream(images, workers).epoch(0)]
        assert all(torch.equal(a, b) for a, b in zip(again, reference, strict=True))
    assert multiprocessing.active_children() == []


def test_an_epoch_can_be_entered_at_any_step(images):
    whole = [batch.views[0] for batch in view_stream(images, batch_size=5).epoch(2)]
    rest = [batch.views[0] for batch in view_stream(images, batch_size=5).epoch(2, first_step=3)]
    assert len(whole) == 4
    assert len(rest) == 1
    assert torch.equal(rest[0], whole[3])


def test_the_process_s_own_random_numbers_are_left_alone(images):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    next(view_stream(images).epoch(0))
    next(clean(images, INPUT, TRANSFORM, "cpu", workers=0))
    assert torch.equal(torch.get_rng_state(), before)


def test_pieces(monkeypatch):
    monkeypatch.setattr("harness.data.decoding.PIECE_IMAGES", 32)
    assert pieces(range(2, 4), 70) == [(2, 0, 32), (2, 32, 64), (2, 64, 70), (3, 0, 32), (3, 32, 64), (3, 64, 70)]


@pytest.mark.parametrize("workers", [0, 2])
def test_clean_is_that_of_packed_images_one_by_one(images, workers):
    streamed = torch.cat(list(clean(images, INPUT, TRANSFORM, "cpu", workers=workers)))
    assert streamed.shape == (21, 3, 16, 16)
    for row in range(7):
        packed = Images(images.decode(row)[None], images.labels[row : row + 1])
        torch.testing.assert_close(streamed[row], next(clean(packed, INPUT, TRANSFORM, "cpu"))[0])


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_named(images, image_folder, workers):
    (image_folder / "train" / "cat" / "a.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(DataError, match=r"a\.jpg is missing, or not an image that can be read"):
        list(view_stream(images, workers, batch_size=21).epoch(0))
    with pytest.raises(DataError, match=r"a\.jpg is missing, or not an image that can be read"):
        list(clean(images, INPUT, TRANSFORM, "cpu", workers=workers))


def test_take(images):
    some = images.take(np.array([4, 2]))
    assert len(some) == 2
    assert some.labels.tolist() == [4, 2]
    assert np.array_equal(some.decode(0), images.decode(4))
    packed = Images(np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1), np.arange(3))
    assert packed.take(np.array([2, 0])).pixels[:, 0, 0, 0].tolist() == [8, 0]
    assert np.shares_memory(packed.take(slice(1, 3)).pixels, packed.pixels)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gets_the_same_views(images):
    here = next(view_stream(images).epoch(0))
    there = next(ViewStream(images, INPUT, AUGMENTATION, 2, 8, 3, "cuda", 2).epoch(0))
    assert there.views[0].device.type == "cuda"
    assert torch.equal(there.views[0].cpu(), here.views[0])
