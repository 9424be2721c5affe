"""The loop: budgets, resuming, zombies, order, and the same search whatever the number of workers."""

import threading

import pytest
from optuna.trial import TrialState

from harness.engines.task import Outcome
from harness.store.atomic import StoreError
from harness.store.cell_result import read_cell
from harness.sweep.frames import trials_frame
from harness.sweep.loop import Sweep
from harness.sweep.processes import SweepProcess
from tests.sweep.fakes import SWEEP, Bench, FakeEngine, accuracy, only, points, raw, save

TWO = SWEEP.replace("methods: {untrained: null}", "methods: {untrained: null, contrastive: {}}")


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


class Killed(BaseException):
    """In place of kill -9: nothing gets to clean up."""


def kill_after(count):
    left = [count]

    def dies():
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return dies


def test_every_row_gets_the_same_budget_and_values_come_from_its_cells(tmp_path):
    bench = Bench(tmp_path, TWO)
    studies = bench.run()
    assert [study.row.title for study in studies] == ["w_mse on digits", "contrastive on digits"]
    for study in studies:
        trials = study.trials()
        assert [trial.index for trial in trials] == list(range(10))
        assert all(trial.value == accuracy(bench.store.pretraining(trial.pretraining_id).spec) for trial in trials)
        assert all((trial.epochs, trial.seconds) == (2, 4.0) for trial in trials)
    assert set(studies[1].trials()[0].values) == {"optimiser.lr"}  # contrastive has no sub-batches


def test_rows_take_turns(tmp_path):
    bench = Bench(tmp_path, TWO)
    engine = FakeEngine(bench.store)
    studies = bench.run(engine)
    titles = {trial.pretraining_id: study.row.title for study in studies for trial in study.trials()}
    order = [titles[pretraining] for pretraining in engine.asked]
    assert order == ["w_mse on digits", "contrastive on digits"] * 10


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid", "qmc", "gp", "cmaes"])
def test_the_search_is_the_same_whatever_the_number_of_workers(sampler, tmp_path):
    more = SWEEP.replace("log: true", "log: true, points: 5") + f"  sampler: {sampler}\n  pruner: median\n"
    one = Bench(tmp_path / "one", more).run()
    bench = Bench(tmp_path / "four", more)
    engine = FakeEngine(bench.store, width=4, delay=0.02)
    assert points(bench.run(engine)) == points(one)
    assert engine.most_at_once > 1
    assert len({str(values) for values, *_ in points(one)["w_mse on digits"]}) == 10


def test_another_seed_is_another_search(tmp_path):
    first = points(Bench(tmp_path / "0").run())
    assert points(Bench(tmp_path / "1", SWEEP + "  seed: 1\n").run()) != first


def test_tpe_finds_the_peak_better_than_its_random_start(tmp_path):
    trials = only(Bench(tmp_path, SWEEP).run(trials=40))
    late, early = [t.value for t in trials[20:]], [t.value for t in trials[:8]]
    assert sum(late) / len(late) > sum(early) / len(early)
    assert max(t.value for t in trials) > 97  # within a factor of two of the best rate, at the best sub-batch


def test_killed_anywhere_it_goes_on_as_if_nothing_had_happened(tmp_path):
    whole = points(Bench(tmp_path / "whole", TWO).run())
    bench = Bench(tmp_path / "killed", TWO)
    ran = []
    for count in (0, 1, 3, 5, 2):
        engine = FakeEngine(bench.store, before_task=kill_after(count))
        with pytest.raises(Killed):
            bench.run(engine)
        ran += engine.asked[:-1]  # the last was killed
    engine = FakeEngine(bench.store)
    assert points(bench.run(engine)) == whole
    ran += engine.asked
    assert len(ran) == len(set(ran)) == 20  # nothing was run twice
    assert all(trial.ended for study in bench.studies() for trial in study.trials())


def test_a_batch_whose_entering_was_cut_short_is_completed_before_anything_runs(tmp_path):
    whole = points(Bench(tmp_path / "whole").run())
    bench = Bench(tmp_path / "cut")
    (study,) = bench.studies()
    add, added = study.study.add_trials, []

    def cut(new):
        added.extend(new)
        add(new[:1])
        raise Killed

    study.study.add_trials = cut
    with pytest.raises(Killed):
        study.add_trials([])
    assert (len(added), len(study.trials())) == (4, 1)
    assert points(bench.run()) == whole


