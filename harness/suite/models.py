"""What a suite file may say, as models: the shape of the YAML, key by key. Owns no file and resolves nothing.

Overrides of a cell are the partial form of `RowFields`; whatever names methods or datasets is checked in `names`.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from harness.spec.collapse import CollapseRule
from harness.spec.identity import Frozen
from harness.store.costs import COSTS
from harness.suite.claims import WrittenClaim
from harness.suite.fields import partial
from harness.suite.metrics import Metric
from harness.suite.row import RowFields
from harness.suite.search import SweepSpec

if TYPE_CHECKING:

    class Overrides(Frozen):
        """Any fields of a cell but its method, each optional."""

else:
    Overrides = partial(RowFields)
    Overrides.__doc__ = "Any fields of a cell but its method, each optional."


def _known_cost(name: str) -> str:
    if name not in COSTS:
        near = difflib.get_close_matches(name, COSTS, n=1)
        raise ValueError(f"`{name}` is no cost column; " + (f"did you mean `{near[0]}`?" if near else ", ".join(COSTS)))
    return name


CostName = Annotated[str, AfterValidator(_known_cost), Field(json_schema_extra={"enum": list(COSTS)})]
Axes = dict[str, Any]  # a list of values, `seeds: 3`, or a mapping of labels to overrides; read in `axes`


class DatasetRow(Overrides):
    """Fields of the cells on this dataset. The key is a label; `dataset.name` is the dataset, where they differ."""


class MethodRow(Overrides):
    """One labelled method: its settings, and any field of its cells."""

    method: str | None = None
    """A method of `harness list methods`; by default the label itself."""
    datasets: dict[str, Overrides | None] = Field(default={})
    """Fields of this method's cells on one dataset of the suite."""
    axes: Axes = Field(default={})
    """Axes that only this method is crossed with; one of a global axis's name replaces it."""


class SkipRule(Frozen):
    """Combinations that are not run. All keys but `reason` are matched: `method`, `dataset`, axes and fields of a cell,
    each a value or a list of values."""

    model_config = ConfigDict(extra="allow")

    reason: Annotated[str, Field(min_length=1)]
    """Printed beside every cell that is left out."""

    @model_validator(mode="after")
    def _matches_something(self) -> SkipRule:
        if not self.model_extra:
            raise ValueError("a skip rule needs something to match besides its reason, such as `method` or `views`")
        return self


class Reference(Frozen):
    """Published numbers, printed beside ours."""

    source: str
    """Paper and table."""
    confidence: Literal["verified", "recalled"]
    """Read in a copy of the source, or from memory: printed as such and never used in a verdict."""
    metric: Metric
    values: dict[str, dict[str, float | Literal["collapse"]]]
    """Row as printed (or method label) -> column as printed -> number, or `collapse` where that was published."""


class TableSpec(Frozen):
    """One table of the results."""

    title: str | None = None
    layout: Literal["table", "grid"] = "table"
    """`table`: every metric under every column. `grid`: one axis down, one across, a grid for each metric."""
    rows: tuple[str, ...] = ()
    """`method`, `dataset`, axes or fields of a cell; by default the method's label and every axis that varies but the
    seed and what the columns use."""
    columns: tuple[str, ...] = ("dataset",)
    """Likewise."""
    where: dict[str, Any] = Field(default={})
    """Only the cells that match, as in a skip rule."""
    metrics: tuple[Metric, ...] = ()
    """NAME_METRIC, such as `linear_top1` of the evaluation `linear`; by default the first of each evaluation."""
    cost: tuple[CostName, ...] = ("views_seen", "train_seconds")
    """Cost columns."""
    baseline: str | None = None
    """The row to which the others are compared: a row as printed, or a method's label."""
    references: tuple[Reference, ...] = ()

    @model_validator(mode="after")
    def _readable(self) -> TableSpec:
        if self.layout == "grid" and not (len(self.rows) == len(self.columns) == 1):
            raise ValueError(
                "a grid has one axis in `rows` and one in `columns`, such as rows: [d], columns: [sub_batch_size]"
            )
        return self


class PresetContent(Frozen):
    """Changes to a suite, chosen by `--preset NAME`."""

    title: str | None = None
    description: str | None = None
    defaults: Overrides = Overrides()
    """Fields of every cell. Settings apply to the methods that have them."""
    datasets: dict[str, DatasetRow | None] = Field(default={})
    """Label -> what is different on it. A list of names selects: of what an included suite says, only those stay."""
    methods: dict[str, MethodRow | None] = Field(default={})
    """Label -> method, settings and what else is different. A list of labels selects likewise."""
    axes: Axes = Field(default={})
    """Crossed with every method that has them: name -> list of values."""
    overrides: Overrides = Overrides()
    """Fields that win over everything above, axes included; for presets."""
    skip: tuple[SkipRule, ...] = ()
    tables: tuple[TableSpec, ...] = ()
    """By default one table: methods down, datasets across."""
    claims: tuple[WrittenClaim, ...] = ()
    """What a paper claims, and the run answers: `A > B on knn5_top1`, `A not better than B`, `A equals B within 0.5`,
    `A collapses`, `A reaches 80 % of its final k-NN earlier than B`. A and B are rows, such as `w_mse d=4`."""
    collapse: CollapseRule = CollapseRule()
    """When a run is called collapsed: a rule of the analysis, which changes no id."""
    sweep: SweepSpec | None = None
    """What `harness sweep` searches."""
    extensions: tuple[str, ...] = ()
    """Python files with your own methods, probes, datasets, backbones and loggers, relative to this file."""


class SuiteContent(PresetContent):
    """A suite: which methods, on which datasets, over which axes, and which tables are made."""

    include: str | tuple[str, ...] = ()
    """Suite files that this one builds on, relative to it; later ones win, and this one wins over all."""
    presets: dict[str, PresetContent | None] = Field(default={})
    """Variants of the whole suite: name -> changes."""
