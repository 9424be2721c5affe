"""`harness bench`: what it prints, writes and exits with, over rows that say how long they took."""

import json

import pytest
from click.testing import CliRunner

from harness.bench import groups
from harness.bench import machine as of_machine
from harness.bench.row import VIEWS, Limits, Row, Side, Target, Unavailable
from harness.cli import cli


def told(seconds):
    return lambda machine: Side(lambda: 1.0, timed=lambda count: (1.0, seconds * count))


def lacking(machine):
    raise Unavailable("needs CUDA")


def broken(machine):
    raise ZeroDivisionError("a fault")


def interrupting(machine):
    raise KeyboardInterrupt


ROWS = {
    "speed": (Row("speed", "quick", VIEWS, told(0.5), told(2.0), "slowly", Target("ratio", 4.0)),),
    "other": (Row("other", "lacking", VIEWS, lacking), Row("other", "slow", VIEWS, told(1.0))),
    "faults": (Row("faults", "broken", VIEWS, broken),),
    "keys": (Row("keys", "stop", VIEWS, interrupting),),
}


@pytest.fixture
def bench(monkeypatch, tmp_path):
    monkeypatch.setattr(of_machine, "measured_limits", lambda device: Limits(1e9, 2e9, 1e9))
    for name in list(groups.GROUPS):
        monkeypatch.delitem(groups.GROUPS, name)
    for name, rows in ROWS.items():
        monkeypatch.setitem(groups.GROUPS, name, lambda device, rows=rows: rows)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        result = CliRunner().invoke(
            cli, ["bench", "--device", "cpu", "--threads", "1", "--seconds", "0.01", *arguments]
        )
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return call


def test_a_selection_is_shown_as_markdown_and_written_nowhere(bench, tmp_path):
    code, out = bench("--only", "speed", "--only", "other")
    assert code == 0
    assert "| speed | quick " in out
    assert " 4x |" in out
    assert "lacking (not run: needs CUDA)" in out
    assert "written nowhere without --output" in out
    assert not list(tmp_path.iterdir())


def test_the_files_are_where_they_were_asked_for(bench, tmp_path):
    code, out = bench("--only", "speed", "--output", "there")
    assert code == 0
    assert "written: there/table.md, there/table.csv, there/table.json" in out
    assert json.loads((tmp_path / "there" / "table.json").read_text())["rows"][0]["ratio"] == 4.0


def test_a_broken_row_does_not_end_the_table(bench):
    code, out = bench("--only", "faults", "--only", "slow", "--output", "there")
    assert code == 1
    assert "broken (not run: ZeroDivisionError: a fault)" in out
    assert "| other " in out


def test_interrupted_it_shows_what_it_has_and_writes_nothing(bench, tmp_path):
    code, out = bench()
    assert code == 130
    assert "| speed  | quick " in out
    assert "interrupted: nothing is written" in out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "sped"), "error: --only sped: no row of that name; groups are speed, other, faults, keys"),
        (("--device", "tpu"), "error: --device tpu"),
    ],
)
def test_mistakes_are_named(bench, arguments, message):
    code, out = bench(*arguments)
    assert code == 2
    assert message in out
