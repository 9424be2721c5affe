"""The speed table on the disk: what is kept, what is measured again, what is shown."""

import json

import pandas as pd
import pytest

from tests.benchmarks.machine import Limits
from tests.benchmarks.table import SpeedTable
from tests.benchmarks.timing import numbers

MACHINE = {"device": "a CPU", "threads": 2, "torch": "2", "python": "3", "code": "c0de"}


def row(case, seconds=1.0, **changed):
    return {
        "what": "losses",
        "case": case,
        **numbers("ms", [0.002, 0.004, 0.002], [0.02, 0.02, 0.03]),
        "against": "a loop",
        "share_of_limit": 0.25,
        "limit": "float32",
        "memory_bytes": 2**20,
        "note": None,
        "max_seconds": seconds,
        "commit": "abc",
        "measured": "2026-01-01",
        **changed,
    }


@pytest.fixture
def table(tmp_path):
    table = SpeedTable(tmp_path, MACHINE)
    table.limits = Limits(1e11, 4e11)
    for case in ("first", "second"):
        table.add(row(case))
    return table


def test_rows_are_there_after_a_stop(table, tmp_path):
    again = SpeedTable(tmp_path, MACHINE)
    assert [row["case"] for row in again.rows] == ["first", "second"]
    assert again.limits == table.limits
    assert again.has("losses", "first", 1.0)
    assert not again.has("losses", "first", 2.0)  # measured for a shorter time
    assert not again.has("losses", "third", 1.0)
    again.add(row("first", seconds=2.0))
    assert SpeedTable(tmp_path, MACHINE).has("losses", "first", 2.0)
    assert len(again.rows) == 2


@pytest.mark.parametrize("changed", [{"code": "0ther"}, {"device": "another CPU"}, {"torch": "3"}])
def test_rows_of_other_code_or_another_machine_are_dropped(table, tmp_path, changed):
    other = SpeedTable(tmp_path, MACHINE | changed)
    assert (other.rows, other.dropped, other.limits) == ([], 2, None)


def test_a_file_of_another_layout_is_replaced(tmp_path):
    (tmp_path / "table.json").write_text(json.dumps({"machine": MACHINE | {"when": "once"}, "rows": [{}]}))
    assert SpeedTable(tmp_path, MACHINE).rows == []


def test_what_is_shown(table, tmp_path):
    table.add(row("third", note="scaled", conventional=None, ratio=None, against=None, share_of_limit=None))
    text = (tmp_path / "table.md").read_text()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "| losses" in line]
    assert lines[0] == ["losses", "first", "2", "20", "ms", "10x", "5..15x", "25% float32", "1 MiB", "a loop", ""]
    assert lines[2] == ["losses", "third", "2", "–", "ms", "–", "–", "–", "1 MiB", "–", "scaled"]
    assert "| 400 GFLOP/s" in text
    frame = pd.read_csv(tmp_path / "table.csv")
    assert list(frame["ratio"])[:2] == [10.0, 10.0]
    assert list(frame["device"]) == ["a CPU"] * 3
