"""One pretraining, from its images to an encoder on the disk. Owns the order of what is written: encoder, heads and
curves first, the record that vouches for them last. Evaluates nothing but the monitors that a curve needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import safetensors.torch
import torch
from torch import Tensor, nn

from harness.data.views import ViewStream
from harness.engines.context import Context
from harness.engines.cost import Meter, energy_meter
from harness.engines.describe import diagnose_features, sample_rows
from harness.engines.evaluate import Features, load_images
from harness.engines.task import Task
from harness.memory import peak_bytes, reset_peak
from harness.spec.models import Monitor, Pretraining, TrainingSpec
from harness.store.progress import ProgressReporter
from harness.store.provenance import collect, utc_now
from harness.store.records import (
    Curve,
    CurvePoint,
    EncoderFile,
    Failure,
    PretrainingRecord,
    Provenance,
    TrainingCost,
)
from harness.store.store import CURVES, TRAINING_CURVE, Store
from harness.training.checkpoints import CheckpointError, from_bytes
from harness.training.networks import build_networks
from harness.training.trainer import Hooks, Progress, Tally, Trainer
from methods.entry import MethodEntry
from methods.method import Method


@dataclass
class Networks:
    """A pretraining's networks, in memory."""

    encoder: nn.Module
    """What is evaluated: the trained encoder, a random one, or `nn.Flatten` for pixels."""
    method: Method | None
    """None where nothing is trained, or where the heads are not at hand."""


