"""How much each setting mattered. Owns the question put to Optuna's fANOVA; stores nothing."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from harness.suite.planned import shown
from harness.sweep.rows import Row
from harness.sweep.space import Options, Setting
from harness.sweep.trials import Trial

FEWEST = 5  # trials below which nothing is said


def importances(row: Row, trials: Sequence[Trial]) -> dict[str, float]:
    """Setting -> its share, in [0, 1]; {} where there are too few trials, or nothing differs between them."""
    done = [trial for trial in trials if trial.value is not None]
    settings = [s for s in row.space.settings if not isinstance(s.domain, Options) or len(s.domain.values) > 1]
    if len(done) < FEWEST or len({trial.value for trial in done}) == 1 or not settings:
        return {}
    if len(settings) == 1:
        return {settings[0].name: 1.0}
    study = optuna.create_study(direction="maximize")
    distributions = {setting.name: _distribution(setting) for setting in settings}
    for trial in done:
        params = {setting.name: _param(setting, trial) for setting in settings}
        study.add_trial(create_trial(params=params, distributions=distributions, value=trial.value))
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))


def _distribution(setting: Setting) -> BaseDistribution:
    domain = setting.domain
    if isinstance(domain, Options):
        if domain.ordered:
            return IntDistribution(0, len(domain.values) - 1)
        return CategoricalDistribution([shown(value) for value in domain.values])
    if domain.whole:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def _param(setting: Setting, trial: Trial) -> float | int | str:
    value = trial.values[setting.name]
    if isinstance(setting.domain, Options):
        index = setting.domain.values.index(value)
        return index if setting.domain.ordered else shown(value)
    return int(value) if setting.domain.whole else float(value)
