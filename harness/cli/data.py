"""`harness data`: datasets listed, prepared and verified."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from harness.cli.list import print_datasets
from harness.cli.session import data_option, extension_options

if TYPE_CHECKING:
    from harness.data.archives import Progress as Report
    from harness.data.packed import Manifest


SHOWN = 12  # digits of a fingerprint


@click.group()
def command() -> None:
    """List, prepare and verify datasets."""


@command.command("list")
@data_option
@extension_options
def list_(data_dir: str | None) -> None:
    """Datasets, their sizes, and whether they are on this machine."""
    print_datasets(data_dir)


@command.command()
@click.argument("name")
@click.option(
    "--from", "source", type=click.Path(path_type=Path), default=None, help="Your own copy: an archive or a folder."
)
@click.option(
    "--classes",
    "class_list",
    type=click.Path(path_type=Path),
    default=None,
    help="imagenet100: the file that lists its classes, a WordNet id a line.",
)
@data_option
@extension_options
def prepare(name: str, source: Path | None, class_list: Path | None, data_dir: str | None) -> None:
    """Make a dataset ready: from your own copy (--from), or else by downloading it where it is published."""
    from harness.data.datasets import data_directory
    from harness.data.prepare import prepare

    with reporting() as report:
        manifest = prepare(
            name, data_directory(data_dir), source, download=source is None, class_list=class_list, progress=report
        )
    _describe(manifest, data_directory(data_dir))


@command.command()
@click.argument("name")
@data_option
@extension_options
def verify(name: str, data_dir: str | None) -> None:
    """Read a prepared dataset again and compare it with its fingerprints."""
    from harness.data.datasets import data_directory
    from harness.data.prepare import verify

    with reporting() as report:
        manifest = verify(name, data_directory(data_dir), progress=report)
    _describe(manifest, data_directory(data_dir))


def _describe(manifest: Manifest, directory: Path) -> None:
    click.echo(f"{manifest.name}: {len(manifest.classes)} classes, in {directory / manifest.name}")
    for split, (first, last) in manifest.splits.items():
        images, labels = manifest.images[split][:SHOWN], manifest.labels[split][:SHOWN]
        click.echo(f"{split}: {last - first:,} images, fingerprints {images} (images), {labels} (labels)")


@contextmanager
def reporting() -> Iterator[Report]:
    """A bar for each thing under way in a terminal; a line when one begins elsewhere."""
    if not Console().is_terminal:
        seen: set[str] = set()

        def line(what: str, done: int, total: int | None) -> None:
            if what not in seen:
                seen.add(what)
                click.echo(what, file=sys.stderr)

        yield line
        return
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def bar(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield bar
