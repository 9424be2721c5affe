"""One toy suite that is run once, and copies of its store for tests that begin where it ended."""

import shutil

import pytest

from tests.conftest import write_suite
from tests.engines.toy import Command


@pytest.fixture(scope="session")
def original(tmp_path_factory, data_dir):
    """The toy suite after its run: W-MSE and an untrained encoder at two seeds. Only to be looked at."""
    directory = tmp_path_factory.mktemp("finished")
    command = Command(write_suite(directory), data_dir, directory / "cells")
    command.run()
    return command


@pytest.fixture
def finished(original, tmp_path, data_dir):
    """The same, to be changed; with other words of a suite, or settings of the command line, that suite on it."""
    shutil.copytree(original.store.root, tmp_path / "cells")

    def opened(*settings, more=""):
        return Command(write_suite(tmp_path, more, "more.yaml"), data_dir, tmp_path / "cells", *settings)

    return opened


@pytest.fixture
def fresh(tmp_path, data_dir):
    """The toy suite, or a variant, on an empty store."""

    def opened(*settings, more="", store="cells"):
        return Command(write_suite(tmp_path, more, "more.yaml"), data_dir, tmp_path / store, *settings)

    return opened
