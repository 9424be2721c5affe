"""What the tests of sweeps share: no wait for the disk, since no test pulls the plug."""

import os

import pytest


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
