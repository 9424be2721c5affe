import pytest

from harness.store.digests import SHARED, SOURCES, code_digest, method_digest, method_files, shared_digest

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
    digests = []
    for place in ("here", "there"):
        root = tmp_path / place
        root.mkdir()
        (root / "a.py").write_text("x = 1")
        (root / "b.py").write_text("x = 2")
        digests += [code_digest([root / n for n in names], root) for names in (("a.py", "b.py"), ("b.py", "a.py"))]
    assert len(set(digests)) == 1


@pytest.fixture
def tree(tmp_path):
    for path in ("harness/data/views.py", "harness/training/trainer.py", "harness/evaluation/knn.py"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("x = 1")
    for path in ("harness/backbones.py", "harness/streams.py"):
        (tmp_path / path).write_text("x = 1")
    (tmp_path / "methods").mkdir()
    for name, text in {
        "__init__": "",
        "whitening": "def whiten(v): return v",
        "w_mse": "from methods.whitening import whiten\nMETHOD = 1",
        "plain_mse": "from methods.w_mse import loss\nMETHOD: int = 2",
        "byol": "METHOD = 3",
    }.items():
        (tmp_path / "methods" / f"{name}.py").write_text(text)
    return tmp_path


def test_methods_are_the_files_that_define_one(tree, tmp_path_factory):
    assert list(method_files(tree)) == ["byol", "plain_mse", "w_mse"]
    own = tmp_path_factory.mktemp("user") / "try_3.py"
    own.write_text('METHOD = MethodEntry(summary="s", name="mine")')
    assert method_files(tree, [own])["mine"] == own


def test_a_users_method_goes_stale_with_what_it_builds_on(tree, tmp_path_factory):
    own = tmp_path_factory.mktemp("user") / "try_3.py"
    own.write_text("from methods.plain_mse import loss\nMETHOD = 4")
    before = method_digest(own, tree)
    with (tree / "methods" / "byol.py").open("a") as file:
        file.write("\ny = 2\n")
    assert method_digest(own, tree) == before
    with (tree / "methods" / "w_mse.py").open("a") as file:
        file.write("\ny = 2\n")
    assert method_digest(own, tree) != before


@pytest.mark.parametrize(
    ("path", "stale"),
    [
        ("methods/byol.py", {"byol"}),
        ("methods/w_mse.py", {"w_mse", "plain_mse"}),
        ("methods/whitening.py", {"shared"}),
        ("methods/__init__.py", {"shared"}),
        ("harness/data/views.py", {"shared"}),
        ("harness/backbones.py", {"shared"}),
        ("harness/training/trainer.py", {"shared"}),
        ("harness/evaluation/knn.py", {"shared"}),
        ("harness/streams.py", {"shared"}),
        ("harness/store.py", set()),
    ],
)
def test_an_edit_reaches_those_it_concerns(tree, path, stale):
    def digests():
        return {"shared": shared_digest(tree)} | {
            name: method_digest(file, tree) for name, file in method_files(tree).items()
        }

    before = digests()
    with (tree / path).open("a") as file:
        file.write("\ny = 2\n")
    after = digests()
    assert {name for name in before if before[name] != after[name]} == stale


def test_the_shared_rooms_exist():
    assert [name for name in SHARED if not (SOURCES / name).exists()] == []
