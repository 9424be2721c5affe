"""Which methods there are, and what each needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import methods
from harness.registry import METHOD, all_methods, find
from methods.classifier import Classifier
from methods.method import Batch, Step
from methods.supervised import SupervisedSettings

HERE = Path(methods.__file__).parent


def test_every_method_of_the_mission_is_found_under_its_file_name():
    entries = all_methods()
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
    assert {name: HERE / f"{name}.py" for name in entries} == {name: found.file for name, found in find(METHOD).items()}


def test_what_each_entry_says_of_its_method():
    entries = all_methods()

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
    code = """
import sys
from harness.registry import KINDS, all_methods, find

for name, entry in all_methods().items():
    settings = entry.settings.model_validate({"transform": {"kind": "whitening"}} if name == "w_mse" else {})
    settings.problem(2, 256)
    entry.settings.model_json_schema()
assert all(find(kind) for kind in KINDS if kind.package)
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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
