"""Storages and what is kept with a study: what does not fit is refused, and left as it was."""

import dataclasses
import json
import sqlite3

import optuna
import pytest
from sqlalchemy.exc import IntegrityError

from harness.sweep import study
from harness.sweep.rows import SweepError
from harness.sweep.study import JOURNAL, open_storage, without_password
from tests.sweep.fakes import SWEEP, Bench, FakeEngine, PublishedFacts, only, points


def content(directory):
    return (directory / JOURNAL).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("high: 1e-1", "high: 1"), 'space.optimiser.lr was {"field": "optimiser.lr", "low": 0.0001, "high": 0.1'),
        (("[8, 16, 32]", "[8, 16, 64]"), '"choices": [8, 16, 64]'),
        (("sweep:", "defaults: {epochs: 3}\nsweep:"), "cell.epochs was 2, and is 3"),
        (("  batch: 4", "  metric: knn5_top1"), 'metric was "linear_top1", and is "knn5_top1"'),
        (("sweep:", "defaults: {precision: bfloat16}\nsweep:"), 'cell.precision was "float32", and is "bfloat16"'),
        (
            ("sweep:", "defaults: {settings: {projector: {hidden: [9]}}}\nsweep:"),
            "cell.settings.projector.hidden was [8], and is [9]",
        ),
        (
            ("sweep:", "defaults: {evaluations: {linear: {epochs: 6}}}\nsweep:"),
            "cell.evaluations.linear.settings.epochs was 5, and is 6",
        ),
        (
            ("sweep:", "defaults: {dataset: {train_images: 150}}\nsweep:"),
            "cell.source.train_images was 200, and is 150",
        ),
        (("  batch: 4", "  seed: 3"), "cell.seed was 0, and is 3"),
    ],
)
def test_another_search_under_the_same_name_is_refused(change, message, tmp_path):
    Bench(tmp_path).run(trials=4)
    before = content(tmp_path)
    with pytest.raises(SweepError) as caught:
        Bench(tmp_path, SWEEP.replace(*change)).run()
    assert message in str(caught.value)
    assert "undo the change, or save the suite under another name" in str(caught.value)
    assert content(tmp_path) == before
    assert len(only(Bench(tmp_path).run())) == 10


def test_other_images_under_the_same_name_are_another_search(tmp_path):
    class Replaced(PublishedFacts):
        def dataset(self, name):
            facts = super().dataset(name)
            train = dataclasses.replace(facts.splits["train"], images="0" * 64)
            return dataclasses.replace(facts, splits={**facts.splits, "train": train})

    Bench(tmp_path).run(trials=4)
    with pytest.raises(SweepError, match=r"cell\.source\.images was \[\"6b3f.*, and is \[\"0000"):
        Bench(tmp_path, facts=Replaced()).run()


def test_the_same_weights_in_another_place_are_the_same_search(tmp_path):
    weights = SWEEP.replace("sweep:", "defaults: {backbone: {weights: a.pt}}\nsweep:")
    facts = PublishedFacts()
    facts.checksums |= {
        str(tmp_path / name): digit * 64 for name, digit in (("a.pt", "a"), ("b.pt", "a"), ("c.pt", "c"))
    }
    before = points(Bench(tmp_path, weights, facts=facts).run(trials=4))
    assert points(Bench(tmp_path, weights.replace("a.pt", "b.pt"), facts=facts).run(trials=4)) == before
    with pytest.raises(SweepError, match=r'cell\.backbone\.weights was "aaa.*, and is "ccc'):
        Bench(tmp_path, weights.replace("a.pt", "c.pt"), facts=facts).run()


def test_a_row_more_is_no_other_search(tmp_path):
    Bench(tmp_path).run()
    more = SWEEP.replace("untrained: null", "untrained: null, contrastive: {}")
    assert [len(study.trials()) for study in Bench(tmp_path, more).run()] == [10, 10]


def test_a_study_of_an_older_harness_is_refused(tmp_path):
    study = Bench(tmp_path).studies()[0].study
    study.set_user_attr("record", {})
    before = content(tmp_path)
    with pytest.raises(
        SweepError, match=r"was begun by an older version of this harness: save the suite under another"
    ):
        Bench(tmp_path).run()
    assert content(tmp_path) == before


