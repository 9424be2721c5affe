"""What users and installed distributions bring, of every kind, from `plan` to the table, and what they are told where
it cannot be used."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness import registry
from harness.registry import KINDS, METHOD, PROBE, ExtensionError, all_loggers, all_methods, find, in_use, named, use
from harness.store.provenance import Code
from harness.store.store import Store
from tests.conftest import write_suite

EVERYTHING = '''
"""One of each kind, all called after NAME."""
import dataclasses
import numpy as np
from torch import nn
from harness.data.datasets import DatasetInfo
from harness.evaluation.probes.knn import PROBE as KNN
from harness.loggers import LoggerEntry
from harness.own_backbones import BackboneEntry
from methods.w_mse import METHOD as W_MSE

def small(channels, size, width=5):
    if size != 6:
        raise ValueError(f"made for 6 pixels, not {size}")
    return nn.Sequential(nn.Conv2d(channels, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

def load(split, folder):
    draw = np.random.default_rng(len(split))
    labels = np.arange({"train": 60, "test": 20}[split]) % 2
    noise = draw.integers(0, 100, (len(labels), 6, 6), dtype=np.uint8)
    return noise + 100 * labels[:, None, None].astype(np.uint8), labels

class Told:
    def __init__(self, directory, suite):
        self.path = directory / "told.txt"
    def write(self, *words):
        with self.path.open("a") as file:
            print(*words, file=file)
    def started(self, run): self.write("started", run.label, run.config["method"])
    def point(self, run, point): self.write("point", point.epoch, *(n for n in point.values if n.startswith("c_")))
    def answered(self, run, name, answer): self.write("answered", name, *answer.metrics)
    def ended(self, run, outcome, text): self.write("ended", outcome)
    def close(self): self.write("close")

METHODS = (dataclasses.replace(W_MSE, name="NAME_method"), dataclasses.replace(W_MSE, name="NAME_other"))
PROBE = dataclasses.replace(KNN, name="NAME_probe")
DATASET = DatasetInfo(
    name="NAME_data", title="Noise", classes=2, channels=1, native_size=6, image_size=6, mean=(0.4,), std=(0.2,),
    splits={"train": 60, "test": 20}, source="drawn", load=load,
)
BACKBONE = BackboneEntry(name="NAME_net", summary="one layer", source="me", build=small)
LOGGER = LoggerEntry(name="NAME_log", summary="a file", build=Told)
'''
SUITE = """
    defaults:
      dataset: {image_size: 6, train_images: null}
      backbone: {name: NAME_net, options: {width: 7}, stem: standard, width: null}
      batch_size: 16
      settings: {transform: {sub_batch_size: 16}}
      evaluations: {linear: null, knn5: null, q: {probe: NAME_probe, k: 3}}
      monitors: {knn5: null, c: {probe: NAME_probe, k: 1, every_epochs: 1}}
    datasets: [NAME_data]
    methods: {w_mse: null, untrained: null, NAME_method: {}}
    axes: {seeds: 1}
"""
LEAN = """
from methods.entry import MethodEntry, Settings

