"""What is done besides training and evaluation: planning, storing, showing, checkpoints."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pandas as pd

from harness.store.store import Store
from harness.training.checkpoints import to_bytes
from tests.benchmarks.timing import Implementation, SelfTimed, repeated
from tests.benchmarks.trainer import SteppedTrainer, Training

SUITES = Path(__file__).parents[2] / "suites"
SHORT_CELLS = """
title: Short cells
defaults:
  dataset: {image_size: 16}
  backbone: {name: resnet10t, stem: small_max_pool, width: 24}
  augmentation: {saturation: 0.0, hue: 0.0, greyscale_probability: 0.0, flip_probability: 0.0}
  schedule: {name: cosine, warmup_steps: 20}
  epochs: 6
  batch_size: 128
  settings:
    projector: {hidden: [128], embedding_size: 32}
    transform: {sub_batch_size: 64}
datasets: [digits]
methods: {w_mse: {}, contrastive: {}, byol: {}, untrained: {}}
"""
OTHERS = ", contrastive: {}, byol: {}, untrained: {}"
SMALLER = ("--set", "epochs=1", "--set", "train_images=200", "--set", "evaluations.linear.epochs=2")


def test_harness_run_of_four_short_cells(compare, machine, harness, tmp_path, small):
    """The whole command beside the training and evaluation in it: the ratio is their share of its time."""
    suite = tmp_path / "short.yaml"
    suite.write_text(SHORT_CELLS.replace(OTHERS, "") if small else SHORT_CELLS)
    runs = itertools.count()
    recorded: list[float] = []

    def run() -> None:
        results = tmp_path / f"results{next(runs)}"
        code, output = harness("run", suite, "--results", results, "--device", machine.device, *small * SMALLER)
        if code == 130:  # it takes the signals for itself
            raise KeyboardInterrupt
        assert code == 0, output
        frame = pd.read_csv(results / "short" / "table.csv").drop_duplicates("pretraining_id")
        recorded.append(float((frame["train_seconds"] + frame["evaluation_seconds"]).sum()))

    compare(
        "s",
        nullcontext(repeated(run, machine.device)),
        nullcontext(SelfTimed(lambda calls: sum(recorded[-calls:]), machine.device)),
        against="training and evaluation alone, as the cells of the same run record them",
    )


def test_harness_plan_of_the_paper_table(compare, machine, harness, small):
    def plan() -> None:
        code, output = harness("plan", SUITES / ("quickstart.yaml" if small else "paper_table.yaml"))
        assert code in (0, 1), output  # images that are not prepared are named

    compare("s", nullcontext(repeated(plan, machine.device)))


def test_checkpoint_of_resnet18(compare, machine, tmp_path, small):
    @contextmanager
    def ours() -> Iterator[Implementation]:
        trainer = SteppedTrainer(Training(width=4 if small else None, images=128), "float32", machine)
        store = Store(tmp_path)
        trainer.close()
        yield repeated(lambda: store.write_checkpoint("0" * 20, to_bytes(trainer.trainer.state())), machine.device)

    compare("ms", ours(), note="written beside the training, at most once in two minutes")
