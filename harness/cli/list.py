"""`harness list`: the names a suite may use, and the suites at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli.session import data_option, extension_options, friendly

if TYPE_CHECKING:
    from harness.data.datasets import DatasetInfo


@click.group()
def command() -> None:
    """Methods, probes, datasets, backbones, loggers or suites."""


@command.command()
@extension_options
def methods() -> None:
    """Methods and controls, with their source."""
    from harness.registry import all_methods

    table = Table("method", "kind", "what", "source")
    for name, entry in sorted(all_methods().items(), key=lambda item: (item[1].kind == "control", item[0])):
        table.add_row(name, entry.kind, escape(entry.summary), escape(entry.source))
    Console().print(table)


@command.command()
@extension_options
def probes() -> None:
    """Questions that may be asked of an encoder, with their settings."""
    from harness.registry import all_probes

    table = Table("probe", "what", "settings")
    for name, entry in all_probes().items():
        defaults = entry.settings().model_dump()
        table.add_row(name, escape(entry.summary), escape(", ".join(f"{k}: {v}" for k, v in defaults.items())))
    Console().print(table)


@command.command()
@extension_options
def loggers() -> None:
    """Whom `harness run --logger NAME` can tell of its runs."""
    from harness.registry import all_loggers

    table = Table("logger", "what")
    for name, entry in all_loggers().items():
        table.add_row(name, escape(entry.summary))
    Console().print(table)


@command.command()
@data_option
@extension_options
def datasets(data_dir: str | None) -> None:
    """Datasets, their sizes, and whether they are on this machine."""
    print_datasets(data_dir)


def print_datasets(data_dir: str | None) -> None:
    """The table of datasets, also shown by `harness data list`."""
    from harness.data.datasets import DataError, data_directory
    from harness.data.facts import dataset_facts
    from harness.registry import all_datasets

    directory = data_directory(data_dir)
    table = Table("dataset", "images", "view", "classes", "here")
    table.add_column("how to get it", overflow="fold")
    problems = []
    for name, info in all_datasets().items():
        try:
            here = "yes" if dataset_facts(name, directory).here else "no"
        except DataError as error:  # of an older format, or damaged: the others are listed nevertheless
            here = "unusable"
            problems.append(escape(str(error)))
        table.add_row(
            name, _sizes(info), f"{info.image_size} px", str(info.classes or "yours"), here, escape(info.source)
        )
    Console().print(table, *problems, f"data directory: {directory}", sep="\n")


def _sizes(info: DatasetInfo) -> str:
    return ", ".join(f"{split} {count:,}" for split, count in info.splits.items()) or "yours"


@command.command()
@click.argument("pattern", required=False)
@extension_options
def backbones(pattern: str | None) -> None:
    """Your own backbones, or timm's models that match a PATTERN, such as 'vit_tiny*'."""
    from harness.registry import all_backbones

    if pattern is None:
        table = Table("backbone", "what", "source")
        for name, entry in all_backbones().items():
            table.add_row(name, escape(entry.summary), escape(entry.source))
        Console().print(table if table.row_count else "no backbones beside timm's")
        click.echo("timm's, by a pattern of their names: harness list backbones 'resnet*'")
        return
    import timm

    names = timm.list_models(pattern)
    click.echo("\n".join(names) if names else f"no model of timm matches {pattern!r}")


@command.command()
@click.argument("directory", default=Path("suites"), type=click.Path(path_type=Path, file_okay=False))
@friendly
def suites(directory: Path) -> None:
    """Suite files in a DIRECTORY (default: suites)."""
    from harness.suite.nodes import SuiteError
    from harness.suite.suite import load_suite

    table = Table("suite", "title", "presets")
    for path in sorted(directory.glob("*.yaml")):
        try:
            suite = load_suite(path)
        except SuiteError as error:
            table.add_row(str(path), f"[red]{escape(str(error).splitlines()[0])}[/]", "")
        else:
            table.add_row(str(path), escape(suite.title), ", ".join(suite.content.presets))
    Console().print(table if table.row_count else f"no suite files (*.yaml) in {directory}")