def test_a_study_of_another_optuna_is_refused(tmp_path):
    studies = Bench(tmp_path).run(trials=4)
    studies[0].study.set_user_attr("optuna", "3.6.1")
    before = content(tmp_path)
    with pytest.raises(SweepError, match=r"was begun with Optuna 3\.6\.1, and this is .*: install optuna==3\.6\.1"):
        Bench(tmp_path).run()
    assert content(tmp_path) == before


@pytest.mark.parametrize("text", ['{"op_code": 99, "worker_id": "x"}\n{"op_code": 99}\n', "nonsense\nnonsense\n"])
def test_a_file_that_is_no_journal_of_this_version(text, tmp_path):
    (tmp_path / JOURNAL).write_text(text)
    with pytest.raises(SweepError, match=r"cannot be read by Optuna .* move it away to begin anew"):
        open_storage(tmp_path, None)
    assert content(tmp_path).decode() == text


def test_a_line_that_a_killed_writer_did_not_finish_is_taken_off(tmp_path):
    whole = points(Bench(tmp_path).run(trials=4))
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":8,"work')
    assert points(Bench(tmp_path).run(trials=4)) == whole


def test_a_database_works_as_the_journal_does(tmp_path):
    url = f"sqlite:///{tmp_path}/sweep.db"
    assert points(Bench(tmp_path / "db", url=url).run()) == points(Bench(tmp_path / "journal").run())
    bench = Bench(tmp_path / "db", url=url)
    engine = FakeEngine(bench.store)
    bench.run(engine, trials=12)
    assert len(engine.asked) == 2


def test_a_database_of_another_version(tmp_path):
    Bench(tmp_path / "a", url=f"sqlite:///{tmp_path}/sweep.db").run(trials=1)
    with sqlite3.connect(tmp_path / "sweep.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'v0.9.0.a'")
    with pytest.raises(SweepError, match="no longer compatible with the table schema"):
        open_storage(tmp_path, f"sqlite:///{tmp_path}/sweep.db")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "--storage nonsense: not a database URL, such as postgresql://"),
        ("postgresql://me:secret@localhost:1/x", r"--storage postgresql://me:\*\*\*@localhost:1/x: "),
        ("sqlite:////no/such/directory/x.db", "the database cannot be reached: unable to open database file"),
    ],
)
def test_a_database_that_is_not_there(url, message, tmp_path):
    with pytest.raises(SweepError, match=message) as caught:
        open_storage(tmp_path, url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "package"),
    [("psycopg", r"'psycopg\[binary\]'"), ("psycopg2", "psycopg2-binary"), ("pymysql", "pymysql")],
)
def test_a_missing_driver_is_named(module, package, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise ImportError("no driver") from ModuleNotFoundError(name=module)

    monkeypatch.setattr("optuna.storages.RDBStorage", refuse)
    with pytest.raises(SweepError, match=f"its driver is not installed: pip install {package}$"):
        open_storage(tmp_path, "postgresql://me@host/x")


@pytest.mark.parametrize("failures", [1, 100])
def test_tables_that_two_processes_make_at_once_are_waited_for(failures, tmp_path, monkeypatch):
    real, left = optuna.storages.RDBStorage, [failures]

    def storage(*arguments, **options):
        left[0] -= 1
        if left[0] >= 0:
            raise IntegrityError("CREATE TABLE studies", {}, ValueError("duplicate key"))
        return real(*arguments, **options)

    monkeypatch.setattr("optuna.storages.RDBStorage", storage)
    monkeypatch.setattr(study, "WAIT_SECONDS", 0.0)
    if failures == 1:
        open_storage(tmp_path, f"sqlite:///{tmp_path}/sweep.db")
    else:
        with pytest.raises(SweepError, match="duplicate key"):
            open_storage(tmp_path, f"sqlite:///{tmp_path}/sweep.db")


def test_passwords_are_without_password():
    assert without_password("postgresql://me:secret@host/x") == "postgresql://me:***@host/x"
    command = "harness sweep a.yaml --storage=mysql://me:secret@host:3306/x --workers 2"
    assert without_password(command) == "harness sweep a.yaml --storage=mysql://me:***@host:3306/x --workers 2"
    assert without_password("sqlite:///a.db") == "sqlite:///a.db"


def test_the_study_is_one_that_optuna_reads(tmp_path):
    Bench(tmp_path).run()
    (summary,) = optuna.get_all_study_summaries(open_storage(tmp_path, None))
    assert summary.study_name == "s: w_mse on digits"
    assert summary.n_trials == 10
    assert json.loads(json.dumps(summary.user_attrs["search"]))["metric"] == "linear_top1"
