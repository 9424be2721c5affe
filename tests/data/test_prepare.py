import errno
import gzip
import io
import multiprocessing
import os
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision import datasets as tv
from torchvision import transforms

from harness.data import packed, recipes
from harness.data import prepare as module
from harness.data.datasets import DATASETS, DataError, DataMissing
from harness.data.loading import load_scored, load_training
from harness.data.packed import manifest_of, open_packed, read_manifest
from harness.data.prepare import prepare, verify
from harness.data.recipes import Download
from harness.data.views import clean
from harness.spec.models import Input, Source, Transform

CIFAR10_SIZES = {"train": 20, "test": 6}


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def expect_cifar10(sizes, sums, folder):
    sizes("cifar10", **CIFAR10_SIZES)
    sums("cifar10", folder)


def training(name, data_dir, *splits):
    return load_training(Source(name=name, splits=splits), data_dir, DATASETS[name].channels).images


def scored(name, data_dir):
    return load_scored(Source(name=name, splits=("test",)), "test", data_dir, DATASETS[name].channels).images


def nothing_is_left(data_dir):
    return not data_dir.exists() or [p.name for p in data_dir.iterdir() if not p.name.endswith(".lock")] == []


def archived(folder, archive):
    """A tar.gz of a folder, as the published ones are."""
    return shutil.make_archive(str(archive), "gztar", folder.parent, folder.name)


def test_cifar10_from_its_folder_its_parent_its_archive_or_a_folder_with_the_archive(cifar10, sizes, sums, tmp_path):
    folder, planes, labels = cifar10
    expect_cifar10(sizes, sums, folder)
    lone = tmp_path / "lone"
    (lone / "deep").mkdir(parents=True)
    archive = archived(folder, lone / "cifar-10-python")
    folder.rename(lone / "deep" / folder.name)
    sources = [lone / "deep" / folder.name, lone / "deep", lone / "cifar-10-python.tar.gz", lone]
    shutil.copytree(lone / "deep", tmp_path / "copy")
    prints = set()
    for number, source in enumerate(sources):
        if source == lone:
            shutil.rmtree(lone / "deep")
        manifest = prepare("cifar10", tmp_path / f"data{number}", source)
        prints.add((*manifest.images.values(), *manifest.labels.values()))
        pixels, numbers = open_packed(manifest, tmp_path / f"data{number}")
        assert np.array_equal(pixels, planes.transpose(0, 2, 3, 1))
        assert numbers.tolist() == labels
        assert manifest.splits == {"train": (0, 20), "test": (20, 26)}
        assert manifest.classes[:2] == ("airplane", "automobile")
        assert {p.name for p in (tmp_path / f"data{number}").iterdir()} == {"cifar10", ".cifar10.lock"}
        assert len(list((tmp_path / f"data{number}" / "cifar10").iterdir())) == 3
    assert len(prints) == 1
    assert archive.endswith("cifar-10-python.tar.gz")


def test_cifar100(cifar100, sizes, sums, data):
    folder, planes, labels = cifar100
    sizes("cifar100", train=200, test=100)
    sums("cifar100", folder)
    manifest = prepare("cifar100", data, folder)
    pixels, numbers = open_packed(manifest, data)
    assert np.array_equal(pixels, planes.transpose(0, 2, 3, 1))
    assert numbers.tolist() == labels
    assert manifest.classes[17] == "class 17"


