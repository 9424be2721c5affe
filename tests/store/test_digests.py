"""What ages what: digests of the code, taken of a copy of the sources that is edited."""

import ast
import os
import shutil
from pathlib import Path

import pytest

from harness.store import digests
from harness.store.digests import ROOMS, SOURCES, code_digest, extension_digest, extension_files, imported_files
from harness.store.provenance import Code

SOURCE = '''"""Module."""
import math

RATE = 0.2
"""Per step."""


class Loss:
    """Class."""

    scale: float = 1.0
    """Attribute."""

    def value(self, x):
        """Function."""
        return f"{math.sqrt(x) * self.scale}"  # comment
'''


def _digest(tmp_path, text):
    (tmp_path / "m.py").write_text(text)
    return code_digest([tmp_path / "m.py"], tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Module."""', '"""Another."""'),
        ('"""Module."""\n', ""),
        ('    """Class."""\n', ""),
        ('    """Attribute."""\n', '    """Of the loss."""\n'),
        ('        """Function."""\n', '        """It gives\n\n        a value."""\n'),
        ("# comment", "# other comment"),
        ("RATE = 0.2", "RATE  =  (0.2)"),
    ],
)
def test_words_and_layout_are_not_in_the_digest(tmp_path, old, new):
    assert old in SOURCE
    assert _digest(tmp_path, SOURCE.replace(old, new)) == _digest(tmp_path, SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.2", "0.3"),
        ("1.0", "1"),
        ("1.0", "None"),
        ("1.0", "True"),
        ("sqrt(x)", "sqrt(-x)"),
        ("self.scale}", "self.scale:.2f}"),
        ("(self, x)", "(self, x=None)"),
        ("(self, x)", "(self, *x)"),
        ("    def value", "    @staticmethod\n    def value"),
        ("return f", "f"),
    ],
)
def test_what_runs_is_in_the_digest(tmp_path, old, new):
    assert old in SOURCE
    assert _digest(tmp_path, SOURCE.replace(old, new)) != _digest(tmp_path, SOURCE)


def test_a_file_that_does_not_parse_has_a_digest_of_its_text(tmp_path):
    assert _digest(tmp_path, "def f(:\n") == _digest(tmp_path, "def f(:\n")
    assert _digest(tmp_path, "def f(:\n") != _digest(tmp_path, "def g(:\n")


def test_neither_the_order_of_files_nor_the_place_of_the_tree_matters(tmp_path):
    found = []
    for place in ("here", "there"):
        root = tmp_path / place
        root.mkdir()
        (root / "a.py").write_text("x = 1")
        (root / "b.py").write_text("x = 2")
        found += [code_digest([root / n for n in names], root) for names in (("a.py", "b.py"), ("b.py", "a.py"))]
    assert len(set(found)) == 1


# A copy of the sources


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The sources as they are; tests put back what they edit."""
    root = tmp_path_factory.mktemp("sources")
    for package in ("harness", "methods"):
        shutil.copytree(SOURCES / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture
def edit(tree):
    """Add a statement to a file, and say which digests that changes."""
    before: dict[Path, bytes] = {}

    def change(name, text="\ny_added = 2\n", own=None):
        def digests_now():
            mine = {"method mine": extension_digest(own, tree)} if own else {}
            return {**Code.read(tree).digests, **mine}

        path = tree / name
        earlier = digests_now()
        before.setdefault(path, path.read_bytes())
        path.write_bytes(path.read_bytes() + text.encode())
        later = digests_now()
        assert set(earlier) == set(later)
        return {part for part in earlier if earlier[part] != later[part]}

    yield change
    for path, content in before.items():
        path.write_bytes(content)


CPU, CUDA = "training on cpu", "training on cuda"
ON_VIEWS = {"probe sgd", "probe fine_tune"}


@pytest.mark.parametrize(
    ("name", "aged"),
    [
        ("harness/training/trainer.py", {CPU, CUDA}),
        ("harness/engines/pretrain.py", {CPU, CUDA}),
        ("harness/data/draw.py", {CPU, CUDA, "description", *ON_VIEWS}),
        ("harness/accelerate/cpu/norm_kernels.py", {CPU}),
        ("harness/data/kernels.py", {CPU, *ON_VIEWS}),
        ("harness/data/tensors.py", {CUDA, *ON_VIEWS}),
        ("harness/accelerate/cuda/compiled.py", {CUDA}),
        ("harness/backbones.py", {CPU, CUDA, "evaluation", "description"}),
        ("harness/streams.py", {CPU, CUDA, "evaluation", "description"}),
        ("harness/data/loading.py", {CPU, CUDA, "evaluation", "description"}),
        ("harness/evaluation/sgd.py", ON_VIEWS),
        ("harness/evaluation/knn.py", {"probe knn"}),
        ("harness/evaluation/linear.py", {"probe linear"}),
        ("harness/evaluation/probes/lbfgs.py", {"probe lbfgs"}),
        ("harness/evaluation/features.py", {"evaluation", "description"}),
        ("harness/engines/evaluate.py", {"evaluation"}),
        ("harness/evaluation/collapse.py", {"description"}),
        ("harness/engines/describe.py", {"description"}),
        ("harness/analysis/tables.py", set()),
        ("harness/analysis/statistics.py", set()),
        ("harness/suite/expand.py", set()),
        ("harness/store/store.py", set()),
        ("harness/data/datasets.py", set()),
        ("harness/data/prepare.py", set()),
        ("harness/engines/inline.py", set()),
        ("harness/cli/run.py", set()),
        ("methods/__init__.py", set()),
        ("harness/user_file.py", set()),
        ("harness/registry.py", set()),
        ("harness/own_backbones.py", set()),
        ("methods/barlow_twins.py", {"method barlow_twins"}),
        ("methods/untrained.py", {"method untrained"}),
    ],
)
def test_an_edit_ages_what_passed_through_the_file(edit, name, aged):
    assert edit(name) == aged


def test_a_docstring_ages_nothing(edit):
    for name in ("harness/training/trainer.py", "methods/w_mse.py", "methods/losses/whitening.py"):
        assert edit(name, '\n"""More words."""\n# and a comment\n') == set()


def test_a_loss_ages_the_methods_that_use_it_and_nothing_else(edit):
    aged = edit("methods/losses/whitening.py")
    assert "method w_mse" in aged
    assert aged <= {name for name in Code.read().digests if name.startswith("method ")}
    assert not aged & {"method untrained", "method pixels", "method given_weights"}


def test_where_the_sources_are_does_not_matter(tree):
    assert Code.read(root=tree).digests == Code.read().digests


# Case 18: a user's method file and what it imports


@pytest.fixture
def own(tmp_path):
    """A method file with neighbours: a module, a package, a neighbour of a neighbour, one imported late."""
    files = {
        "try_3.py": """
            import numpy
            from helper import pull
            import tools.shapes
            from tools import plain
            from methods.losses.distances import mse

            def late():
                import lazy

            METHOD = MethodEntry(name="mine", summary="s", build="nets:Net")
            """,
        "helper.py": "from deep import depth\nfrom tools.inner import leaf\ndef pull(x): return x\n",
        "deep.py": "depth = 3\n",
        "lazy.py": "x = 1\n",
        "nets.py": "class Net: ...\n",
        "stranger.py": "x = 1\n",
        "tools/__init__.py": "from .start import begin\n",
        "tools/start.py": "begin = 1\n",
        "tools/shapes.py": "from . import sides\nfrom .inner.leaf import green\n",
        "tools/sides.py": "import far\nx = 1\n",
        "tools/plain.py": "x = 1\n",
        "tools/unused.py": "x = 1\n",
        "tools/inner/__init__.py": "",
        "tools/inner/leaf.py": "from .. import sides\nfrom ..relative import x\ngreen = 1\n",
        "tools/relative.py": "x = 1\n",
        "far.py": "x = 1\n",
    }
    folder = tmp_path / "own"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("\n".join(line.removeprefix(" " * 12) for line in text.splitlines()) + "\n")
    return folder / "try_3.py"


def _mine(own, root=SOURCES):
    return extension_digest(own, root)


@pytest.mark.parametrize(
    "name",
    [
        "try_3.py",
        "helper.py",
        "deep.py",
        "lazy.py",
        "nets.py",
        "tools/__init__.py",
        "tools/start.py",
        "tools/shapes.py",
        "tools/sides.py",
        "tools/plain.py",
        "tools/inner/__init__.py",
        "tools/inner/leaf.py",
        "tools/relative.py",
        "far.py",
    ],
)
def test_editing_what_a_users_method_imports_makes_it_stale(own, name):
    before = _mine(own)
    with (own.parent / name).open("a") as file:
        file.write('\n"""Words."""  # only\n')
    assert _mine(own) == before
    with (own.parent / name).open("a") as file:
        file.write("\nadded = 1\n")
    assert _mine(own) != before


@pytest.mark.parametrize("name", ["stranger.py", "tools/unused.py"])
def test_editing_what_it_does_not_import_does_not(own, name):
    before = _mine(own)
    (own.parent / name).write_text("x = 2\n")
    assert _mine(own) == before


def test_a_users_method_goes_stale_with_what_it_builds_on(own, edit):
    assert "method mine" in edit("methods/losses/distances.py", own=own)
    assert "method mine" not in edit("methods/losses/whitening.py", own=own)
    assert "method mine" not in edit("harness/training/trainer.py", own=own)


def test_a_new_neighbour_counts_once_it_is_imported(own):
    before = _mine(own)
    (own.parent / "stranger.py").unlink()
    own.write_text(own.read_text() + "try:\n    import stranger\nexcept ImportError:\n    stranger = None\n")
    without = _mine(own)
    (own.parent / "stranger.py").write_text("x = 1\n")
    assert len({before, without, _mine(own)}) == 3


def test_a_users_folder_may_be_moved_and_named_in_any_way(own, tmp_path, monkeypatch):
    before = _mine(own)
    shutil.copytree(own.parent, tmp_path / "zz" / "moved")
    assert _mine(tmp_path / "zz" / "moved" / "try_3.py") == before
    monkeypatch.chdir(own.parent)
    assert _mine(Path("try_3.py")) == before
    (own.parent / "deep.py").write_text("import try_3\ndepth = 3\n")  # a circle
    assert _mine(Path("try_3.py")) == _mine(own) != before


def test_files_beside_it_that_are_called_as_ours_are_not_what_it_imports(own):
    before = _mine(own)
    (own.parent / "methods" / "losses").mkdir(parents=True)
    (own.parent / "methods" / "losses" / "distances.py").write_text("x = 1\n")
    (own.parent / "math.py").write_text("x = 1\n")
    own.write_text("import math\n" + own.read_text())
    with_math = _mine(own)
    assert with_math != before  # by its own text
    (own.parent / "methods" / "losses" / "distances.py").write_text("x = 2\n")
    (own.parent / "math.py").write_text("x = 2\n")
    assert _mine(own) == with_math


def test_installed_libraries_are_not_followed(tmp_path, monkeypatch):
    """Neither from a user's file nor where the harness itself, or a registered method, is installed beside them."""
    libraries = tmp_path / "lib" / "site-packages"
    for name, text in {
        "torch/__init__.py": "x = 1\n",
        "methods/entry.py": "x = 1\n",
        "single.py": "import torch\nfrom methods.entry import x\nMETHOD = 1\n",
        "packed/method.py": "import torch\nfrom .parts import part\nMETHOD = 1\n",
        "packed/parts.py": "part = 1\n",
    }.items():
        (libraries / name).parent.mkdir(parents=True, exist_ok=True)
        (libraries / name).write_text(text)
    monkeypatch.setattr(digests, "_own_places", lambda: (libraries,))
    user = tmp_path / "mine.py"
    user.write_text("import torch\nMETHOD = 1\n")

    def names(file):
        return {path.relative_to(tmp_path).as_posix() for path in extension_files(file, libraries)}

    assert names(user) == {"mine.py"}
    assert names(libraries / "single.py") == {"lib/site-packages/single.py", "lib/site-packages/methods/entry.py"}
    assert names(libraries / "packed" / "method.py") == {
        "lib/site-packages/packed/method.py",
        "lib/site-packages/packed/parts.py",
    }


def test_a_package_counts_where_something_is_taken_from_it_by_a_dot(tmp_path):
    package = tmp_path / "extra"
    package.mkdir()
    (package / "__init__.py").write_text("SCALE = 1\n")
    (package / "method.py").write_text("from . import SCALE\nMETHOD = 1\n")
    found = extension_files(package / "method.py")
    assert {path.name for path in found} == {"method.py", "__init__.py"}


def test_modules_elsewhere_on_the_path_of_imports_count(own, tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "common.py").write_text("x = 1\n")
    own.write_text("import common\n" + own.read_text())
    monkeypatch.setattr(digests, "_own_places", lambda: (shared,))
    before = _mine(own)
    (shared / "common.py").write_text("x = 2\n")
    assert _mine(own) != before


# Nothing is forgotten


PACKAGES = ("data", "training", "evaluation", "engines")
NO_NUMBER = {
    "data/archives.py": "unpacks what is prepared; fingerprints vouch for the result",
    "data/cifar.py": "reads an archive to be packed; fingerprints vouch for the result",
    "data/datasets.py": "a catalogue: what a cell needs of it stands in its spec",
    "data/download.py": "fetches archives; fingerprints vouch for the result",
    "data/facts.py": "says what is known of a dataset; it is part of the spec",
    "data/folders.py": "lists files to be prepared; fingerprints vouch for the result",
    "data/imagenet.py": "unpacks archives; fingerprints vouch for the result",
    "data/loaders.py": "reads what is prepared; fingerprints vouch for the result",
    "data/packed.py": "lays images out on the disk; fingerprints vouch for the result",
    "data/prepare.py": "makes local copies; fingerprints vouch for the result",
    "data/recipes.py": "says how local copies are made; fingerprints vouch for the result",
    "engines/context.py": "passes things around",
    "engines/execution.py": "where and how it runs, recorded beside the result",
    "engines/engine.py": "hands out tasks",
    "engines/inline.py": "hands out tasks",
    "engines/job.py": "says what is to be done, and where",
    "engines/local.py": "hands out tasks",
    "engines/pruning.py": "says which training is given up; what it has made by then stays as it is",
    "engines/run_task.py": "the order of stages, and what is stored of each",
    "engines/shares.py": "deals out devices and threads, recorded beside the result",
    "engines/task.py": "says what is to be done",
    "engines/warm_up.py": "compiles before the clock starts",
    "engines/work.py": "takes tasks, and tells how they end",
    "engines/worker_death.py": "says how a worker ended",
    "engines/worker_slot.py": "hands out tasks",
    "evaluation/sample.py": "for pictures only",
    "memory.py": "measures",
    "own_backbones.py": "hands an own backbone to timm; its own file counts",
    "registry.py": "finds extensions, whose own files count",
    "training/first_step.py": "looks, and changes nothing",
    "user_file.py": "imports a user's file, which counts itself",
}


OUTSIDE = ("backbones", "memory", "own_backbones", "registry", "streams", "threads", "user_file")


def test_every_file_of_a_room_exists():
    named = {name for files in ROOMS.values() for name in files}
    assert sorted(name for name in named if not (SOURCES / "harness" / name).exists()) == []


def test_no_module_is_forgotten():
    """A new file must stand in a room, belong to a probe, or be said to change no number, and why."""
    ours = SOURCES / "harness"
    probes = (ours / "evaluation" / "probes").glob("[a-z]*.py")
    followed = {path.relative_to(ours).as_posix() for file in probes for path in extension_files(file)}
    known = {name for files in ROOMS.values() for name in files} | followed
    folders = ("accelerate", "data", "training", "evaluation", "engines")
    modules = [path for folder in folders for path in (ours / folder).rglob("*.py")]
    modules += [ours / f"{name}.py" for name in OUTSIDE]
    there = {path.relative_to(ours).as_posix() for path in modules if path.name != "__init__.py"}
    assert sorted(there - known - set(NO_NUMBER)) == []
    assert sorted(set(NO_NUMBER) & known) == []
    assert sorted(set(NO_NUMBER) - there) == []


def test_what_a_result_imports_is_in_its_rooms():
    """What the stages themselves import is in their rooms, but for what belongs to another kind of result."""
    ours = SOURCES / "harness"
    for room, start in (("evaluation", "engines/evaluate.py"), ("description", "engines/describe.py")):
        reached, waiting = set(), [ours / start]
        while waiting:
            current = waiting.pop()
            if current not in reached and current.relative_to(ours).as_posix() not in NO_NUMBER:
                reached.add(current)
                waiting += [p for p in imported_files(current, current.parent) if p.is_relative_to(ours)]
        names = {path.relative_to(ours).as_posix() for path in reached if path.name != "__init__.py"}
        # random views are drawn for training, and for the probes that say so
        views = {*ROOMS[CPU], *ROOMS[CUDA]} - {*ROOMS["evaluation"]}
        names = {name for name in names if name.partition("/")[0] not in ("spec", "store", "suite")}
        assert sorted(names - set(ROOMS[room]) - views) == []


@pytest.mark.parametrize(
    "package", ["harness", *(f"harness/{name}" for name in ("data", "training", "evaluation", "engines"))]
)
def test_files_of_packages_hold_no_code(package):
    """They are in no room; what they say of the package, its version perhaps, is all that is in them."""
    tree = ast.parse((SOURCES / package / "__init__.py").read_text())
    assert all(isinstance(statement.value, ast.Constant) for statement in tree.body)


def test_reading_again_notices_an_edit_of_the_same_length(tmp_path):
    path = tmp_path / "m.py"
    path.write_text("x = 1")
    before = code_digest([path], tmp_path)
    path.write_text("x = 2")
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))
    assert code_digest([path], tmp_path) != before