METHOD = MethodEntry(name="lean", summary="no torch", source="me", settings=Settings, build="lean_parts:Lean")
"""


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    registry._warn.cache_clear()
    yield
    use(())
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def data_dir(tmp_path):
    """Its own, for datasets of these tests."""
    return tmp_path / "data"


def distribution(folder: Path, module: str, **points: str) -> Path:
    """A folder as an installer leaves it: the module `acme_ssl`, and the metadata of the distribution that brought it,
    with an entry point a kind."""
    metadata = folder / "acme_ssl-1.2.dist-info"
    metadata.mkdir(parents=True)
    (folder / "acme_ssl.py").write_text(module)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-ssl\nVersion: 1.2\n")
    (metadata / "RECORD").write_text("acme_ssl.py,,\n")
    groups = (f"[ssl_harness.{kind}s]\nacme = {value}\n" for kind, value in points.items())
    (metadata / "entry_points.txt").write_text("".join(groups))
    return folder


# All kinds, as a user has them


@pytest.mark.parametrize("way", ["file", "distribution"])
def test_one_of_each_kind_goes_from_plan_to_the_table(harness, tmp_path, monkeypatch, way):
    text, more = EVERYTHING.replace("NAME", way), SUITE.replace("NAME", way)
    options, workers = [], ["--workers", "1", "--threads", "1"]
    if way == "file":
        (tmp_path / "mine.py").write_text(text)
        more, options = f"    extensions: [mine.py]\n{more}", ["--extensions", "mine.py"]
    else:
        points = {kind.name: f"acme_ssl:{kind.attributes[kind is METHOD]}" for kind in KINDS}
        monkeypatch.syspath_prepend(distribution(tmp_path / "site", text, **points))
        workers = []
    suite = write_suite(tmp_path, more, "all.yaml").name

    for what in ("methods", "probes", "datasets", "backbones", "loggers"):
        code, out = harness("list", what, *options)
        assert (code, f"{way}_" in out) == (0, True)
        if way == "file":
            assert f"{way}_" not in harness("list", what)[1]
            assert harness("list", what, "--suite", suite)[1] == out

    prepare = " ".join(["harness data prepare", f"{way}_data", *options])
    code, out = harness("plan", suite)
    assert (code, prepare in out) == (0, True), out
    assert harness(*prepare.split()[1:])[0] == 0
    assert harness("data", "verify", f"{way}_data", *options)[0] == 0
    code, out = harness("plan", suite)
    assert (code, "1 pending" in out) == (0, True), out

    code, out = harness("run", suite, *workers, "--logger", "jsonl", "--logger", f"{way}_log")
    assert code == 0, out
    assert f"{way}_method" in (tmp_path / "results" / "all" / "table.md").read_text()

    store = Store(tmp_path / "results" / "cells")
    (record,) = store.pretrainings()
    (evaluation,) = store.evaluation_ids(record.id)
    description, answer = store.read_description(record.id).record, store.read_evaluation(record.id, evaluation).record
    assert description.features == 7  # from its output
    net = f"backbone {way}_net"
    assert set(record.provenance.code) == {f"method {way}_method", net, "training on cpu"}
    assert set(description.provenance.code) == {f"method {way}_method", net, "description"}
    assert set(answer.provenance.code) == {f"probe {way}_probe", net, "evaluation"}

    label = f"{way}_method on {way}_data, seed 0"
    lines = [json.loads(line) for line in (tmp_path / "results" / "all" / "log.jsonl").read_text().splitlines()]
    assert {line["run"] for line in lines} == {record.id}
    assert [line["event"] for line in lines] == ["started", "point", "point", "answered", "ended"]
    assert (lines[0]["label"], lines[0]["config"]["backbone"]["options"]) == (label, {"width": 7})
    assert lines[3]["metrics"] == answer.metrics
    curve = {point.epoch: dict(point.values) for point in store.read_curve(record.id).record.points}
    assert all(line["values"].items() >= curve[line["epoch"]].items() for line in lines[1:3])
    assert "c_top1" in lines[1]["values"]
    assert (tmp_path / "results" / "all" / "told.txt").read_text().splitlines() == [
        f"started {label} {way}_method",
        "point 1 c_top1 c_balanced",
        "point 2",
        "answered q top1 balanced",
        "ended done",
        "close",
    ]
    code, out = harness("run", suite, "--logger", f"{way}_log")  # nothing is left to do
    assert (tmp_path / "results" / "all" / "told.txt").read_text().endswith("ended done\nclose\nclose\n")


def test_what_ages_when_a_users_file_is_edited(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(EVERYTHING)
    use([file])
    before = Code.read().digests
    file.write_text(EVERYTHING.replace("100 *", "90 *"))
    use([file])
    after = Code.read().digests
    changed = {part for part in after if after[part] != before[part]}
    assert changed == {"method NAME_method", "method NAME_other", "probe NAME_probe", "backbone NAME_net"}


# Backbones


@pytest.fixture
def with_net(harness, tmp_path):
    """A suite on digits with an own backbone; more of it as a mapping."""

    def write(backbone):
        (tmp_path / "mine.py").write_text(EVERYTHING)
        more = (
            f"extensions: [mine.py]\nmethods: {{w_mse: null}}\naxes: {{seeds: 1}}\ndefaults:\n  backbone:\n{backbone}"
        )
        return write_suite(tmp_path, more, "net.yaml").name

    return write


def test_stem_and_width_of_an_own_backbone_are_refused_at_their_line(harness, with_net):
    code, out = harness("plan", with_net("    name: NAME_net\n    width: 8\n    stem: standard\n"))
    assert code == 2
    assert "net.yaml:8: defaults.backbone.width: `NAME_net` is no ResNet of timm's, `width` does not apply to it" in out
    assert "write `width: null`" in out
    assert "stem" not in out
    code, out = harness("plan", with_net("    name: NAME_net\n    width: null\n"))
    assert "toy.yaml:5: defaults.backbone.stem: `NAME_net` is no ResNet" in out


def test_what_an_own_backbone_cannot_take_is_known_to_the_plan_and_remembered_by_its_code(harness, with_net, tmp_path):
    suite = with_net("    {name: NAME_net, stem: standard, width: null}\n")
    for _ in range(2):
        code, out = harness("plan", suite)
        assert code == 0
        assert "mine.py: NAME_net(1, 8): ValueError: made for 6 pixels, not 8" in out.replace("\n", "")
    (tmp_path / "mine.py").write_text(EVERYTHING.replace("size != 6", "size > 99"))
    assert "1 pending" in harness("plan", suite)[1]


def test_timm_keeps_its_names(harness, with_net, tmp_path):
    suite = with_net("    {name: resnet18, stem: standard, width: null}\n")
    (tmp_path / "mine.py").write_text(EVERYTHING.replace("NAME_net", "resnet18"))
    assert "mine.py: timm has a model 'resnet18' itself; give BACKBONE another name" in harness("plan", suite)[1]


def test_a_backbones_name_is_one_word(tmp_path):
    (tmp_path / "mine.py").write_text(EVERYTHING.replace("NAME_net", "my/net.v2"))
    with pytest.raises(ExtensionError, match=r"mine\.py: cannot be imported: ValueError: a backbone's name is letters"):
        find(registry.BACKBONE, [tmp_path / "mine.py"])


# Datasets


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("1 / 0", "NAME_data: its loader failed on train: ZeroDivisionError: division by zero"),
        ("None", "its loader gives train as a NoneType that cannot be read as pairs of an image and a label"),
        (
            "(np.zeros((60, 6, 6)), np.zeros(60))",
            "gives train as float64 of shape (60, 6, 6) with labels of shape (60,)",
        ),
        ("(np.zeros((61, 6, 6), np.uint8), np.zeros(60))", "uint8 of shape (61, 6, 6) with labels of shape (60,)"),
        (
            "(np.zeros((9, 6, 6), np.uint8), np.zeros(9))",
            "train has 9 instead of 60 images: not Noise as its",
        ),
        ("(np.zeros((60, 7, 7), np.uint8), np.zeros(60))", "train has images of shape (7, 7, 1): not Noise as its"),
        ("(np.zeros((60, 6, 6), np.uint8), np.full(60, 2))", "train has labels outside 0..1"),
        ("[(np.zeros((6, 6), np.uint8), 0), (np.zeros((5, 5), np.uint8), 0)]", "all of one size: ValueError"),
    ],
)
def test_a_loader_that_gives_something_else(harness, tmp_path, given, message):
    text = EVERYTHING.replace("    draw = np.random.default_rng(len(split))", f"    return {given}")
    (tmp_path / "mine.py").write_text(text)
    code, out = harness("data", "prepare", "NAME_data", "--extensions", "mine.py")
    assert code == 2
    assert message in out
    assert not (tmp_path / "data" / "NAME_data").exists()


def test_a_loader_as_torchvision_has_them(harness, tmp_path):
    """Grey images are asked for; labels, names of classes and what `--from` names arrive."""
    loader = """
