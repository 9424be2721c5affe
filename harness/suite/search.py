"""What a suite may say of a sweep: where to look for which setting, and how. Resolves nothing and searches nothing."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from harness.spec.identity import Frozen
from harness.suite.metrics import Metric


class SettingSpace(Frozen):
    """Where a sweep looks for one setting: a range (`low`, `high`), or `choices`."""

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    """Whether the range is searched on a logarithmic scale, as learning rates are."""
    points: Annotated[int, Field(ge=2)] | None = None
    """Values of the range that the grid sampler tries, evenly spread on its scale."""
    choices: tuple[Any, ...] | None = None
    divides: str | None = None
    """Only choices by which this field is divisible, such as batch_size."""
    above: str | None = None
    """Only choices larger than this field, such as embedding_size."""
    below: str | None = None
    """Only choices smaller than this field."""

    @model_validator(mode="after")
    def _one_kind(self) -> SettingSpace:
        conditions = self.divides or self.above or self.below
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log or self.points:
                raise ValueError("either choices, or a range with low and high: take one of them out")
            if not self.choices:
                raise ValueError("there are no choices: write at least one, such as [64, 128]")
            if conditions and not all(isinstance(c, int | float) and not isinstance(c, bool) for c in self.choices):
                raise ValueError("`divides`, `above` and `below` compare numbers: all choices must be numbers")
            return self
        if self.low is None or self.high is None:
            raise ValueError("needs `low` and `high`, or `choices`")
        if self.low >= self.high:
            raise ValueError(f"a range from low {self.low:g} to high {self.high:g} is empty: low must be smaller")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range cannot begin at {self.low:g}: give a positive low, or log: false")
        if conditions:
            raise ValueError("`divides`, `above` and `below` go with `choices`: list the values instead of a range")
        return self


class MethodSweep(Frozen):
    """What a sweep does differently for one method."""

    space: dict[str, SettingSpace | None] = Field(default={})
    """Laid over the sweep's space; null takes a setting out for this method."""
    prune: bool = True
    """Whether its unpromising trials are stopped early; false where its early curve is known to mislead."""
    reason: str | None = None
    """Why not, printed in the report."""


class FinalSpec(Frozen):
    """The cells that the winners are run as: whole training set, test split, seeds that no trial used."""

    seeds: PositiveInt = 3
    """How many."""


class SweepSpec(Frozen):
    """A search for each method's settings, at the same budget for all. Read by `harness sweep`."""

    space: dict[str, SettingSpace | None] = Field(default={})
    """Setting -> where to look, by the names that axes have. A method is tuned over those that it has."""
    methods: dict[str, MethodSweep | None] = Field(default={})
    """Label, method, or row (`w_mse d=4`) -> what is different for it; null leaves it untuned."""
    trials: PositiveInt = 30
    """Budget of each method on each dataset."""
    metric: Metric = "linear_top1"
    """Made as good as can be, whichever way that is, on a validation split held out of the training images."""
    sampler: Literal["tpe", "random", "grid", "qmc", "gp", "cmaes"] = "tpe"
    pruner: Literal["none", "median", "successive_halving", "hyperband"] = "none"
    """Stops trials early by their k-NN curve, so it needs a monitor with the probe `knn`."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the sampler, and of every trial's cell."""
    batch: PositiveInt = 4
    """Trials of a study that are chosen together, and may run side by side; the next ones know how all of them ended.
    The same whatever the number of workers."""
    asynchronous: bool = False
    """Choose a trial whenever a worker is free: no worker waits, and what is tried depends on their speed."""
    final: FinalSpec = FinalSpec()
