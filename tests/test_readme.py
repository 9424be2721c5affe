"""What the README says is so: its commands exist, its code runs, CI runs its tests."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import harness
from harness.cli import VERBS, cli
from harness.suite.suite import load_suite
from tests.conftest import write_suite

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language, text=README):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def page(name):
    return (ROOT / "docs" / name).read_text()


def test_the_two_commands_and_ci():
    indented = re.findall(r"^    (\S.*?)  +# (.+)$", README, flags=re.MULTILINE)
    assert [what for _, what in indented] == ["the main job", "the tests"]
    main, tests = (command.split("&& ")[1] for command, _ in indented)
    assert main == "uv run harness run suites/quickstart.yaml"
    assert tests == "uv run pytest -n auto"
    script = (ROOT / ".ci" / "run").read_text()
    found = re.search(r"sed -n '(.*)' README.md", script).group(1)
    printed = subprocess.run(
        ["sed", "-n", found.replace("\\\\", "\\"), "README.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "pip install uv && uv run pytest -n auto"


def test_every_command_of_the_table_exists():
    verbs = re.findall(r"`harness (\w+)[^`]*`", page("suites.md"))
    assert set(verbs) <= set(VERBS)
    assert set(VERBS) <= set(verbs)  # and none goes unsaid
    assert (ROOT / "suites" / "quickstart.yaml").exists()


def test_every_link_to_a_file_leads_somewhere():
    for file in PAGES:
        for target in re.findall(r"\]\(([^)h][^)]*)\)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name}: {target}"


def test_the_table_is_the_stored_one():
    # as committed: the README's first command writes the file anew, with this machine's times
    shown = subprocess.run(
        ["git", "show", "HEAD:results/reference/quickstart/table.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    stored = shown.stdout.splitlines()
    ours = [line for line in README.splitlines() if line.startswith("| ") and "±" in line]
    assert len(ours) == 13
    assert set(ours) <= set(stored)


def test_the_suite_is_a_suite(tmp_path):
    (suite,) = blocks("yaml", page("suites.md"))
    path = tmp_path / "suite.yaml"
    path.write_text(suite)
    assert load_suite(path).content.datasets.keys() == {"fashion_mnist"}


def test_the_loss_on_its_own():
    loss, _ = blocks("python")
    names = {"v": torch.randn(2, 256, 64), "generator": torch.Generator().manual_seed(0)}
    exec(loss, names)
    assert 0 < names["loss"] < 4


@pytest.fixture
def margin_suite(tmp_path):
    _, method = blocks("python")
    (tmp_path / "my_loss.py").write_text(method)
    more = "extensions: [my_loss.py]\nmethods: {margin: {}, w_mse: null}\naxes: {seeds: 1}\n"
    return write_suite(tmp_path, more, "mine.yaml")


def test_the_method_in_one_file_runs(margin_suite, tmp_path, data_dir):
    arguments = ["run", str(margin_suite), "--results", str(tmp_path / "results"), "--data-dir", str(data_dir)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert "margin" in (tmp_path / "results" / "mine" / "table.md").read_text()


def test_the_method_in_one_file_computes_what_it_says(margin_suite, tmp_path):
    from harness.registry import all_methods

    entry = all_methods([tmp_path / "my_loss.py"])["margin"]
    v = torch.randn(3, 5, 4, dtype=torch.float64)
    pairs = [(i, j) for i in range(3) for j in range(i)]
    cosine = torch.stack([torch.cosine_similarity(v[i], v[j], dim=-1) for i, j in pairs])
    expected = (0.9 - cosine).relu().mean()
    torch.testing.assert_close(entry.settings().pair_loss(v, v), expected)


def test_the_dataset_in_one_file_is_prepared(tmp_path):
    (code,) = blocks("python", page("extending.md"))
    (tmp_path / "my_data.py").write_text(code)
    draw = np.random.default_rng(0)
    for split, images in (("train", 60), ("test", 20)):
        pixels = draw.integers(0, 256, (images, 8, 8), dtype=np.uint8)
        np.savez(tmp_path / f"{split}.npz", images=pixels, labels=np.arange(images) % 2)
    arguments = ["data", "prepare", "blood_cells", "--extensions", str(tmp_path / "my_data.py")]
    arguments += ["--from", str(tmp_path), "--data-dir", str(tmp_path / "prepared")]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "prepared" / "blood_cells").is_dir()


def test_the_version_is_one_everywhere():
    out = subprocess.run([sys.executable, "-m", "harness", "--version"], capture_output=True, text=True, check=True)
    assert harness.__version__ == importlib.metadata.version("ssl-harness")
    assert harness.__version__ in out.stdout
    assert f"version: {harness.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert harness.__version__ in (ROOT / "CHANGELOG.md").read_text()