@dataclass
class PretrainingRun:
    """One attempt at a pretraining. Call `to_the_end` with the lock held; whatever it raises, `failed` and `pruned`
    turn what there is into a record."""

    task: Task
    entry: MethodEntry
    context: Context
    tally: Tally = field(default_factory=Tally)
    started: str = field(default_factory=utc_now)
    steps_per_epoch: int = 0
    joules: float | None = None
    unknown: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.device = self.context.execution.torch_device()
        self.reporter = ProgressReporter(self.context.store, self.task.id, monitors=self.task.monitors)

    @property
    def spec(self) -> Pretraining:
        return self.task.pretraining

    def to_the_end(self) -> tuple[PretrainingRecord, Networks]:
        """Train, or go on with it, and store encoder, curves and record."""
        reset_peak(self.device)
        networks = build(self.spec, self.entry, self.context)
        networks.encoder.to(self.device)
        if networks.method is not None and self.spec.training is not None:
            self._train(networks, networks.method, self.spec.training)
        else:
            self.unknown["energy_joules"] = "nothing is trained"
        peak = peak_bytes(self.device)
        before = self.context.store.pretraining(self.spec.id)
        encoder = self._store_weights(networks)
        monitors = self._store_curves()
        if before is not None and before.status == "done" and before.encoder == encoder:
            monitors += tuple(id_ for id_ in before.monitors if id_ not in monitors)
        else:
            self._drop_curves_of_others()
        if peak is None:
            self.unknown["peak_memory_bytes"] = "the system does not say"
        training = self.spec.training
        record = PretrainingRecord(
            id=self.spec.id,
            spec=self.spec,
            status="done",
            encoder=encoder,
            monitors=monitors,
            cost=TrainingCost(
                train_seconds=self.tally.seconds,
                monitor_seconds=self.tally.measuring_seconds,
                steps=self.tally.step,
                views_seen=self.tally.step * training.all_views * training.batch_size if training else 0,
                peak_memory_bytes=peak,
                energy_joules=self.joules,
                unknown=self.unknown,
            ),
            provenance=self._provenance(),
        )
        self.context.store.save_pretraining(record)
        return record, networks

    def _train(self, networks: Networks, method: Method, training: TrainingSpec) -> None:
        context, spec = self.context, self.spec
        assert spec.source is not None
        assert spec.seed is not None
        images = load_images(spec.source, "train", context.execution.data_dir, spec.input.channels).images
        views = ViewStream(
            images,
            spec.input,
            training.augmentation,
            training.views,
            training.batch_size,
            spec.seed,
            self.device,
            more_views=training.more_views,
        )
        self.steps_per_epoch = views.steps_per_epoch
        watched = _Monitors(self.task, networks, context, self.device)
        hooks = Hooks(
            measure=watched.readings,
            report=self._report,
            should_stop=context.should_stop,
            save=lambda data: context.store.write_checkpoint(spec.id, data),
            give_up=self.task.give_up,
            code=self._code(),
            checkpoint_seconds=context.execution.checkpoint_seconds,
        )
        execution = context.execution
        trainer = Trainer(
            training,
            spec.seed,
            spec.id,
            method,
            views,
            self.device,
            hooks,
            silent=self.entry.silent,
            plain=execution.plain,
            compile=execution.compile,
        )
        self._resume(trainer)
        self.tally = trainer.tally
        meter = None if self.tally.resumed else energy_meter(self.device)
        self.tally = trainer.run()
        self.joules = self._energy(meter)

    def _energy(self, meter: Meter | None) -> float | None:
        """What the meter says; None with the reason where there is none, or it fails."""
        if meter is None:
            interrupted = bool(self.tally.resumed)
            self.unknown["energy_joules"] = "training was interrupted" if interrupted else "the device does not tell"
            return None
        try:
            return meter.joules()
        except Exception as error:  # NVML's own errors are of many kinds, and none of them may cost an encoder
            self.unknown["energy_joules"] = f"{type(error).__name__}: {error}"
            return None

    def _report(self, progress: Progress) -> None:
        self.context.watcher.training(self.spec.id, progress)
        self.reporter.training(progress, self.tally.curve)

    def _resume(self, trainer: Trainer) -> None:
        data = self.context.store.load_checkpoint(self.spec.id)
        if data is None:
            return
        try:
            state = from_bytes(data, self.spec.id)
            if state.get("code") != self._code():
                raise CheckpointError(f"{self.spec.id}: the code has changed since its checkpoint was written")
            trainer.restore(state)
        except CheckpointError as error:
            self.context.watcher.note(f"{error}; training starts over")

    def _code(self) -> str:
        """Which code trains, as checkpoints note it."""
        execution = self.context.execution
        parts = self.context.code.of_training(self.spec.method, execution.device_name())
        code = " ".join(f"{name} {digest}" for name, digest in sorted(parts.items()))
        return f"{code} plain" if execution.plain else code

    def _store_weights(self, networks: Networks) -> EncoderFile | None:
        store, id_ = self.context.store, self.spec.id
        weights = networks.encoder.state_dict()
        if not weights:
            return None
        file = store.write_encoder(id_, _to_bytes(weights))
        if networks.method is not None:
            store.write_heads(id_, _to_bytes(_heads(networks.method, networks.encoder)))
        return file

    def _store_curves(self) -> tuple[str, ...]:
        """Write the training's curve and the monitors' curves; ids of those that are whole."""
        return store_curves(self.context.store, self.task, self.tally.curve)

    def _drop_curves_of_others(self) -> None:
        """Remove curves of monitors that an earlier training had, whose encoder was another one."""
        store, own = self.context.store, {monitor.id for monitor in self.task.monitors.values()}
        for path in (store.directory(self.spec.id) / CURVES).glob("*.json"):
            if path.stem not in {TRAINING_CURVE, *own}:
                store.drop(self.spec.id, f"{CURVES}/{path.name}")

    def pruned(self) -> PretrainingRecord:
        """Store what there is of a training that was given up."""
        self._store_curves()
        record = PretrainingRecord(
            id=self.spec.id, spec=self.spec, status="pruned", cost=self._cost_so_far(), provenance=self._provenance()
        )
        self.context.store.save_pretraining(record)
        return record

    def located(self, failure: Failure) -> Failure:
        """The failure with the step that training had come to."""
        step = self.tally.step if self.steps_per_epoch else None  # None: training had not begun
        epoch = None if step is None else step // self.steps_per_epoch
        return failure.model_copy(update={"epoch": epoch, "step": step})

    def failed(self, failure: Failure) -> PretrainingRecord:
        """Store the failure; the checkpoint stays, so that another attempt goes on from it."""
        self._store_curves()
        record = PretrainingRecord(
            id=self.spec.id,
            spec=self.spec,
            status="failed",
            provenance=self._provenance(),
            failure=failure,
        )
        self.context.store.save_pretraining(record)
        return record

    def _cost_so_far(self) -> TrainingCost:
        training = self.spec.training
        return TrainingCost(
            train_seconds=self.tally.seconds,
            monitor_seconds=self.tally.measuring_seconds,
            steps=self.tally.step,
            views_seen=self.tally.step * training.all_views * training.batch_size if training else 0,
            peak_memory_bytes=None,
            energy_joules=None,
            unknown=dict.fromkeys(("peak_memory_bytes", "energy_joules"), "it was stopped early"),
        )

    def _provenance(self) -> Provenance:
        device = self.context.execution.device_name()
        return collect(
            self.context.code,
            self.context.code.of_training(self.spec.method, device),
            device=device,
            threads=torch.get_num_threads(),
            started=self.started,
            resumed=self.tally.resumed,
        )