def test_fashion_mnist_from_files_zipped_in_any_way(fashion, sizes, sums, data, tmp_path):
    folder, pixels, labels = fashion
    sizes("fashion_mnist", train=30, test=20)
    sums("fashion_mnist", folder)
    first = prepare("fashion_mnist", data, folder)
    assert np.array_equal(open_packed(first, data)[0][..., 0], pixels)
    assert np.array_equal(open_packed(first, data)[1], labels)
    assert first.classes[9] == "Ankle boot"
    # Unzipped, the same set.
    for path in list(folder.iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    again = prepare("fashion_mnist", tmp_path / "again", folder)
    assert (again.images, again.labels) == (first.images, first.labels)


def test_stl10_to_its_evaluation_as_torchvision_shows_it(stl10, sizes, sums, data, monkeypatch):
    folder, pixels, _ = stl10
    sizes("stl10", train=10, unlabeled=12, test=6)
    sums("stl10", folder)
    prepare("stl10", data, folder)
    shown = training("stl10", data, "train", "unlabeled")
    assert np.array_equal(shown.pixels, pixels[:22])
    assert shown.labels.tolist() == [*range(9, -1, -1), *[-1] * 12]
    assert np.array_equal(training("stl10", data, "train").pixels, pixels[:10])
    monkeypatch.setattr(tv.STL10, "_check_integrity", lambda self: True)
    pipeline = transforms.Compose(
        [
            transforms.Resize(70, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(64),
            transforms.ToTensor(),
            transforms.Normalize([0.43, 0.42, 0.39], [0.27, 0.26, 0.27]),
        ]
    )
    reference = torch.stack([image for image, _ in tv.STL10(folder.parent, "test", transform=pipeline)])
    eaten = Input(size=64, channels=3, mean=(0.43, 0.42, 0.39), std=(0.27, 0.26, 0.27))
    ours = torch.cat(list(clean(scored("stl10", data), eaten, Transform(resize=70), "cpu")))
    difference = (ours - reference).abs() * 255 * 0.26
    assert difference.max() < 1.1  # steps of 8 bits, where a value halfway was rounded the other way
    assert (difference > 0.1).float().mean() < 0.001


def test_tiny_imagenet_from_its_zip(tiny, sizes, data):
    sizes("tiny_imagenet", classes=3, train=12, test=6)
    archive = shutil.make_archive(str(tiny.parent / "tiny-imagenet-200"), "zip", tiny.parent, tiny.name)
    manifest = prepare("tiny_imagenet", data, tiny.parent / "tiny-imagenet-200.zip")
    assert manifest.classes == ("n01000000", "n02000000", "n03000000")
    assert training("tiny_imagenet", data, "train").labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert scored("tiny_imagenet", data).labels.tolist() == [0, 0, 1, 1, 2, 2]
    reference = np.asarray(tv.folder.default_loader(str(tiny / "val" / "images" / "val_1.JPEG")))
    # val_1 and val_4 are of the first class in order
    assert np.array_equal(scored("tiny_imagenet", data).pixels[0], reference)
    assert archive


def test_a_second_start_reads_only_the_manifest(cifar10, sizes, sums, data):
    folder, *_ = cifar10
    expect_cifar10(sizes, sums, folder)
    manifest = prepare("cifar10", data, folder)
    shutil.rmtree(folder)
    (data / "cifar10" / "pixels.npy").unlink()
    assert prepare("cifar10", data) == manifest


def test_progress_and_verify(cifar10, sizes, sums, data):
    folder, *_ = cifar10
    expect_cifar10(sizes, sums, folder)
    seen = []
    manifest = prepare("cifar10", data, folder, progress=lambda *step: seen.append(step))
    assert seen[-1] == ("packing cifar10", 26, 26)
    assert any(what == "checking data_batch_1" for what, _, _ in seen)
    assert verify("cifar10", data, lambda *step: seen.append(step)) == manifest
    assert seen[-1] == ("verifying cifar10", 26, 26)
    path = data / "cifar10" / "pixels.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match="cifar10: the images of split test have changed since it was packed"):
        verify("cifar10", data)


def test_a_damaged_file_is_found_by_its_sum_before_it_is_read(cifar10, sizes, sums, data):
    folder, *_ = cifar10
    expect_cifar10(sizes, sums, folder)
    path = folder / "data_batch_2"
    path.write_bytes(path.read_bytes()[:-3] + b"tb.")
    path.write_bytes(path.read_bytes().replace(b"data_batch_2", b"data_batch_x"))
    with pytest.raises(
        DataError, match=r"data_batch_2 has MD5 .* as published: damaged, or another file. Fetch it again"
    ):
        prepare("cifar10", data, folder)
    assert nothing_is_left(data)


def test_real_sums_refuse_small_files(cifar10, data):
    with pytest.raises(DataError, match="not 5ff9c542aee3614f3951f8cda6e48888 as published"):
        prepare("cifar10", data, cifar10[0])
    assert nothing_is_left(data)


@pytest.mark.parametrize(
    ("expected", "error"),
    [
        (
            {"train": 21, "test": 6},
            "train has 20 instead of 21 images: not CIFAR-10 as published, or an incomplete copy",
        ),
        ({"train": 20, "test": 7}, "test has 6 instead of 7 images"),
        ({"train": 19, "test": 6}, "train has more than 19 images"),
    ],
)
def test_wrong_sizes(cifar10, sizes, sums, data, expected, error):
    sizes("cifar10", **expected)
    sums("cifar10", cifar10[0])
    with pytest.raises(DataError, match=error):
        prepare("cifar10", data, cifar10[0])
    assert nothing_is_left(data)


def test_wrong_number_of_classes(cifar10, sizes, sums, data):
    sizes("cifar10", classes=11, **CIFAR10_SIZES)
    sums("cifar10", cifar10[0])
    with pytest.raises(DataError, match="cifar10: 10 classes, not 11: not CIFAR-10 as published"):
        prepare("cifar10", data, cifar10[0])


def test_labels_outside_the_classes(stl10, sizes, sums, data):
    folder, *_ = stl10
    sizes("stl10", train=10, unlabeled=12, test=6)
    (folder / "test_y.bin").write_bytes(bytes([1, 2, 3, 4, 5, 11]))
    sums("stl10", folder)
    with pytest.raises(DataError, match=r"stl10: test has labels outside 0..9: damaged, fetch it again"):
        prepare("stl10", data, folder)
    (folder / "test_y.bin").write_bytes(bytes([1, 2, 3, 4, 5, 0]))
    sums("stl10", folder)
    with pytest.raises(DataError, match=r"stl10: test has labels outside 0..9"):
        prepare("stl10", data, folder)


def test_a_malicious_archive_leaves_nothing(tmp_path, data):
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("cifar-10-batches-py/batches.meta"), io.BytesIO())
        tar.addfile(tarfile.TarInfo("../../../evil"), io.BytesIO())
    with pytest.raises(DataError, match="would be written elsewhere"):
        prepare("cifar10", data, archive)
    assert nothing_is_left(data)
    assert not list(tmp_path.rglob("evil"))


def test_a_truncated_archive_leaves_nothing(cifar10, tmp_path, data):
    path = tmp_path / "x.tar.gz"
    archived(cifar10[0], tmp_path / "x")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"x.tar.gz is damaged or incomplete"):
        prepare("cifar10", data, path)
    assert nothing_is_left(data)


