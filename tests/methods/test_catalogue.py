"""Which methods there are, and how an installed distribution brings one."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import methods
from methods import MethodFileError, catalogue, method_sources
from methods.classifier import Classifier
from methods.method import Batch, Step
from methods.supervised import SupervisedSettings

HERE = Path(methods.__file__).parent
LEAN = """
from methods.entry import MethodEntry, Settings

METHOD = MethodEntry(name="lean", summary="no torch", source="me", settings=Settings, build="lean_parts:Lean")
"""


def run_python(code: str, *folders: Path) -> str:
    """What a new process prints, with the folders in front of those it finds modules in."""
    path = os.pathsep.join([*map(str, folders), *sys.path])
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_method_of_the_mission_is_found_under_its_file_name():
    entries = catalogue()
    assert set(entries) == {
        "w_mse",
        "contrastive",
        "byol",
        "simsiam",
        "whitened_contrastive",
        "vicreg",
        "barlow_twins",
        "plain_mse",
        "untrained",
        "pixels",
        "supervised",
        "given_weights",
    }
    assert all(entry.name == name for name, entry in entries.items())
    assert {name: HERE / f"{name}.py" for name in entries} == method_sources()


def test_what_each_entry_says_of_its_method():
    entries = catalogue()

    def those(field: str, value: object) -> set[str]:
        return {name for name, entry in entries.items() if getattr(entry, field) == value}

    assert those("kind", "control") == {"plain_mse", "untrained", "pixels", "supervised", "given_weights"}
    assert those("trains", False) == {"untrained", "pixels", "given_weights"}
    assert those("min_views", 1) == {"untrained", "pixels", "supervised", "given_weights"}
    assert those("min_views", 2) == set(entries) - those("min_views", 1)
    assert those("represents", "pixels") == {"pixels"}
    assert those("reads_labels", True) == {"supervised"}
    assert those("needs_weights", True) == {"given_weights"}
    assert all(callable(entry.builder()) for entry in entries.values() if entry.trains)


def test_the_catalogue_and_its_settings_need_no_torch():
    run_python("""
import sys
from methods import catalogue, method_sources

for name, entry in catalogue().items():
    settings = entry.settings.model_validate({"transform": {"kind": "whitening"}} if name == "w_mse" else {})
    settings.problem(2, 256)
    entry.settings.model_json_schema()
assert list(method_sources()) == list(catalogue())
assert "torch" not in sys.modules
""")


def imports(file: Path) -> set[str]:
    """First parts of the names a file imports, and of this package's the first two; without Python's own."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
        found.update(".".join(name.split(".")[: 2 if name.startswith("methods") else 1]) for name in names)
    return found - set(sys.stdlib_module_names)


@pytest.mark.parametrize("file", sorted(HERE.rglob("*.py")), ids=lambda file: file.relative_to(HERE).as_posix())
def test_arrows_run_one_way(file: Path):
    allowed = {"torch", "methods.losses"}
    if file.parent == HERE:
        allowed |= {"pydantic"} | {f"methods.{other.stem}" for other in HERE.glob("*.py")}
    assert imports(file) <= allowed


# Installed distributions


@pytest.fixture
def _no_trace():
    yield
    for name in ("acme_ssl", "acme_gone"):
        sys.modules.pop(name, None)


def distribution(folder: Path, value: str, module: str) -> Path:
    """A folder as an installer leaves it: a module, and the metadata of the distribution that brought it."""
    metadata = folder / "acme_ssl-1.2.dist-info"
    metadata.mkdir(parents=True)
    (folder / "acme_ssl.py").write_text(module)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-ssl\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text(f"[ssl_harness.methods]\nacme = {value}\n")
    return folder


@pytest.mark.usefixtures("_no_trace")
def test_a_distribution_registers_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = distribution(tmp_path / "site", "acme_ssl:METHOD", LEAN)
    monkeypatch.syspath_prepend(folder)
    assert method_sources()["lean"] == folder / "acme_ssl.py"
    assert "acme_ssl" not in sys.modules
    entries = catalogue()
    assert list(entries)[-1] == "lean"
    assert entries["lean"] is sys.modules["acme_ssl"].METHOD
    (tmp_path / "mine.py").write_text(LEAN)
    with pytest.raises(MethodFileError, match=r"mine\.py: .* 'lean' is already taken by the distribution acme-ssl;"):
        catalogue([tmp_path / "mine.py"])


def test_a_new_process_finds_a_distribution_without_torch(tmp_path: Path):
    folder = distribution(tmp_path / "site", "acme_ssl:METHOD", LEAN)
    code = "import sys, methods; print(list(methods.catalogue())[-1], 'torch' in sys.modules)"
    assert run_python(code, folder).split() == ["lean", "False"]


@pytest.mark.usefixtures("_no_trace")
@pytest.mark.parametrize(
    ("value", "text", "message"),
    [
        ("acme_ssl:METHOD", "import gone", "cannot be loaded: ModuleNotFoundError: No module named 'gone'"),
        ("acme_ssl:METHOD", "x = 1", "cannot be loaded: AttributeError: module 'acme_ssl' has no attribute 'METHOD'"),
        ("acme_ssl:METHOD", "METHOD = 3", "is of type int, not a MethodEntry"),
        ("acme_gone:METHOD", "", "cannot be loaded: there is no module acme_gone"),
        ("acme_gone.part:METHOD", "", "cannot be loaded: ModuleNotFoundError: No module named 'acme_gone'"),
    ],
)
def test_a_distribution_whose_method_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, text: str, message: str
):
    monkeypatch.syspath_prepend(distribution(tmp_path / "site", value, text))
    with pytest.raises(MethodFileError) as caught:
        catalogue()
    assert str(caught.value) == (
        f"the distribution acme-ssl: its method acme = {value} {message}; update the distribution or remove it"
    )


@pytest.mark.usefixtures("_no_trace")
def test_a_distribution_takes_no_name_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(distribution(tmp_path / "site", "acme_ssl:METHOD", LEAN.replace('"lean"', '"byol"')))
    for find in (catalogue, method_sources):
        with pytest.raises(MethodFileError, match="the distribution acme-ssl: the method name 'byol' is already taken"):
            find()


# The supervised control


def test_supervised_reads_every_view_and_has_no_head():
    torch.manual_seed(0)
    method = Classifier(SupervisedSettings(), nn.Flatten(), 12, 5)
    views = torch.randn(3, 8, 3, 2, 2, requires_grad=True)
    labels = torch.arange(8) % 5
    loss = method.loss(Batch((views,), labels, torch.arange(8)), Step(0, 1, 0, 1, torch.Generator()))
    loss.backward()
    logits = torch.cat([method.classifier(view.flatten(1)) for view in views])
    torch.testing.assert_close(loss, nn.functional.cross_entropy(logits, labels.repeat(3)))
    assert (views.grad.abs().amax((1, 2, 3, 4)) > 0).all()
    assert method.embed(torch.randn(2, 12)) is None
