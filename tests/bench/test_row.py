"""Units, limits and targets by hand."""

import pytest

from harness.bench.row import MILLISECONDS, MINUTES, SHARE, VIEWS, Limits, Target
from tests.bench.conftest import LIMITS


def test_the_least_time_is_set_by_whichever_limit_takes_longer():
    assert LIMITS.seconds(200.0, 10.0, "float32") == (2.0, "float32")
    assert LIMITS.seconds(200.0, 10.0, "bfloat16") == (1.0, "bandwidth")
    assert LIMITS.seconds(800.0, 10.0, "bfloat16") == (2.0, "bfloat16")
    assert LIMITS.seconds(0.0, 0.0, "float32") == (0.0, "")


@pytest.mark.parametrize(("bfloat16", "fast"), [(400.0, "bfloat16"), (50.0, "float32"), (None, "float32")])
def test_bfloat16_is_fast_where_its_products_are(bfloat16, fast):
    assert Limits(100.0, bfloat16, 1.0).fast_precision == fast


def test_units():
    assert VIEWS.value(100.0, 4.0) == 25.0
    assert MILLISECONDS.value(2.0, 4.0) == 2000.0
    assert MINUTES.value(0.5, 60.0) == 2.0
    assert SHARE.value(0.25, 4.0) == 25.0


def test_targets():
    assert Target("ratio", 4.0).met(4.1, None, 0.0) is True
    assert Target("ratio", 4.0).met(3.9, None, 0.0) is False
    assert Target("ratio", 4.0).met(None, None, 9.0) is None
    assert Target("limit", 0.4).met(None, 0.35, 0.0) is False
    assert Target("value", 1.0, most=True).met(None, None, 0.9) is True
    assert Target("value", 1.0, most=True).met(None, None, 1.1) is False
