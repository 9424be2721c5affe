import io
import re

import pandas as pd

from harness.analysis.claims import Verdict
from harness.analysis.frame import frame
from harness.analysis.markdown import document, grid, write_outputs
from harness.analysis.tables import Table, build
from harness.suite.models import TableSpec


def _cells(line):
    return [part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_the_grid_is_a_markdown_table_with_numbers_to_the_right():
    table = Table("T", ("method", "top-1"), (("w_mse", "91.00 ± 1.41"), ("a|b", "7.00")), labels=1)
    assert grid(table).split("\n") == [
        "| method |        top-1 |",
        "| ------ | -----------: |",
        "| w_mse  | 91.00 ± 1.41 |",
        "| a\\|b   |         7.00 |",
    ]


def test_every_line_has_as_many_columns_as_the_header(bench):
    bench.done({"linear_top1": 91.5}, label="a | b")
    bench.failed("ValueError", "x | y\n| z |", label="c")
    (table,) = build("Suite", [], bench.records())
    lines = grid(table).split("\n")
    assert len({len(line) for line in lines}) == 1, "columns are aligned as plain text too"
    assert {len(_cells(line)) for line in lines} == {len(table.header)}
    assert [set(cell) for cell in _cells(lines[1])] == [{"-"}] + [{"-", ":"}] * (len(table.header) - 1)
    assert [_cells(line)[0] for line in lines[2:]] == ["a \\| b", "c"]


def test_nothing_in_a_message_becomes_markup(bench):
    bench.failed("ValueError", "<b>bold</b> *and* `code`\n# heading")
    text = document("Suite", build("Suite", [], bench.records()))
    assert r"ValueError: \<b>bold\</b> \*and\* \`code\` # heading" in text
    assert not re.search(r"^# heading", text, re.MULTILINE)


def test_all_files_are_written_and_the_same_store_gives_the_same_bytes(bench, tmp_path):
    bench.done({"linear_top1": 91.5}, seed=0)
    bench.plan(seed=1)
    written = []
    for name in ("one", "two"):
        records = bench.records()
        paths = write_outputs(tmp_path / name, "Suite", build("Suite", [], records), frame(records))
        assert [path.name for path in paths] == ["table.csv", "statistics.csv", "table.md"]
        assert sorted(p.name for p in (tmp_path / name).iterdir()) == ["statistics.csv", "table.csv", "table.md"]
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
    csv, _, markdown = written[0]
    assert pd.read_csv(io.BytesIO(csv))["value"].tolist()[0] == 91.5
    assert markdown.decode().startswith("# Suite\n\n## Suite (cifar10)\n\n| method |")
    assert "### What differs between rows besides the method\n\n- there is one row" in markdown.decode()
    assert b"\r" not in csv + markdown


def test_bold_statistics_and_claims(bench):
    for seed in range(2):
        bench.done({"linear_top1": 92.0 + seed}, seed=seed, label="a")
        bench.done({"linear_top1": 80.0 + 1.1 * seed}, seed=seed, label="b", method="byol", settings={})
    tables = build("Suite", [TableSpec(metrics=("linear_top1",), cost=(), baseline="b")], bench.records())
    verdict = Verdict("a > b", "inconclusive", ("cifar10: +12.00 *",), 5)
    text = document("Suite", tables, [verdict])
    assert "| a      | **92.50 ± 0.71** |" in text
    assert "\n\n### Statistics\n\n| method | measure        |" in text
    told = "- **inconclusive (about 5 seeds would decide)**: a > b\n  - cifar10: +12.00 \\*\n"
    assert text.endswith("\n\n## Claims\n\n" + told)