class Pairs:
    classes = ["a", "b"]
    def __init__(self, split, folder):
        assert folder.name == "copy"
        self.count = {"train": 60, "test": 20}[split]
    def __len__(self): return self.count
    def __getitem__(self, row):
        if row >= self.count:
            raise IndexError
        from PIL import Image
        return Image.new("RGB", (6, 6), (row, row, row)), row % 2
"""
    (tmp_path / "mine.py").write_text(loader + EVERYTHING.replace("load=load", "load=Pairs"))
    (tmp_path / "copy").mkdir()
    code, out = harness("data", "prepare", "NAME_data", "--extensions", "mine.py", "--from", "copy")
    assert code == 0, out
    manifest = json.loads((tmp_path / "data" / "NAME_data" / "manifest.json").read_text())
    assert manifest["classes"] == ["a", "b"]
    pixels = np.load(tmp_path / "data" / "NAME_data" / "pixels.npy")
    assert pixels[:, 0, 0, 0].tolist() == [*range(60), *range(20)]
    assert np.load(tmp_path / "data" / "NAME_data" / "labels.npy").tolist() == [0, 1] * 40


# Loggers


def test_a_logger_that_fails_is_one_warning_and_costs_no_cell(harness, tmp_path, data_dir):
    (tmp_path / "mine.py").write_text(
        EVERYTHING.replace("def point(self, run, point):", "def point(self, *_): 1 / 0 #")
    )
    suite = write_suite(tmp_path, "extensions: [mine.py]\nmethods: {untrained: null}\naxes: {seeds: 1}\n", "one.yaml")
    run = ["run", suite, "--data-dir", data_dir, "--logger", "NAME_log", "--logger", "jsonl"]
    code, out = harness(*run)
    assert code == 0, out
    assert out.count("the logger NAME_log failed and is told no more: ZeroDivisionError: division by zero") == 1
    assert (tmp_path / "results" / "one" / "told.txt").read_text() == "started w_mse on digits, seed 0 w_mse\n"
    log = tmp_path / "results" / "one" / "log.jsonl"
    assert log.read_text().count('"ended"') == 1

    with log.open("a") as file:
        file.write('{"event": "cut sh')  # by a killed process
    code, out = harness(*run, "--set", "k=3")  # another question of the encoder that is there
    assert code == 0, out
    events = [json.loads(line)["event"] for line in log.read_text().splitlines() if not line.endswith("cut sh")]
    assert events[-3:] == ["started", "answered", "ended"]


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        (("", ""), "jsnl", "there is no logger `jsnl`; did you mean `jsonl`?"),
        (("self.path =", "1 / 0 #"), "NAME_log", "the logger 'NAME_log' cannot begin: ZeroDivisionError"),
    ],
)
def test_a_logger_that_cannot_begin_is_said_before_anything_runs(harness, tmp_path, change, name, message):
    (tmp_path / "mine.py").write_text(EVERYTHING.replace(*change) if change[0] else EVERYTHING)
    suite = write_suite(tmp_path, "extensions: [mine.py]\n", "one.yaml")
    code, out = harness("run", suite, "--logger", name)
    assert (code, message in out) == (2, True)
    assert not (tmp_path / "results" / "cells").exists()


# Names, types, suites


def test_the_old_name_of_extensions_is_answered_with_the_new_one(harness, tmp_path):
    code, out = harness("plan", write_suite(tmp_path, "method_files: [mine.py]\n", "old.yaml"))
    assert (code, "old.yaml:2: method_files: unknown key; write `extensions` here" in out) == (2, True), out


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_entry_of_a_wrong_type_and_a_name_that_is_taken(tmp_path, kind):
    file, other = tmp_path / "mine.py", tmp_path / "other.py"
    one, several = kind.attributes
    for attribute, value in ((one, "3"), (several, "(3,)"), (several, "'ab'")):
        file.write_text(f"{attribute} = {value}\n")
        with pytest.raises(
            ExtensionError, match=rf"mine\.py: {attribute} holds a (int|str), not a \w+; write {one} = "
        ):
            find(kind, [file])
    file.write_text(EVERYTHING)
    other.write_text(EVERYTHING)
    with pytest.raises(ExtensionError, match=rf"other\.py: the {kind.name} name 'NAME_\w+' is already taken by .*mine"):
        find(kind, [file, other])


def test_what_is_in_use_is_that_of_the_last_suite(tmp_path):
    file = tmp_path / "lean.py"
    file.write_text(LEAN)
    use([file])
    assert in_use(METHOD)["lean"].user
    assert "lean" in all_methods()
    assert "lean" not in all_methods([])
    use([])
    assert "lean" not in all_methods()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("json", "it says 'json'; write it as 'module:name', or give the function itself"),
        ("no_module:x", "it says 'no_module:x', but no_module cannot be imported: No module named 'no_module'"),
        ("json:gone", "it says 'json:gone', but json has no function or class 'gone'"),
    ],
)
def test_a_builder_that_is_not_there(given, message):
    with pytest.raises(ExtensionError) as caught:
        named(given, "it says")
    assert str(caught.value) == message
    assert named("json:loads", "it says") is json.loads


# Installed distributions


def test_a_distribution_is_found_without_torch(tmp_path):
    folder = distribution(tmp_path / "site", LEAN, method="acme_ssl:METHOD")
    code = "import sys; from harness.registry import all_methods as m; print(list(m())[-1], 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["lean", "False"]


@pytest.mark.parametrize(
    ("value", "text", "message"),
    [
        ("acme_ssl:METHOD", "import gone", "cannot be loaded: ModuleNotFoundError: No module named 'gone'"),
        ("acme_ssl:METHOD", "x = 1", "cannot be loaded: AttributeError: module 'acme_ssl' has no attribute 'METHOD'"),
        ("acme_ssl:METHOD", "METHOD = 3", ": METHOD holds a int, not a MethodEntry"),
        ("acme_gone:METHOD", "", "cannot be loaded: ModuleNotFoundError: No module named 'acme_gone'"),
        ("acme_ssl:METHOD", LEAN.replace("lean", "byol"), "the method name 'byol' is already taken by the package"),
    ],
)
def test_a_broken_distribution_is_said_once_and_breaks_nothing(
    tmp_path, monkeypatch, caplog, harness, data_dir, value, text, message
):
    monkeypatch.syspath_prepend(distribution(tmp_path / "site", text, method=value))
    with caplog.at_level(logging.WARNING):
        code, out = harness("status", write_suite(tmp_path), "--data-dir", data_dir)
    assert (code, "4 pending" in out) == (0, True)
    (said,) = caplog.messages
    assert said.startswith("the distribution acme-ssl: ")
    assert message in said


def test_a_users_file_takes_no_name_of_a_distribution(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(distribution(tmp_path / "site", LEAN, method="acme_ssl:METHOD"))
    found = find(METHOD)["lean"]
    assert (found.file, found.distribution.version) == (tmp_path / "site" / "acme_ssl.py", "1.2")
    (tmp_path / "mine.py").write_text(LEAN)
    with pytest.raises(ExtensionError, match=r"mine\.py: .* 'lean' is already taken by the distribution acme-ssl;"):
        all_methods([tmp_path / "mine.py"])


def test_the_built_in_ones():
    assert list(find(PROBE)) == ["fine_tune", "knn", "lbfgs", "linear", "sgd"]
    assert list(all_loggers()) == ["jsonl"]
