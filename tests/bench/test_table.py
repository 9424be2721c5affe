"""The tables' text, files and numbers, from measurements made up by hand."""

import csv
import io
import json

import pytest

from harness.analysis.markdown import document, grid
from harness.bench.growth_table import growth_table
from harness.bench.numbers import bytes_text, number, span
from harness.bench.row import MILLISECONDS, VIEWS, Growth, Row, Side, Target
from harness.bench.table import COLUMNS, HEADER, csv_text, json_text, tables, target_text, write
from harness.bench.timing import Measurement

MACHINE = {
    "device": "A Processor",
    "threads": 2,
    "dataloader_workers": 2,
    "torch": "2.9",
    "torchvision": "0.24",
    "scikit-learn": "1.5",
    "python": "3.11",
    "commit": "abc",
    "dirty": True,
    "when": "2026-01-01T00:00:00+00:00",
    "seconds_per_row": 20.0,
    "float32_flops": 150e9,
    "bfloat16_flops": 1.2e12,
    "bandwidth_bytes": 12e9,
    "fast_precision": "bfloat16",
}


def row(name="a row", unit=VIEWS, **choices):
    return Row("group", name, unit, lambda machine: Side(lambda: 1.0), **choices)


FAST = Measurement(
    row(conventional=lambda machine: None, against="the old way", target=Target("ratio", 4.0), note="scaled"),
    ours=(4000.0, 6000.0, 5000.0),
    conventional=(1000.0, 1000.0, 1000.0),
    share=0.256,
    limit="float32",
    memory=3 * 2**20,
)
ALONE = Measurement(row("alone", MILLISECONDS, target=Target("value", 1.0, most=True)), ours=(2.0, 1.5, 3.0))
LACKING = Measurement(row("lacking", target=Target("limit", 0.4)), reason="needs CUDA")


def test_a_line_a_row():
    _, main = tables(MACHINE, [FAST, ALONE, LACKING])
    assert main.header == HEADER
    assert main.rows == (
        ("group", "a row", "5,000", "1,000", "views/s", "5x", "4..6x", "≥ 4x", "yes", "26 % float32", "3 MiB"),
        ("group", "alone", "2", "–", "ms", "–", "1.5..3", "≤ 1 ms", "no", "–", "–"),
        ("group", "lacking (not run: needs CUDA)", "–", "–", "views/s", "–", "–", "≥ 40 % of limit", "–", "–", "–"),
    )
    notes = {note.heading: note.lines for note in main.notes}
    assert notes["The conventional side"] == ("group, the old way: a row.",)
    assert notes["Rows"] == ("group: a row: scaled.",)
    assert notes["Not measured"] == ("group: lacking: needs CUDA.",)


def test_the_machine_stands_above():
    text = document("Speed", tables(MACHINE, [FAST]))
    assert text.index("A Processor") < text.index("a row")
    for part in ("150 GFLOP/s", "1.2 TFLOP/s", "12 GB/s", "torch 2.9", "2 of torch", "abc, changed since"):
        assert part in text
    assert "| none " in grid(tables(MACHINE | {"bfloat16_flops": None}, [FAST])[0])


def test_csv_and_json_hold_every_number():
    read = list(csv.DictReader(io.StringIO(csv_text([FAST, LACKING]))))
    assert tuple(read[0]) == COLUMNS
    assert (read[0]["ours"], read[0]["ratio"], read[0]["spread_max"], read[0]["met"]) == (
        "5000.0",
        "5.0",
        "6.0",
        "True",
    )
    assert (read[1]["ours"], read[1]["reason"]) == ("", "needs CUDA")
    data = json.loads(json_text(MACHINE, [FAST, LACKING]))
    assert data["machine"]["float32_flops"] == 150e9
    assert data["rows"][0]["ours_turns"] == [4000.0, 6000.0, 5000.0]
    assert data["rows"][1]["ours"] is None


def test_growth_is_relative_to_the_base():
    base = Measurement(row("base", MILLISECONDS, growth=Growth("base", 0)), ours=(10.0, 10.0, 10.0), memory=2**20)
    grown = Measurement(
        row("d: 4", MILLISECONDS, growth=Growth("views", 4)),
        ours=(20.0, 22.0, 18.0),
        conventional=(10.0, 10.0, 10.0),
        memory=3 * 2**20,
    )
    lacking = Measurement(row("d: 8", MILLISECONDS, growth=Growth("views", 8)), reason="out of memory")
    table = growth_table([base, grown, lacking])
    name = "d, views of an image"
    assert table.rows[:3] == (
        (name, "2 (base)", "10", "1", "–", "1 MiB", "1"),
        (name, "4", "20", "2", "1.8..2.2", "3 MiB", "3"),
        (name, "8 (not run)", "–", "–", "–", "–", "–"),
    )
    assert [line[1] for line in table.rows[3:]] == ["512 (base)", "64 (base)", "1 (base)", "32 (base)"]
    assert growth_table([]) is None
    assert [t.title for t in tables(MACHINE, [base])] == ["Machine", "Growth"]


@pytest.mark.parametrize(
    ("value", "text"), [(1234567.0, "1,234,567"), (123.4, "123"), (12.34, "12.3"), (0.01234, "0.0123"), (0.0, "0")]
)
def test_three_digits(value, text):
    assert number(value) == text


def test_small_texts():
    assert span(1.234, 1234.0) == "1.23..1,234"
    assert bytes_text(3 * 2**19) == "1.5 MiB"
    assert target_text(Target("ratio", 1.5), VIEWS) == "≥ 1.5x"


def test_three_files(tmp_path):
    paths = write(tmp_path / "new", MACHINE, [FAST])
    assert [path.name for path in paths] == ["table.md", "table.csv", "table.json"]
    assert paths[0].read_text().startswith("# Speed\n")
