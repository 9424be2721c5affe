import gzip
import io
import os
import tarfile
import zipfile

import pytest

from harness.data.archives import Limits, unpack
from harness.data.datasets import DataError

LIMITS = Limits(size=10_000, files=5)


@pytest.fixture
def into(tmp_path):
    folder = tmp_path / "a" / "into"
    folder.mkdir(parents=True)
    return folder


def tar(path, members, mode="w:gz"):
    """A tar of (name, contents) or of ready TarInfo."""
    with tarfile.open(path, mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return path


def zip_of(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, contents in members:
            archive.writestr(name, contents)
    return path


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


FILES = [("data/a.bin", b"a" * 100), ("data/deep/b", b"b"), ("c", b"")]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tar(tmp_path, into, mode):
    seen = []
    path = tar(tmp_path / "x", FILES, mode)
    unpack(path, into, LIMITS, lambda *step: seen.append(step))
    assert contents(into) == dict(FILES)
    assert seen[-1] == ("unpacking x", 101, None)


def test_zip(tmp_path, into):
    seen = []
    unpack(zip_of(tmp_path / "x", [*FILES, ("folder/", b"")]), into, LIMITS, lambda *step: seen.append(step))
    assert contents(into) == dict(FILES)
    assert seen[-1] == ("unpacking x", 101, 101)


@pytest.mark.parametrize("name", ["../evil", "data/../../evil", "/tmp/evil", "a\\..\\evil", "C:evil"])
@pytest.mark.parametrize("make", [tar, zip_of])
def test_names_that_lead_elsewhere_are_refused(tmp_path, into, name, make):
    with pytest.raises(DataError, match=r"holds a file that would be written elsewhere, .*evil'?: refused"):
        unpack(make(tmp_path / "x", [(name, b"x")]), into, LIMITS)
    assert contents(tmp_path / "a") == {}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, into, kind):
    info = tarfile.TarInfo("data/link")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(DataError, match="x holds a link or device, 'data/link': refused"):
        unpack(tar(tmp_path / "x", [info]), into, LIMITS)
    assert not os.path.lexists(into / "data/link")


def test_links_in_a_zip_are_refused(tmp_path, into):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with pytest.raises(DataError, match="x holds a link or device, 'link': refused"):
        unpack(zip_of(tmp_path / "x", [(info, b"/etc/passwd")]), into, LIMITS)
    assert not os.path.lexists(into / "link")


def test_a_file_behind_a_link_of_the_same_archive(tmp_path, into):
    link = tarfile.TarInfo("data")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
    with pytest.raises(DataError, match="holds a link"):
        unpack(tar(tmp_path / "x", [link, ("data/evil", b"x")]), into, LIMITS)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("make", [tar, zip_of])
def test_more_bytes_than_the_dataset_can_have(tmp_path, into, make):
    path = make(tmp_path / "x", [("bomb", bytes(10_001))])
    assert path.stat().st_size < 1000
    with pytest.raises(DataError, match="x unpacks to more than 10,000 bytes: not this dataset, refused"):
        unpack(path, into, LIMITS)
    assert contents(into) == {}


@pytest.mark.parametrize("make", [tar, zip_of])
def test_more_files_than_the_dataset_can_have(tmp_path, into, make):
    with pytest.raises(DataError, match="x holds more than 5 files: not this dataset, refused"):
        unpack(make(tmp_path / "x", [(str(i), b"") for i in range(6)]), into, LIMITS)


def test_a_bomb_in_a_tar_s_headers(tmp_path, into):
    info = tarfile.TarInfo("a")
    info.pax_headers = {"comment": "x" * 1_000_000}
    with pytest.raises(DataError, match="x unpacks to more than"):
        unpack(tar(tmp_path / "x", [info]), into, LIMITS)


def test_what_follows_the_end_of_a_tar_is_not_unpacked(tmp_path, into):
    path = tar(tmp_path / "y", FILES[:1], "w")
    (tmp_path / "x").write_bytes(gzip.compress(path.read_bytes() + bytes(10_000_000)))
    unpack(tmp_path / "x", into, LIMITS)
    assert contents(into) == dict(FILES[:1])


def test_a_zip_that_lies_about_sizes(tmp_path, into):
    path = zip_of(tmp_path / "x", [("a", bytes(50_000))])
    data = path.read_bytes()
    real, claimed = (50_000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    assert data.count(real) == 2  # the file's header and the directory
    path.write_bytes(data.replace(real, claimed))
    with pytest.raises(DataError, match="is damaged or incomplete"):
        unpack(path, into, LIMITS)
    assert sum(p.stat().st_size for p in into.rglob("*")) <= 10


def test_a_name_twice(tmp_path, into):
    with pytest.raises(DataError, match="x holds 'a' twice: refused"):
        unpack(tar(tmp_path / "x", [("a", b"1"), ("a", b"2")]), into, LIMITS)
    with pytest.raises(DataError, match="x holds 'b/c' twice: refused"):
        unpack(tar(tmp_path / "x", [("b", b"1"), ("b/c", b"2")]), into, LIMITS)


def test_an_encrypted_zip(tmp_path, into):
    path = zip_of(tmp_path / "x", [("a", b"1")])
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[6] |= 1
    data[directory + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="x is encrypted: refused"):
        unpack(path, into, LIMITS)


@pytest.mark.parametrize("keep", [0.0, 0.2, 0.5, 0.95])
@pytest.mark.parametrize("make", [tar, zip_of])
def test_truncated_archives(tmp_path, into, make, keep):
    path = make(tmp_path / "x", [(str(i), os.urandom(1500)) for i in range(4)])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(DataError, match=r"x is damaged or incomplete \(.*\): fetch it again"):
        unpack(path, into, LIMITS)


def test_a_zip_with_a_wrong_byte(tmp_path, into):
    path = zip_of(tmp_path / "x", [("a", b"hello" * 10)], zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"hello", b"jello", 1))
    with pytest.raises(DataError, match=r"x is damaged or incomplete \(Bad CRC"):
        unpack(path, into, LIMITS)


def test_something_else(tmp_path, into):
    (tmp_path / "x").write_text("<html>404</html>")
    with pytest.raises(DataError, match="x is damaged or incomplete"):
        unpack(tmp_path / "x", into, LIMITS)
