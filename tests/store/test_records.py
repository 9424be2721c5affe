"""What records hold: packed arrays come back, and a text or an object that JSON cannot hold costs no record."""

import base64

import numpy as np
import pytest

from harness.store.records import (
    CurvePoint,
    EvaluationRecord,
    Failure,
    Sample,
    pack_components,
    pack_hits,
    unpack_components,
    unpack_hits,
)
from tests.store.conftest import evaluation, pretraining, provenance


@pytest.mark.parametrize("images", [1, 8, 9])
def test_hits_are_a_bit_an_image(images):
    hits = np.arange(images) % 3 == 0
    assert len(base64.b64decode(pack_hits(hits))) == -(-images // 8)
    np.testing.assert_array_equal(unpack_hits(pack_hits(hits), images), hits)


def test_hits_are_packed_with_the_first_image_in_the_highest_bit():
    assert base64.b64decode(pack_hits(np.array([True, False, False, False, False, False, False, True]))) == b"\x81"


def test_components_come_back_row_by_row():
    components = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, 0.0]])  # all of them float16
    sample = Sample(images=2, dimensions=3, components=pack_components(components), labels=(0, 1), explained=1.0)
    np.testing.assert_array_equal(unpack_components(sample), components)


def test_a_file_name_that_is_not_utf_8_costs_no_failure_record(shelf):
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    failure = Failure(kind="DataError", message=f"cannot read {name}", traceback=f"File {name}")
    assert failure.message == r"cannot read caf\udce9.png"
    record = shelf.trained(encoder=None, status="failed", failure=failure)
    assert shelf.store.pretraining(record.id).failure == failure


def test_what_a_probe_says_beside_its_metrics_is_made_to_fit_json(shelf):
    said = {"iterations": np.int64(7), "loss": float("nan"), "path": [1, float("inf")], "converged": True}
    answer = shelf.evaluated(shelf.trained(), details=said)
    assert answer.details == {"iterations": "7", "loss": None, "path": [1, None], "converged": True}
    assert shelf.store.read_evaluation(answer.spec.pretraining, answer.id).record == answer


def test_no_metric_is_nan():
    asked = evaluation(pretraining())
    with pytest.raises(ValueError, match="finite number"):
        EvaluationRecord(
            id=asked.id,
            spec=asked,
            encoder=None,
            status="done",
            metrics={"top1": float("nan")},
            provenance=provenance(),
        )
    with pytest.raises(ValueError, match="finite number"):
        CurvePoint(epoch=1, step=1, values={"loss": float("inf")})
