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
    from harness.suite.planned import Expansion
    from harness.suite.remembered import Plan
    from harness.suite.suite import Suite
    from methods.method import MethodEntry

P = ParamSpec("P")

BAD_ARGUMENTS = 2
PLANS = ".plans"
"""Below the data directory: plans of suites, kept so that looking at one is quick."""


@dataclass(frozen=True)
class Session:
    """A suite, ready to be run or read."""

    suite: Suite
    expansion: Expansion
    controls: frozenset[str]
    """Names of methods that are there to be compared with."""
    results: Path
    """Directory of tables; cells are below `cells` in it."""
    data_dir: Path
    code: Code

    @cached_property
    def methods(self) -> dict[str, MethodEntry]:
        """Every method by name. Imports torch, which takes seconds: those who only look do without."""
        from methods import catalogue

        return catalogue(self.suite.method_files)

    @property
    def store(self) -> Store:
        """Where the cells are."""
        return open_store(self.results)

    @property
    def output(self) -> Path:
        """Where the suite's tables are written."""
        return self.results / self.suite.name

    def records(self) -> list[Record]:
        """What became of every cell, as stored now."""
        from harness.analysis.frame import gather

        return gather(self.expansion, self.store, self.code)

    def tables(self, records: list[Record], **choices: bool) -> list[Table]:
        """The suite's tables over these records."""
        from harness.analysis.references import load
        from harness.analysis.tables import build

        return build(self.suite.title, self.suite.content.tables, records, load(), controls=self.controls, **choices)

    def verdicts(self, records: list[Record]) -> tuple[Verdict, ...]:
        """What these records say of the suite's claims."""
        from harness.analysis.claims import test_claims

        return test_claims(self.suite.content.claims, records)


def open_session(
    suite: Path, preset: str | None, settings: tuple[str, ...], results: Path, data_dir: str | None
) -> Session:
    """Read and expand a suite.

    Raises:
        SuiteError, MethodFileError, DataError, StoreError: see `friendly`.
    """
    from harness.data.datasets import data_directory
    from harness.store.provenance import Code
    from harness.suite.suite import load_suite

    loaded = load_suite(suite, preset, settings)
    directory = data_directory(data_dir)
    plan = _plan(loaded, directory)
    return Session(loaded, plan.expansion, plan.controls, results, directory, Code.read(loaded.method_files))


def _plan(suite: Suite, data_dir: Path) -> Plan:
    """What the suite comes down to: remembered, or worked out with every method loaded."""
    from harness.data.datasets import DATASETS
    from harness.data.packed import fingerprint
    from harness.suite.remembered import Plan, key, recall, remember

    fingerprints = {name: fingerprint(name, data_dir) for name in DATASETS}
    kept, name = data_dir / PLANS, key(suite, fingerprints)
    if name is not None and (known := recall(kept, name)) is not None:
        return known
    from harness.suite.expand import expand
    from methods import catalogue

    methods = catalogue(suite.method_files)
    expansion = expand(suite, methods, DATASETS, lambda spec: fingerprints[spec.name])
    plan = Plan(expansion, frozenset(name for name, entry in methods.items() if entry.kind == "control"))
    if name is not None:
        remember(kept, name, plan)
    return plan


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


def suite_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`SUITE --preset NAME --set KEY=VALUE --results DIR --data-dir DIR`; the command receives a `session`."""

    @click.argument("suite", type=click.Path(path_type=Path))
    @click.option("--preset", default=None, metavar="NAME", help="A variant that the suite defines, such as `tiny`.")
    @click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a field of every cell; repeatable."
    )
    @results_option
    @data_option
    @friendly
    @functools.wraps(command)
    def with_session(
        suite: Path,
        preset: str | None,
        settings: tuple[str, ...],
        results: Path,
        data_dir: str | None,
        **others: Any,
    ) -> Any:
        return command(session=open_session(suite, preset, settings, results, data_dir), **others)

    return with_session


def friendly(command: Callable[P, Any]) -> Callable[P, Any]:
    """Print a user's mistake as one message and exit with 2; any other error is ours and shows its traceback."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        from harness.data.datasets import DataError
        from harness.store.atomic import StoreError
        from harness.suite.nodes import SuiteError
        from methods import MethodFileError

        try:
            return command(*args, **kwargs)
        except (SuiteError, MethodFileError, DataError, StoreError) as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(BAD_ARGUMENTS)

    return guarded
