"""Every trial of a sweep as CSV, and back again as cells of the suite: what `status` and `table` read, whatever the
storage. No torch, no Optuna.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.spec.collapse import CollapseRule
from harness.store.atomic import write_text
from harness.suite.loading import parse
from harness.suite.nodes import SuiteError, plain
from harness.suite.planned import Expansion, Planned, shown
from harness.sweep.rows import Row

if TYPE_CHECKING:
    from harness.analysis.frame import Record
    from harness.store.provenance import Code
    from harness.store.store import Store
    from harness.sweep.trials import Trial

FILE = "trials.csv"
FIRST = ("method", "dataset", "number", "state", "value")
LAST = ("cell", "epochs", "seconds")


def write_trials(directory: Path, trials: Iterable[Sequence[Trial]]) -> Path:
    """Write `trials.csv`, a row a trial. `value` is the metric on the validation split, in its unit."""
    everything = [trial for of_row in trials for trial in of_row]
    settings = list(dict.fromkeys(name for trial in everything for name in trial.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*FIRST, *settings, *LAST])
    for trial in everything:
        values = [shown(trial.values[name]) if name in trial.values else "" for name in settings]
        seconds = "" if trial.seconds is None else f"{trial.seconds:.2f}"
        value = "" if trial.value is None else f"{trial.value:.6g}"
        head = [trial.row.name, trial.row.dataset, trial.index, trial.state, value]
        writer.writerow([*head, *values, trial.pretraining_id, "" if trial.epochs is None else trial.epochs, seconds])
    path = directory / FILE
    write_text(path, text.getvalue())
    return path


def trial_records(directory: Path, rows: Sequence[Row], store: Store, code: Code, rule: CollapseRule) -> list[Record]:
    """Every trial in `trials.csv` as a cell of its row, with what the store holds of it; none where there is no file.

    A line that is not one of these rows' any more, for the suite has changed, is left out.
    """
    from harness.analysis.frame import gather

    try:
        text = (directory / FILE).read_text()
    except FileNotFoundError:
        return []
    by_title = {(row.name, row.dataset): row for row in rows}
    planned = []
    for line in csv.DictReader(io.StringIO(text)):
        row = by_title.get((line["method"], line["dataset"]))
        found = _planned(row, line) if row else None
        if found is not None:
            planned.append(found)
    return gather(Expansion(tuple(planned), ()), store, code, rule)


def _planned(row: Row, line: Mapping[str, str]) -> Planned | None:
    written = {s.name: line[s.name] for s in row.space.settings if line.get(s.name)}
    try:
        values: dict[str, Any] = {name: plain(parse(text, name, line=0)) for name, text in written.items()}
        cell, fields = row.trial(values), row.trial_fields(values)
    except (ValidationError, SuiteError):
        return None
    if cell.pretraining.id != line["cell"]:
        return None
    axes = {name: value for name, value in row.placed.axes.items() if name != "seed"}
    return Planned(cell, fields, row.placed.label, row.dataset, {**axes, "trial": int(line["number"]), **values})
