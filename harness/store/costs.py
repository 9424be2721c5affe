"""What a cell cost: each field is a column that tables may have, with its title and unit. A new column is a field here
and, where it is measured anew, one of a record. Measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from harness.store.records import Description, EvaluationRecord, TrainingCost


@dataclass(frozen=True)
class CostColumn:
    """How tables write a cost."""

    title: str
    unit: float = 1.0
    """In which it is written, such as 1e12 for the operations under the title `train TFLOPs`."""
    form: str = ",.0f"
    whole: bool = False
    """Whether a CSV has it as a whole number; one that may pass 2^63 is none."""

    def text(self, value: float) -> str:
        """A value as it stands in a table."""
        return format(value / self.unit, self.form)


def _column(title: str, unit: float = 1.0, form: str = ",.0f", *, whole: bool = False) -> Any:
    return field(metadata={"column": CostColumn(title, unit, form, whole)})


@dataclass(frozen=True)
class Cost:
    """What a cell cost; None where it is not known."""

    views_seen: int = _column("views seen", whole=True)
    steps: int = _column("steps", whole=True)
    train_seconds: float = _column("train s", form=",.1f")
    evaluation_seconds: float = _column("evaluation s", form=",.1f")
    """In monitors, description and evaluations."""
    views_per_second: float | None = _column("views/s")
    peak_memory_bytes: int | None = _column("peak MiB", 2.0**20, whole=True)
    encoder_flops_per_view: int | None = _column("MFLOPs/view", 1e6, ",.2f", whole=True)
    train_flops: int | None = _column("train TFLOPs", 1e12, ",.3g")
    energy_joules: float | None = _column("energy kJ", 1e3, ",.3g")
    parameters: int | None = _column("parameters", whole=True)

    @classmethod
    def of(
        cls, training: TrainingCost, description: Description | None, evaluations: Iterable[EvaluationRecord]
    ) -> Cost:
        """From the records of its stages."""
        seconds = training.monitor_seconds + (description.seconds if description else 0.0)
        return cls(
            views_seen=training.views_seen,
            steps=training.steps,
            train_seconds=training.train_seconds,
            evaluation_seconds=seconds + sum(record.seconds for record in evaluations),
            views_per_second=training.views_seen / training.train_seconds if training.train_seconds else None,
            peak_memory_bytes=training.peak_memory_bytes,
            encoder_flops_per_view=description.encoder_flops_per_view if description else None,
            train_flops=description.train_flops if description else None,
            energy_joules=training.energy_joules,
            parameters=description.parameters if description else None,
        )


COSTS: Mapping[str, CostColumn] = {column.name: column.metadata["column"] for column in fields(Cost)}
"""Every cost column by name, in the order of a CSV."""
