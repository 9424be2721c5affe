"""What a store holds, as cells to be compared: each pretraining with all of its evaluations, or those of a suite.

Owns how evaluations are called without a suite (`knn5`, `linear`, by their probes) and which field of a spec is which
word of a suite file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.differences import flat
from harness.analysis.frame import text_of
from harness.analysis.layout import field_name
from harness.analysis.probe_names import probe_name
from harness.spec.models import Cell, Evaluation, Monitor, Pretraining, Question, Source
from harness.store.cell_result import CellResult, read_cell
from harness.store.records import PretrainingRecord
from harness.store.stages import current
from harness.store.store import Store
from harness.suite.planned import Planned

_DIGITS = 12  # of a fingerprint: enough to tell copies apart
_WHOLE = {"training": "", "input": "dataset.", "source": "dataset."}  # parts of a spec that a suite calls otherwise


@dataclass(frozen=True)
class StoredRun:
    """A pretraining that has ended, with what its present encoder was asked; with one seed, if it serves several."""

    store: Store
    record: PretrainingRecord
    seed: int
    dataset: str
    """Name of the images that it was trained or else evaluated on."""
    evaluations: tuple[Evaluation, ...]
    row: str | None = None
    """As a suite calls it."""
    names: Mapping[str, str] | None = None
    """Evaluation id -> name, as a suite calls them."""

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def key(self) -> tuple[str, int, str | None]:
        """The same for the same cell in another store."""
        return self.id, self.seed, self.row

    def named(self, names: Mapping[str, str]) -> CellResult:
        """As a cell, with the evaluations that have a name; monitors are called by their probes.

        Args:
            names: evaluation id -> name, in the order of the cell's evaluations.
        """
        asked = {question.id: question for question in self.evaluations}
        monitors: dict[str, Monitor] = {}
        for curve in (self.store.read_curve(self.id, id_).record for id_ in self.record.monitors):
            if curve is not None and curve.monitor is not None:
                name = probe_name(curve.monitor)
                monitors[name if name not in monitors else f"{name} {curve.monitor.id}"] = curve.monitor
        cell = Cell(
            seed=self.seed,
            dataset=self.dataset,
            pretraining=self.record.spec,
            evaluations={name: asked[id_] for id_, name in names.items() if id_ in asked},
            monitors=monitors,
        )
        result = read_cell(self.store, cell)
        assert result is not None, f"{self.id} was read a moment ago"
        return result


def stored_runs(store: Store) -> list[StoredRun]:
    """Everything that may be believed, in the order of ids and seeds."""
    return [run for record in store.pretrainings() for run in runs_of(store, record)]


def suite_runs(store: Store, planned: Iterable[Planned]) -> list[StoredRun]:
    """What a store has of a suite's cells, each under its first label."""
    runs = []
    for placed in {placed.id: placed for placed in reversed(list(planned))}.values():
        cell = placed.cell
        record = store.pretraining(cell.pretraining.id)
        if record is not None:
            asked = {question.id: name for name, question in cell.evaluations.items()}
            answered = tuple(q for q in cell.evaluations.values() if current(store, record, q.id) is not None)
            runs.append(StoredRun(store, record, cell.seed, cell.dataset, answered, placed.row, asked))
    return runs[::-1]


def runs_of(store: Store, record: PretrainingRecord) -> list[StoredRun]:
    """A pretraining once for each seed of its evaluations, if it has none itself."""
    answers = [current(store, record, id_) for id_ in store.evaluation_ids(record.id)]
    asked = [answer.spec for answer in answers if answer is not None]
    own = record.spec.seed
    seeds = [own] if own is not None else sorted({question.seed for question in asked if question.seed is not None})
    source = record.spec.source or next((question.scored for question in asked), None)
    name = source.name if source is not None else "no dataset"
    return [
        StoredRun(store, record, seed, name, tuple(q for q in asked if q.seed in (None, seed))) for seed in seeds or [0]
    ]


