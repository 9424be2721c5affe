"""Checkpoints are written behind the training's back, unless it waits for one."""

from threading import Event

import pytest

from harness.training.checkpoints import BackgroundWriter


def test_only_whoever_waits_does_so_until_it_is_written():
    may_write, written = Event(), []

    def write(data):
        assert may_write.wait(30)
        written.append(data)

    writer = BackgroundWriter(write)
    writer.save({"step": 1}, wait=False)
    assert writer.busy
    assert written == []
    may_write.set()
    writer.save({"step": 2}, wait=True)
    assert len(written) == 2
    assert not writer.busy
    writer.close()


def test_a_write_that_fails_is_raised_at_the_next():
    def write(data):
        raise OSError("full")

    writer = BackgroundWriter(write)
    writer.save({}, wait=False)
    with pytest.raises(OSError, match="full"):
        writer.save({}, wait=False)
    writer.close()