def test_something_else_than_the_dataset(tmp_path, tiny, data):
    with pytest.raises(DataError, match=r"is not CIFAR-10: there is no batches.meta in it, nor in a folder of it"):
        prepare("cifar10", data, tiny)
    shutil.make_archive(str(tmp_path / "x"), "zip", tiny.parent, tiny.name)
    with pytest.raises(DataError, match=r"x.zip is not CIFAR-10: .*Pass cifar-10-python.tar.gz from"):
        prepare("cifar10", data, tmp_path / "x.zip")
    assert nothing_is_left(data)


def test_no_source(tmp_path, data):
    with pytest.raises(DataError, match="nowhere does not exist: pass the archive or folder of CIFAR-10 with --from"):
        prepare("cifar10", data, tmp_path / "nowhere")
    with pytest.raises(DataMissing, match="run `harness data prepare cifar10` to download it"):
        prepare("cifar10", data)
    with pytest.raises(DataMissing, match="CIFAR-10 is not prepared"):
        verify("cifar10", data)
    assert nothing_is_left(data)


def test_options_that_a_dataset_does_not_take(tmp_path, data):
    with pytest.raises(DataError, match="cifar10 takes no class list"):
        prepare("cifar10", data, class_list=tmp_path)
    with pytest.raises(DataError, match="digits comes with scikit-learn: leave out --from"):
        prepare("digits", data, tmp_path)
    assert prepare("digits", data).name == "digits"


def test_download(cifar10, sizes, sums, data, tmp_path, monkeypatch):
    folder, *_ = cifar10
    expect_cifar10(sizes, sums, folder)
    archive = archived(folder, tmp_path / "cifar-10-python")
    fetched = []

    def fetch(url, path, md5, limit, progress):
        fetched.append((url, md5))
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(archive, path)

    monkeypatch.setattr(module, "fetch", fetch)
    manifest = prepare("cifar10", data, download=True)
    assert manifest.splits["test"] == (20, 26)
    assert fetched == [("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a")]
    assert sorted(p.name for p in data.iterdir()) == [".cifar10.lock", "cifar10"]
    prepare("cifar10", data, download=True)
    assert len(fetched) == 1


def test_a_download_that_breaks_off_is_kept_for_the_next_try(data, monkeypatch):
    url = "http://127.0.0.1:9/x.tar.gz"  # the discard port: nobody listens
    recipe = replace(recipes.RECIPES["cifar10"], downloads=(Download(url, "0" * 32, 100),))
    monkeypatch.setitem(recipes.RECIPES, "cifar10", recipe)
    part = data / ".cifar10.downloads" / "x.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    with pytest.raises(DataError, match="Run it again to go on from 4 bytes"):
        prepare("cifar10", data, download=True)
    assert part.read_bytes() == b"half"
    assert read_manifest("cifar10", data) is None


def test_full_disk_while_packing(cifar10, sizes, sums, data, monkeypatch):
    expect_cifar10(sizes, sums, cifar10[0])

    def full(self, *_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(packed.PackedWriter, "add", full)
    with pytest.raises(DataError, match=r"cifar10: no space left in .*; nothing was kept"):
        prepare("cifar10", data, cifar10[0])
    assert nothing_is_left(data)


def _digits(data_dir, barrier, queue):
    barrier.wait()
    queue.put((manifest_of("digits", data_dir).images["test"], os.stat(data_dir / "digits" / "pixels.npy").st_ino))


def test_two_processes_at_once_build_it_once(data):
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_digits, args=(data, barrier, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    answers = {queue.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert len(answers) == 1
    verify("digits", data)
