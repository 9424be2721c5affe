import io

from rich.console import Console

from harness.analysis.render import render
from harness.analysis.tables import build


def _printed(renderable):
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
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
