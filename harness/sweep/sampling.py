"""Which points are tried next, by Optuna's samplers. Stores nothing.

A sampler sees a copy of the study in memory and is seeded for one trial alone: what it proposes depends on the suite,
the seed and the trials before, and neither on who asks nor on how often anybody was killed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.streams import stream_seed
from harness.suite.search import SweepSpec
from harness.sweep.rows import SweepError, SweepRow

STARTUP_TRIALS = 8  # random trials before TPE and GP begin to model; few, as budgets are
SAMPLER_ATTEMPTS = 10  # proposals of the sampler for one trial; if none can be run, points are drawn at random
ATTEMPTS = 1000


def make_sampler(spec: SweepSpec, study: str, index: int, attempt: int = 0) -> BaseSampler:
    """The sampler of one trial of a study."""
    own = stream_seed(spec.seed, "sweep", study, index, attempt) % 2**31
    if spec.sampler == "random" or attempt >= SAMPLER_ATTEMPTS:
        return optuna.samplers.RandomSampler(seed=own)
    if spec.sampler == "qmc":  # one sequence, which the trials share
        whole = stream_seed(spec.seed, "sweep", study) % 2**31
        return optuna.samplers.QMCSampler(scramble=True, seed=whole, warn_independent_sampling=False)
    if spec.sampler == "gp":
        return optuna.samplers.GPSampler(n_startup_trials=STARTUP_TRIALS, seed=own)
    if spec.sampler == "cmaes":
        return optuna.samplers.CmaEsSampler(seed=own, warn_independent_sampling=False)
    return optuna.samplers.TPESampler(n_startup_trials=STARTUP_TRIALS, multivariate=True, constant_liar=True, seed=own)


def propose(
    spec: SweepSpec, row: SweepRow, name: str, before: Sequence[FrozenTrial], count: int, system: dict[str, Any]
) -> tuple[list[FrozenTrial], dict[str, Any]]:
    """So many new trials of a study, and what its samplers note with the study.

    Args:
        before: trials so far, in order; those not finished count as running.
        system: what earlier samplers have noted.

    Raises:
        SweepError: the sampler proposes nothing that can be run.
    """
    following = range(len(before), len(before) + count)
    if spec.sampler == "grid":
        points = grid_points(spec, row, name)
        return [_waiting(row, index, points[index], {}) for index in following if index < len(points)], system
    memory = InMemoryStorage()
    study = optuna.create_study(storage=memory, study_name=name, direction="maximize")
    study.add_trials([as_samplers_see_it(trial, row) for trial in before])
    study_id = memory.get_study_id_from_name(name)
    for key, value in system.items():
        memory.set_study_system_attr(study_id, key, value)
    return [_ask(spec, row, study, index) for index in following], dict(memory.get_study_system_attrs(study_id))


def as_samplers_see_it(trial: FrozenTrial, row: SweepRow) -> FrozenTrial:
    """A trial with a value to maximise, as the accuracies on its curve are, and listed numbers by their position."""
    value = None if trial.value is None else row.metric.sign * trial.value
    return create_trial(
        state=trial.state if trial.state.is_finished() else TrialState.RUNNING,
        value=value,
        params={s.name: s.to_proposed(trial.params[s.name]) for s in row.space.settings},
        distributions={s.name: s.proposed for s in row.space.settings},
        system_attrs=trial.system_attrs,
        intermediate_values=trial.intermediate_values,
    )


def _ask(spec: SweepSpec, row: SweepRow, study: optuna.Study, index: int) -> FrozenTrial:
    """The sampler's next point that can be run."""
    why = None
    for attempt in range(ATTEMPTS):
        study.sampler = make_sampler(spec, study.study_name, index, attempt)
        asked = study.ask({s.name: s.proposed for s in row.space.settings})
        values = {s.name: s.from_proposed(asked.params[s.name]) for s in row.space.settings}
        why = row.refusal(values)
        if why is None:
            return _waiting(row, index, values, study.get_trials(deepcopy=False)[asked.number].system_attrs)
        study.tell(asked, state=TrialState.FAIL)
    raise SweepError(
        f"{row.title}: {ATTEMPTS} proposals in a row cannot be run, the last because {why}: narrow the space"
    )


def grid_points(spec: SweepSpec, row: SweepRow, name: str) -> list[dict[str, Any]]:
    """The grid in an order drawn once, so that a part of it is spread over all."""
    points = row.space.grid()
    order = np.random.default_rng(stream_seed(spec.seed, "sweep", name)).permutation(len(points))
    return [points[index] for index in order]


def _waiting(row: SweepRow, index: int, values: dict[str, Any], system: dict[str, Any]) -> FrozenTrial:
    """The trial as stored: one record, so that a kill leaves all of it or nothing."""
    cell = row.trial(values)
    distributions: dict[str, BaseDistribution] = {s.name: s.distribution for s in row.space.settings}
    attributes = {"index": index, "cell": cell.id, "pretraining": cell.pretraining.id}
    return create_trial(
        state=TrialState.WAITING, params=values, distributions=distributions, system_attrs=system, user_attrs=attributes
    )