class _Monitors:
    """What is measured during training: each monitor at its cadence, with the collapse diagnostics of that moment. One
    that fails costs its reading, never the training."""

    def __init__(self, task: Task, networks: Networks, context: Context, device: torch.device) -> None:
        self._task, self._networks, self._context, self._device = task, networks, context, device

    def readings(self, epochs_done: int) -> dict[str, float]:
        """Values for the curve, {} where none is due."""
        task, spec = self._task, self._task.pretraining
        due = {name: monitor for name, monitor in task.monitors.items() if epochs_done in due_epochs(monitor, spec)}
        if not due:
            return {}
        features = Features(self._networks.encoder, spec.input, self._context.execution.data_dir, self._device)
        values: dict[str, float] = {}
        for name, monitor in due.items():
            try:
                if not values:
                    values |= self._diagnostics(features, monitor)
                values |= {f"{name}_{metric}": value for metric, value in features.ask(monitor).metrics.items()}
            except Exception as error:  # an image that cannot be read, memory, a user's own probe
                self._context.watcher.note(
                    f"{task.label}: the monitor {name} failed after epoch {epochs_done} and training goes on: "
                    f"{type(error).__name__}: {error}"
                )
        return values

    def _diagnostics(self, features: Features, monitor: Monitor) -> dict[str, float]:
        """Of h and v of the training images, without what is not finite."""
        rows = sample_rows(len(features.train(monitor.model_copy(update={"label_fraction": None})).labels))
        diagnosis = diagnose_features(features.embedded_rows(monitor, rows), self._networks.method)
        return {name: value for name, value in diagnosis.values.items() if value is not None}


def due_epochs(monitor: Monitor, spec: Pretraining) -> range:
    """Epochs after which a monitor reads: at its cadence, but not after the last, which the evaluations measure."""
    epochs = spec.training.epochs if spec.training else 0
    return range(monitor.every_epochs, epochs, monitor.every_epochs)


def store_curves(store: Store, task: Task, curve: Iterable[CurvePoint]) -> tuple[str, ...]:
    """Write the points of a trainer's curve as the training's own and those of each monitor; ids of the monitors whose
    curve is whole."""
    points = [split_point(point, task.monitors) for point in curve]
    store.save_curve(Curve(id=task.id, points=tuple(training for training, _ in points if training.values)))
    whole = []
    for name, monitor in task.monitors.items():
        own = tuple(of[name] for _, of in points if name in of)
        if {point.epoch for point in own} >= set(due_epochs(monitor, task.pretraining)):
            whole.append(monitor.id)
        if own:
            store.save_curve(Curve(id=task.id, monitor=monitor, points=own))
    return tuple(whole)


def split_point(point: CurvePoint, names: Collection[str]) -> tuple[CurvePoint, dict[str, CurvePoint]]:
    """A point of the trainer's curve as the training's own and one a monitor that has read then, by its name."""
    diagnostics = {key: value for key, value in point.values.items() if key.startswith(("h_", "v_"))}
    taken = set(diagnostics)
    own: dict[str, CurvePoint] = {}
    for name in sorted(names, key=len, reverse=True):  # `knn5_few` before `knn5`
        mine = {key for key in point.values if key.startswith(f"{name}_") and key not in taken}
        if mine:
            taken |= mine
            values = {key.removeprefix(f"{name}_"): point.values[key] for key in mine}
            own[name] = point.model_copy(update={"values": values | diagnostics})
    training = {key: value for key, value in point.values.items() if key not in taken}
    return point.model_copy(update={"values": training}), own


def build(spec: Pretraining, entry: MethodEntry, context: Context) -> Networks:
    """The pretraining's networks as they are at step 0."""
    classes = 1
    if spec.source is not None:
        loaded = load_images(spec.source, "train", context.execution.data_dir, spec.input.channels)
        classes = len(loaded.classes)
    sha = spec.backbone.weights if spec.backbone else None
    encoder, method = build_networks(spec, entry, classes, context.weights.get(sha) if sha else None)
    return Networks(method.evaluated() if method is not None else encoder, method)


def restore(record: PretrainingRecord, entry: MethodEntry, context: Context) -> Networks | None:
    """The networks of a finished pretraining, from the disk; without heads where these are not kept. None where the
    encoder itself is missing or damaged."""
    networks = build(record.spec, entry, context)
    heads = context.store.read_heads(record.id)
    if networks.method is not None and heads is not None:
        networks.method.load_state_dict({**networks.method.state_dict(), **safetensors.torch.load(heads)})
    elif networks.method is not None:
        networks.method = None
    if record.encoder is not None:
        data = context.store.read_encoder(record)
        if data is None:
            return None
        networks.encoder.load_state_dict(safetensors.torch.load(data))
    device = context.execution.torch_device()
    for network in (networks.encoder, networks.method):
        if network is not None:
            network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return networks


def _heads(method: Method, encoder: nn.Module) -> dict[str, Tensor]:
    """Everything of a method but the encoder that is evaluated."""
    prefix = next(f"{name}." for name, module in method.named_modules() if module is encoder)
    return {name: value for name, value in method.state_dict().items() if not name.startswith(prefix)}


def _to_bytes(weights: dict[str, Tensor]) -> bytes:
    """As a safetensors file: the same weights give the same bytes."""
    return safetensors.torch.save({name: value.detach().cpu().contiguous().clone() for name, value in weights.items()})
