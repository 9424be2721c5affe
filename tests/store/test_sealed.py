"""Records that vouch for themselves: whatever is changed in a file, it is refused with its reason."""

import json
import re

import pytest

from harness.spec import identity
from harness.store.atomic import StoreError
from harness.store.records import Description, EvaluationRecord, PretrainingRecord
from harness.store.sealed import checksum, read_body, read_sealed, write_sealed
from tests.store.conftest import evaluation, pretraining, provenance


@pytest.fixture
def answered(shelf):
    """An evaluation of 75 % and its file."""
    answer = shelf.evaluated(shelf.trained())
    return answer, shelf.store.directory(answer.spec.pretraining) / "evaluations" / f"{answer.id}.json"


def reseal(path, **changes):
    """Change the content and give it the checksum that fits."""
    body = json.loads(path.read_text())
    del body["sha256"]
    body |= changes
    path.write_text(json.dumps({"sha256": checksum(body), **body}))


def reason(path, model, id_):
    found = read_sealed(path, model, id_)
    assert found.record is None
    return found.reason


def test_a_record_reads_back_equal_with_its_seal(answered):
    answer, path = answered
    found = read_sealed(path, EvaluationRecord, answer.id)
    assert (found.record, found.reason) == (answer, None)
    assert found.seal == json.loads(path.read_text())["sha256"]


def test_the_seal_is_of_the_content_with_sorted_keys_and_no_spaces(tmp_path):
    body = {"b": [1, 2.5], "a": {"z": None, "y": "é"}}
    # printf '{"a":{"y":"\\\\u00e9","z":null},"b":[1,2.5]}' | sha256sum
    assert checksum(body) == "8e83d08d91005ce2f28d2d2de5125c9b8aa61c7a9412fd84e69667761bd97ca5"
    assert checksum({"a": {"y": "é", "z": None}, "b": [1, 2.5]}) == checksum(body)


def test_a_digit_of_an_accuracy_is_enough(answered):
    answer, path = answered
    text = path.read_text()
    assert '"top1": 75.0' in text
    path.write_text(text.replace('"top1": 75.0', '"top1": 76.0'))
    said = reason(path, EvaluationRecord, answer.id)
    assert said == f"{path.name} is damaged: its content does not fit its checksum"


def test_layout_is_no_damage(answered):
    answer, path = answered
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert read_sealed(path, EvaluationRecord, answer.id).record == answer


def test_a_file_cut_at_any_byte_or_filled_with_zeros_is_refused(answered):
    answer, path = answered
    whole = path.read_bytes().rstrip(b"\n")
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert reason(path, EvaluationRecord, answer.id) == f"{path.name} is truncated or not JSON"
    path.write_bytes(bytes(len(whole)))
    assert reason(path, EvaluationRecord, answer.id) == f"{path.name} is truncated or not JSON"
    path.write_bytes(whole)
    assert read_sealed(path, EvaluationRecord, answer.id).record == answer


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 3}, r"NAME has schema version 3, this harness 2"),
        ({"version": None}, r"NAME has schema version None, this harness 2"),
        ({"surprise": 1}, r"NAME does not fit the schema at surprise: Extra inputs are not permitted"),
        ({"metrics": {"top1": "high"}}, r"NAME does not fit the schema at metrics.top1: "),
        ({"id": "0" * 20}, r"NAME is another one's: 0{20}, [0-9a-f]{20}"),
    ],
)
def test_what_does_not_fit_is_refused_though_its_checksum_does(answered, change, said):
    answer, path = answered
    reseal(path, **change)
    assert re.match(said.replace("NAME", re.escape(path.name)), reason(path, EvaluationRecord, answer.id))


def test_a_changed_spec_no_longer_matches_its_id(answered):
    answer, path = answered
    spec = json.loads(path.read_text())["spec"]
    reseal(path, spec=spec | {"settings": {"k": 20}})
    assert f"{path.name} is another one's" in reason(path, EvaluationRecord, answer.id)


def test_a_file_of_another_id_is_refused(answered):
    answer, path = answered
    other = evaluation(pretraining(), settings={"k": 20})
    assert reason(path, EvaluationRecord, other.id) == f"{path.name} is another one's: {answer.id}"


@pytest.mark.parametrize(
    ("text", "said"), [("[1]", "x.json is no record"), ("{}", "is damaged"), ('{"sha256": null}', "is damaged")]
)
def test_other_json_is_no_record(tmp_path, text, said):
    (tmp_path / "x.json").write_text(text)
    assert said in reason(tmp_path / "x.json", Description, "0" * 20)


def test_nothing_there_is_no_reason_and_a_directory_is_one(tmp_path):
    found = read_sealed(tmp_path / "no" / "x.json", Description, "0" * 20)
    assert (found.record, found.seal, found.reason) == (None, None, None)
    (tmp_path / "x.json").mkdir()
    assert reason(tmp_path / "x.json", Description, "0" * 20) == "x.json is a directory"


def test_a_file_that_the_system_keeps_is_an_error(answered, monkeypatch):
    """A passing fault of the disk must not pass for a result that is not there, which would be trained again."""
    answer, path = answered

    def refused(self):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pathlib.Path.read_bytes", refused)
    with pytest.raises(StoreError, match=r"cannot read .*\.json: Input/output error"):
        read_sealed(path, EvaluationRecord, answer.id)


def test_only_what_would_be_believed_is_written(tmp_path):
    spec = pretraining()
    wrong = PretrainingRecord(id="f" * 20, spec=spec, status="pruned", provenance=provenance())
    with pytest.raises(ValueError, match=rf"x\.json is not written, .*another one's: .*{spec.id}"):
        write_sealed(tmp_path / "x.json", wrong)
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_the_one_of_the_moment(answered, monkeypatch):
    answer, path = answered
    monkeypatch.setattr(identity, "SCHEMA_VERSION", 3)
    assert reason(path, EvaluationRecord, answer.id) == f"{path.name} has schema version 2, this harness 3"
    assert PretrainingRecord(id="0" * 20, spec=pretraining(), status="pruned", provenance=provenance()).version == 3


def test_a_body_of_any_version_is_read_if_its_checksum_fits(answered):
    _, path = answered
    reseal(path, version=7)
    found = read_body(path)
    assert found.record["version"] == 7
    assert "sha256" not in found.record
    path.write_text(path.read_text().replace("75.0", "76.0"))
    assert read_body(path).reason.endswith("does not fit its checksum")