def test_a_zombie_whose_cell_is_done_is_told_and_not_run(bench):
    engine = FakeEngine(bench.store, before_task=kill_after(0))
    with pytest.raises(Killed):
        bench.run(engine)
    zombie = only(bench.studies())[0]
    save(bench.store, zombie.cell)
    engine = FakeEngine(bench.store)
    trials = only(bench.run(engine))
    assert zombie.pretraining_id not in engine.asked
    assert trials[0].value == accuracy(zombie.cell.pretraining)
    assert [t.state for t in raw(bench.studies())] == [TrialState.COMPLETE] * 10


def test_a_trial_of_a_living_process_is_left_to_it(bench, tmp_path):
    (study,) = bench.studies()
    study.add_trials([])
    with SweepProcess(tmp_path) as other:
        for trial in study.trials():
            study.claim(trial, other.name)
        stop = iter([False] * 5 + [True] * 50)
        engine = FakeEngine(bench.store)
        bench.run(engine, stop=lambda: next(stop))
        assert engine.asked == []
    bench.run(engine)
    assert len(engine.asked) == 10


def test_a_cell_that_another_command_runs_is_given_back_and_tried_later(bench, monkeypatch):
    monkeypatch.setattr("harness.engines.engine.POLL_SECONDS", 0.2)
    engine, held, owners = FakeEngine(bench.store), [3], []
    run = engine._run

    def elsewhere(task):
        if held:
            held.pop()
            return Outcome("running elsewhere")
        owners.append([trial.outcome for trial in only(bench.studies())].count("waiting"))
        return run(task)

    engine._run = elsewhere
    trials = only(bench.run(engine, trials=4))
    assert [trial.outcome for trial in trials] == ["done"] * 4
    assert len(engine.asked) == 5
    assert engine.asked.count(trials[0].pretraining_id) == 2
    assert engine.asked[1] != trials[0].pretraining_id  # meanwhile the others
    assert owners[0] == 3  # the first trial is nobody's