def names_by_probe(*cells: Sequence[Evaluation]) -> dict[str, str]:
    """Names by id for the evaluations of cells that stand beside each other.

    An evaluation is called by its probe, `knn5`. Where one cell asks the same probe several questions, those are told
    apart by the settings in which they differ: `linear label_fraction=0.1`. The shortest of a probe's names come first.
    """
    groups: dict[str, list[list[Evaluation]]] = {}
    for place, cell in enumerate(cells):
        for question in cell:
            groups.setdefault(probe_name(question), [[] for _ in cells])[place].append(question)
    names: dict[str, str] = {}
    for name, sides in groups.items():
        everything = [question for side in sides for question in side]
        told_apart = _told_apart(everything) if max(map(len, sides)) > 1 else {}
        own = {question.id: " ".join([name, *told_apart.get(question.id, [])]) for question in everything}
        names |= dict(sorted(own.items(), key=lambda item: (len(item[1]), item[1])))
    return names


def _told_apart(questions: Iterable[Evaluation]) -> dict[str, list[str]]:
    """By id, `epochs=5` for every field that differs and that the question has."""
    fields = {question.id: _question_fields(question) for question in questions}
    paths = dict.fromkeys(path for own in fields.values() for path in own)
    varying = [path for path in paths if len({text_of(own.get(path)) for own in fields.values()}) > 1]
    return {
        id_: [f"{field_name(path)}={text_of(own[path])}" for path in varying if own.get(path) is not None]
        for id_, own in fields.items()
    }


def pretraining_fields(spec: Pretraining) -> dict[str, Any]:
    """The fields of a pretraining by the names that a suite has for them, flat: `views`, `dataset.image_size`."""
    flattened: dict[str, Any] = {}
    for name, value in spec.model_dump(mode="json").items():
        if name not in _WHOLE:
            flattened |= flat({name: value})
        elif value is not None and name != "source":
            flattened |= flat(value, _WHOLE[name])
    if "dataset.size" in flattened:
        flattened["dataset.image_size"] = flattened.pop("dataset.size")
    return flattened | (_source_fields(spec.source, "dataset.", "pretraining") if spec.source else {})


def cell_fields(cell: Cell) -> dict[str, Any]:
    """The fields of a cell likewise; those of its evaluations below `evaluations.NAME`."""
    flattened: dict[str, Any] = {}
    for name, question in cell.evaluations.items():
        prefix = f"evaluations.{name}."
        shared = {"split", "precision", "dataset.eval_resize"}
        own = _question_fields(question, "dataset." if question.train.name == cell.dataset else f"{prefix}dataset.")
        flattened |= {path if path in shared or "dataset." in path else prefix + path: v for path, v in own.items()}
    return flattened | pretraining_fields(cell.pretraining)


def changed_fields(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Path -> (value in a, value in b), where they differ; what one has not is None."""
    paths = [path for path in dict.fromkeys((*a, *b)) if a.get(path) != b.get(path)]
    return {path: (a.get(path), b.get(path)) for path in paths if not (_has_parts(a, path) or _has_parts(b, path))}


def _has_parts(fields: Mapping[str, Any], path: str) -> bool:
    """Whether a part is there with fields of its own, which tell of it."""
    return path not in fields and any(other.startswith(f"{path}.") for other in fields)


def _question_fields(question: Question, data: str = "dataset.") -> dict[str, Any]:
    """The fields of a question that its seed and its encoder do not decide."""
    return {
        "probe": question.probe,
        **flat(question.settings),
        "label_fraction": question.label_fraction,
        "split": question.split,
        "precision": question.precision,
        "dataset.eval_resize": question.transform.resize,
        **_source_fields(question.train, data, "probe"),
        **_source_fields(question.scored.model_copy(update={"train_images": None}), data, "scored"),
        f"{data}train_images": question.train.train_images,
    }


def _source_fields(source: Source, prefix: str, whose: str) -> dict[str, Any]:
    return {
        f"{prefix}name": source.name,
        f"{prefix}train_images": source.train_images,
        f"{prefix}validation_fraction": source.validation_fraction,
        f"{prefix}{whose}_images": _digits(source.images),
        f"{prefix}{whose}_labels": _digits(source.labels),
    }


def _digits(fingerprints: tuple[str, ...] | None) -> str | None:
    return None if fingerprints is None else " ".join(one[:_DIGITS] for one in fingerprints)
