"""Fixtures of the benchmarks. In an ordinary test run each case is tried once, at a small size, and nothing is timed;
see `__main__` for the command that measures."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.store.provenance import git_state, utc_now
from tests.benchmarks.machine import Limits, Machine, available_threads, describe, measure_limits
from tests.benchmarks.table import SpeedTable
from tests.benchmarks.timing import compare as compare_in_turns

TABLE = pytest.StashKey[SpeedTable | None]()
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ANY_LIMITS = Limits(float32=1e11, bfloat16=4e11)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--benchmark-table", metavar="DIR", help="Write the speed table into this directory.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Open the table, and leave out what it holds already and what is no benchmark."""
    directory = config.getoption("benchmark_table", None)
    config.stash[TABLE] = None
    if directory is None:
        return
    table = config.stash[TABLE] = SpeedTable(Path(directory), describe(DEVICE))
    chosen = [item for item in items if "compare" in getattr(item, "fixturenames", ())]
    missing = [item for item in chosen if not table.has(*row_name(item), max_seconds(config))]
    items[:] = missing
    config.hook.pytest_deselected(items=[item for item in chosen if item not in missing])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A table that holds all rows already is a success."""
    table = session.config.stash.get(TABLE, None)
    if table is not None and table.rows and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    table = config.stash.get(TABLE, None)
    if table is not None:
        if table.dropped:
            terminalreporter.write_line(f"{table.dropped} rows of other code or another machine were dropped")
        terminalreporter.write_line(f"{len(table.rows)} rows in {table.directory / 'table.md'}")


def row_name(item: pytest.Item) -> tuple[str, str]:
    """What is measured and in which case: test_losses.py and the parameters' id."""
    what = item.path.stem.removeprefix("test_")
    callspec = getattr(item, "callspec", None)
    return what, callspec.id if callspec else item.name.removeprefix("test_").replace("_", " ")


def max_seconds(config: pytest.Config) -> float:
    return float(config.getoption("benchmark_max_time"))


@pytest.fixture
def small(benchmark: Any) -> bool:
    """Whether a case is only tried, at a small size."""
    return bool(benchmark.disabled)


@pytest.fixture(scope="session")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """All cores and measured limits; where nothing is measured one thread and any limits."""
    table = request.config.stash[TABLE]
    if table is None:
        yield Machine(DEVICE, 1, ANY_LIMITS)
        return
    before = torch.get_num_threads()
    torch.set_num_threads(available_threads())
    table.limits = table.limits or measure_limits(DEVICE)
    yield Machine(DEVICE, available_threads(), table.limits)
    torch.set_num_threads(before)


@pytest.fixture
def compare(request: pytest.FixtureRequest, benchmark: Any, machine: Machine) -> Callable[..., None]:
    """`timing.compare` for this case; the row goes into the table."""
    table, seconds = request.config.stash[TABLE], max_seconds(request.config)

    def measure(*arguments: Any, **choices: Any) -> None:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        row = compare_in_turns(benchmark, machine, seconds, *arguments, **choices)
        if row and table is not None:
            what, case = row_name(request.node)
            commit, changed = git_state()
            commit = f"{commit}, changed since" if changed else commit
            row = {"what": what, "case": case, **row, "max_seconds": seconds, "commit": commit, "measured": utc_now()}
            benchmark.extra_info.update(row)
            table.add(row)

    return measure