def test_two_processes_share_one_budget(tmp_path):
    bench = Bench(tmp_path)
    both = threading.Barrier(2, timeout=60)

    def first_time():
        waits = [both.wait]
        return lambda: waits and waits.pop()()

    engines = [FakeEngine(bench.store, delay=0.02, before_task=first_time()) for _ in range(2)]
    threads = [threading.Thread(target=bench.run, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(engine.asked for engine in engines)
    asked = [pretraining for engine in engines for pretraining in engine.asked]
    assert len(asked) == len(set(asked)) == 10
    assert points(bench.studies()) == points(Bench(tmp_path / "alone").run())


def test_two_machines_share_a_database_and_no_disk(tmp_path):
    url = f"sqlite:///{tmp_path}/sweep.db"
    benches = [Bench(tmp_path / name, url=url) for name in ("a", "b")]
    benches[0].studies()  # makes the tables
    engines = [FakeEngine(bench.store, delay=0.02) for bench in benches]
    errors = []

    def work(bench, engine):
        try:
            bench.run(engine)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(benches, engines, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert points(benches[0].studies()) == points(Bench(tmp_path / "alone").run())
    assert len({pretraining for engine in engines for pretraining in engine.asked}) == 10


def test_a_copy_of_a_trial_and_a_claim_come_too_late_without_harm(tmp_path):
    bench = Bench(tmp_path, url=f"sqlite:///{tmp_path}/sweep.db")
    ours, theirs = bench.studies() + bench.studies()
    before = ours.trials()
    ours.add_trials(before)
    theirs.study.add_trials([trial.frozen for trial in ours.trials()])  # another machine entered them as well
    first, *others = theirs.trials()
    assert ours.claim(first, "first")
    assert not theirs.claim(first, "second")  # read before it was claimed
    assert len(others) == 3
    assert [t.state for t in raw([ours])].count(TrialState.FAIL) == 4
    assert list(trials_frame([ours])["number"]) == ["0", "1", "2", "3"]
    ours.settle(first, save(bench.store, first.cell))
    assert not theirs.claim(first, "late")
    theirs.release(first)
    assert ours.trials()[0].outcome == "done"
    assert ours.trials()[0].owner == "first"


def test_stopped_it_loses_no_trial_and_starts_nothing_more(bench):
    engine = FakeEngine(bench.store)
    bench.run(engine, stop=lambda: len(engine.asked) >= 3)
    trials = only(bench.studies())
    assert [trial.ended for trial in trials] == [True, True, True, False]
    assert trials[3].outcome == "waiting"


def test_a_larger_budget_goes_on_and_a_spent_one_runs_nothing(bench):
    bench.run()
    engine = FakeEngine(bench.store)
    bench.run(engine)
    assert engine.asked == []
    assert len(only(bench.run(engine, trials=12))) == 12
    assert len(engine.asked) == 2


def test_a_budget_smaller_than_what_was_entered_ends_there(bench):
    engine = FakeEngine(bench.store)
    bench.run(engine, stop=lambda: len(engine.asked) >= 1)
    trials = only(bench.run(engine, trials=2))
    assert [trial.ended for trial in trials] == [True, True, False, False]
    assert len(engine.asked) == 2


def test_a_repeated_point_costs_nothing(tmp_path):
    more = """
    methods: {untrained: null}
    sweep: {space: {sub_batch_size: {choices: [16, 32]}}, trials: 8, batch: 4, sampler: random}
    """
    bench = Bench(tmp_path, more)
    engine = FakeEngine(bench.store, width=4, delay=0.01)
    trials = only(bench.run(engine))
    assert len(trials) == 8
    assert sorted(engine.asked) == sorted({trial.pretraining_id for trial in trials})
    assert len(engine.asked) <= 2
    assert sum(trial.seconds for trial in trials) == 4.0 * len(engine.asked)


def test_a_stored_cell_of_another_sweep_is_used(tmp_path):
    first = Bench(tmp_path)
    first.run()
    second = Bench(tmp_path / "again")
    engine = FakeEngine(first.store)
    studies = second.studies()
    with SweepProcess(second.directory) as process:
        settled = []
        lock = second.directory / "lock"
        Sweep(studies, engine, first.job, process, lock, lambda: False, lambda *_: None, settled.append).run()
    assert engine.asked == []
    assert len(settled) == 10


def test_a_failed_trial_is_the_worst_to_the_sampler_and_spends_budget(bench):
    engine = FakeEngine(bench.store, status=lambda made: "failed" if made.training.optimiser.lr > 1e-2 else "done")
    studies = bench.run(engine, trials=30)
    failed = [trial for trial in only(studies) if trial.outcome == "failed"]
    assert len(only(studies)) == 30
    assert failed
    assert all(trial.values["optimiser.lr"] > 1e-2 and trial.value is None for trial in failed)
    # a third of the range fails; the sampler has learnt to keep away
    late = only(studies)[15:]
    assert sum(trial.outcome == "failed" for trial in late) < len(late) / 3
    for trial in raw(studies):
        if trial.user_attrs["outcome"] == "failed":
            assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {})


def test_a_trial_has_its_value_whatever_became_of_other_evaluations(bench):
    engine = FakeEngine(bench.store, answers=lambda name: name != "knn5")
    trials = only(bench.run(engine))
    assert {read_cell(bench.store, trial.cell).status for trial in trials} == {"failed"}
    assert [trial.value for trial in trials] == [accuracy(trial.cell.pretraining) for trial in trials]
    bench.run(engine, trials=12)
    assert len(engine.asked) == 12  # nothing was run twice
    again = FakeEngine(bench.store)
    other = Bench(bench.directory / "other", cells=bench.directory / "cells")
    assert points(other.run(again, trials=12)) == points(bench.studies())
    assert again.asked == []


def test_a_trial_without_its_metric_has_failed(bench):
    trials = only(bench.run(FakeEngine(bench.store, answers=lambda name: name != "linear")))
    assert {(trial.outcome, trial.value, trial.epochs, trial.seconds) for trial in trials} == {("failed", None, 2, 4.0)}


def test_a_failure_of_another_sweep_is_tried_again_and_its_own_is_not(tmp_path):
    more = """
    methods: {untrained: null}
    sweep: {space: {sub_batch_size: {choices: [16, 32]}}, trials: 8, batch: 1, sampler: random}
    """
    bench = Bench(tmp_path, more)
    before = bench.rows()[0].trial({"sub_batch_size": 16})
    save(bench.store, before, "failed")
    engine = FakeEngine(bench.store, status=lambda made: "failed")
    assert {trial.outcome for trial in only(bench.run(engine))} == {"failed"}
    assert len(engine.asked) == len(set(engine.asked)) == 2  # a repeated point is not tried again
    assert before.pretraining.id in engine.asked


@pytest.mark.parametrize("answered", [False, True])
def test_a_cell_that_lacks_an_evaluation_is_not_done(answered, bench):
    (study,) = bench.studies()
    study.add_trials([])
    first = study.trials()[0]
    asked = [name for name in first.cell.evaluations if answered or name == "linear"]
    known = {name: first.cell.evaluations[name] for name in asked}
    save(bench.store, first.cell.model_copy(update={"evaluations": known}))
    engine = FakeEngine(bench.store)
    bench.run(engine, trials=4)
    assert (first.pretraining_id in engine.asked) == (not answered)


def test_rows_that_differ_in_their_evaluations_alone_do_not_train_one_encoder_at_once(tmp_path):
    more = """
    methods: {untrained: null, again: {method: w_mse, evaluations: {linear: {epochs: 9}}}}
    sweep: {space: {sub_batch_size: {choices: [16, 32]}}, trials: 4, batch: 4, sampler: random}
    """
    bench = Bench(tmp_path, more)
    running, together = set(), []
    engine = FakeEngine(bench.store, width=4, delay=0.02)
    run = engine._run

    def watched(task):
        together.extend(task.id for _ in range(task.id in running))
        running.add(task.id)
        try:
            return run(task)
        finally:
            running.discard(task.id)

    engine._run = watched
    studies = bench.run(engine)
    assert all(trial.outcome == "done" for study in studies for trial in study.trials())
    first, second = ({trial.pretraining_id for trial in study.trials()} for study in studies)
    assert first & second
    assert not {t.cell_id for t in studies[0].trials()} & {t.cell_id for t in studies[1].trials()}
    assert together == []


def test_pruned_trials_keep_their_partial_curves(tmp_path):
    bench = Bench(tmp_path, SWEEP + "  pruner: median\n")
    trials = only(bench.run(trials=20))
    pruned = [trial for trial in trials if trial.outcome == "pruned"]
    assert pruned
    for trial in pruned:
        stored = read_cell(bench.store, trial.cell)
        assert (stored.status, stored.metrics) == ("pruned", {})
        assert trial.epochs == stored.curves[-1].epoch
        assert trial.seconds == stored.curves[-1].seconds
        readings = {point.epoch: point.values["knn5_top1"] for point in stored.curves}
        assert trial.frozen.intermediate_values == readings


def test_a_method_whose_early_curve_misleads_is_not_pruned(tmp_path):
    more = SWEEP.replace("  trials", "  methods: {w_mse: {prune: false}}\n  trials") + "  pruner: median\n"
    assert {trial.outcome for trial in only(Bench(tmp_path, more).run(trials=20))} == {"done"}


def test_asynchronous_never_waits_for_a_batch(tmp_path):
    bench = Bench(tmp_path, SWEEP + "  asynchronous: true\n")
    together = threading.Barrier(6, timeout=60)  # passed once six run at once, which is more than a batch
    engine = FakeEngine(bench.store, width=6, before_task=lambda: together.wait())
    bench.run(engine, trials=6)
    assert len(engine.asked) == 6


def test_a_full_disk_ends_the_sweep_and_gives_its_trials_back(bench):
    def full():
        raise StoreError("cannot write: no space left")

    with pytest.raises(StoreError, match="no space left"):
        bench.run(FakeEngine(bench.store, before_task=full))
    assert {trial.outcome for trial in only(bench.studies())} == {"waiting"}
    assert all(trial.ended for trial in only(bench.run()))


def test_choices_that_do_not_go_together_are_never_tried(tmp_path):
    more = """
    methods: {untrained: null}
    sweep:
      space: {epochs: {choices: [1, 2, 3]}, embedding_size: {choices: [2, 3, 4], above: epochs}}
      trials: 12
      sampler: random
    """
    tried = {(t.values["epochs"], t.values["embedding_size"]) for t in only(Bench(tmp_path, more).run())}
    assert len(tried) > 3
    assert all(size > epochs for epochs, size in tried)  # which the method itself does not ask for
