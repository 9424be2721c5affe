"""A method that does what a file beside it says, on whatever engine: raises, waits, hangs, or kills its process."""

import time

from harness.engines.engine import TICK_SECONDS
from harness.engines.task import Task
from tests.conftest import write_suite
from tests.engines.toy import Command, Notes

ACTS = '''
"""W-MSE that once, at its fifth step, obeys the file `in step`; and a k-NN that in a worker process obeys `in probe`,
as a user's probe might."""
import dataclasses, errno, os, pathlib, sys, time
from harness.evaluation.probes.knn import PROBE as KNN
from methods.composed import Composed
from methods.entry import MethodEntry
from methods.w_mse import METHOD as W_MSE

def obey(file):
    path = pathlib.Path(__file__).with_name(file)
    if not path.exists():
        return
    order = path.read_text()
    path.unlink()
    if order == "raise":
        raise RuntimeError("the fifth step is too much")
    elif order == "fill the disk":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path.with_name("some cache")))
    elif order == "wait":
        while not path.with_name("go").exists():
            time.sleep(0.01)
    elif order == "hang":
        time.sleep(600)
    else:
        os.kill(os.getpid(), int(order))

class Acts(Composed):
    calls = 0
    def loss(self, batch, step):
        self.calls += 1
        if self.calls == 5:
            obey("in step")
        return super().loss(batch, step)

def run(*arguments):
    if sys.argv[0].endswith("work.py"):
        obey("in probe")
    return KNN.run(*arguments)

PROBE = dataclasses.replace(KNN, name="acting_knn", run=run)
METHOD = MethodEntry(name="acts", summary="acts", source="this test", settings=W_MSE.settings, build=Acts)
'''
MORE = """
    extensions: [acts.py]
    defaults: {evaluations: {linear: null, knn5: {probe: acting_knn, k: 5}, lbfgs: {probe: lbfgs, max_iterations: 5}}}
    methods: {acts: {}}
    axes: {seeds: 5}
"""
SECONDS = 200  # far more than anything takes


class Place:
    """A suite with that method, and one engine that runs its tasks."""

    def __init__(self, directory, data_dir, open_engine):
        (directory / "acts.py").write_text(ACTS)
        self.command = Command(write_suite(directory, MORE, "more.yaml"), data_dir, directory / "cells")
        self.directory, self.store, self.notes = directory, self.command.store, Notes()
        self.engine = open_engine(self)

    def task(self, method, seed, **more):
        task = self.command.task(method, seed)
        return Task(cells=task.cells, label=f"{method} {seed}", **more).again(self.store, self.command.code)

    def job(self, *tasks, **more):
        return self.command.job(*tasks, threads=1, checkpoint_seconds=0.0, **more)

    def order(self, what, when="in step"):
        (self.directory / when).write_text(str(what))

    def submit(self, *tasks, **more):
        return self.engine.submit(self.job(*tasks, **more))

    def outcomes(self, *tasks, **more):
        """Of one job, in the order of its tasks."""
        endings = ended(self.submit(*tasks, **more))
        return [endings[task.id] for task in tasks]


def ended(*handles):
    """The endings of jobs, polled until there are all of them; of one, its own."""
    deadline, found = time.monotonic() + SECONDS, {}
    while len(found) < len(handles):
        assert time.monotonic() < deadline
        for handle in handles:
            if handle not in found and (endings := handle.poll()) is not None:
                found[handle] = endings
        time.sleep(TICK_SECONDS)
    return found[handles[0]] if len(handles) == 1 else [found[handle] for handle in handles]
