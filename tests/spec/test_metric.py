"""How numbers are written, with and without a unit."""

import pytest

from harness.spec.metric import Metric

ACCURACY, ERROR = Metric("top1", "linear top-1"), Metric("loss", "test loss", unit="nats", higher_is_better=False)


def test_an_accuracy_has_two_decimals():
    assert (ACCURACY.text(95.276), ACCURACY.difference(0.394)) == ("95.28", "+0.39")
    assert (ACCURACY.heading, ACCURACY.said(95.276)) == ("linear top-1 %", "95.28 %")


def test_another_number_has_four_digits_that_count():
    assert (ERROR.text(0.0123456), ERROR.difference(-1.23456)) == ("0.01235", "-1.235")
    assert (ERROR.heading, ERROR.said(0.0123456)) == ("test loss nats", "0.01235 nats")
    assert Metric("count", "images", unit="").heading == "images"


def test_more_is_better_once_it_is_multiplied_by_the_sign():
    assert (ACCURACY.sign, ERROR.sign) == (1.0, -1.0)


@pytest.mark.parametrize("name", ["top_1", "", "1top", "top 1"])
def test_a_name_is_letters_and_digits(name):
    with pytest.raises(ValueError, match="is no name of a metric: letters and digits alone, a letter first"):
        Metric(name, "title")
