"""What is left to do, for every state that a store can be in."""

import pytest

from harness.store.provenance import Code
from harness.store.stages import Stages, current, replaceable, stages
from harness.store.store import ENCODER
from tests.store.conftest import CODE, FAILURE, evaluation, monitor, pretraining, provenance

SPEC = pretraining()
KNN5, KNN20 = evaluation(SPEC), evaluation(SPEC, settings={"k": 20})
EVERYTHING = Stages(train=True, describe=True, evaluations=(KNN5, KNN20))
NOTHING = Stages(train=False, describe=False, evaluations=())


def left(store, **choices):
    return stages(store, SPEC, (KNN5, KNN20), **choices)


def again(store, code=CODE, rerun_stale=False):
    """What is left when a command begins."""
    return left(store, replace=replaceable(store, SPEC, (KNN5, KNN20), code, rerun_stale))


def newer(*parts):
    """The code with other digests of some parts."""
    return Code({**CODE.digests, **dict.fromkeys(parts, "new")}, None, None)


@pytest.fixture
def done(shelf):
    """A pretraining with all that follows it."""
    record = shelf.trained()
    shelf.described(record)
    shelf.evaluated(record, KNN5)
    shelf.evaluated(record, KNN20)
    return record


def test_with_nothing_there_all_is_to_do(store):
    assert left(store) == EVERYTHING
    assert not left(store).nothing


def test_with_all_done_nothing_is(store, done):
    assert left(store) == NOTHING
    assert left(store).nothing
    assert again(store, rerun_stale=True) == NOTHING


def test_only_what_is_missing_is_to_do(shelf, store):
    record = shelf.trained()
    assert left(store) == Stages(False, True, (KNN5, KNN20))
    shelf.evaluated(record, KNN5)
    assert left(store) == Stages(False, True, (KNN20,))
    shelf.described(record)
    assert left(store) == Stages(False, False, (KNN20,))


def test_evaluations_of_another_encoder_are_to_do_again(shelf, store, done):
    record = shelf.trained(encoder=b"WEIGHTS")  # trained anew, to other weights
    assert left(store) == Stages(False, True, (KNN5, KNN20))
    assert current(store, record, KNN5.id) is None
    answer = shelf.evaluated(record, KNN5)
    assert current(store, record, KNN5.id) == answer
    assert left(store) == Stages(False, True, (KNN20,))


def test_what_has_no_weights_is_asked_all_the_same(shelf, store):
    record = shelf.trained(encoder=None)
    assert left(store) == Stages(False, True, (KNN5, KNN20))
    shelf.described(record)
    shelf.evaluated(record, KNN5)
    shelf.evaluated(record, KNN20)
    assert left(store) == NOTHING


def test_a_failed_evaluation_stands_in_the_command_that_made_it_and_is_alone_repeated_by_the_next(shelf, store, done):
    shelf.evaluated(done, KNN20, status="failed", metrics={}, failure=FAILURE)
    assert left(store) == NOTHING
    assert again(store) == Stages(False, False, (KNN20,))
    replace = replaceable(store, SPEC, (KNN5, KNN20), CODE, False)
    shelf.evaluated(done, KNN20, status="failed", metrics={}, failure=FAILURE, seconds=9.0)  # tried again, and failed
    assert left(store, replace=replace) == NOTHING


def test_a_failed_description_is_alone_repeated(shelf, store, done):
    shelf.described(done, status="failed", failure=FAILURE)
    assert left(store) == NOTHING
    assert again(store) == Stages(False, True, ())


def test_a_failed_pretraining_stands_and_is_repeated_by_the_next_command(shelf, store):
    shelf.ended("failed")
    assert left(store) == NOTHING
    assert again(store) == Stages(True, True, (KNN5, KNN20), why="it failed")


def test_a_pruned_pretraining_starts_over(shelf, store):
    shelf.ended("pruned")
    assert left(store) == Stages(True, True, (KNN5, KNN20), why="it was stopped early")


def test_a_record_that_is_not_believed_is_made_anew_with_the_reason(store, done):
    path = store.directory(SPEC.id) / "pretraining.json"
    path.write_text(path.read_text().replace('"views_seen": 10240', '"views_seen": 10241'))
    assert left(store) == Stages(
        True, True, (KNN5, KNN20), why="pretraining.json is damaged: its content does not fit its checksum"
    )


def test_a_damaged_evaluation_is_alone_repeated(store, done):
    path = store.directory(SPEC.id) / "evaluations" / f"{KNN5.id}.json"
    path.write_text(path.read_text().replace('"top1": 75.0', '"top1": 76.0'))
    assert left(store) == Stages(False, False, (KNN5,))


def test_a_dropped_encoder_is_not_missed_until_something_new_is_asked(shelf, store, done):
    store.drop(SPEC.id, ENCODER)
    assert left(store) == NOTHING
    linear = evaluation(SPEC, probe="linear", settings={}, seed=0)
    asked = (KNN5, KNN20, linear)
    assert stages(store, SPEC, asked) == Stages(True, True, asked, why="its encoder is not kept")


def test_a_description_alone_is_no_reason_to_train_again(shelf, store):
    record = shelf.trained()
    shelf.evaluated(record, KNN5)
    shelf.evaluated(record, KNN20)
    assert left(store) == Stages(False, True, ())
    store.drop(SPEC.id, ENCODER)
    assert left(store) == NOTHING


def test_a_lacking_curve_is_named_and_trained_for_only_when_asked(shelf, store, done):
    wanted = monitor()
    assert left(store, monitors=(wanted,)) == Stages(False, False, (), (wanted.id,))
    assert left(store, monitors=(wanted,)).nothing
    for_it = left(store, monitors=(wanted,), for_curves=True)
    assert for_it == Stages(True, True, (KNN5, KNN20), (wanted.id,), "its curve is asked for")
    shelf.trained(monitors=(wanted.id,))
    assert left(store, monitors=(wanted,), for_curves=True) == NOTHING


def test_a_stale_pretraining_is_trained_again_with_rerun_stale_only(store, done):
    code = newer("training on cpu")
    assert again(store, code) == NOTHING
    assert again(store, code, rerun_stale=True) == Stages(True, True, (KNN5, KNN20), why="its code has changed since")


def test_a_stale_evaluation_costs_no_training(store, done):
    assert again(store, newer("probe knn"), rerun_stale=True) == Stages(False, False, (KNN5, KNN20))
    assert again(store, newer("description"), rerun_stale=True) == Stages(False, True, ())


def test_a_stale_evaluation_whose_encoder_is_dropped_trains_again(store, done):
    store.drop(SPEC.id, ENCODER)
    assert again(store, newer("probe knn"), rerun_stale=True) == Stages(
        True, True, (KNN5, KNN20), why="its encoder is not kept"
    )


def test_what_was_made_by_the_code_as_it_is_now_stands(shelf, store, done):
    code = newer("training on cpu")
    replace = replaceable(store, SPEC, (KNN5, KNN20), code, rerun_stale=True)
    shelf.trained(provenance=provenance(code={"training on cpu": "new"}))
    assert left(store, replace=replace) == NOTHING  # the encoder came out the same, and so its evaluations stand


def test_nothing_is_replaceable_where_nothing_is(store):
    assert replaceable(store, SPEC, (KNN5,), CODE, rerun_stale=True) == frozenset()
