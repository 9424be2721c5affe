"""Ids that must not move: results on disk lie under them, and a result whose id has moved is run again from nothing.

If `test_no_id_has_moved` fails, the likely causes are, and what to do:

- a field was added to a spec, or to the settings of a method or probe: give it a neutral value,
  `Field(default=v, json_schema_extra={"neutral": v})`, and the ids are as before;
- a default was changed: write the old value where it was used, or accept that another default is other science;
- a field was renamed or moved, or what is hashed was changed: undo it, or raise `SCHEMA_VERSION`, knowing that every
  stored result is orphaned.

A row added to `cells.ROWS`, or ids moved on purpose (say so in the commit), are pinned by

    uv run python -m tests.golden.write
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import methods
from harness.registry import METHOD, find
from tests.golden.cells import ROWS, current_ids, moved, pinned_ids

HINT = (
    "an id moved: results under it would be orphaned; give a new field a neutral value, or read the docstring of "
    "tests/golden/test_ids.py"
)


def test_no_id_has_moved() -> None:
    found = moved(pinned_ids(), current_ids())
    assert not found, "\n".join([HINT, *found])


def test_what_moved_is_named() -> None:
    old = {
        "a": {"pretraining": "1", "evaluations": {"x": "2"}},
        "b": {"pretraining": "3", "evaluations": {}},
        "c": {"pretraining": "4", "evaluations": {}},
    }
    new = {
        "a": {"pretraining": "1", "evaluations": {"x": "9"}},
        "c": {"pretraining": "4", "evaluations": {}},
        "d": {"pretraining": "5", "evaluations": {}},
    }
    assert moved(old, new) == ["a: evaluations", "b: gone", "d: new"]
    assert moved(old, old) == []


def test_the_rows_are_of_every_kind() -> None:
    pinned = pinned_ids()
    assert list(pinned) == list(ROWS)
    ids = {name: here["pretraining"] for name, here in pinned.items()}
    same = ["w_mse, defaults", "with monitors", "transfer", "few labels"]
    assert len({ids[name] for name in same}) == 1  # what is asked changes no training
    assert ids["other probes"] == ids["untrained, defaults"]
    others = [here for name, here in ids.items() if name not in (*same, "other probes")]
    assert len(set(others)) == len(others)
    package = [name for name, found in find(METHOD).items() if found.file.parent == Path(methods.__file__).parent]
    assert {said["method"] for said in ROWS.values()} == set(package), "add a row to cells.ROWS and pin its ids"
    assert list(pinned["other probes"]["evaluations"]) == ["lbfgs", "knn20", "linear"]


def test_ids_are_those_of_another_process() -> None:
    code = "import json; from tests.golden.cells import current_ids; print(json.dumps(current_ids()))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert json.loads(done.stdout) == current_ids()
