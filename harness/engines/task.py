"""The unit that engines hand out: cells that share one pretraining, and how they ended. Runs nothing, and is data
through and through: it travels as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from harness.engines.pruning import Pruner, PruneRule
from harness.spec.identity import Frozen
from harness.spec.models import Cell, Evaluation, Monitor, Pretraining, Question
from harness.store.provenance import Code
from harness.store.records import CurvePoint
from harness.store.stages import replaceable
from harness.store.store import Store

if TYPE_CHECKING:  # a worker process needs no suite
    from harness.suite.planned import Placed

State = Literal["done", "failed", "pruned", "interrupted", "missing data", "running elsewhere"]


def never(point: CurvePoint) -> bool:
    """Whether to give up a training at this point of its curve: never."""
    return False


class Task(Frozen):
    """Cells with one pretraining: it is trained once, and asked what all of them ask."""

    cells: tuple[Cell, ...]
    label: str
    """What to call it on the way."""
    replace: frozenset[str] = frozenset()
    """Seals of stored records that do not stand. What is missing besides them the store says."""
    prune: PruneRule | None = None

    @property
    def give_up(self) -> Callable[[CurvePoint], bool]:
        """Asked at each point of the curve, those of a resumed run's past included; once it says yes the pretraining
        is `pruned`. Points carry the training's values and, under NAME_METRIC, the monitors'. Knows no other attempt:
        each access begins anew."""
        return never if self.prune is None else Pruner(self.prune)

    @property
    def pretraining(self) -> Pretraining:
        return self.cells[0].pretraining

    @property
    def id(self) -> str:
        """The pretraining's."""
        return self.pretraining.id

    @property
    def backbone(self) -> str | None:
        """The name of the pretraining's; None for pixels."""
        return self.pretraining.backbone.name if self.pretraining.backbone else None

    @cached_property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """Each once, in the order of the cells."""
        asked = {e.id: e for cell in self.cells for e in cell.evaluations.values()}
        return tuple(asked.values())

    @cached_property
    def monitors(self) -> Mapping[str, Monitor]:
        """Each once, by the first name that it has."""
        known: dict[str, tuple[str, Monitor]] = {}
        for cell in self.cells:
            for name, monitor in cell.monitors.items():
                known.setdefault(monitor.id, (name, monitor))
        return dict(known.values())

    @property
    def described_on(self) -> Question | None:
        """Whose training images the collapse diagnostics look at, the cell's own before those of a transfer; None where
        nothing is asked."""
        asked: list[Question] = [*self.evaluations, *self.monitors.values()]
        own = [question for question in asked if question.train.name == self.cells[0].dataset]
        return next(iter(own or asked), None)

    def name_of(self, evaluation: Evaluation) -> str:
        """What the first cell that asks it calls an evaluation."""
        return next(n for cell in self.cells for n, e in cell.evaluations.items() if e.id == evaluation.id)

    def again(self, store: Store, code: Code, *, rerun_stale: bool = False) -> Task:
        """The task with what a new command tries again: failures and, if asked to, what older code has made. To be
        called once, when the command begins: what fails later stands."""
        seals = replaceable(store, self.pretraining, self.evaluations, code, rerun_stale)
        return self.model_copy(update={"replace": seals})


@dataclass(frozen=True)
class Outcome:
    """How a task ended in this command. What it left is in the store."""

    state: State
    message: str = ""


def tasks_of(placed: Iterable[Placed]) -> list[Task]:
    """The tasks of a plan, in its order: cells that share a pretraining are one."""
    groups: dict[str, dict[str, Placed]] = {}
    for here in placed:
        groups.setdefault(here.cell.pretraining.id, {}).setdefault(here.id, here)
    return [
        Task(cells=tuple(here.cell for here in group.values()), label=_label(group.values()))
        for group in groups.values()
    ]


def _label(group: Iterable[Placed]) -> str:
    """`w_mse d=4 on digits, seed 0`; where one encoder serves several seeds, all of them."""
    members = list(group)
    seeds = list(dict.fromkeys(here.cell.seed for here in members))
    listed = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    return f"{members[0].row} on {members[0].dataset}, {listed}"
