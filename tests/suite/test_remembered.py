"""Plans of suites: the same when read back, another name when anything they depend on changes, harmless when broken."""

import os
import shutil
from pathlib import Path

import pytest

from harness.data.datasets import DATASETS
from harness.store.digests import SOURCES
from harness.suite.expand import expand
from harness.suite.remembered import KEPT, Plan, key, recall, remember
from harness.suite.suite import load_suite
from methods import catalogue

SUITES = sorted((SOURCES / "suites").glob("*.yaml"))
HERE = dict.fromkeys(DATASETS)


def plan_of(suite):
    return Plan(expand(suite, catalogue(suite.method_files), DATASETS, lambda spec: None), frozenset({"pixels"}))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_shipped_suite_reads_back_as_it_was(path, tmp_path):
    suite = load_suite(path)
    plan, name = plan_of(suite), key(suite, HERE)
    assert name is not None
    assert recall(tmp_path, name) is None
    remember(tmp_path, name, plan)
    assert recall(tmp_path, name) == plan


def test_the_name_depends_on_everything_that_the_plan_does(toy_suite, tmp_path):
    def name(*settings, fingerprints=HERE, root=SOURCES):
        return key(load_suite(toy_suite, None, settings), fingerprints, root)

    copy = tmp_path / "copy"
    for package in ("harness", "methods"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SOURCES / package, copy / package, ignore=ignore)
    names = [name(), name("epochs=3"), name(fingerprints=HERE | {"digits": "f"})]
    assert name(root=copy) == names[0] == name()
    for changed in ("methods/byol.py", "methods/composition.py", "harness/suite/cell.py", "harness/data/datasets.py"):
        with (copy / changed).open("a") as file:
            file.write("# changed\n")
        names.append(name(root=copy))
    text = toy_suite.read_text()
    toy_suite.write_text(text.replace("epochs: 2", "epochs: 4"))
    names.append(name())
    toy_suite.write_text(text.replace("  w_mse: {}\n  untrained: {}\n", "  untrained: {}\n  w_mse: {}\n"))
    names.append(name())  # the order of rows is part of a plan
    assert len(set(names)) == len(names)


def test_suites_with_own_method_files_are_not_kept(toy_suite, tmp_path):
    toy_suite.write_text(toy_suite.read_text() + "method_files: [mine.py]\n")
    assert key(load_suite(toy_suite), HERE) is None


def test_what_cannot_be_read_counts_as_none(toy_suite, tmp_path):
    suite = load_suite(toy_suite)
    remember(tmp_path, "a", plan_of(suite))
    path = tmp_path / "a.json"
    whole = path.read_text()
    for broken in (whole[:-20], "[]", "{}", whole.replace('"views"', '"vews"')):
        path.write_text(broken)
        assert recall(tmp_path, "a") is None
    (tmp_path / "file").write_text("")
    remember(tmp_path / "file", "a", plan_of(suite))  # no directory can be made there: nothing is kept, nothing raised


def test_old_plans_are_removed(toy_suite, tmp_path):
    for place in range(KEPT + 3):
        old = tmp_path / f"{place:03}.json"
        old.write_text("{}")
        os.utime(old, (place, place))
    remember(tmp_path, "new", plan_of(load_suite(toy_suite)))
    left = sorted(path.stem for path in Path(tmp_path).glob("*.json"))
    assert len(left) == KEPT
    assert "new" in left
    assert "000" not in left
