"""What is tried next. Owns the samplers and what they are shown.

A sampler sees a copy of the study in memory and is seeded for one trial alone: what it proposes depends on the suite,
the seed and the trials before, and neither on who asks nor on how often anybody was killed. Stores nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from harness.streams import stream_seed
from harness.suite.planned import shown
from harness.suite.search import SweepSpec
from harness.sweep.rows import Row, SweepError

STARTUP = 8  # random trials before TPE and GP begin to model; few, as budgets are
ATTEMPTS = 100  # proposals for one trial


def sampler(spec: SweepSpec, study: str, index: int, attempt: int = 0) -> BaseSampler:
    """The sampler of one trial of a study."""
    whole = stream_seed(spec.seed, "sweep", study) % 2**31
    own = stream_seed(spec.seed, "sweep", study, index, attempt) % 2**31
    if spec.sampler == "tpe":
        return optuna.samplers.TPESampler(n_startup_trials=STARTUP, multivariate=True, constant_liar=True, seed=own)
    if spec.sampler == "qmc":  # one sequence, which the trials share
        return optuna.samplers.QMCSampler(scramble=True, seed=whole, warn_independent_sampling=False)
    if spec.sampler == "gp":
        return optuna.samplers.GPSampler(n_startup_trials=STARTUP, seed=own)
    if spec.sampler == "cmaes":
        return optuna.samplers.CmaEsSampler(seed=own, warn_independent_sampling=False)
    return optuna.samplers.RandomSampler(seed=own)


def propose(
    spec: SweepSpec, row: Row, name: str, before: Sequence[FrozenTrial], count: int, system: dict[str, Any]
) -> tuple[list[FrozenTrial], dict[str, Any]]:
    """So many new trials of a study, and what its samplers keep with it.

    Args:
        before: trials so far, in order; those not finished count as running.
        system: what earlier samplers have kept.

    Raises:
        SweepError: the sampler proposes nothing that can be run.
    """
    if spec.sampler == "grid":
        points = grid_points(spec, row, name)[len(before) : len(before) + count]
        return [_of_grid(row, len(before) + offset, point) for offset, point in enumerate(points)], system
    memory = InMemoryStorage()
    shown_to = optuna.create_study(storage=memory, study_name=name, direction="maximize")
    shown_to.add_trials([_the_more_the_better(trial, row) for trial in before])
    number = memory.get_study_id_from_name(name)
    for key, value in system.items():
        memory.set_study_system_attr(number, key, value)
    new = [_ask(spec, row, shown_to, index) for index in range(len(before), len(before) + count)]
    return new, dict(memory.get_study_system_attrs(number))


def _the_more_the_better(trial: FrozenTrial, row: Row) -> FrozenTrial:
    """A trial whose value is to be maximised, as the accuracies on its curve are, by which samplers rank what was
    pruned."""
    if row.metric.higher_is_better or trial.value is None:
        return trial
    turned = copy.deepcopy(trial)
    turned.value = -trial.value
    return turned


def _ask(spec: SweepSpec, row: Row, study: optuna.Study, index: int) -> FrozenTrial:
    """The sampler's next possible point; the choices are possible by themselves, their ranges may not be."""
    why = None
    for attempt in range(ATTEMPTS):
        study.sampler = sampler(spec, study.study_name, index, attempt)
        asked = study.ask()
        values = row.space.suggest(asked)
        why = row.refusal(values)
        if why is None:
            found = study.get_trials(deepcopy=False)[asked.number]
            return _running(row, index, values, found.params, found.distributions, found.system_attrs)
        study.tell(asked, state=TrialState.FAIL)
    raise SweepError(
        f"{row.title}: {ATTEMPTS} proposals in a row cannot be run, the last because {why}: narrow the space"
    )


def grid_points(spec: SweepSpec, row: Row, name: str) -> list[dict[str, Any]]:
    """The grid in an order drawn once, so that a part of it is spread over all."""
    points = row.space.grid()
    order = np.random.default_rng(stream_seed(spec.seed, "sweep", name)).permutation(len(points))
    return [points[index] for index in order]


def _of_grid(row: Row, index: int, values: dict[str, Any]) -> FrozenTrial:
    texts = {name: shown(value) for name, value in values.items()}
    everything = row.space.grid()
    distributions: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(list(dict.fromkeys(shown(point[name]) for point in everything))) for name in texts
    }
    return _running(row, index, values, texts, distributions, {})


def _running(
    row: Row,
    index: int,
    values: dict[str, Any],
    params: dict[str, Any],
    distributions: dict[str, BaseDistribution],
    system: dict[str, Any],
) -> FrozenTrial:
    """The trial as stored: one record, so that a kill leaves all of it or nothing."""
    cell = row.trial(values)
    return optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=params,
        distributions=distributions,
        system_attrs=system,
        user_attrs={"index": index, "values": values, "cell": cell.id, "pretraining": cell.pretraining.id},
    )
