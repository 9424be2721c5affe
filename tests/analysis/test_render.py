import io
import re

from rich.console import Console

from harness.analysis.claims import Verdict
from harness.analysis.render import render
from harness.analysis.tables import build


def _printed(renderable, width=120):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(renderable)
    return console.file.getvalue()


def test_the_terminal_shows_the_table_and_its_notes(bench):
    bench.done({"linear_top1": 91.5, "knn5_top1": 89.0}, seed=0)
    bench.done({"linear_top1": 92.5, "knn5_top1": 89.0}, seed=1)
    text = _printed(render(build("Suite", [], bench.records())))
    assert "Suite (cifar10)" in text
    assert "92.00 ± 0.71" in text
    assert "What differs between rows besides the method" in text


def test_brackets_are_not_read_as_markup(bench):
    bench.failed("ValueError", "shape [2, 3] [red]", label="a [bold]")
    text = _printed(render(build("Suite [draft]", [], bench.records())))
    assert "Suite [draft] (cifar10)" in text
    assert "a [bold]" in text
    assert "shape [2, 3] [red]" in " ".join(text.split())


def test_a_narrow_terminal_gets_parts_with_every_number_whole_and_every_row_named(bench):
    for seed, value in ((0, 91.5), (1, 92.5)):
        bench.done({"linear_top1": value, "knn5_top1": value - 2}, seed=seed, axes={"slicing_iterations": 4})
        bench.done({"linear_top1": 9.0, "knn5_top1": 8.0}, seed=seed, label="plain", method="plain_mse", settings={})
    bench.plan(label="BYOL", method="byol", settings={})
    tables = build("Suite", [], bench.records())
    text = _printed(render(tables), width=60)
    drawn = [line for line in text.splitlines() if line[:1] in "┏┃┡│└"]
    assert max(map(len, drawn)) <= 60
    assert {line[-1] for line in drawn} == set("┓┃┩│┘"), "no line is cut off"
    assert [text.count(number) for number in ("92.00 ± 0.71", "90.00 ± 0.71", "0 done of 1 planned")] == [1, 1, 2]
    above, below = text.split("\nStatistics\n")
    parts = above.count("┃ method")
    assert parts > 1
    assert [above.count(f"│ {label} ") for label in ("W-MSE", "plain", "BYOL")] == [parts] * 3
    assert "[85.65, 98.35]" in below  # 92 +- 12.706 x 0.7071 / sqrt(2)
    assert _printed(render(tables), width=200).count("┃ method") == 2


def test_claims_stand_below_with_their_numbers(bench):
    bench.done({"linear_top1": 91.5})
    verdicts = [Verdict("a > b [x]", "refuted", ("cifar10: -1.00",)), Verdict("c", "inconclusive", (), 7)]
    text = _printed(render(build("Suite", [], bench.records()), verdicts))
    lines = [line.strip() for line in text.splitlines()]
    assert lines[-4:] == [
        "Claims",
        "refuted: a > b [x]",
        "cifar10: -1.00",
        "inconclusive (about 7 seeds would decide): c",
    ]


def test_what_is_best_is_bold(bench):
    for seed in range(2):
        bench.done({"linear_top1": 92.0 + seed}, seed=seed, label="a")
        bench.done({"linear_top1": 80.0 + 1.1 * seed}, seed=seed, label="b", method="byol", settings={})
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="standard")
    console.print(render(build("Suite", [], bench.records())))
    drawn = console.file.getvalue()
    assert re.search(r"\x1b\[1m *92\.50 ± 0\.71", drawn)
    assert "80.55 ± 0.78" in drawn
    assert not re.search(r"\x1b\[1m *80\.55", drawn)
