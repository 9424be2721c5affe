"""What the verbs share: a suite opened with its plan, its store and its code; its options; errors as exit codes.

Owns no decision about what is done with them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click

if TYPE_CHECKING:
    from harness.analysis.claims import Verdict
    from harness.analysis.frame import Record
    from harness.analysis.tables import Table
    from harness.store.provenance import Code
    from harness.store.store import Store
    from harness.suite.facts import Catalogue
    from harness.suite.local_facts import LocalFacts
    from harness.suite.planned import Expansion
    from harness.suite.suite import Suite
    from methods.entry import MethodEntry

P = ParamSpec("P")

BAD_ARGUMENTS = 2


@dataclass(frozen=True)
class Session:
    """A suite, ready to be run or read."""

    suite: Suite
    catalogue: Catalogue
    """Methods, probes, datasets and own backbones that it may name."""
    methods: dict[str, MethodEntry]
    """The same methods, as engines need them."""
    facts: LocalFacts
    """What is known of the content that it names."""
    expansion: Expansion
    results: Path
    """Directory of tables; cells are below `cells` in it."""
    data_dir: Path
    code: Code

    @property
    def controls(self) -> frozenset[str]:
        """Names of methods that are there to be compared with."""
        return self.catalogue.controls

    @property
    def store(self) -> Store:
        """Where the cells are."""
        return open_store(self.results)

    @cached_property
    def output(self) -> Path:
        """Where the suite's tables are written: no other suite's are.

        Raises:
            OutputTaken: another suite of that name writes there.
        """
        from harness.cli.output_directory import output_directory

        return output_directory(self.results, self.suite)

    def records(self) -> list[Record]:
        """What became of every cell, as stored now."""
        from harness.analysis.frame import gather

        return gather(self.expansion, self.store, self.code, self.suite.content.collapse)

    def tables(self, records: list[Record], *, partial: bool = False, any_recipe: bool = False) -> list[Table]:
        """The suite's tables over these records; see `harness.analysis.tables.build`."""
        from harness.analysis.references import load
        from harness.analysis.tables import build

        return build(
            self.suite.title,
            self.suite.content.tables,
            records,
            load(),
            rule=self.suite.content.collapse,
            metrics=self.expansion.metrics,
            renamed=self.expansion.renamed,
            partial=partial,
            any_recipe=any_recipe,
            controls=self.controls,
        )

    def verdicts(self, records: list[Record]) -> tuple[Verdict, ...]:
        """What these records say of the suite's claims."""
        from harness.analysis.claims import test_claims

        return test_claims(self.suite.content.claims, records)


def open_session(
    suite: Path,
    preset: str | None,
    settings: tuple[str, ...],
    results: Path,
    data_dir: str | None,
    *,
    try_backbones: bool = False,
) -> Session:
    """Read and expand a suite.

    Args:
        try_backbones: whether a backbone of which nothing is known yet is tried, for which torch is imported.

    Raises:
        SuiteError, ExtensionError, DataError, StoreError: see `friendly`.
    """
    from harness.data.datasets import data_directory
    from harness.registry import all_backbones, all_datasets, all_methods, all_probes, use
    from harness.store.provenance import Code
    from harness.suite.expand import expand
    from harness.suite.facts import Catalogue
    from harness.suite.local_facts import LocalFacts
    from harness.suite.suite import load_suite

    loaded, directory = load_suite(suite, preset, settings), data_directory(data_dir)
    use(loaded.extensions)
    methods = all_methods()
    catalogue = Catalogue(methods, all_probes(), all_datasets(), all_backbones())
    facts = LocalFacts(directory, open_store(results), try_backbones=try_backbones)
    expansion = expand(loaded, catalogue, facts)
    code = Code.read()
    return Session(loaded, catalogue, methods, facts, expansion, results, directory, code)


def open_store(results: Path) -> Store:
    """The store of cells below a results directory."""
    from harness.store.store import Store

    return Store(results / "cells")


def results_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--results DIR`."""
    return click.option(
        "--results",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("results"),
        envvar="HARNESS_RESULTS",
        show_default=True,
        show_envvar=True,
        help="Where cells and tables are kept.",
    )(command)


def data_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--data-dir DIR`."""
    return click.option(
        "--data-dir",
        default=None,
        envvar="HARNESS_DATA",
        show_envvar=True,
        help="Where prepared datasets are kept; by default in your cache.",
    )(command)


def extension_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--suite SUITE --extensions FILE`, for commands that need no suite: what these define is in use."""

    @click.option("--suite", type=click.Path(path_type=Path), default=None, help="With the extensions that it names.")
    @click.option(
        "--extensions",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="With what your own file defines; repeatable.",
    )
    @friendly
    @functools.wraps(command)
    def with_extensions(suite: Path | None, extensions: tuple[Path, ...], **others: Any) -> Any:
        from harness.registry import use
        from harness.suite.suite import load_suite

        use([*(load_suite(suite).extensions if suite else ()), *extensions])
        return command(**others)

    return with_extensions


def suite_options(command: Callable[..., Any] | None = None, *, try_backbones: bool = False) -> Callable[..., Any]:
    """`SUITE --preset NAME --set KEY=VALUE --results DIR --data-dir DIR`; the command receives a `session`.

    Args:
        try_backbones: see `open_session`.
    """
    if command is None:
        return functools.partial(suite_options, try_backbones=try_backbones)
    wrapped: Callable[..., Any] = command

    @click.argument("suite", type=click.Path(path_type=Path))
    @click.option("--preset", default=None, metavar="NAME", help="A variant that the suite defines, such as `tiny`.")
    @click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a field of every cell; repeatable."
    )
    @results_option
    @data_option
    @friendly
    @functools.wraps(wrapped)
    def with_session(
        suite: Path,
        preset: str | None,
        settings: tuple[str, ...],
        results: Path,
        data_dir: str | None,
        **others: Any,
    ) -> Any:
        session = open_session(suite, preset, settings, results, data_dir, try_backbones=try_backbones)
        return wrapped(session=session, **others)

    return with_session


def friendly(command: Callable[P, Any]) -> Callable[P, Any]:
    """Print a user's mistake as one message and exit with 2; any other error is ours and shows its traceback."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        from harness.cli.output_directory import OutputTaken
        from harness.data.datasets import DataError
        from harness.registry import ExtensionError
        from harness.store.atomic import StoreError
        from harness.suite.nodes import SuiteError

        try:
            return command(*args, **kwargs)
        except (SuiteError, ExtensionError, DataError, StoreError, OutputTaken) as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(BAD_ARGUMENTS)

    return guarded
