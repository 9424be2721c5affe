"""Every trial of a sweep as one frame, `trials.csv`, and back again as cells of the suite: what `status` and `table`
read, whatever the storage. No torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import ValidationError

from harness.spec.collapse import CollapseRule
from harness.store.atomic import write_text
from harness.suite.loading import parse
from harness.suite.nodes import SuiteError, plain
from harness.suite.planned import Expansion, Planned, shown
from harness.sweep.rows import SweepRow

if TYPE_CHECKING:
    from harness.analysis.frame import Record
    from harness.store.provenance import Code
    from harness.store.store import Store
    from harness.sweep.trials import RowStudy

FILE = "trials.csv"
_COLUMNS = {  # of Optuna's frame -> ours
    "user_attrs_index": "number",
    "user_attrs_outcome": "state",
    "value": "value",
    "user_attrs_pretraining": "cell",
    "user_attrs_epochs": "epochs",
    "user_attrs_seconds": "seconds",
}
_LAST = ["cell", "epochs", "seconds"]
_FORMATS = {"value": "{:.6g}".format, "seconds": "{:.2f}".format, "epochs": "{:.0f}".format}


def trials_frame(studies: Iterable[RowStudy]) -> pd.DataFrame:
    """A row a trial, as text: method, dataset, number, state, value (of the metric, in its unit), settings, cost."""
    frame = pd.concat([pd.DataFrame(columns=["method", "dataset", *_COLUMNS.values()]), *map(_of_study, studies)])
    return frame[[*frame.columns.difference(_LAST, sort=False), *_LAST]]


def _of_study(study: RowStudy) -> pd.DataFrame:
    settings = {f"params_{setting.name}": setting.name for setting in study.row.space.settings}
    frame = study.study.trials_dataframe(attrs=("value", "params", "user_attrs"))
    frame = frame.reindex(columns=[*_COLUMNS, *settings]).rename(columns=_COLUMNS | settings)
    frame = frame.drop_duplicates("number").sort_values("number")  # the first of one that two machines added
    frame["state"] = frame["state"].astype(object).fillna("running")
    texts = {name: frame[name].map(_FORMATS.get(str(name), shown), na_action="ignore") for name in frame}
    return pd.DataFrame({"method": study.row.name, "dataset": study.row.dataset, **texts})


def write_trials(directory: Path, studies: Iterable[RowStudy]) -> Path:
    """Write `trials.csv`."""
    path = directory / FILE
    write_text(path, trials_frame(studies).to_csv(index=False, lineterminator="\n"))
    return path


def trial_records(
    directory: Path, rows: Sequence[SweepRow], store: Store, code: Code, rule: CollapseRule
) -> list[Record]:
    """Every trial in `trials.csv` as a cell of its row, with what the store holds of it; none where there is no file.

    A line that is not one of these rows' any more, for the suite has changed, is left out.
    """
    from harness.analysis.frame import gather

    path = directory / FILE
    if not path.exists():
        return []
    by_title = {(row.name, row.dataset): row for row in rows}
    lines = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
    planned = [_planned(by_title.get((line["method"], line["dataset"])), line) for line in lines]
    return gather(Expansion(tuple(cell for cell in planned if cell is not None), ()), store, code, rule)


def _planned(row: SweepRow | None, line: Mapping[Any, str]) -> Planned | None:
    if row is None:
        return None
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
